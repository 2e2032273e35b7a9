//! Whether meters and commitments agree about the direction of energy.
//!
//! A wrong sign, of a current transformer or in a profile, turns a sale into a purchase. What
//! is committed has a direction, and so has what a plant or a load does without a commitment;
//! a meter that says the opposite again and again is suspect, and somebody has to look.
//! Nothing is done about it: devices have reasons to do the opposite for a while.

use std::collections::BTreeMap;

use market::{Interval, Mwh, MwhTotal, quantity::energy_of_power_mwh};
use model::DeviceIx;

use crate::rig::ParticipantKind;

/// Intervals in a row after which a direction is suspect.
/// Chosen: three; the limiter may turn a device against its schedule for one or two.
const AGAINST_MAX: u32 = 3;
/// Mean power below which a meter has no direction, in milliwatts.
/// Chosen: 100 W, more than an idle inverter takes at night.
const LEAST_MILLIWATT: i64 = 100_000;

/// What has been seen of each device.
#[derive(Debug, Default)]
pub(super) struct DirectionWatch {
    /// Intervals in a row against the commitment; `None` once it was told.
    against: BTreeMap<DeviceIx, Option<u32>>,
}

impl DirectionWatch {
    /// Takes an interval of a device in, both energies positive into the bus; whether it must be
    /// told now, once in a run.
    pub(super) fn see(
        &mut self,
        device: DeviceIx,
        kind: ParticipantKind,
        committed: MwhTotal,
        metered: Mwh,
        interval: &Interval,
    ) -> bool {
        let expected = match (committed.0.signum(), kind) {
            (0, ParticipantKind::Pv) => 1,
            (0, ParticipantKind::MustRun | ParticipantKind::Flexible) => -1,
            (0, ParticipantKind::Storage) => 0,
            (direction, _) => direction,
        };
        let least = energy_of_power_mwh(LEAST_MILLIWATT, interval.dt_ns).unwrap_or(Mwh(i64::MAX));
        let large = i128::from(least.0).max(committed.0.abs() / 2);
        let metered = i128::from(metered.0);
        let is_against = metered.signum() * expected < 0 && metered.abs() >= large;
        let Some(count) = self.against.entry(device).or_insert(Some(0)) else {
            return false;
        };
        *count = if is_against { *count + 1 } else { 0 };
        let tells = *count >= AGAINST_MAX;
        if tells {
            self.against.insert(device, None);
        }
        tells
    }
}

/// What is told of a device whose meter says the opposite.
pub(super) fn suspicion(committed: MwhTotal, metered: Mwh) -> String {
    let watt_hours = |mwh: i128| format!("{:+.1} Wh", mwh as f64 / 1e3);
    format!(
        "Meter and market disagree about the direction in {AGAINST_MAX} intervals in a row: {} were \
         committed and {} metered, + into the bus. Look at the current transformer, at `invert` \
         and at the profile",
        watt_hours(committed.0),
        watt_hours(metered.0.into())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_that_says_the_opposite_three_times_is_told_once() {
        use ParticipantKind::{Flexible, MustRun, Pv, Storage};
        // 100 W for 15 s are 416 mWh.
        let interval = Interval::new(0, 0, 15_000_000_000).expect("an interval");
        for (kind, committed, metered, told) in [
            (
                Storage,
                4_000,
                vec![-3_900, -4_000, -4_000, -4_000],
                vec![2],
            ),
            (
                Storage,
                4_000,
                vec![-4_000, -4_000, 4_000, -4_000, -4_000],
                vec![],
            ),
            (Storage, -4_000, vec![4_000; 8], vec![2]),
            // It did little of what it should: another matter.
            (Storage, 4_000, vec![-1_900; 4], vec![]),
            (Storage, 0, vec![-4_000; 4], vec![]),
            (Flexible, -8_000, vec![8_000; 4], vec![2]),
            // Nothing was committed, and the sun takes or a load gives.
            (Pv, 0, vec![-500; 4], vec![2]),
            (Pv, 0, vec![-400; 4], vec![]),
            (MustRun, 0, vec![20_000; 4], vec![2]),
            (MustRun, 0, vec![-20_000; 4], vec![]),
        ] {
            let mut watch = DirectionWatch::default();
            let found: Vec<usize> = (metered.iter().enumerate())
                .filter(|(_, metered)| {
                    let committed = MwhTotal(committed);
                    watch.see(DeviceIx(1), kind, committed, Mwh(**metered), &interval)
                })
                .map(|(index, _)| index)
                .collect();
            assert_eq!(found, told, "{kind:?} {committed} {metered:?}");
        }
    }
}

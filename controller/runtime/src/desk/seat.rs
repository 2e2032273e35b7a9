//! A seat at the desk: who trades, with which part of which device, and what it may expect.

use std::time::Duration;

use control::Reserved;
use market::agent::{
    Battery, Climate, Declaration, ElectricVehicle, MustRunLoad, Outlook, Participant,
    PlannedBattery, PriceTaker, QuadraticLoad, Room, Thresholds, VehicleDeclaration,
    ZeroIntelligence, Zip,
};
use market::forecast::Forecaster;
use market::quantity::{PPM, energy_of_power_mwh};
use market::{AgentId, Interval, Mwh, Price};
use model::{DeviceIx, DeviceSpec, Instant, ProcessImage};
use quantities::{ActivePower, Bounds, Quantity, StateOfCharge};

use crate::evidence::milliwatts;
use crate::rig::{ParticipantKind, Participation, Strategy};

/// Kept of a storage for what an island may need. Chosen: 5 % at either end.
const STORAGE_RESERVE_PPM: u32 = 50_000;

/// Share of its ceiling from which an inverter counts as held by it, in ppm.
/// Chosen: 95 %; ceilings are obeyed to a percent, and clouds move more than that.
const HELD_FROM_PPM: i128 = 950_000;

/// Part of its rating by which a device that is held may be below its ceiling, and what it draws when
/// it gives nothing. Chosen: 1 %, twice the usual accuracy class of an inverter.
const INEXACT: f64 = 0.01;

/// One participant.
pub(super) struct Seat {
    pub(super) agent: AgentId,
    pub(super) device: DeviceIx,
    pub(super) share_ppm: u32,
    pub(super) kind: ParticipantKind,
    /// What it expects its device to do, where that does as it likes.
    forecaster: Forecaster,
    /// Whether its device is held below what it could give, and what it gave when it was not.
    held: bool,
    free: Option<i64>,
    /// Who orders for it; `None` when its orders come from outside.
    participant: Option<Participant>,
    /// Prices that a planning storage expects, one for each interval from the first; again from
    /// the start when they end.
    forecast: Vec<Price>,
    /// Its room, if it heats or cools one.
    room: Option<Room>,
    /// When the room was looked at last, and what part of its power the device then took, in ppm.
    lived: Option<(Instant, u32)>,
}

impl Seat {
    /// The seat of a participant whose device may be used as `spec` says; `pace` is the length of an interval and by how
    /// much market time is faster than the bench.
    pub(super) fn of(
        how: &Participation,
        spec: &DeviceSpec,
        pace: (i64, i64),
    ) -> Result<Self, String> {
        let forecast = match &how.strategy {
            Strategy::BatteryDp { forecast_mc, .. } => {
                forecast_mc.iter().map(|mc| Price(*mc)).collect()
            }
            _ => Vec::new(),
        };
        Ok(Self {
            agent: how.name.as_str().into(),
            device: DeviceIx(how.device as u16),
            share_ppm: how.share_ppm,
            kind: how.kind,
            forecaster: Forecaster::new(how.forecast.clone()),
            held: false,
            free: None,
            participant: participant(how, spec, pace)?,
            forecast,
            room: match &how.strategy {
                Strategy::Hvac { room, .. } => Some(room.clone()),
                _ => None,
            },
            lived: None,
        })
    }

    /// Lets time go by in the room of a load that heats or cools, where a model says how warm it is.
    pub(super) fn live(&mut self, now: Instant, image: &ProcessImage, specs: &[DeviceSpec]) {
        let power = self.power(now, image, specs);
        let Some(room) = &mut self.room else {
            return;
        };
        let rated = milliwatts(specs[self.device.index()].rating.p.lower().as_watts());
        let share = power.map(|power| {
            let part = i128::from(power) * i128::from(PPM) / i128::from(rated.min(-1));
            part.clamp(0, PPM.into()) as u32
        });
        if let Some((at, before)) = self.lived {
            let span = i64::try_from(now.since(at).as_nanos()).unwrap_or(i64::MAX);
            room.live(span, before);
            // What nobody has measured since goes on as it was.
            self.lived = Some((now, share.unwrap_or(before)));
        } else {
            self.lived = share.map(|share| (now, share));
        }
    }

    /// Lets a load that heats or cools feel how warm its room is.
    pub(super) fn feel(&mut self) {
        let room = self.room.as_ref().filter(|_| self.lived.is_some());
        let temperature = room.map(Room::temperature_mk);
        if let Some(Participant::Climate(it)) = &mut self.participant {
            it.feel(temperature);
        }
    }

    /// Whether it is switched on and off as a whole.
    pub(super) fn is_indivisible(&self, spec: &DeviceSpec) -> bool {
        self.kind == ParticipantKind::Flexible && spec.takes_switch && !spec.takes_power
    }

    /// Its orders for an interval.
    pub(super) fn orders(
        &mut self,
        view: &market::MarketView,
        interval: &Interval,
    ) -> Vec<market::Order> {
        let Some(participant) = &mut self.participant else {
            return Vec::new();
        };
        if let Participant::PlannedBattery(it) = participant
            && !self.forecast.is_empty()
        {
            let after = interval.index.wrapping_add(1) % self.forecast.len() as u64;
            let mut prices = self.forecast.clone();
            prices.rotate_left(after as usize);
            it.expect(Some(prices));
        }
        market::Agent::orders(participant, view, interval)
    }

    /// Whether its orders come from outside.
    pub(super) fn is_outside(&self) -> bool {
        self.participant.is_none()
    }

    /// Why it cannot order with this outlook, if it cannot.
    pub(super) fn is_blind(&self, outlook: &Outlook) -> Option<&'static str> {
        match self.kind {
            _ if self.is_outside() => None,
            ParticipantKind::Pv | ParticipantKind::MustRun if outlook.forecast.is_none() => {
                Some("what its device does now is not known")
            }
            ParticipantKind::Flexible if self.room.is_some() && self.lived.is_none() => {
                Some("what its device does is not known, and so not how warm its room is")
            }
            ParticipantKind::Storage if outlook.state_of_charge_ppm.is_none() => {
                Some("how full its storage is is not known")
            }
            _ => None,
        }
    }

    /// Lets it learn from what came out.
    pub(super) fn heed(&mut self, clearing: &market::Clearing) {
        if let Some(participant) = &mut self.participant {
            market::Agent::heed(participant, clearing);
        }
    }

    /// Power of its device now, in milliwatts.
    fn power(&self, now: Instant, image: &ProcessImage, specs: &[DeviceSpec]) -> Option<i64> {
        let age_max = specs[self.device.index()].sample_age_max;
        let power = image.devices[self.device.index()].p.fresh(now, age_max)?;
        Some(milliwatts(power.as_watts()))
    }

    /// What its device does now, or would do if it were not held.
    fn unheld(&self, now: Instant, image: &ProcessImage, specs: &[DeviceSpec]) -> Option<i64> {
        let power = self.power(now, image, specs)?;
        Some(if self.held {
            self.free.unwrap_or(power).max(power)
        } else {
            power
        })
    }

    /// Takes in what its device does at a gate, at which it may have been held to `most` milliwatts.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        specs: &[DeviceSpec],
        most: Option<i64>,
    ) {
        let power = self.power(now, image, specs);
        // Far enough below a ceiling it is the sun that says how much.
        let rated_w = specs[self.device.index()].rating.p.upper().as_watts();
        let inexact = milliwatts(rated_w * INEXACT);
        self.held = most.zip(power).is_some_and(|(most, power)| {
            i128::from(power + inexact) * i128::from(PPM) >= i128::from(most) * HELD_FROM_PPM
        });
        if !self.held {
            self.free = power;
        }
        let power = self.unheld(now, image, specs);
        self.forecaster.learn(power);
    }

    /// What it expects of the interval: its part of what it forecasts of the device, or for a load that
    /// waits what it would do when on. Unknown stays unknown: then its agent does not order. Market
    /// time zero is `epoch_utc_ns`.
    pub(super) fn outlook(
        &self,
        now: Instant,
        image: &ProcessImage,
        specs: &[DeviceSpec],
        interval: &Interval,
        (epoch_utc_ns, time_factor): (i64, i64),
    ) -> Outlook {
        let spec = &specs[self.device.index()];
        let energy = |whole: i64| {
            let part = part_of(whole, self.share_ppm);
            energy_of_power_mwh(part, interval.dt_ns)
        };
        // Devices do what they do by the clock of the bench.
        let utc_ns = |bench_ns: i64| epoch_utc_ns.saturating_add(bench_ns);
        let now_ns = utc_ns(now.as_nanos() as i64);
        // The mean of an interval is what lies in its middle.
        let middle_ns = interval.start_ns.saturating_add(interval.dt_ns / 2);
        let then_ns = utc_ns(middle_ns / time_factor.max(1));
        let forecast = match self.kind {
            ParticipantKind::Flexible => energy(milliwatts(spec.rating.p.lower().as_watts())),
            ParticipantKind::Storage => None,
            ParticipantKind::Pv | ParticipantKind::MustRun => {
                let power = self.unheld(now, image, specs);
                let expected = self.forecaster.expect(power, now_ns, then_ns);
                expected.and_then(energy)
            }
        };
        let soc = charge_of(self.device, spec, now, image);
        // The sun does not consume and a load does not give: night and noise are nothing to trade.
        let forecast = forecast.map(|Mwh(e)| match self.kind {
            ParticipantKind::Pv => Mwh(e.max(0)),
            ParticipantKind::MustRun | ParticipantKind::Flexible => Mwh(e.min(0)),
            ParticipantKind::Storage => Mwh(e),
        });
        Outlook {
            forecast,
            state_of_charge_ppm: soc
                .filter(|soc| soc.is_finite())
                .map(|soc| ppm_of(soc.as_fraction().clamp(0.0, 1.0))),
        }
    }
}

/// The charge of a storage that is known now.
pub(super) fn charge_of(
    device: DeviceIx,
    spec: &DeviceSpec,
    now: Instant,
    image: &ProcessImage,
) -> Option<StateOfCharge> {
    let own = &image.devices[device.index()];
    let store = spec.battery.map_or(own, |b| &image.devices[b.index()]);
    store
        .soc
        .fresh(now, spec.sample_age_max.max(Duration::from_secs(5)))
        .or_else(|| own.soc.fresh(now, spec.sample_age_max))
}

/// A share of a whole that the device has.
pub(super) fn part_of(whole: i64, share_ppm: u32) -> i64 {
    let part = i128::from(whole) * i128::from(share_ppm) / i128::from(PPM);
    // A part is no more than the whole.
    i64::try_from(part).unwrap_or(whole)
}

fn ppm_of(fraction: f64) -> u32 {
    (fraction * 1e6).round() as u32
}

/// A device as the market may use it: without the power and the charge that services reserve of it.
pub(super) fn left_by_reserves(bench: &control::Bench, device: DeviceIx) -> DeviceSpec {
    let mut spec = bench.devices[device.index()].clone();
    let reserved = Reserved::of(device, &bench.settings.services, &bench.devices);
    if reserved != Reserved::default() {
        let nothing = Bounds::exactly(ActivePower::ZERO);
        spec.rating.p = reserved.leaves(spec.rating.p).unwrap_or(nothing);
        // The rig was refused if no charge were left.
        spec.rating.soc = reserved.charge(&spec).unwrap_or(spec.rating.soc);
    }
    spec
}

fn participant(
    how: &Participation,
    spec: &DeviceSpec,
    (interval_ns, time_factor): (i64, i64),
) -> Result<Option<Participant>, String> {
    let agent = AgentId::from(how.name.as_str());
    Ok(Some(match how.strategy {
        Strategy::External => return Ok(None),
        Strategy::PriceTaker { limit_mc: None } => Participant::MustRun(MustRunLoad { agent }),
        Strategy::PriceTaker {
            limit_mc: Some(limit),
        } => Participant::PriceTaker(PriceTaker {
            agent,
            sell_from: Price(limit),
            buy_up_to: Price(limit),
        }),
        Strategy::ZeroIntelligence {
            limit_mc,
            constrained,
            seed,
        } => Participant::ZeroIntelligence(ZeroIntelligence {
            agent,
            limit: Price(limit_mc),
            constrained,
            seed,
        }),
        Strategy::Zip {
            limit_mc,
            margin_mc,
            seed,
        } => Participant::Zip(Zip::new(agent, Price(limit_mc), Price(margin_mc), seed)),
        Strategy::Hvac { comfort, .. } => {
            let (takes, _) = most_milliwatts(how, spec);
            Participant::Climate(Climate::new(agent, takes, comfort))
        }
        Strategy::Quadratic { choke_mc } => Participant::QuadraticLoad(QuadraticLoad {
            agent,
            choke: Price(choke_mc),
        }),
        Strategy::Thresholds {
            buy_below_mc,
            sell_above_mc,
        } => {
            let thresholds = Thresholds::Fixed {
                buy_below: Price(buy_below_mc),
                sell_above: Price(sell_above_mc),
            };
            Participant::Battery(battery(how, (spec, time_factor), thresholds, Price(0))?)
        }
        Strategy::BatteryDp {
            value_mc, wear_mc, ..
        } => {
            let value = Price(value_mc);
            let thresholds = Thresholds::StoredValue { value };
            let battery = battery(how, (spec, time_factor), thresholds, Price(wear_mc))?;
            Participant::PlannedBattery(PlannedBattery::new(battery, value, interval_ns))
        }
        Strategy::Vehicle {
            departure,
            wanted_ppm,
            patient_mc,
            slack,
            urgency,
        } => {
            let (capacity_mwh, charge, _) = store(how, spec, time_factor)?;
            let declared = VehicleDeclaration {
                agent,
                capacity_mwh,
                charge_milliwatt_max: charge,
                charge_efficiency_ppm: ppm_of(spec.rating.efficiency.charge),
                wanted_ppm,
                departure_ns: nanoseconds(departure),
                slack_full_ns: nanoseconds(slack),
                patient: Price(patient_mc),
                urgency,
            };
            let vehicle = ElectricVehicle::try_from(declared).map_err(|e| e.to_string())?;
            Participant::ElectricVehicle(vehicle)
        }
    }))
}

fn nanoseconds(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// The most that a participant may take and give, in milliwatts.
pub(super) fn most_milliwatts(how: &Participation, spec: &DeviceSpec) -> (i64, i64) {
    let part = |whole: ActivePower| part_of(milliwatts(whole.as_watts()), how.share_ppm).max(0);
    (part(-spec.rating.p.lower()), part(spec.rating.p.upper()))
}

/// A participant's part of a storage: energy, and most power in and out in milliwatts. Where market time is faster
/// a storage fills so much more slowly by it, as if it were so much larger.
fn store(
    how: &Participation,
    spec: &DeviceSpec,
    time_factor: i64,
) -> Result<(Mwh, i64, i64), String> {
    let capacity = spec
        .rating
        .capacity
        .ok_or("a storage in the market needs `capacity`")?;
    let capacity = milliwatts(capacity.as_watt_hours()).saturating_mul(time_factor);
    let capacity = part_of(capacity, how.share_ppm);
    let (charge, discharge) = most_milliwatts(how, spec);
    Ok((Mwh(capacity), charge, discharge))
}

fn battery(
    how: &Participation,
    (spec, time_factor): (&DeviceSpec, i64),
    thresholds: Thresholds,
    degradation: Price,
) -> Result<Battery, String> {
    let (capacity_mwh, charge_milliwatt_max, discharge_milliwatt_max) =
        store(how, spec, time_factor)?;
    let declared = Declaration {
        agent: how.name.as_str().into(),
        capacity_mwh,
        charge_milliwatt_max,
        discharge_milliwatt_max,
        state_of_charge_ppm_min: ppm_of(spec.rating.soc.lower().as_fraction()),
        state_of_charge_ppm_max: ppm_of(spec.rating.soc.upper().as_fraction()),
        reserve_ppm: STORAGE_RESERVE_PPM,
        charge_efficiency_ppm: ppm_of(spec.rating.efficiency.charge),
        discharge_efficiency_ppm: ppm_of(spec.rating.efficiency.discharge),
        degradation,
        thresholds,
    };
    Battery::try_from(declared).map_err(|e| e.to_string())
}

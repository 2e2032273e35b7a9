//! Supports the voltage at the point of common coupling: reactive power along a droop, as was sold.

use model::{DeviceIx, Event, Function, Group, Instant, Mode, Proposal, Target};
use quantities::{Quantity, ReactivePower, Voltage};

use super::smoothed::Smoothed;
use super::{Propose, Situation, Wishes};
use crate::reservation::VoltageSpec;

/// What is given while coupled: a fraction of what was sold, by the voltage, no faster than its course allows.
///
/// All storages that take a reactive setpoint give it together. What active power leaves of their apparent power is
/// the limiter's to say; here it is only told when that is less than what is asked.
#[derive(Clone, Debug, Default)]
pub struct PccVoltage {
    seen: Smoothed<Voltage>,
    answer: Option<(Instant, f64)>,
    told: Told,
}

/// What was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    /// The voltage is not known.
    Blind,
    /// Less can be given than is asked.
    Short,
}

/// Part of what was sold that may be missing before it is told. Chosen: 5 %, as of every shortfall.
const WORTH_TELLING: f64 = 0.05;

impl Propose for PccVoltage {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let settings = &s.bench.settings;
        let Some(spec) = &settings.pcc_voltage else {
            return;
        };
        if s.mode != Mode::GridConnected || !s.armed {
            *self = Self::default();
            return;
        }
        let (at, last) = self.answer.unwrap_or((s.now, 0.0));
        let seen = s.seen.v.filter(|v| v.is_finite());
        // To let go of the answer would step a voltage that nobody sees.
        let wanted = seen.and_then(|v| {
            let v = self.seen.take(s.now, v);
            spec.definition.q_fraction(v / settings.nominal_v)
        });
        let elapsed = s.now.since(at).min(settings.period * 4).as_secs_f64();
        let most = spec.definition.course().ramp_per_s.unwrap_or(f64::INFINITY) * elapsed;
        let answer = last + (wanted.unwrap_or(last) - last).clamp(-most, most);
        self.answer = Some((s.now, answer));
        let asked = spec.q * answer;
        let left = left(s);
        let is_short = asked.abs() > left + spec.q * WORTH_TELLING;
        let told = match wanted {
            None => Told::Blind,
            Some(_) if is_short => Told::Short,
            Some(_) => Told::Nothing,
        };
        if std::mem::replace(&mut self.told, told) != told {
            let text = words(told, spec, asked, left);
            wishes.events.push(Event::Noticed { device: None, text });
        }
        let why = match seen {
            Some(v) => format!("{}: {v:.1} at the coupling", spec.name),
            None => format!(
                "{}: the voltage is not known, the last answer stands",
                spec.name
            ),
        };
        wishes.proposals.push(Proposal {
            function: Function::PccVoltage,
            target: Target::Reactive {
                group: Group::Storage,
                wish: asked,
            },
            why,
        });
    }
}

/// Reactive power that the storages which answer can give beside their active power; one whose power is not known
/// counts as at its rating.
fn left(s: &Situation<'_>) -> ReactivePower {
    let of_one = |device: DeviceIx| {
        let spec = s.spec(device);
        let p = s.image.devices[device.index()].p;
        let p = p.fresh(s.now, spec.sample_age_max);
        let p = p.unwrap_or(spec.rating.p.upper()).as_watts();
        let s_max = spec.rating.s_max.as_volt_amperes();
        ReactivePower::from_vars((s_max * s_max - p * p).max(0.0).sqrt())
    };
    s.storage_answering
        .iter()
        .filter(|(device, _)| s.spec(*device).takes_reactive)
        .map(|(device, _)| of_one(*device))
        .sum()
}

fn words(told: Told, spec: &VoltageSpec, asked: ReactivePower, left: ReactivePower) -> String {
    let name = &spec.name;
    match told {
        Told::Nothing => format!("{name} gives what the voltage asks for again"),
        Told::Blind => format!("the voltage is not known: the last answer of {name} stands"),
        Told::Short => {
            format!("{name} is to give {asked:.1}, and {left:.1} are left beside the active power")
        }
    }
}

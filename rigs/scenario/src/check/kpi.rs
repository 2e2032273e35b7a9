//! Key figures of a microgrid over a stretch of a run: how much load was served, how well what was
//! agreed was kept, what it cost the battery.
//!
//! The figures are those of the microgrid controller symposium (EPHCC, `KPPnProcessing`): load served by
//! class (KPP 1), the utility's carbon dioxide (KPP 2), power factor and exchange (KPP 4, 5), cycles of the
//! battery (KPP 7), time outside the voltage band (KPP 8). They are sums over time of values that are held
//! from one measurement to the next, never longer than `max_gap`; what is not measured makes the figure
//! inconclusive, as everywhere.

use std::time::Duration;

use model::{Instant, Reading, Role};

use super::{CheckResult, Span};
use crate::report::number;
use crate::series::{BenchFacts, Recording, Series};
use crate::signal::{Signal, SignalQuantity};
use crate::verdict::Verdict;

/// Step of the sums. Chosen: 100 ms, the usual cycle: nothing is measured more often.
const STEP: Duration = Duration::from_millis(100);

/// Voltage below which a bus is out, not badly supplied. Source: KPP 8 counts only `abs(V-1) < 0.5`.
const OUT_PU: f64 = 0.5;

/// Deviation of voltage that counts as violated. Source: KPP 8, 5 %.
const BAND_PU: f64 = 0.05;

/// Carbon dioxide of the utility in kilograms per kilowatt-hour. Source: KPP 2, 457 lb/MWh.
const UTILITY_KG_PER_KWH: f64 = 457.0 * 0.453_592_37 / 1000.0;

/// Loads by how willingly they are shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadClass {
    /// The first to be shed (`shed = 1`).
    Interruptible,
    /// Shed when that is not enough (`shed = 2` and more).
    Priority,
    /// Never shed.
    Critical,
    /// All of them.
    All,
}

impl LoadClass {
    /// The classes with their names.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("interruptible", Self::Interruptible),
        ("priority", Self::Priority),
        ("critical", Self::Critical),
        ("all", Self::All),
    ];

    fn has(self, shed: Option<u8>) -> bool {
        match self {
            Self::Interruptible => shed == Some(1),
            Self::Priority => shed.is_some_and(|order| order > 1),
            Self::Critical => shed.is_none(),
            Self::All => true,
        }
    }
}

/// A key figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Energy that the loads of a class got, of what they would have taken; percent.
    LoadServed(LoadClass),
    /// Time for which all loads of a class were served; percent.
    TimeServed(LoadClass),
    /// Grid-connected time in which the exchange was inside these limits in watts; percent.
    Exchange((f64, f64)),
    /// Grid-connected time in which the power factor at the coupling was at least this; percent.
    PowerFactor(f64),
    /// Time for which the voltage was off by more than 5 % while the bus was alive; seconds.
    VoltageViolation,
    /// Full cycles of the storage: energy through it over twice its capacity.
    BatteryCycles,
    /// Carbon dioxide of what was imported; kilograms.
    CarbonDioxide,
    /// Time for which the microgrid stood on its own; seconds.
    Islanded,
}

impl Figure {
    /// The name in a scenario.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::LoadServed(_) => "load_served",
            Self::TimeServed(_) => "time_served",
            Self::Exchange(_) => "exchange",
            Self::PowerFactor(_) => "power_factor",
            Self::VoltageViolation => "voltage_violation",
            Self::BatteryCycles => "battery_cycles",
            Self::CarbonDioxide => "carbon_dioxide",
            Self::Islanded => "islanded",
        }
    }

    /// The unit of its value.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::LoadServed(_)
            | Self::TimeServed(_)
            | Self::Exchange(_)
            | Self::PowerFactor(_) => "%",
            Self::VoltageViolation | Self::Islanded => "s",
            Self::BatteryCycles => "",
            Self::CarbonDioxide => "kg",
        }
    }
}

/// Whether a figure is at least, or at most, what is demanded.
pub(super) fn kpi(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    figure: Figure,
    (lower, upper): (Option<f64>, Option<f64>),
    max_gap: Duration,
) -> CheckResult {
    result.unit = figure.unit().to_owned();
    (result.lower, result.upper) = (lower, upper);
    let sum = Sum {
        recording,
        facts: &recording.facts,
        from: window.from,
        to: window.seen_to,
        max_gap,
    };
    let value = match sum.of(figure) {
        Ok(value) => value,
        Err(why) => return result.says(Verdict::Inconclusive, why),
    };
    result.value = Some(value);
    result.samples = sum.steps().count() as u64;
    let why = format!("{} {}", number(value), figure.unit());
    let why = why.trim_end();
    let fits = lower.is_none_or(|l| value >= l) && upper.is_none_or(|u| value <= u);
    if !fits {
        result.says(Verdict::Fail, why)
    } else if !window.is_complete() {
        let why = format!("{why}, but the record ended before the window did");
        result.says(Verdict::Inconclusive, why)
    } else {
        result.says(Verdict::Pass, why)
    }
}

/// A stretch of a record that is summed up.
struct Sum<'a> {
    recording: &'a Recording,
    facts: &'a BenchFacts,
    from: Instant,
    to: Instant,
    max_gap: Duration,
}

impl Sum<'_> {
    fn of(&self, figure: Figure) -> Result<f64, String> {
        match figure {
            Figure::LoadServed(class) => self.served(class).map(|(energy, _)| energy),
            Figure::TimeServed(class) => self.served(class).map(|(_, time)| time),
            Figure::Exchange((low, high)) => {
                let p = self.coupling(SignalQuantity::ActivePower)?;
                self.connected_share(|step| p.at(step).map(|p| (low..=high).contains(&p)))
            }
            Figure::PowerFactor(least) => {
                let p = self.coupling(SignalQuantity::ActivePower)?;
                let q = self.coupling(SignalQuantity::ReactivePower)?;
                self.connected_share(|step| {
                    let (p, q) = (p.at(step)?, q.at(step)?);
                    let apparent = p.hypot(q);
                    Ok(apparent == 0.0 || p.abs() / apparent >= least)
                })
            }
            Figure::VoltageViolation => {
                let v = self.bus_voltage()?;
                let mut violated = 0.0;
                for step in self.steps() {
                    let off = (v.at(step)? / self.facts.nominal_v - 1.0).abs();
                    if off > BAND_PU && off < OUT_PU {
                        violated += STEP.as_secs_f64();
                    }
                }
                Ok(violated)
            }
            Figure::BatteryCycles => {
                let mut cycles = 0.0;
                for device in &self.facts.devices {
                    let Some(capacity_wh) = device.capacity_wh.filter(|_| device.role == Role::Ess)
                    else {
                        continue;
                    };
                    let p = self.held(&device.name, SignalQuantity::ActivePower)?;
                    let through_wh = self.integral(|step| p.at(step).map(f64::abs))? / 3600.0;
                    cycles += through_wh / capacity_wh / 2.0;
                }
                Ok(cycles)
            }
            Figure::CarbonDioxide => {
                let p = self.coupling(SignalQuantity::ActivePower)?;
                let imported_kwh = self.integral(|step| p.at(step).map(|p| p.max(0.0)))? / 3.6e6;
                Ok(imported_kwh * UTILITY_KG_PER_KWH)
            }
            Figure::Islanded => {
                let islanded = |step: &Instant| {
                    let mode = self.recording.mode_at(*step);
                    mode.is_some_and(model::Mode::is_islanded)
                };
                Ok(self.steps().filter(islanded).count() as f64 * STEP.as_secs_f64())
            }
        }
    }

    /// Share of energy and of time for which the loads of a class were served, in percent.
    fn served(&self, class: LoadClass) -> Result<(f64, f64), String> {
        let bus = self.bus_voltage()?;
        let mut loads = Vec::new();
        for device in &self.facts.devices {
            if device.role == Role::Load && class.has(device.shed) {
                loads.push(Load {
                    p: self.held(&device.name, SignalQuantity::ActivePower)?,
                    on: self.held(&device.name, SignalQuantity::Switch).ok(),
                    demand: 0.0,
                });
            }
        }
        if loads.is_empty() {
            return Err("the rig has no load of this class".to_owned());
        }
        let (mut got, mut wanted, mut whole, mut steps) = (0.0, 0.0, 0_u64, 0_u64);
        for step in self.steps() {
            let dead = bus.at(step)? / self.facts.nominal_v < OUT_PU;
            let mut all = true;
            for load in &mut loads {
                let (taken, served) = load.at(step, dead)?;
                got += taken;
                wanted += if served { taken } else { load.demand };
                all &= served;
            }
            whole += u64::from(all);
            steps += 1;
        }
        let share = if wanted > 0.0 { got / wanted } else { 1.0 };
        Ok((share * 100.0, whole as f64 / steps.max(1) as f64 * 100.0))
    }

    /// Share of the grid-connected time in which something holds, in percent.
    fn connected_share(
        &self,
        holds: impl Fn(Instant) -> Result<bool, String>,
    ) -> Result<f64, String> {
        let (mut held, mut connected) = (0_u64, 0_u64);
        for step in self.steps() {
            if self.recording.mode_at(step) == Some(model::Mode::GridConnected) {
                connected += 1;
                held += u64::from(holds(step)?);
            }
        }
        if connected == 0 {
            return Err("the microgrid was never grid-connected".to_owned());
        }
        Ok(held as f64 / connected as f64 * 100.0)
    }

    /// Sum over time of a power in watts, in watt-seconds.
    fn integral(&self, power: impl Fn(Instant) -> Result<f64, String>) -> Result<f64, String> {
        let mut sum = 0.0;
        for step in self.steps() {
            sum += power(step)? * STEP.as_secs_f64();
        }
        Ok(sum)
    }

    fn steps(&self) -> impl Iterator<Item = Instant> {
        let count = self.to.since(self.from).as_nanos() / STEP.as_nanos();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        (0..count).map(|n| self.from + STEP * n)
    }

    fn coupling(&self, quantity: SignalQuantity) -> Result<Held<'_>, String> {
        self.held("pcc", quantity)
    }

    /// Voltage of the bus: of the meter at the coupling, which hears it in an island, too.
    fn bus_voltage(&self) -> Result<Held<'_>, String> {
        let storage = self.facts.devices.iter().filter(|d| d.role == Role::Ess);
        let names = storage.map(|d| d.name.as_str()).chain(["pcc"]);
        let mut heard = names.filter_map(|name| self.held(name, SignalQuantity::Voltage).ok());
        heard
            .next()
            .ok_or_else(|| "no device of the bus measures its voltage".to_owned())
    }

    fn held(&self, name: &str, quantity: SignalQuantity) -> Result<Held<'_>, String> {
        let signal = Signal::new(name, quantity);
        match self.recording.series.get(&signal) {
            Some(series) => Ok(Held {
                signal,
                series,
                max_gap: self.max_gap,
            }),
            None => Err(format!("{signal} was not measured")),
        }
    }
}

/// A signal whose measurements are held for a time.
struct Held<'a> {
    signal: Signal,
    series: &'a Series,
    max_gap: Duration,
}

impl Held<'_> {
    fn at(&self, at: Instant) -> Result<f64, String> {
        let held = self.series.held(at, self.max_gap);
        held.map(|(_, value)| value).ok_or_else(|| {
            format!(
                "{} was not measured within {} s before {} s",
                self.signal,
                number(self.max_gap.as_secs_f64()),
                number(at.as_seconds())
            )
        })
    }

    /// Whether the device has told that it cannot be read, after its last measurement.
    fn is_flawed(&self, at: Instant) -> bool {
        let until = self.series.samples().partition_point(|(t, _)| *t <= at);
        let latest = self.series.samples().get(..until).and_then(<[_]>::last);
        matches!(latest, Some((_, Reading::Bad(_))))
    }
}

/// A load while it is looked at step by step.
struct Load<'a> {
    p: Held<'a>,
    on: Option<Held<'a>>,
    /// What it took when it was last served, in watts.
    demand: f64,
}

impl Load<'_> {
    /// What it takes, in watts, and whether it is served. A load whose switch is open, or whose bus is
    /// dead, is not; one that takes less by itself is.
    fn at(&mut self, step: Instant, dead: bool) -> Result<(f64, bool), String> {
        let open = match &self.on {
            Some(on) => on.at(step).map(|on| on < 0.5),
            None => Ok(false),
        };
        if dead || open == Ok(true) {
            return Ok((0.0, false));
        }
        // Its controller may be without supply a little longer than its bus.
        if self.p.is_flawed(step) && self.on.as_ref().is_some_and(|on| on.is_flawed(step)) {
            return Ok((0.0, false));
        }
        open?;
        self.demand = self.p.at(step)?.abs();
        Ok((self.demand, true))
    }
}

#[cfg(test)]
mod tests;

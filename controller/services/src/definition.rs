//! Services as data: what fraction of a contract belongs to a frequency.
//!
//! The data is `definitions.toml` beside this file, each entry with its source, edition and mark of
//! origin; a settings file changes single numbers. Response times stand beside the characteristic;
//! what they mean for the course of an answer is said by [`Definition::course`].

use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic, Document, Source, Table};
use quantities::Frequency;
use serde::{Deserialize, Serialize};

use crate::{Course, Curve, FrequencyWatt};

/// The data.
const TEXT: &str = include_str!("definitions.toml");

/// What the codes of services mean, for `gridrig explain`.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "G020",
        "There is no service of this name. `gridrig service ls` names all of them, each with its source.",
    ),
    (
        "G021",
        "This service follows a set point that somebody sends. No power belongs to a frequency.",
    ),
    (
        "G022",
        "What is asked for hangs on a number that was not given: `--v` for voltage, `--p` for active power.",
    ),
    (
        "G023",
        "A setting of a service cannot be, such as a droop of zero, a curve that is none, or one that asks for more where there is too much already.",
    ),
];

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Its source was read.
    Read,
    /// Nobody looked it up: a configurable default.
    Recalled,
}

impl Origin {
    /// The word of files and results.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Recalled => "recalled, not read: a configurable default",
        }
    }
}

/// The characteristic of a service, by distance from nominal in hertz.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Straight lines.
    Points {
        /// Fraction of distance.
        curve: Curve,
        /// Within this distance it is silent.
        deadband_hz: f64,
        /// Outside there is nothing.
        within_hz: Option<(f64, f64)>,
    },
    /// Everything at or below a distance.
    Step {
        /// The distance.
        at_hz: f64,
    },
    /// Change by droop on either side, or on one.
    Slope {
        /// Distance and droop above nominal.
        over: Option<(f64, f64)>,
        /// Distance and droop below nominal.
        under: Option<(f64, f64)>,
        /// Largest fraction, to either side.
        most: f64,
    },
    /// A set point from outside.
    Signal,
    /// Reactive power of the voltage: a fraction of what was sold, of the voltage per unit of nominal.
    Voltage {
        /// Fraction of voltage.
        curve: Curve,
    },
    /// What a device does by itself, by this section of its settings.
    OfADer {
        /// The section.
        section: String,
    },
}

impl Shape {
    /// Whether it answers more the further the frequency is off, so that the answer closes a loop over the
    /// frequency as a droop does; a step is given once, and a signal comes from outside.
    #[must_use]
    pub fn closes_a_loop(&self) -> bool {
        match self {
            Self::Points { .. } | Self::Slope { .. } => true,
            Self::Step { .. } | Self::Signal | Self::Voltage { .. } | Self::OfADer { .. } => false,
        }
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name on the command line.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Where it was read.
    pub source: String,
    /// Of which edition.
    pub edition: String,
    /// Whether it was read.
    pub origin: Origin,
    /// Nominal frequency, if it has one of its own.
    pub nominal: Option<Frequency>,
    /// What belongs to a frequency.
    pub shape: Shape,
    /// Seconds until it begins, is full, and for which it is held, where somebody says so.
    pub times_s: [Option<f64>; 3],
    /// Whether it is answered on the fast path, at every sample of the frequency.
    pub fast: bool,
    /// Whether loads with a switch only may deliver it, in whole blocks.
    pub blocks: bool,
    /// Fastest return of the answer, as a share of the contract per second, where somebody says so.
    pub release_per_s: Option<f64>,
    /// Seconds after an activation by which it must be ready for the next one, where somebody says so.
    pub ready_s: Option<f64>,
    /// How a storage gets its charge back after an activation, where somebody says so.
    pub recovery: Option<Recovery>,
}

/// How a storage gets its charge back: by a baseline of its own for each period, declared before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The most energy in a period, as a share of what the service keeps for an activation.
    pub share: f64,
    /// Length of a period in seconds.
    pub every_s: f64,
    /// Time in seconds before a period by which its baseline is declared.
    pub notice_s: f64,
}

/// Distances are rounded to this part of a hertz: 49.7 less 50 is not quite -0.3, and a step would
/// not be met. Far below what a frequency can be measured to.
const RESOLUTION: f64 = 1e9;

/// Nominal frequencies that a service without one of its own may have.
const NOMINAL_HZ: [f64; 2] = [50.0, 60.0];

/// Share of the time until full that the ramp of an answer takes; the rest is left for the way of a
/// setpoint and for the device. Chosen: 0.6, which leaves 0.4 s of the one second of the fastest services, four
/// cycles of 100 ms.
const RAMP_SHARE: f64 = 0.6;

impl Definition {
    /// How an answer moves: full in its time with a margin, all or nothing where the shape is a step.
    #[must_use]
    pub fn course(&self) -> Course {
        let [_, full_s, hold_s] = self.times_s;
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        let all_or_nothing = matches!(self.shape, Shape::Step { .. });
        Course {
            ramp_per_s: full_s.map(|full_s| 1.0 / (full_s * RAMP_SHARE)),
            release_per_s: self.release_per_s,
            held_for: all_or_nothing.then(|| seconds(hold_s.unwrap_or_default())),
            ready_within: self.ready_s.map(seconds),
        }
    }

    /// Whether it ever asks for more power, and whether for less; a signal may ask for both.
    #[must_use]
    pub fn directions(&self) -> (bool, bool) {
        match &self.shape {
            Shape::Signal => (true, true),
            Shape::Voltage { .. } | Shape::OfADer { .. } => (false, false),
            Shape::Step { at_hz } => (*at_hz <= 0.0, *at_hz > 0.0),
            Shape::Slope { over, under, .. } => (under.is_some(), over.is_some()),
            Shape::Points { curve, .. } => {
                let mut points = curve.points().iter();
                (
                    points.clone().any(|(_, y)| *y > 0.0),
                    points.any(|(_, y)| *y < 0.0),
                )
            }
        }
    }

    /// Distances from nominal, below and above it, up to which it asks for nothing.
    #[must_use]
    pub fn quiet(&self) -> (Frequency, Frequency) {
        let (under, over) = match &self.shape {
            Shape::Signal | Shape::Voltage { .. } | Shape::OfADer { .. } => {
                (f64::INFINITY, f64::INFINITY)
            }
            Shape::Step { at_hz } => (
                if *at_hz <= 0.0 { -at_hz } else { 0.0 },
                if *at_hz <= 0.0 { f64::INFINITY } else { 0.0 },
            ),
            Shape::Slope { over, under, .. } => {
                let at = |side: &Option<(f64, f64)>| side.map_or(f64::INFINITY, |(at, _)| at);
                (at(under), at(over))
            }
            Shape::Points {
                curve, deadband_hz, ..
            } => {
                let zeros = || {
                    curve
                        .points()
                        .iter()
                        .filter(|(_, y)| *y == 0.0)
                        .map(|(x, _)| *x)
                };
                let silent = curve.value(0.0) == 0.0;
                let reach = |sign: f64| {
                    // Beyond the last point a curve goes on as it ends.
                    let last = match sign > 0.0 {
                        true => curve.points().last(),
                        false => curve.points().first(),
                    };
                    let ends_silent = last.is_some_and(|(_, y)| *y == 0.0);
                    let edge = zeros().map(|x| x * sign).fold(0.0, f64::max);
                    match (silent, ends_silent) {
                        (true, true) => f64::INFINITY,
                        (true, false) => edge,
                        (false, _) => 0.0,
                    }
                };
                (reach(-1.0).max(*deadband_hz), reach(1.0).max(*deadband_hz))
            }
        };
        (Frequency::from_hertz(under), Frequency::from_hertz(over))
    }

    /// The nominal frequency: its own, or the nearer one.
    #[must_use]
    pub fn nominal_at(&self, f: Frequency) -> Frequency {
        self.nominal.unwrap_or_else(|| {
            let [low, high] = NOMINAL_HZ.map(Frequency::from_hertz);
            if f.as_hertz() < f64::midpoint(low.as_hertz(), high.as_hertz()) {
                low
            } else {
                high
            }
        })
    }

    /// The fraction of the contract at a frequency; nothing where a signal says it, or where the
    /// frequency is not known.
    #[must_use]
    pub fn fraction(&self, f: Frequency) -> Option<f64> {
        let nominal = self.nominal_at(f);
        let distance = ((f - nominal).as_hertz() * RESOLUTION).round() / RESOLUTION;
        if distance.is_nan() {
            return None;
        }
        let fraction = match &self.shape {
            Shape::Points {
                curve,
                deadband_hz,
                within_hz,
            } => {
                let outside =
                    within_hz.is_some_and(|(low, high)| distance < low || distance > high);
                let silent = *deadband_hz > 0.0 && distance.abs() <= *deadband_hz;
                if outside || silent {
                    0.0
                } else {
                    curve.value(distance)
                }
            }
            Shape::Step { at_hz } => f64::from(u8::from(distance <= *at_hz)),
            Shape::Slope { over, under, most } => {
                // A side that it does not have begins nowhere.
                let side = |side: Option<(f64, f64)>| side.unwrap_or((f64::INFINITY, 1.0));
                let ((over_hz, droop_over), (under_hz, droop_under)) = (side(*over), side(*under));
                let law = FrequencyWatt {
                    nominal,
                    deadband_over: Frequency::from_hertz(over_hz),
                    deadband_under: Frequency::from_hertz(under_hz),
                    droop_over,
                    droop_under,
                };
                law.change(f).clamp(-most, *most)
            }
            Shape::Signal | Shape::Voltage { .. } | Shape::OfADer { .. } => return None,
        };
        // Not minus nothing.
        Some(fraction + 0.0)
    }

    /// The fraction of the reactive power that was sold at a voltage per unit of nominal; nothing where it hangs on
    /// something else, or where the voltage is not known.
    #[must_use]
    pub fn q_fraction(&self, v_pu: f64) -> Option<f64> {
        match &self.shape {
            Shape::Voltage { curve } if v_pu.is_finite() => Some(curve.value(v_pu) + 0.0),
            _ => None,
        }
    }
}

/// All services, in the order of the data.
///
/// # Errors
/// When the data itself is wrong, which a test of this crate rules out.
pub fn all() -> Result<Vec<Definition>, Vec<Diagnostic>> {
    let document =
        Document::parse(Source::new("definitions.toml", TEXT)).map_err(|fault| vec![*fault])?;
    let root = document.root();
    let found: Vec<Definition> = root
        .keys()
        .into_iter()
        .filter_map(|key| {
            let table = root.table(&key.value)?;
            let found = definition(&key.value, &table);
            table.finish();
            found
        })
        .collect();
    if document.has_errors() {
        return Err(document.into_faults());
    }
    Ok(found)
}

fn definition(name: &str, table: &Table<'_>) -> Option<Definition> {
    let number = |key: &str| table.number(key).map(|n| n.value);
    let shape = if table.has("points") {
        let points = table.pairs("points").iter().map(|p| p.value).collect();
        let within: Vec<f64> = table.numbers("within_hz").iter().map(|n| n.value).collect();
        Shape::Points {
            curve: Curve::new(points).ok()?,
            deadband_hz: number("deadband_hz").unwrap_or(0.0),
            within_hz: match within[..] {
                [low, high] => Some((low, high)),
                _ => None,
            },
        }
    } else if let Some(at_hz) = number("step_hz") {
        Shape::Step { at_hz }
    } else if let Some(slope) = table.table("slope") {
        let side = |at: &str, droop: &str| {
            let (at, droop) = (slope.number(at), slope.number(droop));
            Some((at?.value, droop?.value))
        };
        let shape = Shape::Slope {
            over: side("over_hz", "droop_over"),
            under: side("under_hz", "droop_under"),
            most: number("most").unwrap_or(1.0),
        };
        slope.finish();
        shape
    } else if table.has("volt_points") {
        let points = table.pairs("volt_points").iter().map(|p| p.value).collect();
        Shape::Voltage {
            curve: Curve::new(points).ok()?,
        }
    } else if let Some(section) = table.text("of_a_der") {
        Shape::OfADer {
            section: section.value,
        }
    } else {
        table.boolean("signal")?;
        Shape::Signal
    };
    let text = |key: &str| Some(table.required_text(key, "…")?.value);
    Some(Definition {
        name: name.to_owned(),
        title: text("title")?,
        source: text("source")?,
        edition: text("edition")?,
        origin: table
            .choice(
                "origin",
                &[("read", Origin::Read), ("recalled", Origin::Recalled)],
            )?
            .value,
        nominal: number("f_nom_hz").map(Frequency::from_hertz),
        shape,
        times_s: ["start_s", "full_s", "hold_s"].map(number),
        fast: table.boolean("fast").is_some_and(|fast| fast.value),
        blocks: table.boolean("blocks").is_some_and(|blocks| blocks.value),
        release_per_s: number("release_per_s"),
        ready_s: number("ready_s"),
        recovery: match RECOVERY.map(number) {
            [Some(share), Some(every_s), Some(notice_s)] => Some(Recovery {
                share,
                every_s,
                notice_s,
            }),
            _ => None,
        },
    })
}

/// The keys of a rule of recovery, which come together.
const RECOVERY: [&str; 3] = ["recover_share", "recover_every_s", "recover_notice_s"];

/// A service by its name.
///
/// # Errors
/// `G020` with the names that there are.
pub fn named(name: &str) -> Result<Definition, Vec<Diagnostic>> {
    let mut all = all()?;
    if let Some(at) = all.iter().position(|service| service.name == name) {
        return Ok(all.swap_remove(at));
    }
    let names: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
    let message = format!("there is no service `{name}`");
    Err(vec![
        Diagnostic::error("G020", Actor::Operator, message)
            .help(format!("there are {}", names.join(", "))),
    ])
}

/// Sections and keys of a DER's settings, which may stand in the same file.
const OF_A_DER: [&str; 16] = [
    "category",
    "abnormal",
    "kind",
    "start_on",
    "step_s",
    "allow_out_of_range",
    "volt_var",
    "volt_watt",
    "watt_var",
    "const_pf",
    "const_q",
    "p_limit",
    "enter_service",
    "trip",
    "ride_through",
    "capability",
];

impl Definition {
    /// The service with the numbers of a settings file: `f_nom_hz`, `start_s`, `full_s`, `hold_s`,
    /// `release_per_s`, `ready_s`, `recover_share`, `recover_every_s`, `recover_notice_s`; of a curve `points` and
    /// `deadband_hz`; of a step or of one slope `threshold_hz`, of one slope `droop`; of two slopes
    /// `db_of_hz`, `db_uf_hz`, `k_of` and `k_uf`, also as `[freq_droop]` of a DER.
    ///
    /// # Errors
    /// Every key that is unknown and every value that cannot be.
    pub fn with(mut self, source: Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        let document = Document::parse(source).map_err(|fault| vec![*fault])?;
        let root = document.root();
        let positive = |table: &Table<'_>, key: &str, least: f64| {
            let found = table.number(key)?;
            if found.value < least {
                document.error(
                    "G023",
                    found.span,
                    format!("`{key}` is {}", found.value),
                    "too small",
                    format!("it is at least {least}"),
                );
                return None;
            }
            Some(found.value)
        };
        if let Some(f) = positive(&root, "f_nom_hz", 1.0) {
            self.nominal = Some(Frequency::from_hertz(f));
        }
        for (key, into) in ["start_s", "full_s", "hold_s"]
            .into_iter()
            .zip(&mut self.times_s)
        {
            *into = positive(&root, key, 0.0).or(*into);
        }
        self.ready_s = positive(&root, "ready_s", 0.0).or(self.ready_s);
        self.release_per_s = positive(&root, "release_per_s", LEAST_RELEASE).or(self.release_per_s);
        self.recovery = recovery(&root, self.recovery, &positive);
        let nominal = self.nominal.map_or(f64::NAN, Frequency::as_hertz);
        match &mut self.shape {
            Shape::Points {
                curve, deadband_hz, ..
            } => {
                if let Some(value) = positive(&root, "deadband_hz", 0.0) {
                    *deadband_hz = value;
                }
                replace(&root, "points", curve);
            }
            Shape::Voltage { curve } => {
                replace(&root, "volt_points", curve);
            }
            Shape::Step { at_hz } => {
                if let Some(value) = positive(&root, "threshold_hz", 1.0) {
                    *at_hz = value - nominal;
                }
            }
            Shape::Slope {
                over: Some(over),
                under: Some(under),
                ..
            } => {
                for name in OF_A_DER {
                    root.has(name);
                }
                let section = root.table("freq_droop");
                for table in [Some(&root), section.as_ref()].into_iter().flatten() {
                    let take = |key: &str, into: &mut f64, least: f64| {
                        if let Some(value) = positive(table, key, least) {
                            *into = value;
                        }
                    };
                    take("db_of_hz", &mut over.0, 0.0);
                    take("db_uf_hz", &mut under.0, 0.0);
                    take("k_of", &mut over.1, LEAST_DROOP);
                    take("k_uf", &mut under.1, LEAST_DROOP);
                }
                if let Some(section) = section {
                    for key in ["enabled", "olrt_s", "p_min_pu"] {
                        section.has(key);
                    }
                    section.finish();
                }
            }
            Shape::Slope { over, under, .. } => {
                let threshold = positive(&root, "threshold_hz", 1.0);
                let droop = positive(&root, "droop", LEAST_DROOP);
                for side in [over, under].into_iter().flatten() {
                    if let Some(threshold) = threshold {
                        side.0 = (threshold - nominal).abs();
                    }
                    side.1 = droop.unwrap_or(side.1);
                }
            }
            Shape::Signal | Shape::OfADer { .. } => {}
        }
        root.finish();
        if document.has_errors() {
            return Err(document.into_faults());
        }
        Ok(self)
    }
}

/// The rule of recovery with the numbers of a settings file; a service without one gets it whole or not.
fn recovery(
    root: &Table<'_>,
    known: Option<Recovery>,
    positive: &impl Fn(&Table<'_>, &str, f64) -> Option<f64>,
) -> Option<Recovery> {
    let [share, every_s, notice_s] = RECOVERY;
    let given = [
        positive(root, share, LEAST_SHARE),
        positive(root, every_s, LEAST_PERIOD_S),
        positive(root, notice_s, 0.0),
    ];
    match (known, given) {
        (Some(known), [share, every_s, notice_s]) => Some(Recovery {
            share: share.unwrap_or(known.share),
            every_s: every_s.unwrap_or(known.every_s),
            notice_s: notice_s.unwrap_or(known.notice_s),
        }),
        (None, [Some(share), Some(every_s), Some(notice_s)]) => Some(Recovery {
            share,
            every_s,
            notice_s,
        }),
        (None, [None, None, None]) => None,
        (None, _) => {
            let there = RECOVERY.iter().find(|key| root.has(key));
            let at = there.map_or(0..0, |key| root.span_of(key));
            let what = "half a rule of recovery";
            let help = "give `recover_share`, `recover_every_s` and `recover_notice_s`, all three";
            root.document().error("G023", at, what, "", help);
            None
        }
    }
}

/// Replaces a curve by what a settings file says, or tells why that is none. An answer that grew with what it
/// answers would run away, so that no service may rise.
fn replace(table: &Table<'_>, key: &str, curve: &mut Curve) {
    if !table.has(key) {
        return;
    }
    let points = table.pairs(key).iter().map(|p| p.value).collect();
    let at = table.span_of(key);
    match Curve::new(points) {
        Ok(given) if given.points().windows(2).any(|two| two[1].1 > two[0].1) => {
            table.document().error(
                "G023",
                at,
                format!("`{key}` asks for more where there is too much already"),
                "it rises",
                "let the second number of each pair be no larger than that of the pair before",
            );
        }
        Ok(given) => *curve = given,
        Err(why) => table.document().error("G023", at, why.to_string(), "", ""),
    }
}

/// The slowest release, as a share of the contract per second. Chosen: 0.1 %, a quarter of an hour for all of it.
const LEAST_RELEASE: f64 = 0.001;
/// The least share and period of a recovery. Chosen: a thousandth of what is kept, and a second, as of a slow cycle.
const LEAST_SHARE: f64 = 0.001;
const LEAST_PERIOD_S: f64 = 1.0;
/// The steepest droop. Chosen: with less, a hundredth of a hertz would be a fifth of the power.
const LEAST_DROOP: f64 = 0.001;

#[cfg(test)]
mod tests;

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
        "A setting of a service cannot be, such as a droop of zero or a curve that is none.",
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
    /// Fastest return of the answer, as a share of the contract per second, where somebody says so.
    pub release_per_s: Option<f64>,
    /// Seconds after an activation by which it must be ready for the next one, where somebody says so.
    pub ready_s: Option<f64>,
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
            Shape::Signal => (f64::INFINITY, f64::INFINITY),
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
            Shape::Signal => return None,
        };
        // Not minus nothing.
        Some(fraction + 0.0)
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
        release_per_s: number("release_per_s"),
        ready_s: number("ready_s"),
    })
}

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
    /// `release_per_s`, `ready_s`; of a curve `points` and
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
        let nominal = self.nominal.map_or(f64::NAN, Frequency::as_hertz);
        match &mut self.shape {
            Shape::Points {
                curve, deadband_hz, ..
            } => {
                if let Some(value) = positive(&root, "deadband_hz", 0.0) {
                    *deadband_hz = value;
                }
                if root.has("points") {
                    let points = root.pairs("points").iter().map(|p| p.value).collect();
                    match Curve::new(points) {
                        Ok(given) => *curve = given,
                        Err(why) => {
                            let at = root.span_of("points");
                            document.error("G023", at, why.to_string(), "", "");
                        }
                    }
                }
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
            Shape::Signal => {}
        }
        root.finish();
        if document.has_errors() {
            return Err(document.into_faults());
        }
        Ok(self)
    }
}

/// The slowest release, as a share of the contract per second. Chosen: 0.1 %, a quarter of an hour for all of it.
const LEAST_RELEASE: f64 = 0.001;
/// The steepest droop. Chosen: with less, a hundredth of a hertz would be a fifth of the power.
const LEAST_DROOP: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, rows: &[(f64, f64)]) {
        let service = named(name).unwrap_or_else(|e| panic!("{e:?}"));
        for &(f, fraction) in rows {
            let found = service
                .fraction(Frequency::from_hertz(f))
                .expect("a fraction");
            // The points have four decimals.
            assert!((found - fraction).abs() < 5.1e-5, "{name} at {f}: {found}");
        }
    }

    #[test]
    fn the_data_is_whole_and_names_its_sources() {
        let all = all().unwrap_or_else(|e| panic!("{e:?}"));
        assert!(all.len() >= 20, "{}", all.len());
        for service in all {
            assert!(!service.source.is_empty() && !service.title.is_empty());
        }
    }

    #[test]
    fn dynamic_services_of_great_britain_meet_their_points() {
        check(
            "dc",
            &[
                (49.98, 0.0014),
                (49.95, 0.0095),
                (49.9, 0.0230),
                (49.85, 0.0365),
                (49.8, 0.0500),
                (49.7, 0.3667),
                (49.65, 0.5250),
                (49.6, 0.6833),
                (49.5, 1.0),
                (49.0, 1.0),
                (50.0, 0.0),
                (50.05, -0.0095),
                (50.3, -0.3667),
            ],
        );
        check(
            "dm",
            &[(49.95, 0.0206), (49.9, 0.05), (49.85, 0.525), (49.8, 1.0)],
        );
        check(
            "dr",
            &[
                (49.98, 0.0270),
                (49.95, 0.1892),
                (49.9, 0.4595),
                (49.85, 0.7297),
                (49.8, 1.0),
            ],
        );
    }

    #[test]
    fn containment_reserves_meet_their_points() {
        check(
            "fcr-ce",
            &[
                (49.99, 0.05),
                (49.985, 0.075),
                (49.98, 0.10),
                (49.95, 0.25),
                (49.9, 0.5),
                (49.85, 0.75),
                (49.8, 1.0),
                (49.7, 1.0),
                (50.05, -0.25),
                (50.1, -0.5),
                (50.2, -1.0),
            ],
        );
        check("fcr-n", &[(49.95, 0.5), (50.05, -0.5), (49.8, 1.0)]);
        check(
            "fcr-d-up",
            &[
                (49.9, 0.0),
                (49.85, 0.125),
                (49.7, 0.5),
                (49.6, 0.75),
                (50.5, 0.0),
            ],
        );
        check(
            "fcr-d-down",
            &[(50.1, 0.0), (50.3, -0.5), (50.5, -1.0), (49.5, 0.0)],
        );
        check("fcr-gb", &[(49.99, 0.0), (49.5, 1.0), (50.5, -1.0)]);
        check("aemo-vf-raise", &[(49.85, 0.0), (49.5, 1.0), (50.5, 0.0)]);
    }

    #[test]
    fn each_service_knows_where_it_asks_for_nothing_and_which_way_it_goes() {
        const EVER: f64 = f64::INFINITY;
        for (name, quiet, directions) in [
            ("fcr-ce", (0.0, 0.0), (true, true)),
            ("dc", (0.015, 0.015), (true, true)),
            ("ffr", (0.3, EVER), (true, false)),
            ("fcr-d-up", (0.1, EVER), (true, false)),
            ("fcr-d-down", (EVER, 0.1), (false, true)),
            ("lfsm-o", (EVER, 0.2), (false, true)),
            ("droop", (0.036, 0.036), (true, true)),
            ("afrr", (EVER, EVER), (true, true)),
        ] {
            let service = named(name).expect("a service");
            let (under, over) = service.quiet();
            assert_eq!((under.as_hertz(), over.as_hertz()), quiet, "{name}");
            assert_eq!(service.directions(), directions, "{name}");
        }
    }

    #[test]
    fn a_fast_reserve_is_all_or_nothing() {
        check(
            "ffr",
            &[(49.71, 0.0), (49.7, 1.0), (49.65, 1.0), (50.0, 0.0)],
        );
    }

    #[test]
    fn reductions_of_generators_meet_their_points() {
        check(
            "lfsm-o",
            &[
                (50.0, 0.0),
                (50.2, 0.0),
                (50.3, -0.04),
                (50.5, -0.12),
                (51.0, -0.32),
                (51.5, -0.52),
                (60.0, -1.0),
                (49.0, 0.0),
            ],
        );
        check(
            "lfsm-u",
            &[(49.8, 0.0), (49.7, 0.04), (49.0, 0.32), (51.0, 0.0)],
        );
        check(
            "vde-4105",
            &[
                (50.0, 1.0),
                (50.5, 0.88),
                (51.0, 0.68),
                (51.5, 0.48),
                (51.51, 0.0),
                (47.4, 0.0),
            ],
        );
        check("fsm", &[(49.85, 0.05), (49.0, 0.1), (50.3, -0.1)]);
        check("g99", &[(50.4, 0.0), (50.9, -0.1)]);
    }

    #[test]
    fn droop_takes_the_nominal_frequency_that_is_nearer() {
        check(
            "droop",
            &[
                (59.0, 0.3213),
                (60.5, -0.1547),
                (59.97, 0.0),
                (49.0, 0.3856),
                (50.5, -0.1856),
            ],
        );
    }

    #[test]
    fn a_signal_and_an_unknown_frequency_have_no_fraction() {
        let at = |name: &str, f| {
            named(name)
                .expect("a service")
                .fraction(Frequency::from_hertz(f))
        };
        assert_eq!(at("afrr", 49.9), None);
        assert_eq!(at("dc", f64::NAN), None);
        let fault = named("dcc").expect_err("no service").remove(0);
        assert_eq!(fault.code, "G020");
    }

    #[test]
    fn a_settings_file_changes_single_numbers() {
        let with = |name: &str, text: &str| {
            let service = named(name).expect("a service");
            service.with(Source::new("s.toml", text)).map_err(|faults| {
                faults
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ")
            })
        };
        let rows = [
            ("fcr-ce", "deadband_hz = 0.01", 49.99, 0.0),
            ("fcr-ce", "deadband_hz = 0.01", 49.98, 0.10),
            ("fcr-ce", "f_nom_hz = 60", 59.9, 0.5),
            ("ffr", "threshold_hz = 49.5", 49.6, 0.0),
            ("lfsm-o", "threshold_hz = 50.5\ndroop = 0.04", 51.0, -0.25),
            (
                "droop",
                "f_nom_hz = 50\n[freq_droop]\ndb_uf_hz = 0.5\nk_uf = 0.04",
                48.5,
                0.5,
            ),
            ("droop", "category = \"B\"\nk_of = 0.02", 60.636, -0.5),
        ];
        for (name, text, f, fraction) in rows {
            let service = with(name, text).unwrap_or_else(|e| panic!("{name}: {e}"));
            let found = service
                .fraction(Frequency::from_hertz(f))
                .expect("a fraction");
            assert!((found - fraction).abs() < 1e-9, "{name} {text}: {found}");
        }
        let soon = with("ffr", "ready_s = 60\nhold_s = 30\nrelease_per_s = 1").expect("settings");
        assert_eq!((soon.ready_s, soon.times_s[2]), (Some(60.0), Some(30.0)));
        assert_eq!(soon.course().release_per_s, Some(1.0));
        for (name, text, told) in [
            (
                "ffr",
                "release_per_s = 0",
                "error[G023]: `release_per_s` is 0 at s.toml:1:17",
            ),
            (
                "droop",
                "k_of = 0",
                "error[G023]: `k_of` is 0 at s.toml:1:8",
            ),
            (
                "dc",
                "points = [[1, 0], [0, 1]]",
                "error[G023]: point 2 of the curve stands left",
            ),
            (
                "dc",
                "threshold_hz = 1",
                "error[D002]: unknown key `threshold_hz` at s.toml:1:1",
            ),
        ] {
            let found = with(name, text).expect_err("a fault");
            assert!(found.starts_with(told), "{found}");
        }
    }
}

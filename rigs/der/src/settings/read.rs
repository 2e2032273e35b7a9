//! Settings out of a TOML file, with the place of everything that is wrong with it.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use document::{Diagnostic, Document, Source, Spanned, Table};
use quantities::Frequency;
use services::{Curve, FrequencyWatt, Reactive};

use super::{
    Abnormal, Capability, Category, Cease, Droop, Energise, EnterService, Kind, PLimit,
    ReactiveSettings, RideThrough, Settings, Threshold, Told, Trip, Trips, VoltWatt, Vref,
};
use crate::defaults::Defaults;
use crate::defect::Defect;
use crate::region::{Quantity, Region, Steps};

/// What the codes of settings and series mean, for `gridrig explain`.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "G001",
        "A setting lies outside what may be asked of such a device. The help names the range and where it was read; `allow_out_of_range = true` at the top of the file makes a warning of it, for a device that is wrong on purpose.",
    ),
    (
        "G002",
        "These points do not make the curve that is asked for: it needs two or more, from left to right, and must not turn back where only one direction makes sense.",
    ),
    (
        "G003",
        "A point of a curve lies outside what may be asked of such a device. The help names the range; `allow_out_of_range = true` at the top of the file makes a warning of it.",
    ),
    (
        "G004",
        "Two reactive functions are on at once. A device has one reactive power, so it follows one of volt-var, watt-var, constant power factor and constant reactive power.",
    ),
    (
        "G005",
        "The settings are those of another kind of device than the one that is emulated with them: a `pv` is photovoltaics, an `ess` a storage. Leave `kind` out, or take other settings.",
    ),
    (
        "G024",
        "The thresholds of `[trip]` make the device trip where the curve of `[may_trip]` says that it may not yet. What must trip trips, so the curve could not be kept: move one of them, or leave the curve out; then it is that of the category, over which thresholds go.",
    ),
    (
        "G010",
        "The first line of a series must name its columns: `t_s`, `v_pu` (or `v_a_pu`, `v_b_pu` and `v_c_pu`), `f_hz`, `p_avail_pu`, and where wanted `p_demand_pu` (a storage needs it), `permit`, `angle_deg` and `island`.",
    ),
    (
        "G011",
        "A cell of a series holds no finite number, or one that such a quantity never has, such as a negative voltage.",
    ),
    (
        "G012",
        "Time in a series goes forward with every row. Rows need not be evenly spaced.",
    ),
    (
        "G013",
        "A row of a series has another number of cells than its first line. A hole is not filled: what is not known is not computed with.",
    ),
    ("G014", "A series has no row below its first line."),
];

/// How far beyond a limit rounding may carry a number that stands on it.
const NEAR: f64 = 1e-9;

/// Reads settings; what is allowed but strange comes back beside them as warnings.
///
/// # Errors
/// All faults of the file, each with its place.
pub fn read(source: Arc<Source>) -> Result<(Settings, Vec<Diagnostic>), Vec<Diagnostic>> {
    let document = Document::parse(source).map_err(|fault| vec![*fault])?;
    let settings = settings(document.root(), None);
    let wrong = document.has_errors();
    let told = document.into_faults();
    match settings {
        Some(settings) if !wrong => Ok((settings, told)),
        _ => Err(told),
    }
}

/// What a bench says of a device that it emulates, before the settings do.
#[derive(Clone, Copy, Debug)]
pub struct Emulated {
    /// What is behind the inverter.
    pub kind: Kind,
    /// Nominal frequency of the bench.
    pub nominal: Frequency,
}

/// Reads the settings of an emulated device out of a table of a larger document. Such a table may
/// also name a `defect`. Faults and warnings are told to the document.
///
/// The result is `None` when something in the table is wrong.
#[must_use]
pub fn read_emulated(table: Table<'_>, emulated: Emulated) -> Option<Settings> {
    settings(table, Some(emulated))
}

/// What all parts of the reading need.
struct Reader<'d> {
    document: &'d Document,
    defaults: &'d Defaults,
    categories: [&'static str; 3],
    allow: bool,
    /// Of the nominal frequency to that of the data.
    scale: f64,
}

/// A section, or its absence.
struct Section<'d> {
    name: &'static str,
    table: Option<Table<'d>>,
}

fn settings(root: Table<'_>, emulated: Option<Emulated>) -> Option<Settings> {
    let document = root.document();
    let defaults = match Defaults::load() {
        Ok(defaults) => defaults,
        Err(mistakes) => {
            document.adopt(mistakes);
            return None;
        }
    };
    let errors_before = document.errors();
    let one_of = |section: Option<Spanned<usize>>, usual: usize| section.map_or(usual, |s| s.value);
    let category = one_of(root.choice("category", &[("A", 0), ("B", 1)]), 1);
    let abnormal = one_of(
        root.choice("abnormal", &[("I", 0), ("II", 1), ("III", 2)]),
        2,
    );
    let of_bench = emulated.map_or(0, |emulated| usize::from(emulated.kind == Kind::Storage));
    let given = root.choice("kind", &[("pv", 0), ("storage", 1)]);
    let kind = given.as_ref().map_or(of_bench, |kind| kind.value);
    if let (Some(given), Some(_)) = (given, emulated)
        && kind != of_bench
    {
        let what = "the settings are those of another kind of device";
        let label = ["it is photovoltaics", "it is a storage"][of_bench];
        document.error("G005", given.span, what, label, "leave `kind` out");
    }
    let mut reader = Reader {
        document,
        defaults: &defaults,
        categories: [
            ["A", "B"][category],
            ["I", "II", "III"][abnormal],
            ["pv", "storage"][kind],
        ],
        allow: root.boolean("allow_out_of_range").is_some_and(|b| b.value),
        scale: 1.0,
    };
    let series = |key: &'static str| reader.of_table(&root, "series", key, 1.0);
    let f_nom_hz = match emulated {
        Some(bench) if !root.has("f_nom_hz") => bench.nominal.as_hertz(),
        _ => series("f_nom_hz"),
    };
    let step_s = series("step_s");
    reader.scale = f_nom_hz / defaults.f_nom_hz;
    let abnormal = [Abnormal::I, Abnormal::II, Abnormal::III][abnormal];
    let kind = [Kind::Pv, Kind::Storage][kind];
    let capability = reader.capability(&root);
    let reactive = reader.reactive(&root, &capability);
    let (volt_watt, p_limit) = (reader.volt_watt(&root), reader.p_limit(&root, kind));
    let trip = reader.trip(&root);
    let told = reader.told(
        &root,
        reactive.as_ref(),
        volt_watt.as_ref(),
        p_limit.as_ref(),
    );
    let settings = Settings {
        nominal: Frequency::from_hertz(f_nom_hz),
        category: [Category::A, Category::B][category],
        abnormal,
        kind,
        start_on: root.boolean("start_on").is_none_or(|b| b.value),
        step_s,
        reactive,
        capability,
        volt_watt,
        droop: reader.droop(&root, f_nom_hz),
        p_limit,
        enter: reader.enter_service(&root),
        ride: reader.ride_through(&root, abnormal, &trip),
        trip,
        told,
        defect: emulated.and_then(|_| root.choice("defect", &Defect::ALL).map(|d| d.value)),
    };
    root.finish();
    (document.errors() == errors_before).then_some(settings)
}

impl<'d> Reader<'d> {
    fn section(&self, root: &Table<'d>, name: &'static str) -> Section<'d> {
        Section {
            name,
            table: root.table(name),
        }
    }

    /// A function's section, if the function is on: one that is written down is, unless it says no.
    fn enabled(&self, root: &Table<'d>, name: &'static str, usual: bool) -> Option<Section<'d>> {
        let section = self.section(root, name);
        let on = match &section.table {
            Some(table) => table.boolean("enabled").is_none_or(|b| b.value),
            None => usual,
        };
        if on {
            return Some(section);
        }
        // Of a function that is off nothing is judged but its names.
        if let Some(table) = section.table {
            for key in self.defaults.keys(name) {
                table.has(key);
            }
            for key in ["curve", "vref_auto", "excitation"] {
                table.has(key);
            }
            table.finish();
        }
        None
    }

    /// A number of a section, in its range.
    fn number(&self, section: &Section<'d>, key: &'static str) -> f64 {
        self.scaled(section, key, 1.0)
    }

    fn scaled(&self, section: &Section<'d>, key: &'static str, scale: f64) -> f64 {
        match &section.table {
            Some(table) => self.of_table(table, section.name, key, scale),
            None => self.usual(section.name, key) * scale,
        }
    }

    fn of_table(&self, table: &Table<'d>, name: &str, key: &'static str, scale: f64) -> f64 {
        match table.number(key) {
            Some(found) => {
                self.in_range(name, key, key, &found, scale);
                found.value
            }
            None => self.usual(name, key) * scale,
        }
    }

    fn usual(&self, name: &str, key: &str) -> f64 {
        match self.defaults.setting(name, key, &self.categories) {
            Ok(setting) => setting.default,
            Err(mistake) => {
                self.document.adopt(vec![mistake]);
                f64::NAN
            }
        }
    }

    /// Tells a value that is out of the range of a setting.
    fn in_range(&self, name: &str, key: &str, shown: &str, found: &Spanned<f64>, scale: f64) {
        let setting = match self.defaults.setting(name, key, &self.categories) {
            Ok(setting) => setting,
            Err(mistake) => return self.document.adopt(vec![mistake]),
        };
        let (low, high) = (setting.range.start() * scale, setting.range.end() * scale);
        if found.value < low - NEAR || found.value > high + NEAR {
            let at = if name == "series" {
                shown.to_owned()
            } else {
                format!("{name}.{shown}")
            };
            self.outside("G001", found, &at, low..=high, &setting.source);
        }
    }

    fn outside(
        &self,
        code: &'static str,
        found: &Spanned<f64>,
        what: &str,
        range: RangeInclusive<f64>,
        source: &str,
    ) {
        let (low, high) = (tidy(*range.start()), tidy(*range.end()));
        let message = format!("`{what}` is {}", tidy(found.value));
        let help = if low == high {
            format!("it is {low}, by {source}")
        } else {
            format!("it lies in {low}..={high}, by {source}")
        };
        if self.allow {
            self.document
                .warning(code, found.span.clone(), message, help);
        } else {
            let label = "out of range";
            self.document
                .error(code, found.span.clone(), message, label, help);
        }
    }

    /// The points of a curve that the file gives, each with its place; none when it gives no curve.
    fn points(&self, section: &Section<'d>) -> Option<Vec<Spanned<(f64, f64)>>> {
        let table = section.table.as_ref()?;
        table.has("curve").then(|| table.pairs("curve"))
    }

    /// A curve, from left to right; `falling` where it must not rise.
    fn curve(
        &self,
        section: &Section<'d>,
        points: Option<&[Spanned<(f64, f64)>]>,
        falling: bool,
    ) -> Option<Curve> {
        let Some(points) = points else {
            return match self.defaults.curve(section.name, &self.categories) {
                Ok(points) => Curve::new(points.to_vec()).ok(),
                Err(mistake) => {
                    self.document.adopt(vec![mistake]);
                    None
                }
            };
        };
        let refuse = |span: Range<usize>, why: &str, help: &str| {
            let what = format!("`{}.curve` is no curve", section.name);
            self.document.error("G002", span, what, why, help);
        };
        if points.len() < 2 {
            let span = section.table.as_ref().map_or(0..0, |t| t.span_of("curve"));
            refuse(span, "too few points", "give two points or more");
            return None;
        }
        for pair in points.windows(2) {
            let [(x0, y0), (x1, y1)] = [pair[0].value, pair[1].value];
            let span = pair[1].span.clone();
            if x1 < x0 {
                let help = "order points by their first number";
                refuse(span, "left of the one before it", help);
            } else if x1 == x0 && y1 != y0 {
                refuse(
                    span,
                    "above or below the one before it",
                    "a curve has no steps",
                );
            } else if falling && y1 > y0 {
                refuse(span, "it rises", "reactive power falls with the voltage");
            }
        }
        Curve::new(points.iter().map(|p| p.value).collect()).ok()
    }

    fn capability(&self, root: &Table<'d>) -> Capability {
        let section = self.section(root, "capability");
        let found = Capability {
            inject_pu: self.number(&section, "inject_pu"),
            absorb_pu: self.number(&section, "absorb_pu"),
            p_full_pu: self.usual(section.name, "p_full_pu"),
            p_least_pu: self.usual(section.name, "p_least_pu"),
            current_pu: self.number(&section, "current_pu"),
            inverter_s: self.number(&section, "inverter_s"),
        };
        section.finish();
        found
    }

    fn reactive(&self, root: &Table<'d>, capability: &Capability) -> Option<ReactiveSettings> {
        let names = ["volt_var", "watt_var", "const_pf", "const_q"];
        let on: Vec<Section<'d>> = names
            .iter()
            .filter_map(|name| self.enabled(root, name, false))
            .collect();
        if let [first, second, ..] = &on[..] {
            let span = second.table.as_ref().map_or(0..0, Table::span);
            self.document.error(
                "G004",
                span,
                format!("`{}` and `{}` are both on", first.name, second.name),
                "a second reactive function",
                "keep one of them; set `enabled = false` in the other",
            );
        }
        let mut found = None;
        for section in on {
            let law = match section.name {
                "volt_var" => self.volt_var(&section, capability).map(Reactive::VoltVar),
                "watt_var" => self.watt_var(&section, capability).map(Reactive::WattVar),
                "const_pf" => self.power_factor(&section),
                _ => {
                    let q = self.number(&section, "q_pu");
                    if let Some(table) = &section.table
                        && let Some(given) = table.number("q_pu")
                    {
                        self.reactive_range(&given, "const_q.q_pu", capability);
                    }
                    Some(Reactive::Constant(q))
                }
            };
            let olrt_s = self.number(&section, "olrt_s");
            let vref = self.vref(&section);
            section.finish();
            if let (None, Some(law)) = (&found, law) {
                found = Some(ReactiveSettings { law, olrt_s, vref });
            }
        }
        found
    }

    fn vref(&self, section: &Section<'d>) -> Vref {
        if section.name != "volt_var" {
            return Vref::NOMINAL;
        }
        let auto = section
            .table
            .as_ref()
            .and_then(|table| table.boolean("vref_auto"));
        let tau_s = self.number(section, "vref_tau_s");
        Vref {
            fixed_pu: self.number(section, "vref_pu"),
            tau_s: auto.is_some_and(|b| b.value).then_some(tau_s),
            lo_pu: self.number(section, "vref_lo_pu"),
            hi_pu: self.number(section, "vref_hi_pu"),
        }
    }

    fn reactive_range(&self, q: &Spanned<f64>, what: &str, capability: &Capability) {
        let range = -capability.absorb_pu..=capability.inject_pu;
        if q.value < range.start() - NEAR || q.value > range.end() + NEAR {
            let source = "what the category can give and take (`capability`)";
            self.outside("G003", q, what, range, source);
        }
    }

    fn volt_var(&self, section: &Section<'d>, capability: &Capability) -> Option<Curve> {
        let points = self.points(section);
        let curve = self.curve(section, points.as_deref(), true);
        let points = points.unwrap_or_default();
        let (outer, inner, apart) = (
            self.usual(section.name, "outer_pu"),
            self.usual(section.name, "inner_pu"),
            self.usual(section.name, "apart_pu"),
        );
        let source = self
            .defaults
            .setting(section.name, "outer_pu", &self.categories)
            .map_or_else(|_| String::new(), |s| s.source.clone());
        let last = points.len().saturating_sub(1);
        for (n, point) in points.iter().enumerate() {
            let (v, q) = point.value;
            let of = |value| Spanned {
                value,
                span: point.span.clone(),
            };
            self.reactive_range(
                &of(q),
                &format!("volt_var.curve, Q of point {}", n + 1),
                capability,
            );
            // Points are written for a reference voltage of 1.
            let four = points.len() == 4;
            let range = match n {
                0 if four => 1.0 - outer..=points[1].value.0 - apart,
                1 if four => 1.0 - inner..=1.0,
                2 if four => 1.0..=1.0 + inner,
                _ if four => points[2].value.0 + apart..=1.0 + outer,
                0 => 1.0 - outer..=1.0,
                _ if n == last => 1.0..=1.0 + outer,
                _ => continue,
            };
            if v < range.start() - NEAR || v > range.end() + NEAR {
                let what = format!("volt_var.curve, voltage of point {}", n + 1);
                self.outside("G003", &of(v), &what, range, &source);
            }
        }
        curve
    }

    fn watt_var(&self, section: &Section<'d>, capability: &Capability) -> Option<Curve> {
        let points = self.points(section);
        let curve = self.curve(section, points.as_deref(), false);
        let points = points.unwrap_or_default();
        for (n, point) in points.iter().enumerate() {
            let (p, q) = point.value;
            let of = |value| Spanned {
                value,
                span: point.span.clone(),
            };
            self.reactive_range(
                &of(q),
                &format!("watt_var.curve, Q of point {}", n + 1),
                capability,
            );
            if !(-1.0..=1.0).contains(&p) {
                let what = format!("watt_var.curve, power of point {}", n + 1);
                self.outside("G003", &of(p), &what, -1.0..=1.0, "the rating");
            }
        }
        // The three points of generation are the last three.
        if let [.., first, middle, last] = &points[..] {
            let apart = self.usual(section.name, "apart_pu");
            let place = |value, point: &Spanned<(f64, f64)>| Spanned {
                value,
                span: point.span.clone(),
            };
            let found = place(middle.value.0, middle);
            self.in_range(section.name, "p2_pu", "curve, power of P2", &found, 1.0);
            for (point, range) in [
                (first, 0.0..=middle.value.0 - apart),
                (last, middle.value.0 + apart..=1.0),
            ] {
                let p = point.value.0;
                if p < range.start() - NEAR || p > range.end() + NEAR {
                    let what = "watt_var.curve, power beside P2";
                    self.outside(
                        "G003",
                        &place(p, point),
                        what,
                        range,
                        "svp_1547.1 at 3517e7f",
                    );
                }
            }
        }
        curve
    }

    fn power_factor(&self, section: &Section<'d>) -> Option<Reactive> {
        let pf = self.number(section, "pf");
        let excitation = section
            .table
            .as_ref()
            .and_then(|t| t.choice("excitation", &[("inject", false), ("absorb", true)]));
        Reactive::power_factor(pf, excitation.is_none_or(|e| e.value))
    }

    fn volt_watt(&self, root: &Table<'d>) -> Option<VoltWatt> {
        let section = self.enabled(root, "volt_watt", false)?;
        let point = |v, p| (self.number(&section, v), self.number(&section, p));
        let (first, second) = (point("v1", "p1"), point("v2", "p2"));
        let olrt_s = self.number(&section, "olrt_s");
        let apart = self.usual(section.name, "apart_pu");
        let at = section.table.as_ref().map_or(0..0, |t| t.span_of("v2"));
        let (second_v, span) = (second.0, at.clone());
        if second.0 < first.0 + apart - NEAR {
            let found = Spanned {
                value: second_v,
                span,
            };
            let range = first.0 + apart..=1.10_f64.max(first.0 + apart);
            self.outside(
                "G003",
                &found,
                "volt_watt.v2",
                range,
                "svp_1547.1 at 3517e7f",
            );
        }
        if second.1 > first.1 {
            let what = "`volt_watt` rises with the voltage";
            let help = "make `p2` no larger than `p1`";
            self.document.error("G002", at, what, "", help);
        }
        section.finish();
        Some(VoltWatt {
            curve: Curve::new(vec![first, second]).ok()?,
            olrt_s,
        })
    }

    fn droop(&self, root: &Table<'d>, f_nom_hz: f64) -> Option<Droop> {
        // It is mandatory in the standard's default, so silence does not switch it off.
        let section = self.enabled(root, "freq_droop", true)?;
        let hertz = |key| Frequency::from_hertz(self.number(&section, key));
        let found = Droop {
            law: FrequencyWatt {
                nominal: Frequency::from_hertz(f_nom_hz),
                deadband_over: hertz("db_of_hz"),
                deadband_under: hertz("db_uf_hz"),
                droop_over: self.number(&section, "k_of"),
                droop_under: self.number(&section, "k_uf"),
            },
            olrt_s: self.number(&section, "olrt_s"),
            p_min_pu: self.number(&section, "p_min_pu"),
            settled_pu: self.usual(section.name, "settled_pu"),
        };
        section.finish();
        Some(found)
    }

    fn p_limit(&self, root: &Table<'d>, kind: Kind) -> Option<PLimit> {
        let section = self.enabled(root, "p_limit", false)?;
        let found = PLimit {
            p_pu: self.number(&section, "p_pu"),
            response_s: self.number(&section, "response_s"),
        };
        if kind == Kind::Pv && found.p_pu < 0.0 {
            let span = section.table.as_ref().map_or(0..0, |t| t.span_of("p_pu"));
            let value = Spanned {
                value: found.p_pu,
                span,
            };
            self.outside(
                "G001",
                &value,
                "p_limit.p_pu",
                0.0..=1.0,
                "what a PV can give",
            );
        }
        section.finish();
        Some(found)
    }

    /// Response times of functions that are off; of one that is on it is its own.
    fn told(
        &self,
        root: &Table<'d>,
        reactive: Option<&ReactiveSettings>,
        volt_watt: Option<&VoltWatt>,
        limit: Option<&PLimit>,
    ) -> Told {
        let time = |name: &'static str, key: &'static str, on: Option<f64>| {
            on.unwrap_or_else(|| match root.table(name) {
                Some(table) => self.of_table(&table, name, key, 1.0),
                None => self.usual(name, key),
            })
        };
        let of = |is: fn(&Reactive) -> bool| {
            let on = reactive.filter(|function| is(&function.law));
            on.map(|function| function.olrt_s)
        };
        let change = self.section(root, "mode_change");
        let mode_change_s = self.number(&change, "over_s");
        change.finish();
        Told {
            limit_s: time("p_limit", "response_s", limit.map(|l| l.response_s)),
            volt_var_s: time(
                "volt_var",
                "olrt_s",
                of(|l| matches!(l, Reactive::VoltVar(_))),
            ),
            watt_var_s: time(
                "watt_var",
                "olrt_s",
                of(|l| matches!(l, Reactive::WattVar(_))),
            ),
            const_pf_s: time(
                "const_pf",
                "olrt_s",
                of(|l| matches!(l, Reactive::PowerFactor { .. })),
            ),
            const_q_s: time(
                "const_q",
                "olrt_s",
                of(|l| matches!(l, Reactive::Constant(_))),
            ),
            volt_watt_s: time("volt_watt", "olrt_s", volt_watt.map(|f| f.olrt_s)),
            mode_change_s,
        }
    }

    fn enter_service(&self, root: &Table<'d>) -> EnterService {
        let section = self.section(root, "enter_service");
        let ramp_s = self.number(&section, "ramp_s");
        let random_s = self.number(&section, "random_delay_s");
        let found = EnterService {
            v_lo_pu: self.number(&section, "v_lo_pu"),
            v_hi_pu: self.number(&section, "v_hi_pu"),
            f_lo_hz: self.scaled(&section, "f_lo_hz", self.scale),
            f_hi_hz: self.scaled(&section, "f_hi_hz", self.scale),
            delay_s: self.number(&section, "delay_s") + if ramp_s > 0.0 { 0.0 } else { random_s },
            ramp_s,
        };
        section.finish();
        found
    }

    fn trip(&self, root: &Table<'d>) -> Trip {
        let section = self.section(root, "trip");
        let f = self.scale;
        let t = |key, at, clearing, scale| self.threshold(&section, key, at, clearing, scale);
        let found = Trip {
            ov: [
                t("ov1", "ov1_pu", "ov1_s", 1.0),
                t("ov2", "ov2_pu", "ov2_s", 1.0),
            ],
            uv: [
                t("uv1", "uv1_pu", "uv1_s", 1.0),
                t("uv2", "uv2_pu", "uv2_s", 1.0),
            ],
            of: [
                t("of1", "of1_hz", "of1_s", f),
                t("of2", "of2_hz", "of2_s", f),
            ],
            uf: [
                t("uf1", "uf1_hz", "uf1_s", f),
                t("uf2", "uf2_hz", "uf2_s", f),
            ],
        };
        section.finish();
        found
    }

    fn threshold(
        &self,
        section: &Section<'d>,
        key: &'static str,
        at: &str,
        clearing: &str,
        scale: f64,
    ) -> Threshold {
        let usual = Threshold {
            at: self.usual(section.name, at) * scale,
            clearing_s: self.usual(section.name, clearing),
        };
        let Some(table) = &section.table else {
            return usual;
        };
        if !table.has(key) {
            return usual;
        }
        let given = table.numbers(key);
        let [threshold, time] = &given[..] else {
            self.document.error(
                "D003",
                table.span_of(key),
                format!("`trip.{key}` must be a threshold and a time"),
                format!("these are {} numbers", given.len()),
                format!("write `{key} = [{}, {}]`", tidy(usual.at), usual.clearing_s),
            );
            return usual;
        };
        self.in_range(
            section.name,
            at,
            &format!("{key}, threshold"),
            threshold,
            scale,
        );
        self.in_range(
            section.name,
            clearing,
            &format!("{key}, clearing time"),
            time,
            1.0,
        );
        Threshold {
            at: threshold.value,
            clearing_s: time.value,
        }
    }

    fn ride_through(&self, root: &Table<'d>, abnormal: Abnormal, trip: &Trip) -> RideThrough {
        let section = self.section(root, "ride_through");
        let usual = |key| self.usual(section.name, key);
        let given = |key| {
            let table = section.table.as_ref()?;
            table.has(key).then(|| self.number(&section, key))
        };
        let return_s = self.number(&section, "mc_return_s");
        let (cease_s, response_s) = (
            self.number(&section, "cease_s"),
            self.number(&section, "mc_response_s"),
        );
        let (energise, of_category) = match abnormal {
            Abnormal::I | Abnormal::II => {
                let energise = Energise {
                    lo_pu: usual("cease_lo_pu"),
                    hi_pu: usual("cease_hi_pu"),
                    after_s: cease_s,
                };
                (Some(energise), [None, None])
            }
            Abnormal::III => (None, [Some(usual("mc_lo_pu")), Some(usual("mc_hi_pu"))]),
        };
        let at_once = |at: Option<f64>| {
            let clearing_s = response_s;
            let step = at.map(|at| Threshold { at, clearing_s });
            step.into_iter().collect::<Vec<_>>()
        };
        let own = |quantity| match quantity {
            Quantity::LowVoltage => at_once(of_category[0]),
            Quantity::HighVoltage => at_once(of_category[1]),
            Quantity::LowFrequency | Quantity::HighFrequency => Vec::new(),
        };
        let momentary = self.region(root, "momentary_cessation", own).0;
        let window_s = self.number(&section, "rocof_window_s");
        let trips = [
            ("when_it_must", Trips::WhenItMust),
            ("when_it_may", Trips::WhenItMay),
        ];
        let trips = section
            .table
            .as_ref()
            .and_then(|t| t.choice("trips", &trips));
        let found = RideThrough {
            cease: Cease {
                energise,
                momentary,
                return_s,
            },
            may_trip: self.may_trip(root, trip),
            trips: trips.map_or(Trips::WhenItMust, |trips| trips.value),
            rocof: given("rocof_hz_per_s").map(|limit| (limit, window_s)),
            phase_jump_deg: given("phase_jump_deg"),
            island_s: self.number(&section, "island_s"),
        };
        section.finish();
        found
    }

    /// Where the device may trip. A curve that is given must not contradict what must trip; that of
    /// the category may, for thresholds go over it.
    fn may_trip(&self, root: &Table<'d>, trip: &Trip) -> Region {
        const NAME: &str = "may_trip";
        let own = |quantity: Quantity| {
            let key = Quantity::ALL[quantity as usize].0;
            let scale = if quantity.is_voltage() {
                1.0
            } else {
                self.scale
            };
            match self.defaults.steps(NAME, key, &self.categories) {
                Ok(points) => points
                    .iter()
                    .map(|&(at, clearing_s)| Threshold {
                        at: at * scale,
                        clearing_s,
                    })
                    .collect(),
                Err(mistake) => {
                    self.document.adopt(vec![mistake]);
                    Vec::new()
                }
            }
        };
        let (region, given) = self.region(root, NAME, own);
        for (quantity, span) in given {
            let must = match quantity {
                Quantity::LowVoltage => &trip.uv,
                Quantity::HighVoltage => &trip.ov,
                Quantity::LowFrequency => &trip.uf,
                Quantity::HighFrequency => &trip.of,
            };
            let steps = region.of(quantity);
            let early = must.iter().find(|t| !steps.holds(t, quantity));
            if let (Some(early), false) = (early, steps.as_slice().is_empty()) {
                let what = format!(
                    "it must trip at {} after {} s, where it may not yet",
                    tidy(early.at),
                    early.clearing_s
                );
                let help = "move the threshold in `[trip]` or this curve, or leave the curve out";
                self.document.error("G024", span, what, "this curve", help);
            }
        }
        region
    }

    /// A region of voltage or frequency and time, with the places of the staircases that are given.
    fn region(
        &self,
        root: &Table<'d>,
        name: &'static str,
        own: impl Fn(Quantity) -> Vec<Threshold>,
    ) -> (Region, Vec<(Quantity, Range<usize>)>) {
        let section = self.section(root, name);
        let (mut region, mut places) = (Region::default(), Vec::new());
        for (key, quantity) in Quantity::ALL {
            let given = section.table.as_ref().filter(|table| table.has(key));
            let found = match given {
                None => own(quantity),
                Some(table) => {
                    places.push((quantity, table.span_of(key)));
                    self.given_steps(&section, table, key, quantity)
                }
            };
            let steps = Steps::new(&found, quantity).unwrap_or_else(|place| {
                let points = given.map_or_else(Vec::new, |table| table.pairs(key));
                let span = points.get(place).map_or(0..0, |point| point.span.clone());
                let what = format!("`{name}.{key}` is no staircase");
                let label = "nearer to nominal than a point with a longer time";
                let help = "the farther from nominal a point lies, the shorter its time";
                self.document.error("G002", span, what, label, help);
                Steps::default()
            });
            region.put(quantity, steps);
        }
        section.finish();
        (region, places)
    }

    fn given_steps(
        &self,
        section: &Section<'d>,
        table: &Table<'d>,
        key: &'static str,
        quantity: Quantity,
    ) -> Vec<Threshold> {
        let points = table.pairs(key);
        if points.len() > Steps::MOST {
            let what = format!("`{}.{key}` has {} points", section.name, points.len());
            let help = format!(
                "give {} at most, as a model of SunSpec has room for",
                Steps::MOST
            );
            let label = "too many points";
            self.document
                .error("G002", table.span_of(key), what, label, help);
        }
        let (at, scale) = match quantity {
            Quantity::LowVoltage => ("lv_pu", 1.0),
            Quantity::HighVoltage => ("hv_pu", 1.0),
            Quantity::LowFrequency => ("lf_hz", self.scale),
            Quantity::HighFrequency => ("hf_hz", self.scale),
        };
        for point in &points {
            let of = |value| Spanned {
                value,
                span: point.span.clone(),
            };
            let (threshold, time) = (of(point.value.0), of(point.value.1));
            let shown = format!("{key}, threshold");
            self.in_range(section.name, at, &shown, &threshold, scale);
            let shown = format!("{key}, time");
            self.in_range(section.name, "time_s", &shown, &time, 1.0);
        }
        let step = |point: &Spanned<(f64, f64)>| Threshold {
            at: point.value.0,
            clearing_s: point.value.1,
        };
        points.iter().map(step).collect()
    }
}

impl Section<'_> {
    fn finish(self) {
        if let Some(table) = self.table {
            table.has("enabled");
            table.finish();
        }
    }
}

/// A number without the noise of its scaling.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

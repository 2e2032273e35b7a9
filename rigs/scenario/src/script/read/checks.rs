//! The checks of a scenario.

use std::ops::Range;
use std::time::Duration;

use document::{Spanned, Table};
use quantities::{Energy, Quantity, parse_range};

use super::Reader;
use super::steps::{is_switch, modes};
use super::words::nearest;
use crate::check::{
    Check, CheckKind, Comparison, Condition, Figure, LinkDemand, LoadClass, MAX_GAP, MarketWord,
    ResponseShare, RhythmDemand, ServiceFigure, Settling, Times, Window, WindowEnd,
};
use crate::codes;
use crate::script::keys;
use crate::script::{Anchor, Moment, Named};
use crate::series::EVENT_KINDS;
use crate::signal::{Signal, SignalQuantity};

/// Length of the observation of a response time, in multiples of the allowed time.
///
/// Chosen: a device that is twice too late is then still seen to settle.
const OBSERVATION: u32 = 5;

/// Requests without which a link cannot be judged, unless the file says otherwise.
///
/// Chosen: a loss of one in a thousand cannot be told from fewer.
const REQUESTS: u64 = 1000;

type Kind = fn(&Reader<'_>, &Table<'_>) -> Option<CheckKind>;

/// The key of each kind of check, with its reader.
const KINDS: &[(&str, Kind)] = &[
    ("band", |r, t| r.band(t)),
    ("curve", |r, t| r.curve(t)),
    ("t_start", |r, t| r.response_time(t, ResponseShare::Start)),
    ("t90", |r, t| r.response_time(t, ResponseShare::Ninety)),
    ("t_full", |r, t| r.response_time(t, ResponseShare::Full)),
    ("overshoot", |r, t| r.overshoot(t)),
    ("settle", |r, t| r.settled(t)),
    ("accuracy", |r, t| r.service(t, ServiceFigure::Accuracy)),
    ("score", |r, t| r.service(t, ServiceFigure::Score)),
    ("availability", |r, t| {
        r.service(t, ServiceFigure::Availability)
    }),
    ("never", |r, t| {
        let (condition, window, max_gap) = r.condition_in_window(t, "never")?;
        Some(CheckKind::Never {
            condition,
            window,
            max_gap,
        })
    }),
    ("always", |r, t| {
        let (condition, window, max_gap) = r.condition_in_window(t, "always")?;
        Some(CheckKind::Always {
            condition,
            window,
            max_gap,
        })
    }),
    ("count", |r, t| r.count(t)),
    ("energy", |r, t| r.energy(t)),
    ("mode", |r, t| r.mode_reached(t)),
    ("event", |r, t| r.event(t)),
    ("ordered", |r, t| r.ordered(t)),
    ("kpi", |r, t| r.kpi(t)),
    ("link", |r, t| r.link(t)),
    ("jitter", |r, t| r.rhythm(t)),
    ("ledger", |r, t| {
        r.word(t, "ledger", &[("complete", ())])
            .map(|()| CheckKind::Ledger)
    }),
    ("market", |r, t| {
        r.word(t, "market", MarketWord::ALL).map(CheckKind::Market)
    }),
    ("delivered", |r, t| {
        let participants = r.participants(t, "delivered");
        let at_most = r.share(t, "at_most", "1%");
        let window = r.window(t);
        Some(CheckKind::Delivered {
            participants: participants?,
            at_most: at_most?,
            window: window?,
        })
    }),
    ("penalised", |r, t| {
        Some(CheckKind::Penalised {
            participants: r.participants(t, "penalised")?,
        })
    }),
    ("booked", |r, t| {
        let participants = r.participants(t, "booked");
        let what = match t.has("as") {
            true => r.word(
                t,
                "as",
                &runtime::desk::BOOKINGS.map(|(name, _)| (name, name)),
            ),
            false => t.missing("as", "\"contract\""),
        };
        let at_least = match t.has("at_least") {
            true => t.integer("at_least", 1..=1_000_000).map(|it| it.value),
            false => Some(1),
        };
        Some(CheckKind::Booked {
            participants: participants?,
            what: what?,
            at_least: at_least?.unsigned_abs(),
        })
    }),
];

type ReadFigure = fn(&Reader<'_>, &Table<'_>) -> Option<Figure>;

/// The key figures with what each takes.
const FIGURES: &[(&str, ReadFigure)] = &[
    ("load_served", |r, t| {
        r.load_class(t).map(Figure::LoadServed)
    }),
    ("time_served", |r, t| {
        r.load_class(t).map(Figure::TimeServed)
    }),
    ("exchange", |r, t| {
        let within = r.text_that_must_be(t, "within", "-3..5kW")?;
        match SignalQuantity::ActivePower.parse_range(&within.value) {
            Ok(range) => Some(Figure::Exchange(range)),
            Err(e) => {
                let message = format!("this is no range of active power: {e}");
                r.document
                    .error(codes::WRONG_UNIT, within.span, message, "", "");
                None
            }
        }
    }),
    ("power_factor", |r, t| {
        let Some(pf) = t.number("pf") else {
            return t.missing("pf", "0.95");
        };
        if !(0.0..=1.0).contains(&pf.value) {
            let message = "a power factor lies between 0 and 1";
            r.document
                .error(codes::BAD_NUMBER, pf.span, message, "", "");
            return None;
        }
        Some(Figure::PowerFactor(pf.value))
    }),
    ("voltage_violation", |_, _| Some(Figure::VoltageViolation)),
    ("battery_cycles", |_, _| Some(Figure::BatteryCycles)),
    ("carbon_dioxide", |_, _| Some(Figure::CarbonDioxide)),
    ("islanded", |_, _| Some(Figure::Islanded)),
];

/// The names of the key figures.
pub(in crate::script) fn figures() -> Vec<&'static str> {
    FIGURES.iter().map(|(name, _)| *name).collect()
}

impl Reader<'_> {
    /// The checks with their places; `None` when one of them cannot be made.
    pub(super) fn checks(&self, root: &Table<'_>) -> Option<Vec<(Check, Range<usize>)>> {
        let checks: Vec<Option<(Check, Range<usize>)>> = root
            .tables("check")
            .into_iter()
            .map(|table| {
                let place = table.span();
                Some((self.check(table)?, place))
            })
            .collect();
        checks.into_iter().collect()
    }

    fn check(&self, table: Table<'_>) -> Option<Check> {
        let (line, _) = self.document.place(table.span()).line_and_column();
        let given: Vec<_> = KINDS.iter().filter(|(key, _)| table.has(key)).collect();
        let name = self.text(&table, "name");
        let [(word, read)] = given.as_slice() else {
            let known: Vec<&str> = KINDS.iter().map(|(key, _)| *key).collect();
            let help = match (given.is_empty(), table.keys().first()) {
                (true, Some(first)) => nearest(&first.value, &known),
                _ => format!("use one of: {}", known.join(", ")),
            };
            self.document.error(
                codes::ONE_CHECK,
                table.span(),
                format!("a check says one thing, this one says {}", given.len()),
                "",
                help,
            );
            return None;
        };
        let kind = read(self, &table);
        let uncertainty = match &kind {
            Some(kind) => self.uncertainty(&table, kind),
            None => {
                // The reading broke off, and what comes behind that is known all the same.
                let own = keys::CHECKS.iter().filter(|kind| kind.key.name == *word);
                let own = own.flat_map(|kind| kind.keys);
                own.chain(keys::OF_ALL).for_each(|key| {
                    table.has(key.name);
                });
                None
            }
        };
        table.finish();
        let kind = kind?;
        let uncertainty = uncertainty?;
        Some(Check {
            name: name.map_or_else(|| kind.to_string(), |text| text.value),
            kind,
            line,
            uncertainty,
        })
    }

    /// The stated uncertainty in the base unit; the outer `None` is an error that was told.
    fn uncertainty(&self, table: &Table<'_>, kind: &CheckKind) -> Option<Option<f64>> {
        if !table.has("uncertainty") {
            return Some(None);
        }
        let text = self.text(table, "uncertainty")?;
        let signal = match kind {
            CheckKind::Band { signal, .. }
            | CheckKind::Never {
                condition: Condition::Signal { signal, .. },
                ..
            }
            | CheckKind::Always {
                condition: Condition::Signal { signal, .. },
                ..
            } if !is_switch(signal.quantity) => signal,
            _ => {
                self.document.error(
                    codes::UNCHECKABLE,
                    text.span,
                    format!("`{}` judges no measured value", kind.word()),
                    "",
                    "state `uncertainty` with `band`, or with `never` or `always` of a signal",
                );
                return None;
            }
        };
        let span = text.span.clone();
        let value = self.value(signal, &text)?;
        if value.is_nan() || value < 0.0 {
            self.document.error(
                codes::BAD_NUMBER,
                span,
                "an uncertainty is a plus or minus, so it is not negative",
                "",
                "",
            );
            return None;
        }
        Some(Some(value))
    }

    fn band(&self, table: &Table<'_>) -> Option<CheckKind> {
        let signal = self.signal_of(table, "band");
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let within = self.text_that_must_be(table, "within", "1.9..2.1kW");
        let (signal, within) = (signal?, within?);
        let within = match signal.quantity.parse_range(&within.value) {
            Ok(range) => range,
            Err(e) => {
                self.document.error(
                    codes::WRONG_UNIT,
                    within.span,
                    format!("this is no range of `{signal}`: {e}"),
                    "",
                    "",
                );
                return None;
            }
        };
        Some(CheckKind::Band {
            signal,
            window: window?,
            within,
            max_gap: max_gap?,
        })
    }

    fn response_time(&self, table: &Table<'_>, share: ResponseShare) -> Option<CheckKind> {
        let signal = self.signal_of(table, share.word());
        let from = if table.has("from") {
            self.optional_moment(table, "from", Moment::START)
        } else {
            table.missing("from", "\"t0\"")
        };
        let max = self.time(table, "max", "1s");
        let max_gap = self.max_gap(table);
        let over = self.optional_time(table, "over");
        let told = self.text(table, "to");
        let signal = signal?;
        if is_switch(signal.quantity) {
            self.document.error(
                codes::UNCHECKABLE,
                table.span_of(share.word()),
                format!("`{signal}` has no values in between"),
                "",
                "",
            );
            return None;
        }
        let to = match told {
            Some(text) => Some(self.value(&signal, &text)?),
            None => None,
        };
        let max = max?;
        let over = over.unwrap_or(max.saturating_mul(OBSERVATION));
        if over <= max {
            self.document.error(
                codes::BAD_WINDOW,
                table.span_of("over"),
                "the observation must be longer than the allowed time",
                "",
                "leave `over` out: it is five times `max` then",
            );
            return None;
        }
        Some(CheckKind::ResponseTime {
            share,
            signal,
            from: from?,
            max,
            to,
            over,
            max_gap: max_gap?,
        })
    }

    fn overshoot(&self, table: &Table<'_>) -> Option<CheckKind> {
        let signal = self.signal_of(table, "overshoot");
        let from = if table.has("from") {
            self.optional_moment(table, "from", Moment::START)
        } else {
            table.missing("from", "\"t0\"")
        };
        let to = self.text_that_must_be(table, "to", "2kW");
        let over = self.time(table, "over", "5s");
        let most = self.share(table, "at_most", "5%");
        let max_gap = self.max_gap(table);
        let signal = signal?;
        let to = self.value(&signal, &to?)?;
        Some(CheckKind::Overshoot {
            signal,
            from: from?,
            to,
            over: over?,
            most: most?,
            max_gap: max_gap?,
        })
    }

    fn settled(&self, table: &Table<'_>) -> Option<CheckKind> {
        let signal = self.signal_of(table, "settle");
        let from = if table.has("from") {
            self.optional_moment(table, "from", Moment::START)
        } else {
            table.missing("from", "\"t0\"")
        };
        let to = self.text_that_must_be(table, "to", "2kW");
        let within = self.time(table, "max", "5s");
        // Chosen: a second, as for a step that waits until something has settled.
        let hold = match table.has("for") {
            true => self.optional_time(table, "for"),
            false => Some(Duration::from_secs(1)),
        };
        let max_gap = self.max_gap(table);
        let signal = signal?;
        let band = match table.has("tolerance") {
            true => self.distance(&signal, table, "tolerance"),
            false => table.missing("tolerance", "\"50W\""),
        };
        let to = self.value(&signal, &to?)?;
        Some(CheckKind::Settle {
            signal,
            from: from?,
            demand: Settling {
                to,
                band: band?,
                within: within?,
                hold: hold?,
            },
            max_gap: max_gap?,
        })
    }

    /// A figure of a service, by its name.
    fn service(&self, table: &Table<'_>, figure: ServiceFigure) -> Option<CheckKind> {
        let name = self.text(table, figure.word());
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let limit = match figure {
            ServiceFigure::Accuracy => self.share(table, "at_most", "5%"),
            ServiceFigure::Availability => self.share(table, "at_least", "99.9%"),
            ServiceFigure::Score => match table.number("at_least") {
                Some(least) => Some(least.value),
                None => table.missing("at_least", "0.75"),
            },
        };
        let name = name?;
        let signal = Signal::new(name.value, figure.shown());
        self.mention(Named::Measured(signal.clone()), name.span);
        Some(CheckKind::Service {
            figure,
            signal,
            window: window?,
            limit: limit?,
            max_gap: max_gap?,
        })
    }

    /// A share that must be there, such as `"5%"`.
    fn share(&self, table: &Table<'_>, key: &str, example: &str) -> Option<f64> {
        let text = self.text_that_must_be(table, key, example)?;
        match SignalQuantity::ServiceSignal.parse_value(&text.value) {
            Ok(share) => Some(share),
            Err(e) => {
                let message = format!("this is no share: {e}");
                self.document
                    .error(codes::WRONG_UNIT, text.span, message, "", "");
                None
            }
        }
    }

    fn condition_in_window(
        &self,
        table: &Table<'_>,
        key: &str,
    ) -> Option<(Condition, Window, Duration)> {
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let text = self.text(table, key)?;
        let condition = self.condition(&text)?;
        Some((condition, window?, max_gap?))
    }

    fn condition(&self, text: &Spanned<String>) -> Option<Condition> {
        // The leftmost sign counts; of two that begin alike the longer one.
        let found = Comparison::SIGNS
            .iter()
            .filter_map(|(sign, c)| text.value.find(sign).map(|at| (at, *sign, *c)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let Some((at, sign, comparison)) = found else {
            self.document.error(
                codes::BAD_CONDITION,
                text.span.clone(),
                format!("`{}` compares nothing", text.value),
                "",
                "write it as \"bat1.p > 2.05kW\"",
            );
            return None;
        };
        let part = |value: &str| Spanned {
            value: value.trim().to_owned(),
            span: text.span.clone(),
        };
        let left = part(&text.value[..at]);
        let right = part(&text.value[at + sign.len()..]);
        if left.value == "mode" {
            return self.mode_condition(comparison, &right);
        }
        let signal = self.measured(&left)?;
        let limit = self.value(&signal, &right)?;
        Some(Condition::Signal {
            signal,
            comparison,
            limit,
        })
    }

    fn mode_condition(&self, comparison: Comparison, name: &Spanned<String>) -> Option<Condition> {
        let is = match comparison {
            Comparison::Equal => true,
            Comparison::Different => false,
            _ => {
                self.document.error(
                    codes::BAD_CONDITION,
                    name.span.clone(),
                    "a mode is not larger or smaller than another one",
                    "",
                    "use == or !=",
                );
                return None;
            }
        };
        let modes = modes();
        let Some((_, mode)) = modes.iter().find(|(known, _)| *known == name.value) else {
            let known: Vec<&str> = modes.iter().map(|(name, _)| *name).collect();
            self.document.error(
                codes::UNKNOWN_WORD,
                name.span.clone(),
                format!("`{}` is not a mode", name.value),
                "",
                nearest(&name.value, &known),
            );
            return None;
        };
        Some(Condition::Mode { is, mode: *mode })
    }

    fn mode_reached(&self, table: &Table<'_>) -> Option<CheckKind> {
        let mode = self.word(table, "mode", &modes());
        let from = self.optional_moment(table, "from", Moment::START);
        let within = self.time(table, "within", "2s");
        Some(CheckKind::Mode {
            mode: mode?,
            from: from?,
            within: within?,
        })
    }

    fn event(&self, table: &Table<'_>) -> Option<CheckKind> {
        let kinds: Vec<(&str, &'static str)> = EVENT_KINDS.iter().map(|k| (*k, *k)).collect();
        let kind = self.word(table, "event", &kinds);
        let device = self.device(table, "device");
        let window = self.window(table);
        let times = self.times(table);
        Some(CheckKind::Event {
            kind: kind?,
            device,
            window: window?,
            times,
        })
    }

    /// How often a condition becomes true.
    fn count(&self, table: &Table<'_>) -> Option<CheckKind> {
        let read = self.condition_in_window(table, "count");
        let times = self.times(table);
        let (condition, window, max_gap) = read?;
        Some(CheckKind::Count {
            condition,
            window,
            times,
            max_gap,
        })
    }

    /// At least once, unless the file says otherwise.
    fn times(&self, table: &Table<'_>) -> Times {
        let count = |key| {
            // Chosen: nobody counts events beyond a million.
            table
                .integer(key, 0..=1_000_000)
                .and_then(|n| u64::try_from(n.value).ok())
        };
        let (least, at_most) = (count("at_least"), count("at_most"));
        let at_least = least.unwrap_or_else(|| at_most.map_or(1, |most| most.min(1)));
        let fault = if at_most.is_some_and(|most| at_least > most) {
            Some("`at_least` is more than `at_most`")
        } else if at_least == 0 && at_most.is_none() {
            Some("this is always true")
        } else {
            None
        };
        if let Some(message) = fault {
            self.document.error(
                codes::BAD_NUMBER,
                table.span_of("at_least"),
                message,
                "",
                "say `at_most = 0` for what must not happen",
            );
        }
        Times { at_least, at_most }
    }

    /// A power, summed over a window.
    fn energy(&self, table: &Table<'_>) -> Option<CheckKind> {
        let signal = self.signal_of(table, "energy");
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let within = self.text_that_must_be(table, "within", "16..17Wh")?;
        let within = match parse_range::<Energy>(&within.value) {
            Ok(range) => (range.lower().base(), range.upper().base()),
            Err(e) => {
                let message = format!("this is no range of energy: {e}");
                self.document
                    .error(codes::WRONG_UNIT, within.span, message, "", "");
                return None;
            }
        };
        let signal = signal?;
        if signal.quantity.unit() != SignalQuantity::ActivePower.unit() {
            self.document.error(
                codes::UNCHECKABLE,
                table.span_of("energy"),
                format!("`{signal}` is no active power, and its sum over time no energy"),
                "",
                "name one, such as `ess1.p`",
            );
            return None;
        }
        Some(CheckKind::Energy {
            signal,
            window: window?,
            within,
            max_gap: max_gap?,
        })
    }

    /// Events in their order, each a kind and, if wanted, a device behind it.
    fn ordered(&self, table: &Table<'_>) -> Option<CheckKind> {
        let mut events = Vec::new();
        for entry in table.texts("ordered") {
            let mut words = entry.value.split_whitespace();
            let kind = words.next().unwrap_or_default();
            let device = words.next().map(str::to_owned);
            match EVENT_KINDS.iter().find(|known| **known == kind) {
                Some(kind) if words.next().is_none() => {
                    if let Some(device) = &device {
                        self.mention(Named::Device(device.clone()), entry.span);
                    }
                    events.push((*kind, device));
                }
                _ => {
                    self.document.error(
                        codes::UNKNOWN_WORD,
                        entry.span,
                        format!("`{}` is no event", entry.value),
                        "",
                        format!(
                            "write a kind of event and, if wanted, a device behind it; {}",
                            nearest(kind, EVENT_KINDS)
                        ),
                    );
                    return None;
                }
            }
        }
        if events.len() < 2 {
            self.document.error(
                codes::BAD_NUMBER,
                table.span_of("ordered"),
                "an order needs two events",
                "",
                "name them in their order, or use `event` for one",
            );
            return None;
        }
        let window = self.window(table)?;
        Some(CheckKind::Ordered { events, window })
    }

    /// Names of participants of the market.
    fn participants(&self, table: &Table<'_>, key: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for name in table.texts(key) {
            self.mention(Named::Participant(name.value.clone()), name.span);
            names.push(name.value);
        }
        if names.is_empty() && key == "delivered" {
            self.document.error(
                codes::BAD_NUMBER,
                table.span_of(key),
                "nobody is named whose delivery is asked for",
                "",
                "name one participant of the market, or several",
            );
            return None;
        }
        Some(names)
    }

    fn kpi(&self, table: &Table<'_>) -> Option<CheckKind> {
        let figure = self.word(table, "kpi", FIGURES);
        let figure = figure.and_then(|read| read(self, table));
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let bound = |key| table.number(key).map(|n| n.value);
        let (at_least, at_most) = (bound("at_least"), bound("at_most"));
        if at_least.is_none() && at_most.is_none() {
            self.document.error(
                codes::BAD_NUMBER,
                table.span_of("kpi"),
                "nothing is demanded of this figure",
                "",
                "say `at_least` or `at_most`, a number in the figure's unit",
            );
            return None;
        }
        Some(CheckKind::Kpi {
            figure: figure?,
            window: window?,
            at_least,
            at_most,
            max_gap: max_gap?,
        })
    }

    fn link(&self, table: &Table<'_>) -> Option<CheckKind> {
        let device = self.device(table, "link");
        let p99 = self.time(table, "p99", "50ms");
        let loss = self.share(table, "loss", "0.1%");
        // Chosen: nobody waits for a million requests.
        let requests = table.integer("requests", 1..=1_000_000);
        let requests = requests.and_then(|n| u64::try_from(n.value).ok());
        Some(CheckKind::Link {
            device: device?,
            demand: LinkDemand {
                p99: p99?,
                loss: loss?,
                requests: requests.unwrap_or(REQUESTS),
            },
        })
    }

    fn rhythm(&self, table: &Table<'_>) -> Option<CheckKind> {
        let jitter = self.share(table, "jitter", "20%");
        let overruns = self.share(table, "overruns", "0.1%");
        let window = self.window(table);
        Some(CheckKind::Rhythm {
            demand: RhythmDemand {
                jitter: jitter?,
                overruns: overruns?,
            },
            window: window?,
        })
    }

    fn load_class(&self, table: &Table<'_>) -> Option<LoadClass> {
        if table.has("class") {
            self.word(table, "class", LoadClass::NAMES)
        } else {
            Some(LoadClass::All)
        }
    }

    pub(super) fn text_that_must_be(
        &self,
        table: &Table<'_>,
        key: &str,
        example: &str,
    ) -> Option<Spanned<String>> {
        if table.has(key) {
            self.text(table, key)
        } else {
            table.missing(key, &format!("\"{example}\""))
        }
    }

    pub(super) fn window(&self, table: &Table<'_>) -> Option<Window> {
        let from = self.optional_moment(table, "from", Moment::START);
        if table.has("for") && table.has("to") {
            self.document.error(
                codes::BAD_WINDOW,
                table.span_of("to"),
                "the window has two ends, `for` and `to`",
                "",
                "keep one of them",
            );
            return None;
        }
        let to = if table.has("for") {
            WindowEnd::For(self.optional_time(table, "for")?)
        } else {
            WindowEnd::At(self.optional_moment(table, "to", Moment::END)?)
        };
        let from = from?;
        if let WindowEnd::At(end) = &to
            && end.anchor == from.anchor
            && end.offset_ns <= from.offset_ns
        {
            self.document.error(
                codes::BAD_WINDOW,
                table.span_of("to"),
                format!("the window ends at {end} and begins at {from}"),
                "",
                "",
            );
            return None;
        }
        Some(Window { from, to })
    }

    pub(super) fn max_gap(&self, table: &Table<'_>) -> Option<Duration> {
        if table.has("max_gap") {
            self.optional_time(table, "max_gap")
        } else {
            Some(MAX_GAP)
        }
    }

    /// A moment of a check; there is no previous step that it could count from.
    fn optional_moment(&self, table: &Table<'_>, key: &str, default: Moment) -> Option<Moment> {
        if !table.has(key) {
            return Some(default);
        }
        let text = self.text(table, key)?;
        let moment = self.moment(&text, "t0+1.3s")?;
        if moment.anchor == Anchor::Previous {
            self.document.error(
                codes::BAD_MOMENT,
                text.span,
                format!(
                    "`{}` counts from a previous step, which a check has not",
                    text.value
                ),
                "",
                "name a mark: \"t0+1.3s\"",
            );
            return None;
        }
        Some(moment)
    }
}

#[cfg(test)]
mod tests {
    use model::ModeRequest;

    use super::*;

    #[test]
    fn the_explanations_name_every_kind_of_check_and_every_mode() {
        let kinds = KINDS.iter().map(|(key, _)| (codes::ONE_CHECK, *key));
        let modes = modes()
            .into_iter()
            .map(|(name, _)| (codes::UNKNOWN_WORD, name));
        let requests = ModeRequest::NAMES
            .iter()
            .map(|(name, _)| (codes::UNKNOWN_WORD, *name));
        for (code, word) in kinds.chain(modes).chain(requests) {
            let text = codes::explanation(code).expect("explained");
            let is_named = text
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|part| part == word);
            assert!(is_named, "{code} leaves out {word}");
        }
    }
}

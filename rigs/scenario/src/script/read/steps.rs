//! The steps of a scenario.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use document::{Spanned, Table};
use emulator::faults::{Fault, FaultError};
use model::{Agreement, Mode, ModeRequest};
use quantities::{ActivePower, Bounds, ReactivePower};

use super::Reader;
use super::words::nearest;
use crate::codes;
use crate::script::keys;
use crate::script::moment::is_mark;
use crate::script::{Action, Named, Origin, Step, Until, UntilKind};
use crate::signal::{Signal, SignalQuantity};

/// How long a signal rests before it counts as settled, unless the file says otherwise.
///
/// Chosen: ten control cycles of 100 ms.
const REST: Duration = Duration::from_secs(1);

/// All modes with their names.
pub(super) fn modes() -> Vec<(&'static str, Mode)> {
    Mode::ALL.iter().map(|m| (m.name(), *m)).collect()
}

impl Reader<'_> {
    pub(super) fn step(&mut self, table: Table<'_>) -> Option<Step> {
        let origin = self.origin(&table);
        let at = if table.has("at") {
            self.text(&table, "at").and_then(|text| self.step_at(&text))
        } else {
            table.missing("at", "\"+1s\"")
        };
        let mut actions = Vec::new();
        let set = |signal, value| Action::Set { signal, value };
        let step = |signal, value| Action::Step { signal, value };
        let hold = |signal, value| Action::Hold { signal, value };
        self.settings(&table, "set", &mut actions, set);
        self.settings(&table, "step", &mut actions, step);
        self.pulses(&table, &mut actions);
        self.settings(&table, "hold", &mut actions, hold);
        self.ramps(&table, &mut actions);
        actions.extend(self.course(&table));
        self.faults(&table, &mut actions);
        for device in self.devices(&table, "release") {
            actions.push(Action::Release { device });
        }
        for (key, out) in [("unplug", true), ("plug", false)] {
            for device in self.devices(&table, key) {
                actions.push(Action::Unplug { device, out });
            }
        }
        if let Some(request) = self.word(&table, "mode", ModeRequest::NAMES) {
            actions.push(Action::Mode(request));
        }
        actions.extend(self.agreement(&table).map(Action::Agree));
        self.adoptions(&table, &mut actions);
        if table.has("hand_over") {
            let to = self.device(&table, "hand_over");
            actions.extend(to.map(|to| Action::HandOver { to }));
        }
        let until = self
            .optional(&table, "until")
            .and_then(|until| self.until(until, &actions));
        let mark = self.mark(&table);
        let mut acts = keys::STEP.iter().filter(|key| key.name != keys::AT);
        if !acts.any(|key| table.has(key.name)) {
            self.document.error(
                codes::IDLE_STEP,
                table.span(),
                "this step does nothing",
                "",
                "add `set`, `step`, `ramp`, `play`, `fault`, `mode`, `agree`, `hand_over`, `adopt`, `mark` or `until`, or take it out",
            );
        }
        table.finish();
        Some(Step {
            at: at?,
            actions,
            mark,
            until,
            origin,
        })
    }

    fn origin(&self, table: &Table<'_>) -> Origin {
        let place = self.document.place(table.span());
        let is_included = !std::ptr::eq(self.document, self.own);
        Origin {
            file: is_included.then(|| place.source.path.clone()),
            line: place.line_and_column().0,
            rounds: self.rounds.clone(),
        }
    }

    /// What is agreed with the utility from this step on, in the words of a rig's `[control]`.
    fn agreement(&self, table: &Table<'_>) -> Option<Agreement> {
        let table = self.optional(table, "agree")?;
        let agreement = Agreement {
            target: self
                .words_of(&table, "pcc_target", |text| {
                    SignalQuantity::ActivePower.parse_value(text)
                })
                .map(ActivePower::from_watts),
            limits: self
                .words_of(&table, "pcc_limits", |text| {
                    SignalQuantity::ActivePower.parse_range(text)
                })
                .map(|(low, high)| {
                    Bounds::between(ActivePower::from_watts(low), ActivePower::from_watts(high))
                }),
            pf_min: table.number("pcc_pf_min").map(|pf| pf.value),
            q: self
                .words_of(&table, "pcc_q", |text| {
                    SignalQuantity::ReactivePower.parse_value(text)
                })
                .map(ReactivePower::from_vars),
        };
        let span = table.span();
        table.finish();
        if let Some(why) = agreement.fault() {
            self.document.error(codes::BAD_NUMBER, span, why, "", "");
            return None;
        }
        Some(agreement)
    }

    /// What a text of a table says, if it is there and can be read.
    fn words_of<T, E: std::fmt::Display>(
        &self,
        table: &Table<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !table.has(key) {
            return None;
        }
        let text = self.text(table, key)?;
        match read(&text.value) {
            Ok(value) => Some(value),
            Err(why) => {
                self.document
                    .error(codes::WRONG_UNIT, text.span, why.to_string(), "", "");
                None
            }
        }
    }

    fn mark(&mut self, table: &Table<'_>) -> Option<String> {
        let text = self.text(table, "mark")?;
        if !is_mark(&text.value) {
            self.document.error(
                codes::BAD_MOMENT,
                text.span,
                format!("`{}` cannot name a mark", text.value),
                "a letter, then letters, digits and underscores",
                "",
            );
            return None;
        }
        let is_taken = matches!(text.value.as_str(), "start" | "end");
        if is_taken || !self.taken.insert(text.value.clone()) {
            self.document.error(
                codes::MARK_TWICE,
                text.span,
                format!("there is a mark `{}` already", text.value),
                "",
                match self.rounds.is_empty() {
                    true => "take another name",
                    false => {
                        "name the round, `as = \"n\"` beside `repeat`, and the mark by it: \"t{n}\""
                    }
                },
            );
            return None;
        }
        self.marks.insert(text.value.clone());
        Some(text.value)
    }

    /// Signals with a value each, in the order of the file.
    fn settings(
        &self,
        table: &Table<'_>,
        key: &str,
        actions: &mut Vec<Action>,
        make: impl Fn(Signal, f64) -> Action,
    ) {
        let Some(table) = self.optional(table, key) else {
            return;
        };
        let named = match key {
            "hold" => Named::Held,
            _ => Named::Set,
        };
        for name in table.keys() {
            let text = self.text(&table, &name.value);
            let signal = self.key(&name).and_then(|name| self.moved(&name, named));
            if key == "hold"
                && let Some(signal) = &signal
                && !is_held(signal.quantity)
            {
                self.document.error(
                    codes::UNKNOWN_SIGNAL,
                    name.span,
                    format!("`{signal}` cannot be held"),
                    "",
                    "the controller holds p, q or on of a device",
                );
                continue;
            }
            if let (Some(signal), Some(text)) = (signal, text)
                && let Some(value) = self.value(&signal, &text)
            {
                actions.push(make(signal, value));
            }
        }
        table.finish();
    }

    /// Gives what `set` and `step` have said an end, where the step has `for`.
    fn pulses(&self, table: &Table<'_>, actions: &mut [Action]) {
        if !table.has("for") {
            return;
        }
        let span = table.span_of("for");
        let refuse = |message: String, help: &str| {
            self.document
                .error(codes::NO_RETURN, span.clone(), message, "", help);
        };
        if !table.has("set") && !table.has("step") {
            refuse(
                "`for` ends nothing here".into(),
                "put it beside `step`, such as `step = { \"grid.v\" = \"46V\" }, for = \"150ms\"`",
            );
        }
        let Some(length) = self.optional_time(table, "for") else {
            return;
        };
        for action in actions {
            let (Action::Set { signal, value } | Action::Step { signal, value }) = action else {
                continue;
            };
            if signal.quantity == SignalQuantity::FrequencyNoise {
                refuse(
                    format!("`{signal}` has no value to return to"),
                    "set it in a step of its own",
                );
            }
            *action = Action::Pulse {
                signal: signal.clone(),
                value: *value,
                length,
            };
        }
    }

    /// A key with the matrix put in.
    pub(super) fn key(&self, name: &Spanned<String>) -> Option<Spanned<String>> {
        let value = self.fill(name)?;
        Some(Spanned {
            value,
            span: name.span.clone(),
        })
    }

    /// The recorded course that a step begins, in a file beside the scenario.
    fn course(&self, table: &Table<'_>) -> Option<Action> {
        let text = self.text(table, "play")?;
        let here = Path::new(&self.document.source().path);
        let path = here.parent().unwrap_or(Path::new("")).join(&text.value);
        let course = match crate::bench::course(&path) {
            Ok(course) => course,
            Err(mut faults) => {
                // A file that is not there is told where it is named.
                for fault in faults.iter_mut().filter(|fault| fault.place.is_none()) {
                    fault.place = Some(self.document.place(text.span.clone()));
                }
                self.document.adopt(faults);
                return None;
            }
        };
        let columns = course.columns().iter();
        let signals: Option<Vec<Signal>> = columns
            .map(|column| {
                self.moved(
                    &Spanned {
                        value: column.signal.clone(),
                        span: text.span.clone(),
                    },
                    Named::Set,
                )
            })
            .collect();
        Some(Action::Play {
            course: Arc::new(course),
            signals: signals?,
        })
    }

    fn ramps(&self, table: &Table<'_>, actions: &mut Vec<Action>) {
        let Some(table) = self.optional(table, "ramp") else {
            return;
        };
        for name in table.keys() {
            let Some(ramp) = table.table(&name.value) else {
                continue;
            };
            let signal = self
                .key(&name)
                .and_then(|name| self.moved(&name, Named::Set));
            let to = if ramp.has("to") {
                self.text(&ramp, "to")
            } else {
                ramp.missing("to", "\"49.5Hz\"")
            };
            let over = self.time(&ramp, "over", "2s");
            ramp.finish();
            if let (Some(signal), Some(to), Some(over)) = (signal, to, over)
                && let Some(to) = self.value(&signal, &to)
            {
                actions.push(Action::Ramp { signal, to, over });
            }
        }
        table.finish();
    }

    fn faults(&self, table: &Table<'_>, actions: &mut Vec<Action>) {
        let Some(table) = self.optional(table, "fault") else {
            return;
        };
        for key in table.keys() {
            let (Some(text), Some(name)) = (self.text(&table, &key.value), self.key(&key)) else {
                continue;
            };
            let Some((subject, fault)) = name.value.rsplit_once('.') else {
                self.document.error(
                    codes::BAD_FAULT,
                    key.span,
                    format!("`{}` does not say whose fault", name.value),
                    "",
                    "write it as `\"lan1.loss\" = \"20%\"`",
                );
                continue;
            };
            match read_fault(fault, &text.value) {
                Ok(found) => {
                    self.mention(Named::Faulty(subject.to_owned()), name.span.clone());
                    actions.push(Action::Fault {
                        subject: subject.to_owned(),
                        name: fault.to_owned(),
                        fault: found,
                    });
                }
                Err((message, help)) => {
                    self.document
                        .error(codes::BAD_FAULT, text.span, message, "", help);
                }
            }
        }
        table.finish();
    }

    fn until(&self, table: Table<'_>, actions: &[Action]) -> Option<Until> {
        let keys = ["settle", "above", "below", "mode"];
        let given: Vec<&str> = keys.into_iter().filter(|k| table.has(k)).collect();
        let within = self.time(&table, "within", "5s");
        let kind = match given.as_slice() {
            ["settle"] => self.settle(&table, actions),
            ["above"] => self
                .threshold(&table, "above")
                .map(|(signal, value)| UntilKind::Above { signal, value }),
            ["below"] => self
                .threshold(&table, "below")
                .map(|(signal, value)| UntilKind::Below { signal, value }),
            ["mode"] => self.word(&table, "mode", &modes()).map(UntilKind::Mode),
            _ => {
                self.document.error(
                    codes::BAD_UNTIL,
                    table.span(),
                    format!("a wait has one condition, this one has {}", given.len()),
                    "",
                    "use one of: settle, above, below, mode",
                );
                return None;
            }
        };
        table.finish();
        Some(Until {
            kind: kind?,
            within: within?,
        })
    }

    fn settle(&self, table: &Table<'_>, actions: &[Action]) -> Option<UntilKind> {
        let signal = self.signal_of(table, "settle");
        let rest = self.optional_time(table, "for").unwrap_or(REST);
        if !table.has("band") {
            table.missing::<()>("band", "\"50W\"");
        }
        let signal = signal?;
        if is_switch(signal.quantity) {
            self.document.error(
                codes::UNCHECKABLE,
                table.span_of("settle"),
                format!("`{signal}` has no values in between"),
                "",
                "use `above` or `below`",
            );
        }
        let band = self.distance(&signal, table, "band");
        let told = self
            .text(table, "to")
            .and_then(|text| self.value(&signal, &text));
        let target = told.or_else(|| target_of(&signal, actions));
        Some(UntilKind::Settle {
            signal,
            target,
            band: band?,
            rest,
        })
    }

    fn threshold(&self, table: &Table<'_>, key: &str) -> Option<(Signal, f64)> {
        let signal = self.signal_of(table, key);
        if !table.has("value") {
            return table.missing("value", "\"1kW\"");
        }
        let text = self.text(table, "value")?;
        let signal = signal?;
        let value = self.value(&signal, &text)?;
        Some((signal, value))
    }
}

/// The value that a step gives a signal: there it should settle.
fn target_of(wanted: &Signal, actions: &[Action]) -> Option<f64> {
    actions.iter().find_map(|action| match action {
        Action::Set { signal, value }
        | Action::Step { signal, value }
        | Action::Hold { signal, value }
        | Action::Ramp {
            signal, to: value, ..
        } if signal == wanted => Some(*value),
        _ => None,
    })
}

/// Whether a quantity has two values only.
pub(super) fn is_switch(quantity: SignalQuantity) -> bool {
    matches!(quantity, SignalQuantity::Switch | SignalQuantity::Live)
}

fn is_held(quantity: SignalQuantity) -> bool {
    matches!(
        quantity,
        SignalQuantity::ActivePower | SignalQuantity::ReactivePower | SignalQuantity::Switch
    )
}

/// The fault, or `None` when the text takes it away; else what is wrong and what would help.
fn read_fault(name: &str, value: &str) -> Result<Option<Fault>, (String, String)> {
    // To take a fault away only its name matters, so any value that fits one will do.
    let exists = || {
        [None, Some("1s"), Some("1"), Some("1W")]
            .iter()
            .any(|v| Fault::named(name, *v).is_ok())
    };
    if value == "off" && exists() {
        return Ok(None);
    }
    let value = (value != "on").then_some(value);
    Fault::named(name, value).map(Some).map_err(|e| match e {
        FaultError::Unknown { name, known } => {
            let known: Vec<&str> = known.split(", ").collect();
            let help = nearest(&name, &known);
            (format!("there is no fault `{name}`"), help)
        }
        other => (other.to_string(), String::new()),
    })
}

//! The check of a response against its characteristic.

use document::{Spanned, Table};

use super::Reader;
use super::steps::is_switch;
use crate::check::{Acceptance, Characteristic, CheckKind, Window, WindowEnd};
use crate::codes;
use crate::signal::Signal;

/// What an end of a window must be beyond the step, in response times: see [`crate::check`].
const RESPONSES: u32 = 2;

impl Reader<'_> {
    pub(super) fn curve(&self, table: &Table<'_>) -> Option<CheckKind> {
        let signal = self.signal_between(table, "curve");
        let of = if table.has("of") {
            self.signal_between(table, "of")
        } else {
            table.missing("of", "\"der1.v\"")
        };
        let points = table.text_pairs("points");
        let response = self.optional_time(table, "response");
        let window = self.window(table);
        let max_gap = self.max_gap(table);
        let (signal, of) = (signal?, of?);
        let mra_of = self.accuracy(&of, table, "mra_of", "2.3V");
        let mra = self.accuracy(&signal, table, "mra", "500var");
        let points = self.points(&of, &signal, table, &points)?;
        let window = window?;
        if response.is_some_and(|response| !lasts(&window, response * RESPONSES)) {
            self.wrong_curve(
                table.span_of("response"),
                "the window does not last twice the response time",
                "say `for` with a longer time, or `to` a later moment",
            );
            return None;
        }
        let acceptance = match Acceptance::new(points, mra_of?, mra?) {
            Ok(acceptance) => acceptance,
            Err(error) => {
                self.wrong_curve(table.span_of("points"), &error.to_string(), "");
                return None;
            }
        };
        Some(CheckKind::Curve {
            signal,
            characteristic: Characteristic {
                of,
                acceptance,
                response,
            },
            window,
            max_gap: max_gap?,
        })
    }

    /// A signal that has values in between.
    fn signal_between(&self, table: &Table<'_>, key: &str) -> Option<Signal> {
        let signal = self.signal_of(table, key)?;
        if is_switch(signal.quantity) {
            self.document.error(
                codes::UNCHECKABLE,
                table.span_of(key),
                format!("`{signal}` has no values in between"),
                "",
                "",
            );
            return None;
        }
        Some(signal)
    }

    fn accuracy(
        &self,
        signal: &Signal,
        table: &Table<'_>,
        key: &str,
        example: &str,
    ) -> Option<f64> {
        if table.has(key) {
            self.distance(signal, table, key)
        } else {
            table.missing(key, &format!("\"{example}\""))
        }
    }

    fn points(
        &self,
        of: &Signal,
        signal: &Signal,
        table: &Table<'_>,
        pairs: &[Spanned<[String; 2]>],
    ) -> Option<Vec<(f64, f64)>> {
        if !table.has("points") {
            return table.missing(
                "points",
                "[[\"211.6V\", \"4.4kvar\"], [\"225.4V\", \"0kvar\"]]",
            );
        }
        let value = |signal: &Signal, text: &str, pair: &Spanned<[String; 2]>| {
            let text = self.fill(&Spanned {
                value: text.to_owned(),
                span: pair.span.clone(),
            })?;
            let text = Spanned {
                value: text,
                span: pair.span.clone(),
            };
            self.value(signal, &text)
        };
        pairs
            .iter()
            .map(|pair| {
                let [x, y] = &pair.value;
                Some((value(of, x, pair)?, value(signal, y, pair)?))
            })
            .collect()
    }

    fn wrong_curve(&self, span: std::ops::Range<usize>, message: &str, help: &str) {
        self.document
            .error(codes::BAD_CURVE, span, message.to_owned(), "", help);
    }
}

/// Whether a window is known to last longer than that; one between two marks is judged when it ends.
fn lasts(window: &Window, longer_than: std::time::Duration) -> bool {
    match &window.to {
        WindowEnd::For(length) => *length > longer_than,
        WindowEnd::At(_) => true,
    }
}

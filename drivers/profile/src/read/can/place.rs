//! Where a number stands in a frame: told by bits, or by the name of a DBC signal.

use document::Table;
use model::Point;

use super::super::value;
use crate::can::{Bits, ByteOrder, Field, Number, Selector};
use crate::codes;
use crate::dbc::Message;

/// Names of the byte orders.
const ORDERS: &[(&str, ByteOrder)] = &[("little", ByteOrder::Little), ("big", ByteOrder::Big)];

/// How the numbers of a frame are told.
pub(super) struct Numbers<'m> {
    /// Data bytes that there are.
    pub(super) bytes_max: usize,
    /// The DBC message that has the signals, if the frame is one.
    pub(super) message: Option<&'m Message>,
    /// A message is named that is not there: its signals are passed over.
    pub(super) named: bool,
}

/// A number that was found.
pub(super) struct Placed {
    /// Factor and offset lead to the DBC file's unit, if it comes from one.
    pub(super) field: Field,
    /// The page on which DBC puts it.
    pub(super) page: Vec<Selector>,
    /// The unit that the DBC file tells.
    unit: Option<String>,
    /// Whether it comes from a DBC file, which then says its offset too.
    from_dbc: bool,
}

impl Numbers<'_> {
    /// Where the number of a table stands.
    pub(super) fn read(&self, t: &Table<'_>) -> Option<Placed> {
        if t.has("signal") {
            return self.named_signal(t).or_else(|| passed_over(t));
        }
        if self.named {
            return passed_over(t);
        }
        let at = self.bits(t);
        let signed = t.boolean("signed").is_some_and(|s| s.value);
        let float = t.boolean("float");
        let at = at?;
        let number = match (&float, signed) {
            (Some(f), _) if f.value => {
                if at.len != 32 && at.len != 64 {
                    t.document().error(
                        codes::SIGNAL_OUTSIDE,
                        f.span.clone(),
                        format!("a floating-point number does not have {} bits", at.len),
                        "",
                        "it has 32 or 64",
                    );
                    return None;
                }
                Number::Float
            }
            (_, true) => Number::Signed,
            (_, false) => Number::Unsigned,
        };
        Some(Placed {
            field: Field {
                at,
                number,
                factor: 1.0,
                offset: 0.0,
            },
            page: Vec::new(),
            unit: None,
            from_dbc: false,
        })
    }

    /// The number as a field of a point: scale, unit and sign put in.
    pub(super) fn field(
        &self,
        t: &Table<'_>,
        point: Point,
        sign: Option<f64>,
        placed: Option<&Placed>,
    ) -> Option<Field> {
        let Some(placed) = placed else {
            // What is wrong with its place has been told; unit and sign would only follow.
            return value::pass_over(t);
        };
        let factor = value::factor(t, point, placed.unit.as_deref(), sign);
        let offset = if placed.from_dbc {
            0.0
        } else {
            t.number("offset").map_or(0.0, |o| o.value)
        };
        let factor = factor?;
        Some(Field {
            factor: placed.field.factor * factor,
            offset: placed.field.offset * factor + offset,
            ..placed.field
        })
    }

    /// Bits of a whole number, as `start`, `bits` and `order`.
    pub(super) fn bits(&self, t: &Table<'_>) -> Option<Bits> {
        let most = i64::try_from(self.bytes_max * 8).unwrap_or(i64::MAX);
        let start = match t.integer("start", 0..=(most - 1).max(0)) {
            None if !t.has("start") => t.missing("start", "0"),
            start => start,
        };
        let len = match t.integer("bits", 1..=64) {
            None if !t.has("bits") => t.missing("bits", "16"),
            bits => bits,
        };
        let order = t
            .choice("order", ORDERS)
            .map_or(ByteOrder::Little, |o| o.value);
        let bits = Bits {
            start: u16::try_from(start?.value).ok()?,
            len: u16::try_from(len?.value).ok()?,
            order,
        };
        if bits.last_byte().is_none_or(|last| last >= self.bytes_max) {
            t.document().error(
                codes::SIGNAL_OUTSIDE,
                t.span_of("start"),
                format!("the number does not lie within {} bytes", self.bytes_max),
                "",
                "check start, number of bits and byte order; frames of CAN FD need `fd = true` in `[can]`",
            );
            return None;
        }
        Some(bits)
    }

    /// The page that a table tells by bits and value.
    pub(super) fn page(&self, t: Table<'_>) -> Vec<Selector> {
        let at = self.bits(&t);
        let value = match t.integer("value", 0..=i64::MAX) {
            None if !t.has("value") => t.missing("value", "0"),
            value => value,
        };
        let page = at.zip(value).and_then(|(at, value)| {
            let raw = value.value.unsigned_abs();
            if at.len < 64 && raw >> at.len != 0 {
                t.document().error(
                    codes::PAGE,
                    value.span,
                    format!("{raw} does not fit into {} bits", at.len),
                    "",
                    "the frame would never have this page",
                );
                return None;
            }
            Some(Selector {
                at,
                values: vec![(raw, raw)],
            })
        });
        t.finish();
        page.into_iter().collect()
    }

    fn named_signal(&self, t: &Table<'_>) -> Option<Placed> {
        let name = t.text("signal")?;
        let Some(message) = self.message else {
            if !self.named {
                t.document().error(
                    codes::DBC_NAME,
                    name.span,
                    "this frame names no DBC message",
                    "",
                    "give the frame a `message`, or this number `start` and `bits`",
                );
            }
            return None;
        };
        let Some(signal) = message.signal(&name.value) else {
            let known = message.signals.iter().map(|s| s.name.as_str());
            t.document().error(
                codes::DBC_NAME,
                name.span,
                format!("message `{}` has no signal `{}`", message.name, name.value),
                "",
                suggestion(&name.value, known),
            );
            return None;
        };
        match &signal.shape {
            Ok(shape) => Some(Placed {
                field: shape.field,
                page: shape.page.clone(),
                unit: (!signal.unit.trim().is_empty())
                    .then(|| value::from_dbc(&signal.unit).to_owned()),
                from_dbc: true,
            }),
            Err(why) => {
                t.document().error(
                    codes::DBC_SIGNAL,
                    name.span,
                    format!(
                        "`{}` (line {} of the DBC file) cannot be read: {why}",
                        signal.name, signal.line
                    ),
                    "",
                    "mend it in the DBC file",
                );
                None
            }
        }
    }
}

/// Marks the keys of a place as asked for: what is wrong with them follows from an earlier fault.
fn passed_over<T>(t: &Table<'_>) -> Option<T> {
    for key in ["start", "bits", "order", "signed", "float", "offset"] {
        t.has(key);
    }
    None
}

/// Names that are listed when none is near. Chosen: what a reader still looks through.
const LISTED_MAX: usize = 20;

/// What to write in place of a name that is not there.
pub(super) fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    match crate::near::nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let listed: Vec<&str> = known.clone().take(LISTED_MAX).collect();
            let more = known.count().saturating_sub(LISTED_MAX);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("there are: {}{rest}", listed.join(", "))
        }
    }
}

/// The bits of a frame that are taken.
#[derive(Default)]
pub(super) struct Taken([u64; 8]);

impl Taken {
    /// Takes bits; whether none of them was taken before.
    pub(super) fn take(&mut self, bits: Bits) -> bool {
        let mut free = true;
        for position in bits.positions() {
            if let Some(word) = self.0.get_mut(position / 64) {
                let bit = 1_u64 << (position % 64);
                free &= *word & bit == 0;
                *word |= bit;
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_bits_that_a_dbc_file_would_say() {
        let rows: [(u16, u16, ByteOrder, u64, Option<usize>); 8] = [
            (0, 16, ByteOrder::Little, 0xffff, Some(1)),
            (60, 4, ByteOrder::Little, 0xf << 60, Some(7)),
            (60, 5, ByteOrder::Little, 0xf << 60, Some(8)),
            (7, 16, ByteOrder::Big, 0xffff, Some(1)),
            (3, 8, ByteOrder::Big, 0xf00f, Some(1)),
            (56, 2, ByteOrder::Big, 1 << 56, Some(8)),
            (0, 64, ByteOrder::Little, u64::MAX, Some(7)),
            (7, 64, ByteOrder::Big, u64::MAX, Some(7)),
        ];
        for (start, len, order, mask, last) in rows {
            let bits = Bits { start, len, order };
            let mut taken = Taken::default();
            assert!(taken.take(bits));
            assert!(!taken.take(bits), "{bits:?} is taken twice");
            assert_eq!((taken.0[0], bits.last_byte()), (mask, last), "{bits:?}");
        }
    }
}

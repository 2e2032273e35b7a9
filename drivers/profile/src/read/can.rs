//! Reads the CAN part of a profile.

use std::time::Duration;

use document::Table;

use super::{pass_over, required_time, twice, value};
use crate::can::{ByteOrder, CanId, CanProfile, Frame, KeepAlive, Signal};
use crate::codes;

/// Data bits of a classic CAN frame.
const FRAME_BITS: i64 = 64;

/// Names of the byte orders.
const ORDERS: &[(&str, ByteOrder)] = &[("little", ByteOrder::Little), ("big", ByteOrder::Big)];

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<CanProfile> {
    let Some(head) = root.table("can") else {
        pass_over(root);
        return root.missing("can", "{ bitrate = 500000 }");
    };
    let bitrate = match head.integer("bitrate", 10_000..=1_000_000) {
        None if !head.has("bitrate") => head.missing("bitrate", "500000"),
        bitrate => bitrate,
    };
    head.finish();
    let mut frames: Vec<Frame> = Vec::new();
    let mut points = Vec::new();
    for table in root.tables("frame") {
        let span = table.span_of("id");
        if let Some(frame) = frame(&table, sign, &mut points) {
            if frames.iter().any(|f| f.id == frame.id) {
                twice(&table, codes::FRAME_TWICE, span, "this frame");
            }
            frames.push(frame);
        }
        table.finish();
    }
    if points.is_empty() {
        root.document().error(
            codes::NOTHING_READ,
            root.span(),
            "the profile maps no point",
            "",
            "add `[[frame]]` tables with `signals`",
        );
    }
    let mut keep_alive: Vec<KeepAlive> = Vec::new();
    for table in root.tables("keep_alive") {
        let span = table.span_of("id");
        if let Some(message) = keep_alive_frame(&table) {
            if keep_alive.iter().any(|k| k.id == message.id) {
                twice(&table, codes::FRAME_TWICE, span, "this keep-alive");
            }
            keep_alive.push(message);
        }
        table.finish();
    }
    Some(CanProfile {
        bitrate: u32::try_from(bitrate?.value).ok()?,
        frames,
        keep_alive,
    })
}

fn id(table: &Table<'_>) -> Option<CanId> {
    let extended = table.boolean("extended").is_some_and(|e| e.value);
    let number = match table.integer("id", i64::MIN..=i64::MAX) {
        None if !table.has("id") => table.missing("id", "0x351"),
        number => number,
    }?;
    let max = if extended { 0x1fff_ffff } else { 0x7ff };
    if !(0..=max).contains(&number.value) {
        table.document().error(
            codes::CAN_ID,
            number.span,
            format!("{:#x} is not an identifier of this kind", number.value),
            format!("must lie in 0..={max:#x}"),
            "an identifier of 29 bits needs `extended = true`",
        );
        return None;
    }
    if extended {
        u32::try_from(number.value).ok().map(CanId::Extended)
    } else {
        u16::try_from(number.value).ok().map(CanId::Standard)
    }
}

fn frame(table: &Table<'_>, sign: Option<f64>, points: &mut Vec<model::Point>) -> Option<Frame> {
    let id = id(table);
    let len_min = match table.integer("len_min", 0..=8) {
        None if !table.has("len_min") => table.missing("len_min", "8"),
        len => len,
    };
    let period = required_time(table, "period", "1s");
    let timeout = required_time(table, "timeout", "3s");
    if let (Some(period), Some(timeout)) = (&period, &timeout) {
        check_timeout(table, period.value, timeout);
    }
    let identify = table.text("identify").map(|t| t.value.into_bytes());
    let mut signals = Vec::new();
    let mut bits_taken = 0_u64;
    for t in table.tables("signals") {
        if let Some((signal, bits)) = signal(&t, sign, points) {
            if bits_taken & bits != 0 {
                t.document().error(
                    codes::SIGNALS_OVERLAP,
                    t.span_of("start"),
                    format!("`{}` shares a bit with another signal", signal.point),
                    "",
                    "check start and number of bits",
                );
            }
            bits_taken |= bits;
            signals.push(signal);
        }
        t.finish();
    }
    Some(Frame {
        id: id?,
        len_min: usize::try_from(len_min?.value).ok()?,
        period: period?.value,
        timeout: timeout?.value,
        identify,
        signals,
    })
}

/// Points are believed for at least two periods of what brings them.
pub(super) fn check_timeout(
    table: &Table<'_>,
    period: Duration,
    timeout: &document::Spanned<Duration>,
) {
    if timeout.value < period * 2 {
        table.document().error(
            codes::TIMEOUT_TOO_SHORT,
            timeout.span.clone(),
            format!("a timeout of {:?} is too short", timeout.value),
            format!("it comes every {period:?}"),
            format!("take at least \"{}s\"", (period * 2).as_secs_f64()),
        );
    }
}

/// A signal and the bits that it takes in the frame.
fn signal(
    t: &Table<'_>,
    sign: Option<f64>,
    points: &mut Vec<model::Point>,
) -> Option<(Signal, u64)> {
    let point = value::point(t, "name");
    let start = match t.integer("start", 0..=FRAME_BITS - 1) {
        None if !t.has("start") => t.missing("start", "0"),
        start => start,
    };
    let bits = match t.integer("bits", 1..=FRAME_BITS) {
        None if !t.has("bits") => t.missing("bits", "16"),
        bits => bits,
    };
    let order = t
        .choice("order", ORDERS)
        .map_or(ByteOrder::Little, |o| o.value);
    let signed = t.boolean("signed").is_some_and(|s| s.value);
    let Some(point) = point else {
        return value::pass_over(t);
    };
    if points.contains(&point.value) {
        let what = format!("`{}`", point.value);
        twice(t, codes::POINT_TWICE, point.span.clone(), &what);
    }
    points.push(point.value);
    let point = point.value;
    let factor = value::factor(t, point, None, sign);
    let offset = t.number("offset").map_or(0.0, |o| o.value);
    let range = value::range(t, point);
    let (start, bits) = (
        u16::try_from(start?.value).ok()?,
        u16::try_from(bits?.value).ok()?,
    );
    let Some(taken) = bits_of(start, bits, order) else {
        t.document().error(
            codes::SIGNAL_OUTSIDE,
            t.span_of("start"),
            format!("`{point}` does not lie within eight bytes"),
            "",
            "check start, number of bits and byte order",
        );
        return None;
    };
    Some((
        Signal {
            point,
            start_bit: start,
            bits,
            order,
            signed,
            factor: factor?,
            offset,
            range: range?,
        },
        taken,
    ))
}

/// The bits that a signal takes, as a mask by the number `byte * 8 + bit`; `None` when it leaves the frame.
fn bits_of(start: u16, bits: u16, order: ByteOrder) -> Option<u64> {
    let mut mask = 0_u64;
    let mut at = start;
    for _ in 0..bits {
        mask |= 1_u64.checked_shl(u32::from(at))?;
        at = match order {
            ByteOrder::Little => at + 1,
            // Within a byte downwards, then on to the top bit of the next byte.
            ByteOrder::Big if at.is_multiple_of(8) => at + 15,
            ByteOrder::Big => at - 1,
        };
    }
    Some(mask)
}

fn keep_alive_frame(table: &Table<'_>) -> Option<KeepAlive> {
    let id = id(table);
    let every = required_time(table, "every", "1s");
    let text = table.required_text("data", "00 00 00 00 00 00 00 00")?;
    let data: Option<Vec<u8>> = text
        .value
        .split_whitespace()
        .map(|pair| {
            (pair.len() == 2)
                .then(|| u8::from_str_radix(pair, 16).ok())
                .flatten()
        })
        .collect();
    let Some(data) = data.filter(|d| d.len() <= 8) else {
        table.document().error(
            codes::BAD_BYTES,
            text.span,
            "these are not the bytes of a frame",
            "",
            "write up to eight pairs of hexadecimal digits with spaces between",
        );
        return None;
    };
    Some(KeepAlive {
        id: id?,
        data,
        every: every?.value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_takes_the_bits_that_a_dbc_file_would_say() {
        let rows = [
            (0, 16, ByteOrder::Little, Some(0xffff)),
            (60, 4, ByteOrder::Little, Some(0xf << 60)),
            (60, 5, ByteOrder::Little, None),
            (7, 16, ByteOrder::Big, Some(0xffff)),
            (3, 8, ByteOrder::Big, Some(0xf00f)),
            (56, 2, ByteOrder::Big, None),
            (0, 64, ByteOrder::Little, Some(u64::MAX)),
            (7, 64, ByteOrder::Big, Some(u64::MAX)),
        ];
        for (start, bits, order, expected) in rows {
            assert_eq!(
                bits_of(start, bits, order),
                expected,
                "{start} {bits} {order:?}"
            );
        }
    }
}

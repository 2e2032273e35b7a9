//! `[market.day_ahead]`: how many intervals are traded at once, and how long before.

use std::time::Duration;

use document::Table;

use super::super::DayAhead;
use super::mechanism_of;

/// Least time between the gate of a block and that of its first interval in real time.
/// Chosen: 1 s, ten cycles; clearing and ledger take less than 0.2 s.
const BETWEEN_GATES: Duration = Duration::from_secs(1);
/// Longest time before a block: a day and a half, as on exchanges.
const GATE_MAX: Duration = Duration::from_secs(36 * 3600);

pub(super) fn stage(
    market: &Table<'_>,
    real_time: Option<&str>,
    (real_time_gate, time_factor): (Duration, u32),
) -> Option<DayAhead> {
    if !market.has("day_ahead") {
        return None;
    }
    let table = market.table("day_ahead")?;
    let document = table.document();
    let intervals = match table.has("intervals") {
        true => table.integer("intervals", 1..=96),
        false => table.missing("intervals", "4"),
    };
    let gate = match table.has("gate") {
        true => table.duration("gate"),
        false => table.missing("gate", "\"10s\""),
    };
    let mechanism = mechanism_of(&table, real_time.unwrap_or_default());
    table.finish();
    let gate = gate?;
    let least = real_time_gate + BETWEEN_GATES * time_factor;
    if !(least..=GATE_MAX).contains(&gate.value) {
        document.error(
            "R106",
            gate.span,
            format!(
                "the day-ahead gate closes {:?} before its block",
                gate.value
            ),
            "",
            format!(
                "let it close from {least:?} to 36 h before: the real-time gate of the first interval follows it"
            ),
        );
    }
    Some(DayAhead {
        intervals: intervals?.value.unsigned_abs(),
        gate: gate.value,
        mechanism: mechanism?,
    })
}

//! `[market.intraday]`: how many intervals are open in order books until real time.

use document::Table;

/// Most intervals that are open at a time. Chosen: 16, four hours of quarter hours; each that is
/// open costs a book of half a megabyte and orders of everybody in each interval.
const INTERVALS_MAX: i64 = 16;

pub(super) fn stage(market: &Table<'_>) -> Option<u64> {
    if !market.has("intraday") {
        return None;
    }
    let table = market.table("intraday")?;
    let intervals = match table.has("intervals") {
        true => table.integer("intervals", 1..=INTERVALS_MAX),
        false => table.missing("intervals", "4"),
    };
    table.finish();
    Some(intervals?.value.unsigned_abs())
}

//! `[market.intraday]`: how many intervals are open in order books until real time.

use document::Table;

/// Most intervals that are open at a time. Chosen: 16, four hours of quarter hours; each that is
/// open costs a book of half a megabyte and orders of everybody in each interval.
const INTERVALS_MAX: i64 = 16;

pub(super) fn stage(market: &Table<'_>, has_obligations: bool) -> Option<u64> {
    if !market.has("intraday") {
        return None;
    }
    let table = market.table("intraday")?;
    let intervals = match table.has("intervals") {
        true => table.integer("intervals", 1..=INTERVALS_MAX),
        false => table.missing("intervals", "4"),
    };
    let (span, document) = (table.span(), table.document());
    table.finish();
    if has_obligations {
        document.error(
            "R107",
            span,
            "trade within the day and `[market.penalty]` do not go together yet",
            "",
            "leave one of them out: deposits do not cover positions that are traded before",
        );
    }
    Some(intervals?.value.unsigned_abs())
}

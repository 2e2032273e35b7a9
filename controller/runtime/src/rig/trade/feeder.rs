//! `[market.feeder]`: the real-time stage on the lines of `[network]`, within a band of voltage.

use document::Table;

/// Name of the only price rule that a feeder has: the middle of the prices that support a node.
const RULE: &str = "uniform_k_half";
/// Rounds of a feeder that states none. Chosen: three, as many as a chain of three lines may need.
const ROUNDS: i64 = 3;
/// Most rounds. Chosen: ten; a round of a bench's few orders and buses takes less than a millisecond.
const ROUNDS_MAX: i64 = 10;

/// What a market heeds of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketFeeder {
    /// Least and most voltage of a bus, in per unit of its nominal one.
    pub band_pu: (f64, f64),
    /// Where the band comes from.
    pub origin: String,
    /// How often an interval is cleared again for the band; never if zero.
    pub rounds: u32,
    /// Whether prices hold the losses of lines.
    pub losses: bool,
}

pub(super) fn stage(
    market: &Table<'_>,
    mechanism: Option<&str>,
    has_network: bool,
) -> Option<MarketFeeder> {
    if !market.has("feeder") {
        return None;
    }
    let table = market.table("feeder")?;
    let document = table.document();
    let fault = |span, message: String, help: &str| {
        document.error("R176", span, message, "", help);
    };
    if !has_network {
        let help = "describe it in `[network]`, or leave `[market.feeder]` out";
        fault(table.span(), "the rig has no network".into(), help);
    }
    if let Some(other) = mechanism.filter(|name| *name != RULE) {
        let help = "leave `mechanism` out: on a feeder every node has the middle of its prices";
        let what = format!("`{other}` knows no lines");
        fault(market.span_of("mechanism"), what, help);
    }
    let percent = |key: &str, example: &str| match table.has(key) {
        true => table.number(key),
        false => table.missing(key, example),
    };
    let (low, high) = (
        percent("v_min_percent", "90"),
        percent("v_max_percent", "110"),
    );
    let origin = table.required_text("origin", "EN 50160:2010, 4.2.2");
    let rounds = match table.has("rounds") {
        true => table
            .integer("rounds", 0..=ROUNDS_MAX)
            .map(|rounds| rounds.value),
        false => Some(ROUNDS),
    };
    let losses = table.boolean("losses").is_some_and(|losses| losses.value);
    table.finish();
    let (low, high) = (low?, high?);
    if !(50.0..100.0).contains(&low.value) || !(100.0..=150.0).contains(&high.value) {
        let what = format!("no band goes from {} to {} per cent", low.value, high.value);
        let help = "let it begin from 50 to 100 and end from 100 to 150 per cent of nominal";
        fault(high.span, what, help);
    }
    Some(MarketFeeder {
        band_pu: (low.value / 100.0, high.value / 100.0),
        origin: origin?.value,
        rounds: rounds? as u32,
        losses,
    })
}

//! `[market.penalty]`: what deviations cost, what covers orders, and who may still trade.

use std::ops::RangeInclusive;

use document::Table;
use market::Money;
use market::penalty::PenaltyRules;
use market::standing::StandingRules;
use market::venue::ObligationRules;
use quantities::Energy;

use super::super::Participation;
use crate::evidence::milliwatts;

/// One whole, in parts per million.
const WHOLE_PPM: i64 = 1_000_000;
/// A deposit in milli-cent: up to 10000 EUR.
pub(super) const DEPOSITS: RangeInclusive<i64> = 0..=1_000_000_000;
/// Units of money in a milli-cent.
const UNITS_PER_MILLICENT: i128 = 1_000_000;
/// Standard deviation of an honest forecast. Chosen: 3 % of its energy, what holding the power of
/// now for a minute misses on a bench.
const FORECAST_ERROR_PPM: i64 = 30_000;

pub(super) fn obligations(
    market: &Table<'_>,
    participants: &[Participation],
) -> Option<ObligationRules> {
    if !market.has("penalty") {
        if let Some(one) = participants.iter().find(|one| one.deposit_mc.is_some()) {
            market.document().error(
                "R099",
                market.span(),
                format!(
                    "`{}` gives a deposit, and nothing is covered by it",
                    one.name
                ),
                "",
                "add `[market.penalty]`, or leave `deposit_mc` out",
            );
        }
        return None;
    }
    let unbound = |one: &&Participation| !one.bound && one.deposit_mc.is_some();
    if let Some(one) = participants.iter().find(unbound) {
        market.document().error(
            "R099",
            market.span(),
            format!("`{}` gives a deposit and is not bound", one.name),
            "",
            "add `bound = true`, or leave `deposit_mc` out",
        );
    }
    let table = market.table("penalty")?;
    let document = table.document();
    let whole = |key: &str, range: RangeInclusive<i64>, default: u32| match table.has(key) {
        true => table.integer(key, range).map(|it| it.value as u32),
        false => Some(default),
    };
    let share = |key: &str, default: u32| whole(key, 0..=WHOLE_PPM, default);
    let count = |key: &str, default: u32| whole(key, 1..=1_000_000, default);
    let deposit = match table.has("deposit_mc") {
        true => table.integer("deposit_mc", DEPOSITS).map(|it| it.value),
        false => table.missing("deposit_mc", "1000000"),
    };
    let (penalty, standing) = (PenaltyRules::DEFAULT, StandingRules::DEFAULT);
    let tolerance = match table.has("tolerance") {
        true => table.quantity::<Energy>("tolerance").map(|it| {
            let energy = milliwatts(it.value.as_watt_hours());
            if energy < 0 {
                document.error("R099", it.span, "a tolerance is not negative", "", "");
            }
            market::Mwh(energy)
        }),
        false => Some(penalty.tolerance),
    };
    let tolerance_ppm = share("tolerance_ppm", penalty.tolerance_ppm);
    let share_ppm = share("share_ppm", penalty.share_ppm);
    let target_ppm = share("target_ppm", penalty.target_ppm);
    let strength_ppm = share("strength_ppm", penalty.strength_ppm);
    let memory_ppm = share("memory_ppm", penalty.memory_ppm);
    let forecast_error_ppm = share("forecast_error_ppm", FORECAST_ERROR_PPM as u32);
    let call_at = count("call_at", standing.call_at);
    let cap_at = count("cap_at", standing.cap_at);
    let suspend_at = count("suspend_at", standing.suspend_at);
    let suspended_for = count("suspended_for", standing.suspended_for);
    let collateral_ppm = whole(
        "collateral_ppm",
        WHOLE_PPM..=100 * WHOLE_PPM,
        standing.collateral_ppm,
    );
    let cap_ppm = share("cap_ppm", standing.cap_ppm);
    let span = table.span();
    table.finish();
    let standing = StandingRules {
        call_at: call_at?,
        cap_at: cap_at?,
        suspend_at: suspend_at?,
        suspended_for: suspended_for?,
        collateral_ppm: collateral_ppm?,
        cap_ppm: cap_ppm?,
    };
    if !(standing.call_at <= standing.cap_at && standing.cap_at < standing.suspend_at) {
        document.error(
            "R099",
            span,
            format!(
                "a standing is called at {}, capped at {} and suspended at {} breaches",
                standing.call_at, standing.cap_at, standing.suspend_at
            ),
            "",
            "let `call_at` be at most `cap_at`, and `cap_at` less than `suspend_at`",
        );
    }
    let deposit = deposit?;
    let bound = participants.iter().filter(|one| one.bound);
    let deposits = bound.map(|one| {
        let deposit = i128::from(one.deposit_mc.unwrap_or(deposit));
        (
            one.name.as_str().into(),
            Money(deposit * UNITS_PER_MILLICENT),
        )
    });
    Some(ObligationRules {
        penalty: PenaltyRules {
            tolerance: tolerance?,
            tolerance_ppm: tolerance_ppm?,
            share_ppm: share_ppm?,
            target_ppm: target_ppm?,
            strength_ppm: strength_ppm?,
            memory_ppm: memory_ppm?,
        },
        standing,
        forecast_error_ppm: forecast_error_ppm?,
        deposits: deposits.collect(),
    })
}

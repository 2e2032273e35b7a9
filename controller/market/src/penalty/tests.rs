use super::*;

const TRADER: Trader = Trader {
    energy: Mwh(100_000),
    error: Mwh(4_000),
    gain: Price(6_000),
};

fn engine(spread: i64, trader: Trader) -> PenaltyEngine {
    PenaltyEngine::new(PenaltyRules::DEFAULT, Price(spread), trader).unwrap()
}

fn seen(spread: i64, breaches: u32) -> Seen {
    Seen {
        imbalance: Price(20_000 + spread),
        contract: Price(20_000),
        deliveries: 100,
        breaches,
    }
}

#[test]
fn the_bounds_are_those_of_the_formula() {
    let told = engine(2_000, TRADER).penalty();
    // 5 % of 100 Wh is 1.25 deviations; φ(1.25) − 1.25·(1 − Φ(1.25)) = 0.05059.
    // 0.5 · 100000 · 6000 / (2 · 4000 · 0.0508152) = 737968 by the table's chord.
    assert_eq!((told.low, told.rate), (Price(2_000), Price(2_000)));
    let high = told.high.unwrap().0;
    assert!((735_000..741_000).contains(&high), "{high}");
    assert_eq!(told.free(MwhTotal(100_000)), MwhTotal(5_000));
    assert_eq!(told.free(MwhTotal(-200_000)), MwhTotal(10_000));
    assert_eq!(told.free(MwhTotal(10)), MwhTotal(1_000));
}

#[test]
fn only_what_is_beyond_the_tolerance_costs() {
    let told = engine(2_000, TRADER).penalty();
    for (deviation, charge) in [
        (0, 0),
        (5_000, 0),
        (-5_000, 0),
        (5_001, 2_000),
        (-6_000, 2_000_000),
    ] {
        let (committed, deviation) = (MwhTotal(100_000), MwhTotal(deviation));
        assert_eq!(
            told.charge(committed, deviation),
            Money(charge),
            "{deviation}"
        );
        assert_eq!(told.is_breach(committed, deviation), charge > 0);
    }
}

#[test]
fn the_rate_rises_while_tolerances_are_broken_and_falls_back_when_they_are_kept() {
    let mut engine = engine(2_000, TRADER);
    let mut last = engine.penalty().rate;
    for _ in 0..20 {
        let told = engine.take(seen(2_000, 30), TRADER);
        assert!(told.rate > last, "{last} then {}", told.rate);
        assert!(told.low <= told.rate && told.high.is_none_or(|high| told.rate <= high));
        last = told.rate;
    }
    // exp(0.5 · 0.28) each time.
    assert!((32_000..33_500).contains(&last.0), "{last}");
    for _ in 0..400 {
        engine.take(seen(2_000, 0), TRADER);
    }
    assert!(engine.penalty().rate < last);
    let still = engine.penalty();
    let nothing = Seen {
        deliveries: 0,
        breaches: 0,
        ..seen(2_000, 0)
    };
    assert_eq!(engine.take(nothing, TRADER).rate, still.rate);
}

#[test]
fn the_lower_bound_follows_the_spread_that_deviating_would_earn() {
    let mut engine = engine(0, TRADER);
    assert_eq!(engine.penalty().rate, Price(0));
    for _ in 0..200 {
        engine.take(seen(-9_000, 0), TRADER);
    }
    let told = engine.penalty();
    assert!((8_990..=9_000).contains(&told.low.0), "{}", told.low);
    assert_eq!(told.rate, told.low);
}

#[test]
fn a_tolerance_too_narrow_for_the_honest_is_widened_until_the_bounds_are_in_order() {
    let poor = Trader {
        gain: Price(10),
        error: Mwh(40_000),
        ..TRADER
    };
    let told = engine(2_000, poor).penalty();
    assert!(told.tolerance > PenaltyRules::DEFAULT.tolerance);
    assert!(told.high.is_none_or(|high| high >= told.low), "{told:?}");
    // Honest trading pays on average: what is paid stays below half of the gain.
    let free = told.free(poor.energy.into()).0;
    let paid = expected_excess(poor.error, free) * i128::from(told.rate.0) / LOSS_WHOLE;
    assert!(
        paid <= i128::from(poor.gain.0 * poor.energy.0) / 2,
        "{paid}"
    );
}

#[test]
fn the_table_is_that_of_the_gaussian() {
    // Without a tolerance the mean of |e| is σ·√(2/π).
    assert_eq!(expected_excess(Mwh(1_000_000), 0) / LOSS_WHOLE, 797_884);
    assert_eq!(
        expected_excess(Mwh(1_000_000), 1_000_000) / LOSS_WHOLE,
        166_630
    );
    assert_eq!(expected_excess(Mwh(1_000_000), 6_000_000), 0);
    assert_eq!(expected_excess(Mwh(0), 5), 0);
    assert!(LOSS.is_sorted_by(|a, b| a > b));
}

#[test]
fn growth_is_that_of_the_exponential() {
    for (ppm, expected) in [
        (0, 1_000_000),
        (500_000, 1_648_721),
        (-500_000, 606_531),
        (20_000, 1_020_201),
    ] {
        assert_eq!(grow(Price(1_000_000), ppm), Price(expected), "{ppm}");
    }
    // Small rates move too.
    assert_eq!(
        (grow(Price(1), 10), grow(Price(1), -10)),
        (Price(2), Price(0))
    );
}

#[test]
fn rules_that_are_no_shares_are_refused() {
    let rules = PenaltyRules {
        share_ppm: PPM + 1,
        ..PenaltyRules::DEFAULT
    };
    assert_eq!(
        PenaltyEngine::new(rules, Price(0), TRADER)
            .unwrap_err()
            .code(),
        "M150"
    );
    assert!(PenaltyEngine::new(PenaltyRules::DEFAULT, Price(-1), TRADER).is_err());
}

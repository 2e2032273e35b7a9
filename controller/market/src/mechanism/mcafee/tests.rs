use super::super::sbba::{Sbba, sbba};
use super::*;
use proptest::prelude::*;

fn prices(values: &[i64]) -> Vec<Price> {
    values.iter().copied().map(Price).collect()
}

#[test]
fn without_a_second_pair_nobody_can_set_the_price() {
    let (one, none) = (prices(&[9]), prices(&[]));
    let expected = McAfee {
        crossing: 1,
        trades: 0,
        prices: None,
        surplus: 0,
    };
    assert_eq!(mcafee(&one, &prices(&[4])), expected);
    assert_eq!(mcafee(&one, &none).crossing, 0);
    assert_eq!(sbba(&one, &prices(&[4])).price, None);
    assert_eq!(
        sbba(&none, &one),
        Sbba {
            crossing: 0,
            trades: 0,
            price: None,
            lottery: false
        }
    );
}

#[test]
fn sbba_loses_no_trade_when_the_next_seller_can_set_the_price() {
    let expected = Sbba {
        crossing: 1,
        trades: 1,
        price: Some(Price(6)),
        lottery: false,
    };
    assert_eq!(sbba(&prices(&[9, 1]), &prices(&[4, 6])), expected);
}

/// Gain of one trader whose value is `truth` when it says `said`.
fn gain(buyer: bool, truth: i64, said: i64, others: &[Price], opposite: &[Price]) -> i64 {
    let side: Vec<Price> = others.iter().copied().chain([Price(said)]).collect();
    let outcome = if buyer {
        mcafee(&side, opposite)
    } else {
        mcafee(opposite, &side)
    };
    let Some((buy, sell)) = outcome.prices else {
        return 0;
    };
    // Ties go to the others, which were there first.
    let better = others
        .iter()
        .filter(|o| if buyer { o.0 >= said } else { o.0 <= said })
        .count();
    if better >= outcome.trades {
        0
    } else if buyer {
        truth - buy.0
    } else {
        sell.0 - truth
    }
}

proptest! {
    #[test]
    fn nobody_gains_by_a_false_bid_in_mcafees_auction(
        others in prop::collection::vec(0_i64..15, 0..5),
        opposite in prop::collection::vec(0_i64..15, 0..6),
        truth in 0_i64..15, said in 0_i64..15, buyer in any::<bool>(),
    ) {
        // Doubled prices, so that the middle of two is a whole number.
        let doubled = |values: &[i64]| prices(&values.iter().map(|v| 2 * v).collect::<Vec<_>>());
        let (others, opposite) = (doubled(&others), doubled(&opposite));
        let honest = gain(buyer, 2 * truth, 2 * truth, &others, &opposite);
        prop_assert!(honest >= 0);
        prop_assert!(gain(buyer, 2 * truth, 2 * said, &others, &opposite) <= honest);
    }
}

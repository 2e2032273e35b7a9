use super::*;
use crate::chance::Chance;
use crate::fault::Coded;

const SCALE: Scale = Scale::Ticks {
    floor: Price(-100),
    tick: 10,
    levels: 41,
};

fn tender(id: u32, side: Side, price: i64, quantity: i64, validity: Validity) -> Tender {
    Tender {
        id,
        owner: id,
        side,
        price: Price(price),
        quantity: Mwh(quantity),
        validity,
    }
}

/// Enters all tenders, which must be admissible; the trades as maker, taker, energy, price.
fn check(tenders: &[Tender], expected: &[(u32, u32, i64, i64)], rests: &[(u32, i64, i64)]) {
    let mut book = ContinuousBook::new(SCALE).unwrap();
    let mut executions = Vec::new();
    for &tender in tenders {
        book.submit(tender, &mut executions).unwrap();
    }
    let found: Vec<_> = (executions.iter())
        .map(|e| (e.maker, e.taker, e.quantity.0, e.price.0))
        .collect();
    assert_eq!(found, expected);
    let left: Vec<_> = (book.close().into_iter())
        .map(|(id, left, price)| (id, left.0, price.0))
        .collect();
    assert_eq!(left, rests);
}

use Side::{Buy, Sell};
use Validity::{Gate, Immediate, Until, Whole};

#[test]
fn better_prices_trade_first_then_older_orders_at_the_resting_price() {
    check(
        &[
            tender(1, Sell, 20, 5, Gate),
            tender(2, Sell, 20, 5, Gate),
            tender(3, Sell, 10, 5, Gate),
            tender(4, Buy, 30, 12, Gate),
            tender(5, Buy, 0, 1, Gate),
            tender(6, Sell, -100, 2, Gate),
        ],
        &[(3, 4, 5, 10), (1, 4, 5, 20), (2, 4, 2, 20), (5, 6, 1, 0)],
        &[(2, 3, 20), (6, 1, -100)],
    );
}

#[test]
fn what_is_immediate_never_rests_and_what_is_whole_trades_whole() {
    let rests = [tender(1, Sell, 10, 5, Gate), tender(2, Sell, 20, 5, Gate)];
    let with = |last: Tender| rests.into_iter().chain([last]).collect::<Vec<_>>();
    check(
        &with(tender(3, Buy, 10, 7, Immediate)),
        &[(1, 3, 5, 10)],
        &[(2, 5, 20)],
    );
    check(
        &with(tender(3, Buy, 20, 11, Whole)),
        &[],
        &[(1, 5, 10), (2, 5, 20)],
    );
    check(
        &with(tender(3, Buy, 10, 6, Whole)),
        &[],
        &[(1, 5, 10), (2, 5, 20)],
    );
    check(
        &with(tender(3, Buy, 20, 10, Whole)),
        &[(1, 3, 5, 10), (2, 3, 5, 20)],
        &[],
    );
}

#[test]
fn nobody_trades_with_itself() {
    let mine = |id, side, validity| Tender {
        owner: 9,
        ..tender(id, side, 10, 5, validity)
    };
    check(
        &[
            mine(1, Sell, Gate),
            tender(2, Sell, 0, 2, Gate),
            mine(3, Buy, Gate),
        ],
        &[(2, 3, 2, 0)],
        &[(1, 5, 10)],
    );
    check(
        &[
            tender(2, Sell, 0, 2, Gate),
            mine(1, Sell, Gate),
            mine(3, Buy, Whole),
        ],
        &[],
        &[(1, 5, 10), (2, 2, 0)],
    );
}

#[test]
fn a_smaller_order_keeps_its_place_and_a_cancelled_one_is_gone() {
    let mut book = ContinuousBook::new(SCALE).unwrap();
    let mut executions = Vec::new();
    let mut enter =
        |book: &mut ContinuousBook, tender| match book.submit(tender, &mut executions).unwrap() {
            Placed::Rests { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
    let first = enter(&mut book, tender(1, Buy, 10, 5, Gate));
    let second = enter(&mut book, tender(2, Buy, 10, 5, Gate));
    let third = enter(&mut book, tender(3, Buy, 10, 5, Until(50)));
    assert_eq!(book.reduce(first, Mwh(2)), Some(Mwh(2)));
    for refused in [0, 2, 3] {
        assert_eq!(book.reduce(first, Mwh(refused)), None);
    }
    assert_eq!(book.cancel(second), Some(Mwh(5)));
    assert_eq!(
        (book.cancel(second), book.reduce(second, Mwh(1))),
        (None, None)
    );
    let mut executions = Vec::new();
    book.submit(tender(4, Sell, 10, 3, Gate), &mut executions)
        .unwrap();
    let makers: Vec<_> = executions.iter().map(|e| (e.maker, e.quantity.0)).collect();
    assert_eq!(makers, [(1, 2), (3, 1)]);
    // A slot that is used again does not bring the old ticket back to life.
    book.submit(tender(5, Buy, 0, 1, Gate), &mut executions)
        .unwrap();
    assert_eq!((book.cancel(first), book.cancel(second)), (None, None));
    assert_eq!(book.expire(49), []);
    assert_eq!(book.expire(50), [(3, Mwh(4))]);
    assert_eq!(book.cancel(third), None);
    assert_eq!(book.best(Buy), Some(Price(0)));
    // What has traded does not expire again, also at the instant zero.
    enter_at_zero(&mut book);
    assert_eq!(book.expire(0), []);
}

fn enter_at_zero(book: &mut ContinuousBook) {
    let mut executions = Vec::new();
    for tender in [
        tender(6, Buy, 100, 1, Until(0)),
        tender(7, Sell, 100, 1, Gate),
    ] {
        book.submit(tender, &mut executions).unwrap();
    }
    assert_eq!(executions.len(), 1);
}

#[test]
fn what_is_no_price_or_no_quantity_leaves_the_book_as_it_was() {
    let mut book = ContinuousBook::new(SCALE).unwrap();
    for (price, quantity, code) in [
        (15, 1, "M111"),
        (310, 1, "M111"),
        (-110, 1, "M111"),
        (0, 0, "M112"),
    ] {
        let refused = book.submit(tender(1, Buy, price, quantity, Gate), &mut Vec::new());
        assert_eq!(refused.unwrap_err().code(), code, "{price} {quantity}");
    }
    assert_eq!(book.close(), []);
    for (tick, levels) in [(0, 5), (1, 0), (1, LEVELS_MAX + 1)] {
        let scale = Scale::Ticks {
            floor: Price(0),
            tick,
            levels,
        };
        assert_eq!(ContinuousBook::new(scale).unwrap_err().code(), "M110");
    }
}

/// The same rules, plainly: a list of orders that is searched each time.
#[derive(Default)]
struct Plain(Vec<(Tender, i64)>);

impl Plain {
    fn submit(&mut self, tender: Tender, executions: &mut Vec<Execution>) -> bool {
        let mut left = tender.quantity.0;
        let mut trades = Vec::new();
        let mut book = self.0.clone();
        let mut met_own = false;
        while left > 0 {
            let reaches = |rest: &Tender| match tender.side {
                Buy => rest.price <= tender.price,
                Sell => rest.price >= tender.price,
            };
            let opposite = book
                .iter_mut()
                .filter(|(rest, _)| rest.side != tender.side && reaches(rest));
            // Stable: of equal prices the first that was entered.
            let best = opposite.min_by_key(|(rest, _)| {
                if tender.side == Buy {
                    rest.price.0
                } else {
                    -rest.price.0
                }
            });
            let Some((rest, rest_left)) = best else { break };
            if rest.owner == tender.owner {
                met_own = true;
                break;
            }
            let quantity = left.min(*rest_left);
            *rest_left -= quantity;
            left -= quantity;
            trades.push(Execution {
                maker: rest.id,
                taker: tender.id,
                quantity: Mwh(quantity),
                price: rest.price,
            });
            book.retain(|(_, left)| *left > 0);
        }
        if tender.validity == Whole && left > 0 {
            return false;
        }
        self.0 = book;
        executions.extend(trades);
        let rests = left > 0 && !met_own && tender.validity == Gate;
        if rests {
            self.0.push((tender, left));
        }
        rests
    }
}

#[test]
fn the_book_agrees_with_a_plain_list_over_random_operations() {
    for seed in 0..40 {
        let mut chance = Chance::seeded(seed);
        let mut book = ContinuousBook::new(SCALE).unwrap();
        let mut plain = Plain::default();
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        let mut tickets: Vec<(u32, Ticket)> = Vec::new();
        for id in 0..300 {
            let which = chance.within(0, 9);
            if which < 3 && !tickets.is_empty() {
                let (id, ticket) = tickets[chance.within(0, tickets.len() as i64 - 1) as usize];
                let rests = plain.0.iter().position(|(tender, _)| tender.id == id);
                let quantity = chance.within(1, 6);
                if which == 0 {
                    let smaller = rests.filter(|&at| quantity < plain.0[at].1);
                    assert_eq!(
                        book.reduce(ticket, Mwh(quantity)).is_some(),
                        smaller.is_some()
                    );
                    smaller.into_iter().for_each(|at| plain.0[at].1 = quantity);
                } else {
                    let left = rests.map(|at| Mwh(plain.0.remove(at).1));
                    assert_eq!(book.cancel(ticket), left);
                }
                continue;
            }
            let side = if chance.within(0, 1) == 0 { Buy } else { Sell };
            let price = 10 * chance.within(-5, 5);
            let validity = [Gate, Gate, Gate, Immediate, Whole][chance.within(0, 4) as usize];
            let tender = Tender {
                owner: chance.within(0, 6) as u32,
                ..tender(id, side, price, chance.within(1, 9), validity)
            };
            let placed = book.submit(tender, &mut fast).unwrap();
            let rests = plain.submit(tender, &mut slow);
            assert_eq!(fast, slow, "seed {seed}, order {id}");
            assert_eq!(
                matches!(placed, Placed::Rests { .. }),
                rests,
                "seed {seed}, order {id}"
            );
            if let Placed::Rests { ticket, .. } = placed {
                tickets.push((id, ticket));
            }
        }
        let mut rests: Vec<_> = plain
            .0
            .iter()
            .map(|(t, left)| (t.id, Mwh(*left), t.price))
            .collect();
        rests.sort_by_key(|&(id, ..)| id);
        assert_eq!(book.close(), rests);
        assert!(fast.len() > 50, "few trades would prove little");
    }
}

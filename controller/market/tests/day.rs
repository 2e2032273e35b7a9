//! A day of a local market: fifty participants of every kind, 96 quarter hours, meters
//! that disagree with the plans. Money sums to zero in every interval, the order of
//! arrival does not matter, and the records replay. Once in real time alone, and once
//! through every stage of a venue, on three replicas that hear the orders of a gate in
//! another order each.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has to fail"
)]

use std::collections::{BTreeMap, BTreeSet};

use market::agent::{Outlook, Participant};
use market::book::Capability;
use market::chance::Chance;
use market::contract::Contract;
use market::mechanism::by_name;
use market::meter::Reading;
use market::penalty::PenaltyRules;
use market::replay::{Record, Settled, replay};
use market::settlement::{Basis, CouplingMeter, Item, settle};
use market::standing::StandingRules;
use market::utility::{Coupling, Parity};
use market::venue::intraday::{around, intraday_rules};
use market::venue::{AheadRules, IntradayRules, ObligationRules, VenueRules, ahead};
use market::{
    Agent, AgentId, Book, BookRules, Interval, MarketView, Money, Mwh, MwhTotal, Order, Price,
    Side, Venue,
};

const QUARTER_NS: i64 = 900_000_000_000;
const INTERVALS: u64 = 96;

const PARITY: Parity = Parity {
    import: Price(29_590),
    export: Price(7_350),
};

/// How many of each kind, and the declaration without the name.
const KINDS: [(usize, &str); 11] = [
    (12, r#""kind":"pv""#),
    (12, r#""kind":"must_run""#),
    (6, r#""kind":"flexible_plug","willingness":21000"#),
    (
        3,
        r#""kind":"price_taker","sell_from":-500,"buy_up_to":24000"#,
    ),
    (4, r#""kind":"quadratic_load","choke":40000"#),
    (
        3,
        r#""kind":"zero_intelligence","limit":18000,"constrained":true,"seed":5"#,
    ),
    (3, r#""kind":"zip","limit":17000,"margin":3000,"seed":6"#),
    (
        2,
        r#""kind":"battery","capacity_mwh":9000000,"charge_milliwatt_max":4000000,
        "discharge_milliwatt_max":4000000,"state_of_charge_ppm_min":100000,
        "state_of_charge_ppm_max":900000,"reserve_ppm":0,"charge_efficiency_ppm":950000,
        "discharge_efficiency_ppm":950000,"degradation":500,
        "thresholds":{"fixed":{"buy_below":11000,"sell_above":26000}}"#,
    ),
    (
        3,
        r#""kind":"electric_vehicle","capacity_mwh":40000000,"charge_milliwatt_max":7000000,
        "charge_efficiency_ppm":920000,"wanted_ppm":800000,"departure_ns":61200000000000,
        "slack_full_ns":21600000000000,"patient":9000,"urgency":2"#,
    ),
    (
        1,
        r#""kind":"climate","milliwatt":2000000,"wanted_mk":295000,"limit_mk":298000,
        "reach_ppm":2000000,"expected":20000,"deviation":4000"#,
    ),
    (
        1,
        r#""kind":"utility_grid","parity":{"import":29590,"export":7350}"#,
    ),
];

fn participants() -> Vec<Participant> {
    let kinds = KINDS.iter().enumerate();
    let each = kinds.flat_map(|(kind, (count, declared))| {
        (0..*count).map(move |number| {
            let text = format!("{{{declared},\"agent\":\"p{kind:02}{number:02}\"}}");
            serde_json::from_str(&text).unwrap()
        })
    });
    each.collect()
}

/// Sun by day, load all day, both with noise; what nobody forecasts stays unknown.
fn outlook(participant: &Participant, index: u64, chance: &mut Chance) -> Outlook {
    let noon = i64::try_from(index).unwrap() - 48;
    let sun = (36 * 36 - noon * noon).max(0) * 900;
    let load = 250_000 + 3_000 * (index as i64 % 24);
    let noise = chance.within(-40_000, 40_000);
    let forecast = match participant {
        Participant::Pv(_) => Some(Mwh((sun + noise).max(0))),
        Participant::Battery(_) | Participant::ElectricVehicle(_) | Participant::UtilityGrid(_) => {
            None
        }
        Participant::PriceTaker(_) | Participant::Zip(_) | Participant::ZeroIntelligence(_) => {
            Some(Mwh(chance.within(-200_000, 200_000)))
        }
        _ => Some(Mwh(-load + noise)),
    };
    let charge = chance.within(150_000, 850_000) as u32;
    Outlook {
        forecast,
        state_of_charge_ppm: Some(charge),
    }
}

fn reading(committed: i128, chance: &mut Chance) -> Reading {
    let error = chance.within(-9_000, 9_000);
    let energy = Mwh(i64::try_from(committed).unwrap() + error);
    match chance.within(0, 30) {
        0 => Reading::Missing { coverage_ppm: 0 },
        1 => Reading::Estimated {
            energy,
            coverage_ppm: 700_000,
        },
        _ => Reading::Valid { energy },
    }
}

#[test]
fn a_day_of_fifty_participants_balances_to_the_last_unit_and_replays() {
    let mut chance = Chance::seeded(11);
    let mut participants = participants();
    assert_eq!(participants.len(), 50);
    let rules = BookRules::bounded(Price(-50_000), Price(300_000), 10);
    let mechanism = by_name("uniform_k_half").unwrap();
    let (mut records, mut prices) = (Vec::new(), Vec::new());
    for index in 0..INTERVALS {
        let interval = Interval::new(index, QUARTER_NS * index as i64, QUARTER_NS).unwrap();
        // An hour as an island in the afternoon.
        let coupling = match index {
            60..64 => Coupling::Islanded,
            _ => Coupling::Connected {
                import_max: Mwh(9_000_000),
                export_max: Mwh(9_000_000),
            },
        };
        let outlooks: BTreeMap<AgentId, Outlook> = (participants.iter())
            .map(|p| (p.agent().clone(), outlook(p, index, &mut chance)))
            .collect();
        let view = MarketView {
            rules: rules.clone(),
            coupling,
            lost_load: None,
            outlooks,
        };
        let mut orders: Vec<Order> = Vec::new();
        for participant in &mut participants {
            if let Participant::Climate(room) = participant {
                room.feel(Some(chance.within(293_000, 298_500)));
            }
            orders.extend(participant.orders(&view, &interval));
        }
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        let clearing = mechanism
            .clear(&Book::new(interval, &rules, orders.clone()).unwrap())
            .unwrap();
        let mut shuffled = orders.clone();
        for end in (1..shuffled.len()).rev() {
            shuffled.swap(end, chance.within(0, end as i64) as usize);
        }
        let again = mechanism
            .clear(&Book::new(interval, &rules, shuffled).unwrap())
            .unwrap();
        assert_eq!(clearing, again, "interval {index}");
        participants
            .iter_mut()
            .for_each(|participant| participant.heed(&clearing));
        prices.extend(clearing.price);

        let grid = AgentId::from("p1000");
        let metered = participants
            .iter()
            .map(Participant::agent)
            .filter(|agent| **agent != grid);
        let readings: BTreeMap<AgentId, Reading> = metered
            .map(|agent| {
                (
                    agent.clone(),
                    reading(clearing.position(agent).0, &mut chance),
                )
            })
            .collect();
        let coupled = coupling != Coupling::Islanded;
        let basis = Basis {
            coupling: coupled.then(|| CouplingMeter {
                reading: reading(clearing.position(&grid).0, &mut chance),
                utility: grid,
                parity: PARITY,
            }),
            readings,
            fallback_price: prices.last().copied().or(Some(PARITY.import)),
            instructed: [].into(),
        };
        let settlement = settle(&clearing, &basis).unwrap();
        let sum: Money = settlement.lines.iter().map(|line| line.amount).sum();
        assert_eq!(sum, Money(0), "interval {index}");
        records.push(Record {
            interval,
            mechanism: "uniform_k_half".into(),
            rules: rules.clone(),
            orders,
            clearing,
            settled: Some(Settled { basis, settlement }),
        });
    }
    assert_eq!(replay(records.clone()).to_string(), "IDENTICAL");
    // A day in which the price never moved would have shown little.
    let (lowest, highest) = (prices.iter().min().unwrap(), prices.iter().max().unwrap());
    assert!(
        *lowest <= PARITY.export && *highest >= PARITY.import,
        "{lowest} {highest}"
    );
    assert!(prices.len() >= 90, "{}", prices.len());
    records[50].clearing.fills[0].payment.0 += 1;
    assert_ne!(replay(records).to_string(), "IDENTICAL");
}

/// Intervals of a block that is traded ahead.
const BLOCK: u64 = 4;

/// The rules of every stage: contracts, a block ahead, order books, real time with penalties.
fn stages(participants: &[Participant]) -> VenueRules {
    let most = MwhTotal(40_000_000);
    let both = Capability {
        inject_max: most,
        withdraw_max: most,
    };
    let names = participants.iter().map(|p| p.agent().clone());
    let contract = |number: u64| Contract {
        name: format!("c{number}"),
        buyer: format!("p010{number}").into(),
        seller: format!("p000{number}").into(),
        first: 10 * number,
        last: 10 * number + 30,
        energy: Mwh(50_000 + 7 * number as i64),
        price: Price(11_111 + number as i64),
    };
    let bound = names.clone().filter(|name| name.as_str() < "p0200");
    VenueRules {
        mechanism: "uniform_k_half".into(),
        book: BookRules {
            capabilities: Some(names.clone().map(|name| (name, both)).collect()),
            ..BookRules::bounded(Price(-50_000), Price(300_000), 10)
        },
        utility: "p1000".into(),
        parity: PARITY,
        indivisible: BTreeSet::new(),
        obligations: Some(ObligationRules {
            penalty: PenaltyRules::DEFAULT,
            standing: StandingRules::DEFAULT,
            forecast_error_ppm: 30_000,
            deposits: bound
                .map(|name| (name, Money(200_000_000_000_000)))
                .collect(),
        }),
        ahead: Some(AheadRules {
            mechanism: "uniform_k_half".into(),
        }),
        regulation: None,
        contracts: (0..5).map(contract).collect(),
        intraday: Some(IntradayRules { intervals: BLOCK }),
        reserve: None,
    }
}

/// Three replicas of one venue: what each is told is the same set, in another order.
struct Replicas([Venue; 3]);

impl Replicas {
    /// Asks all of them, each with its own order of these; what they agree on.
    fn agree<T: PartialEq + std::fmt::Debug>(
        &mut self,
        orders: &[Order],
        chance: &mut Chance,
        mut ask: impl FnMut(&mut Venue, Vec<Order>) -> T,
    ) -> T {
        let answers = self.0.each_mut().map(|venue| {
            let mut heard = orders.to_vec();
            for end in (1..heard.len()).rev() {
                heard.swap(end, chance.within(0, end as i64) as usize);
            }
            ask(venue, heard)
        });
        let [first, second, third] = answers;
        assert!(
            first == second && second == third,
            "{first:?}\n{second:?}\n{third:?}"
        );
        first
    }
}

fn ranked(mut orders: Vec<Order>) -> Vec<Order> {
    for (rank, order) in orders.iter_mut().enumerate() {
        order.rank = rank as u64;
    }
    orders
}

#[test]
fn a_day_of_every_stage_balances_to_the_last_unit_on_three_replicas() {
    let mut chance = Chance::seeded(12);
    let mut participants = participants();
    let rules = stages(&participants);
    let book = intraday_rules(&rules.book);
    let mut replicas = Replicas([(); 3].map(|()| Venue::new(rules.clone()).unwrap()));
    let grid = rules.utility.clone();
    let at = |index: u64| Interval::new(index, QUARTER_NS * index as i64, QUARTER_NS).unwrap();
    // How often each kind of line was booked; corrections count by themselves.
    let mut booked: BTreeMap<Item, u32> = BTreeMap::new();
    let (mut executions, mut withdrawn) = (0, 0);
    let mut missing: Vec<(u64, AgentId)> = Vec::new();
    for index in 0..INTERVALS {
        let coupling = match index {
            60..64 => Coupling::Islanded,
            _ => Coupling::Connected {
                import_max: Mwh(9_000_000),
                export_max: Mwh(9_000_000),
            },
        };
        let view =
            |rules: &BookRules, index, chance: &mut Chance, all: &[Participant]| MarketView {
                rules: rules.clone(),
                coupling,
                lost_load: None,
                outlooks: (all.iter())
                    .map(|p| (p.agent().clone(), outlook(p, index, chance)))
                    .collect(),
            };
        if index % BLOCK == 0 {
            for ahead_of in index..index + BLOCK {
                let seen = view(&rules.book, ahead_of, &mut chance, &participants);
                let interval = at(ahead_of);
                let orders = participants
                    .iter_mut()
                    .flat_map(|p| p.orders(&seen, &interval));
                let orders = ranked(orders.collect());
                let product = ahead::product(interval);
                let clearing = replicas.agree(&orders, &mut chance, |venue, orders| {
                    let cleared = venue.clear_ahead(product, orders).unwrap().unwrap();
                    venue.take_ahead(&cleared.clearing);
                    cleared.clearing
                });
                assert_eq!(clearing.operator, Money(0));
            }
        }
        // The rest of the block is open within the day, its sequence the same for all.
        for open in index + 1..(index / BLOCK + 1) * BLOCK {
            let seen = view(&book, open, &mut chance, &participants);
            let interval = at(open);
            for participant in &mut participants {
                let agent = participant.agent().clone();
                if agent == grid {
                    continue;
                }
                let whole = participant.orders(&seen, &interval);
                let position = replicas.0[0].position_before(open, &agent);
                let quotes = around(&whole, position, PARITY, &book);
                for side in [Side::Buy, Side::Sell] {
                    let own = quotes.iter().find(|order| order.side == side);
                    if let Some(order) = own {
                        let entered = replicas.agree(
                            std::slice::from_ref(order),
                            &mut chance,
                            |venue, own| venue.enter_intraday(interval, own[0].clone()),
                        );
                        executions += entered.map_or(0, |entered| entered.executions.len());
                    } else if replicas.0[0].rests_intraday(open, &agent, side) {
                        replicas.agree(&[], &mut chance, |venue, _| {
                            venue.withdraw_intraday(open, &agent, side)
                        });
                        withdrawn += 1;
                    }
                }
            }
        }
        let interval = at(index);
        let seen = view(&rules.book, index, &mut chance, &participants);
        replicas.agree(&[], &mut chance, |venue, _| venue.terms());
        let orders = participants
            .iter_mut()
            .flat_map(|p| p.orders(&seen, &interval));
        let orders: Vec<Order> = orders
            .filter_map(|order| replicas.0[0].accepted_part(interval.index, order))
            .collect();
        let orders = ranked(orders);
        let clearing = replicas.agree(&orders, &mut chance, |venue, orders| {
            let cleared = venue.clear(interval, orders).unwrap();
            venue.take(&cleared.clearing);
            cleared.clearing
        });
        let readings: BTreeMap<AgentId, Reading> = (participants.iter())
            .map(|p| p.agent().clone())
            .filter(|agent| *agent != grid)
            .map(|agent| {
                let read = reading(clearing.position(&agent).0, &mut chance);
                (agent, read)
            })
            .collect();
        let unread = readings.iter().filter(|(_, read)| read.energy().is_none());
        missing.extend(unread.map(|(agent, _)| (index, agent.clone())));
        let coupled = coupling != Coupling::Islanded;
        let of_grid = coupled.then(|| reading(clearing.position(&grid).0, &mut chance));
        let settled = replicas.agree(&[], &mut chance, |venue, _| {
            venue
                .settle(&clearing, readings.clone(), of_grid, !coupled)
                .unwrap()
        });
        let sum: Money = settled
            .settlement
            .lines
            .iter()
            .map(|line| line.amount)
            .sum();
        assert_eq!(sum, Money(0), "interval {index}");
        for item in Item::ALL {
            let lines = settled
                .settlement
                .lines
                .iter()
                .filter(|line| line.item == item);
            let amounts: Vec<Money> = lines.map(|line| line.amount).collect();
            *booked.entry(item).or_default() += amounts.len() as u32;
            // A stage before real time is a zero sum by itself.
            if matches!(
                item,
                Item::Contract | Item::Ahead | Item::Intraday | Item::Penalty
            ) {
                assert_eq!(
                    amounts.into_iter().sum::<Money>(),
                    Money(0),
                    "{item:?} of {index}"
                );
            }
        }
        // Now and then somebody reads a meter after all, of this interval or an earlier one.
        while !missing.is_empty() && chance.within(0, 2) > 0 {
            let (of, agent) =
                missing.swap_remove(chance.within(0, missing.len() as i64 - 1) as usize);
            let late = Reading::Valid {
                energy: Mwh(chance.within(-400_000, 400_000)),
            };
            let corrected = replicas.agree(&[], &mut chance, |venue, _| {
                venue.correct(of, &agent, late).unwrap()
            });
            let sum: Money = corrected.lines.iter().map(|line| line.amount).sum();
            assert_eq!(sum, Money(0), "correction of {of}");
            *booked.entry(Item::Correction).or_default() += corrected.lines.len() as u32;
        }
    }
    // A day in which a stage never traded would have shown nothing of it.
    for (item, at_least) in [
        (Item::Energy, 1_000),
        (Item::Imbalance, 1_000),
        (Item::Unaccounted, 90),
        (Item::Contract, 200),
        (Item::Ahead, 1_000),
        (Item::Intraday, 1_000),
        (Item::Penalty, 10),
        (Item::Correction, 100),
    ] {
        assert!(booked[&item] >= at_least, "{item:?}: {booked:?}");
    }
    assert!(
        executions >= 90 && withdrawn >= 10,
        "{executions} {withdrawn}"
    );
}

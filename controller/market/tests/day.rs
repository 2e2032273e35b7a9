//! A day of a local market: fifty participants of every kind, 96 quarter hours, meters
//! that disagree with the plans. Money sums to zero in every interval, the order of
//! arrival does not matter, and the records replay.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has to fail"
)]

use std::collections::BTreeMap;

use market::agent::{Outlook, Participant};
use market::chance::Chance;
use market::mechanism::by_name;
use market::meter::Reading;
use market::replay::{Record, Settled, replay};
use market::settlement::{Basis, CouplingMeter, settle};
use market::utility::{Coupling, Parity};
use market::{Agent, AgentId, Book, BookRules, Interval, MarketView, Money, Mwh, Order, Price};

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

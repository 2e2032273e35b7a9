//! `market-signed`: ten thousand signed orders from the bytes of a hundred bidders to a ledger that is on the disk:
//! read and verified on two threads, cleared book by book, recorded with their clearings.
//!
//! The orders are signed before the clock runs, by a node of their own, as bidders would.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ledger_core::payload::{self, Clearing, Fill};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{
    Amount, Atom, AtomId, KnownKeys, Party, Payload, Role, SecretKey, Universe, UniverseId,
};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog, Record};
use market::chance::Chance;
use market::mechanism::{KFactor, Mechanism, UniformPrice};
use market::{Book, BookRules, Interval, Mwh, Order, Price, Side};
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::Problem;

/// Who bids, and in how many intervals: ten thousand orders of one step.
/// Chosen: a day of quarter hours, and some more, of a campus.
const BIDDERS: u64 = 100;
const INTERVALS: u64 = 100;
/// Threads that read and verify. Chosen: two, the cores of a small machine.
const THREADS: usize = 2;
/// Records that are written at once. Chosen: well below what a log takes in a batch.
const BATCH: usize = 2_500;
const NOW_NS: i64 = 1_790_000_000_000_000_000;

/// What did not come about.
fn failed(why: impl std::fmt::Display) -> Problem {
    let help = "see whether there is room in the folder for temporary files";
    Problem::usage(usage("C003", why.to_string(), help))
}

/// Measures it in a new folder among the temporary files.
pub(super) fn measure() -> Result<Value, Problem> {
    let name = format!("gridrig-market-signed-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let measured = measure_in(&folder);
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(failed)?;
    Ok(measured)
}

fn key(number: u64) -> SecretKey {
    let mut seed = [5; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed)
}

fn bidder(number: u64) -> String {
    format!("b{number:02}")
}

/// Keys of the node of the bidders and of that of the market, and of the operator.
const NODES: [u64; 2] = [1_001, 1_002];
const OPERATOR: u64 = 1_003;

fn universe() -> Universe {
    let party = |name: String, role, number| Party {
        name,
        roles: vec![role],
        key: key(number).public(),
    };
    let bidders = (0..BIDDERS).map(|n| party(bidder(n), Role::Participant, n));
    let operator = party("operator".into(), Role::MarketOperator, OPERATOR);
    Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "bench".to_owned(),
        created_utc_ns: NOW_NS,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: (NODES.iter().zip(["bidders", "market"]))
            .map(|(number, name)| NodeMember {
                name: name.to_owned(),
                key: key(*number).public(),
            })
            .collect(),
        parties: bidders.chain([operator]).collect(),
        federation: None,
    }
}

/// The order of a bidder in an interval: half of them buy, and prices differ.
fn order(number: u64, interval: u64) -> payload::Order {
    let mut drawn = Chance::seeded(number * 1_000 + interval);
    payload::Order {
        agent: bidder(number),
        interval,
        side: match number % 2 {
            0 => payload::Side::Buy,
            _ => payload::Side::Sell,
        },
        steps: vec![payload::Step {
            price_millicents_per_kwh: drawn.within(7_000, 28_000),
            quantity_milliwatt_hours: drawn.within(1, 1_000_000),
        }],
        rank: number,
    }
}

/// The signed orders of so many intervals as bytes.
fn signed(folder: &Path, universe: &Universe, intervals: u64) -> Result<Vec<Vec<u8>>, Problem> {
    let keys = (0..BIDDERS).fold(Keyring::new("bidders", key(NODES[0])), |keys, n| {
        keys.with_party(&bidder(n), key(n))
    });
    let folder = folder.join("bidders");
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut log = NodeLog::create(&folder, universe, keys, Durability::Buffered).map_err(failed)?;
    let mut bytes = Vec::new();
    for interval in 0..intervals {
        let draft = |n| AtomDraft::new(&bidder(n), Payload::Order(order(n, interval)));
        let records = (0..BIDDERS).map(|n| Record::Draft(Box::new(draft(n))));
        let appended = log.append_records(vec![(NOW_NS, records.collect())]);
        for result in appended.results {
            result.map_err(failed)?;
        }
        for entry in appended.entries {
            bytes.push(entry.atom.to_bytes().map_err(failed)?);
        }
    }
    log.close(NOW_NS).map_err(failed)?;
    Ok(bytes)
}

/// Reads and verifies them on so many threads.
fn verified(bytes: &[Vec<u8>], id: &UniverseId, known: &KnownKeys) -> Result<Vec<Atom>, Problem> {
    let part = |bytes: &[Vec<u8>]| -> Result<Vec<Atom>, String> {
        let read = |bytes: &Vec<u8>| {
            let atom = Atom::from_bytes(bytes, id).map_err(|e| e.to_string())?;
            atom.verify_by(known).map_err(|e| e.to_string())?;
            Ok(atom)
        };
        bytes.iter().map(read).collect()
    };
    let parts = thread::scope(|scope| {
        let chunks = bytes.chunks(bytes.len().div_ceil(THREADS));
        let running: Vec<_> = chunks
            .map(|chunk| scope.spawn(move || part(chunk)))
            .collect();
        let ended = running.into_iter().map(|it| it.join());
        ended.collect::<Vec<_>>()
    });
    let mut atoms = Vec::with_capacity(bytes.len());
    for part in parts {
        let part = part.map_err(|_| failed("a thread that verified has ended"))?;
        atoms.extend(part.map_err(failed)?);
    }
    Ok(atoms)
}

/// Clears every interval that orders are for; a record of each clearing.
fn cleared(atoms: &[Atom]) -> Result<Vec<Payload>, Problem> {
    let mut books: BTreeMap<u64, Vec<(AtomId, Order)>> = BTreeMap::new();
    for atom in atoms {
        let Payload::Order(found) = &atom.body().payload else {
            continue;
        };
        let steps = found.steps.iter().map(|step| market::Step {
            price: Price(step.price_millicents_per_kwh),
            quantity: Mwh(step.quantity_milliwatt_hours),
        });
        let order = Order {
            agent: found.agent.as_str().into(),
            side: match found.side {
                payload::Side::Buy => Side::Buy,
                payload::Side::Sell => Side::Sell,
            },
            steps: steps.collect(),
            rank: found.rank,
        };
        books
            .entry(found.interval)
            .or_default()
            .push((atom.id(), order));
    }
    let rules = BookRules::bounded(Price(-50_000), Price(300_000), 1);
    let rule = UniformPrice {
        k: KFactor::new(1, 2).ok_or_else(|| failed("no factor"))?,
    };
    let mut records = Vec::new();
    for (index, orders) in books {
        let (ids, orders): (Vec<AtomId>, Vec<Order>) = orders.into_iter().unzip();
        let of: BTreeMap<String, AtomId> = (orders.iter().zip(ids))
            .map(|(order, id)| (order.agent.to_string(), id))
            .collect();
        let start = 900_000_000_000 * index as i64;
        let interval = Interval::new(index, start, 900_000_000_000).map_err(failed)?;
        let book = Book::new(interval, &rules, orders)
            .map_err(|_| failed("an order is no order of a book"))?;
        let clearing = rule.clear(&book).map_err(failed)?;
        clearing.check(&book).map_err(failed)?;
        let fills = clearing.fills.iter().filter_map(|fill| {
            Some(Fill {
                order: *of.get(fill.agent.as_str())?,
                agent: fill.agent.to_string(),
                quantity_milliwatt_hours: fill.quantity.0,
                amount: Amount(-fill.payment.0),
            })
        });
        records.push(Payload::Clearing(Clearing {
            interval: index,
            mechanism: clearing.mechanism.clone(),
            quantity_milliwatt_hours: i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX),
            price_millicents_per_kwh: clearing.price.map(|price| price.0),
            price_low_millicents_per_kwh: clearing.competitive.map(|(low, _)| low.0),
            price_high_millicents_per_kwh: clearing.competitive.map(|(_, high)| high.0),
            fills: fills.collect(),
            operator_amount: Amount(clearing.operator.0),
        }));
    }
    Ok(records)
}

fn measure_in(folder: &Path) -> Result<Value, Problem> {
    let universe = universe();
    let bytes = signed(folder, &universe, INTERVALS)?;
    let keys = Keyring::new("market", key(NODES[1])).with_party("operator", key(OPERATOR));
    let place = folder.join("market");
    std::fs::create_dir_all(&place).map_err(failed)?;
    let mut log = NodeLog::create(&place, &universe, keys, Durability::Fsync).map_err(failed)?;
    let (id, known) = (log.universe_id(), KnownKeys::of_universe(&universe));
    let began = Instant::now();
    let atoms = verified(&bytes, &id, &known)?;
    let verify = began.elapsed();
    let clearings = cleared(&atoms)?;
    let (fills, books) = (fills_of(&clearings), clearings.len());
    let clear = began.elapsed() - verify;
    let orders = atoms.len();
    let mut records: Vec<Record> = (atoms.into_iter())
        .map(|atom| Record::Seen(Box::new(atom)))
        .collect();
    let drafts = clearings.into_iter();
    let drafts = drafts.map(|payload| AtomDraft::new("operator", payload));
    records.extend(drafts.map(|draft| Record::Draft(Box::new(draft))));
    while !records.is_empty() {
        let batch: Vec<Record> = records.drain(..records.len().min(BATCH)).collect();
        for result in log.append_records(vec![(NOW_NS, batch)]).results {
            result.map_err(failed)?;
        }
    }
    let whole = began.elapsed();
    log.close(NOW_NS).map_err(failed)?;
    let seconds = |span: Duration| (span.as_secs_f64() * 1e3).round() / 1e3;
    Ok(json!({
        "bench": "market-signed",
        "optimised": !cfg!(debug_assertions),
        "threads": THREADS,
        "orders": orders,
        "books": books,
        "fills": fills,
        "verify_s": seconds(verify),
        "clear_s": seconds(clear),
        "log_s": seconds(whole - verify - clear),
        "whole_s": seconds(whole),
        "orders_per_s": (orders as f64 / whole.as_secs_f64()).round(),
    }))
}

fn fills_of(clearings: &[Payload]) -> usize {
    let fills = clearings.iter().map(|record| match record {
        Payload::Clearing(clearing) => clearing.fills.len(),
        _ => 0,
    });
    fills.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_that_was_signed_is_verified_and_in_a_book_and_one_that_was_changed_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let universe = universe();
        let mut bytes =
            signed(folder.path(), &universe, 3).unwrap_or_else(|e| panic!("{}", e.why()));
        let keys = Keyring::new("market", key(NODES[1]));
        let log = NodeLog::create(folder.path(), &universe, keys, Durability::Buffered);
        let id = log.expect("a log").universe_id();
        let known = KnownKeys::of_universe(&universe);
        let atoms = verified(&bytes, &id, &known).unwrap_or_else(|e| panic!("{}", e.why()));
        let clearings = cleared(&atoms).unwrap_or_else(|e| panic!("{}", e.why()));
        assert_eq!(clearings.len(), 3);
        assert!(fills_of(&clearings) > 100, "{}", fills_of(&clearings));
        let last = bytes[299].len() - 1;
        bytes[299][last] ^= 1;
        assert!(verified(&bytes, &id, &known).is_err());
    }
}

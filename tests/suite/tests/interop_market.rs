//! The market against others: random books, trees and reserve, cleared by us in one process and
//! judged by a linear program (scipy's HiGHS), and scripts of the order book by another engine.

use std::fs::File;

use suite::folder;
use suite::process::{gridrig, json_of};

/// Clears `count` random documents that a peer makes, and lets it judge all of them.
fn check(peer: &str, kind: &str, count: u32, traded_min: u64) {
    let folder = folder();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (books, results) = (place("books.jsonl"), place("results.jsonl"));
    let seed = "7";
    let _made = json_of(peer, ["make", kind, &count.to_string(), seed, &books]);
    let mut clear = gridrig();
    clear.args(["market", "clear", "--lines", &books]);
    clear.stdout(File::create(&results).expect("the folder was just made"));
    let done = clear.status().expect("gridrig starts");
    assert!(done.success(), "seed {seed}: {done}");
    let told = json_of(peer, ["judge", kind, &books, &results]);
    assert_eq!(told["compared"], count, "seed {seed}: {told}");
    assert_eq!(told["different"], 0, "seed {seed}: {told}");
    let traded = told["traded"].as_u64();
    assert!(
        traded.is_some_and(|n| n >= traded_min),
        "seed {seed}: {told}"
    );
}

#[test]
#[ignore = "needs peers"]
fn a_hundred_thousand_books_have_the_quantity_welfare_and_interval_of_the_linear_program() {
    check("market_lp.py", "books", 100_000, 50_000);
}

#[test]
#[ignore = "needs peers"]
fn random_trees_have_the_welfare_of_the_linear_program() {
    check("market_lp.py", "trees", 2_000, 1_000);
}

#[test]
#[ignore = "needs peers"]
fn energy_and_reserve_together_cost_what_the_linear_program_says() {
    check("market_lp.py", "reserve", 2_000, 1_000);
}

#[test]
#[ignore = "needs peers"]
fn scripts_of_the_order_book_trade_as_in_another_engine() {
    check("market_cda.py", "scripts", 3_000, 2_000);
}

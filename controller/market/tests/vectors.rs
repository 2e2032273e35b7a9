//! The published vectors, through the JSON interface that researchers use.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has to fail"
)]

use market::offline::{OfflineError, clear};
use serde_json::Value;

const VECTORS: &str = include_str!("vectors.json");

fn vectors() -> Vec<Value> {
    let document: Value = serde_json::from_str(VECTORS).unwrap();
    document["vectors"].as_array().unwrap().clone()
}

/// The input of a vector: its own, that of the vector it refers to, or, for the
/// formulas of a pool, with the rows whose prices it states.
fn input(vector: &Value, all: &[Value]) -> Value {
    let source = (all.iter()).find(|other| other["id"] == vector["in"]["ref"]);
    let mut input = source.unwrap_or(vector)["in"].clone();
    if vector["mech"] == "sdr|mmr" {
        let rows = vector["out"]["rows"].as_array().unwrap();
        input["rows"] = rows
            .iter()
            .map(|row| Value::from(&row.as_array().unwrap()[..2]))
            .collect();
    }
    input
}

#[test]
fn every_vector_clears_to_its_published_result() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 22);
    for vector in &vectors {
        let mechanism = vector["mech"].as_str();
        let out = clear(&input(vector, &vectors).to_string(), mechanism).unwrap();
        let out: Value = serde_json::from_str(&out).unwrap();
        let what = &vector["desc"];
        assert_eq!(out, vector["out"], "{} {mechanism:?}: {what}", vector["id"]);
    }
}

#[test]
fn a_bare_book_clears_like_a_wrapped_one() {
    for vector in vectors().iter().filter(|v| v["mech"] == "uniform_k_half") {
        let bare = clear(&vector["in"].to_string(), None).unwrap();
        assert_eq!(
            bare,
            clear(&vector.to_string(), None).unwrap(),
            "{}",
            vector["id"]
        );
    }
}

#[test]
fn a_number_may_be_given_as_a_string() {
    let numbers = r#"{"bids":[["b",30,5]],"offers":[["s",-10,7]]}"#;
    let strings = r#"{"bids":[["b","30","5"]],"offers":[["s","-10","7"]]}"#;
    assert_eq!(clear(numbers, None), clear(strings, None));
    let expected = r#"{"q":5,"p":-10,"interval":[-10,-10],"alloc":{"b":5,"s":5},"pay":{"b":-50,"s":50},"welfare":200}"#;
    assert_eq!(clear(numbers, None).as_deref(), Ok(expected));
}

#[test]
fn an_unknown_mechanism_is_refused_with_the_list_of_known_ones() {
    use market::Coded;
    let error = clear(r#"{"mech":"roulette","in":{"bids":[],"offers":[]}}"#, None).unwrap_err();
    assert!(matches!(error, OfflineError::Mechanism(_)));
    assert_eq!(error.code(), "M030");
    for name in ["uniform_k_half", "pay_as_bid", "imbalance"] {
        assert!(error.help().contains(name), "{}", error.help());
    }
}

#[test]
fn the_mechanism_of_the_caller_wins_over_the_documents() {
    let book = r#"{"mech":"uniform_k_half","in":{"bids":[["b",30,5]],"offers":[["s",10,5]]}}"#;
    for (mechanism, price) in [
        (None, "20"),
        (Some("uniform_k_0_1"), "10"),
        (Some("uniform_k_1_1"), "30"),
        (Some("uniform_k_1_3"), "16"),
        (Some("pay_as_bid"), "null"),
    ] {
        let out = clear(book, mechanism).unwrap();
        assert!(
            out.contains(&format!("\"p\":{price},")),
            "{mechanism:?}: {out}"
        );
    }
}

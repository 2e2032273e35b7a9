use super::out::EXACT_MAX;
use super::*;

/// The code of a refusal and a part of its place and message.
fn check(document: &str, code: &str, part: &str) {
    let error = clear(document, None).expect_err(document);
    let told = format!("{} {error}", error.place());
    assert_eq!(error.code(), code, "{document}: {told}");
    assert!(told.contains(part), "{document}: {told}");
    assert!(!error.help().is_empty());
}

#[test]
fn a_document_of_another_shape_is_refused_with_the_place() {
    for (document, code, part) in [
        ("", "M100", "1:0"),
        ("{\n  nonsense", "M100", "2:3"),
        ("[]", "M101", "(document): an object"),
        (r#"{"in":3}"#, "M101", "in: an object"),
        (r#"{"mech":3}"#, "M101", "mech"),
        (r#"{"bids":[]}"#, "M101", "(document).offers"),
        (r#"{"in":{"bids":{},"offers":[]}}"#, "M101", "in.bids"),
        (r#"{"bids":[["b",1]],"offers":[]}"#, "M101", "bids[0]"),
        (r#"{"bids":[[7,1,1]],"offers":[]}"#, "M101", "bids[0][0]"),
        (
            r#"{"bids":[["b",1.5,1]],"offers":[]}"#,
            "M101",
            "bids[0][1]",
        ),
        (
            r#"{"bids":[["b",1,9223372036854775808]],"offers":[]}"#,
            "M101",
            "bids[0][2]",
        ),
        (
            r#"{"bids":[["b",1,"1e3"]],"offers":[]}"#,
            "M101",
            "bids[0][2]",
        ),
        (
            r#"{"bids":[["x",1,1]],"offers":[["x",1,1]]}"#,
            "M102",
            "offers[0] (document)",
        ),
        (r#"{"bids":[["b",1,0]],"offers":[]}"#, "M012", "bid of `b`"),
        (
            r#"{"bids":[["b",9223372036854775807,1]],"offers":[]}"#,
            "M011",
            "bid of `b`",
        ),
        (r#"{"mech":"imbalance","in":{}}"#, "M101", "in.imbalance"),
        (
            r#"{"mech":"imbalance","in":{"imbalance":{"a":-1}}}"#,
            "M101",
            "in.da",
        ),
        (
            r#"{"mech":"imbalance","in":{"imbalance":{"a":-1},"da":1}}"#,
            "M090",
            "1 mWh",
        ),
    ] {
        check(document, code, part);
    }
}

#[test]
fn every_inadmissible_order_is_named_not_only_the_first() {
    let document = r#"{"bids":[["b",1,0],["c",1,-1]],"offers":[["s",1,0]]}"#;
    let error = clear(document, None).unwrap_err();
    assert_eq!(error.place(), "bid of `b`, bid of `c`, offer of `s`");
}

#[test]
fn integers_are_strings_only_beyond_what_a_double_holds() {
    for (integer, expected) in [
        (EXACT_MAX, "9007199254740992"),
        (-EXACT_MAX, "-9007199254740992"),
        (EXACT_MAX + 1, "\"9007199254740993\""),
        (-EXACT_MAX - 1, "\"-9007199254740993\""),
    ] {
        assert_eq!(Out::Integer(integer).to_string(), expected);
    }
}

#[test]
fn a_long_system_activates_the_best_offers_to_take_energy_back() {
    let document = r#"{"mech":"imbalance","in":{"imbalance":{"P1":300,"P2":-100},
        "down":[["d1",5000,150],["d2",8000,100]],"da":20000}}"#;
    // d2 pays most and is used first; d1 sets the price. P2 helps at day ahead.
    let expected = r#"{"activated":{"d2":100,"d1":100},"p_imb":5000,
        "single":{"P1":-1500000,"P2":500000,"d2":500000,"d1":500000},"single_residual":0,
        "dual":{"P1":-1500000,"P2":2000000,"d2":500000,"d1":500000},"dual_residual":1500000}"#;
    let out: Value = serde_json::from_str(&clear(document, None).unwrap()).unwrap();
    assert_eq!(out, serde_json::from_str::<Value>(expected).unwrap());
}

#[test]
fn deviations_that_cancel_settle_at_the_day_ahead_price() {
    let document = r#"{"mech":"imbalance","in":{"imbalance":{"a":-5,"b":5},"da":7}}"#;
    let expected = r#"{"activated":{},"p_imb":7,"single":{"a":35,"b":-35},"single_residual":0,"dual":{"a":35,"b":-35},"dual_residual":0}"#;
    assert_eq!(clear(document, None).as_deref(), Ok(expected));
}

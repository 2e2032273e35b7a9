//! Each of the 23 properties of the ledger design, section 3, has a test that is there.

use std::path::Path;

/// The property, where its test is, and the test.
const SHOWN: [(u8, &str, &str); 23] = [
    (
        1,
        HERE,
        "p01_the_clock_of_a_node_rises_by_one_across_crashes",
    ),
    (
        2,
        HERE,
        "p02_what_was_acknowledged_is_there_after_the_power_failed",
    ),
    (
        3,
        HERE,
        "p03_no_command_is_let_out_before_it_is_on_stable_storage",
    ),
    (4, HERE, "p04_two_conflicting_atoms_are_never_both_final"),
    (5, HERE, "p05_what_is_final_stays_final"),
    (
        6,
        HERE,
        "p06_all_nodes_come_to_the_same_finals_once_the_network_is_whole",
    ),
    (7, HERE, "p07_amounts_are_conserved_after_each_final_atom"),
    (8, HERE, "p08_no_forged_signature_comes_into_an_honest_log"),
    (
        9,
        "sim/tests/canonical.rs",
        "p09_no_two_byte_strings_read_as_one_value",
    ),
    (
        10,
        HERE,
        "p10_a_fork_is_known_to_all_once_both_sides_of_it_were_seen",
    ),
    (11, HERE, "p11_nobody_honest_is_accused"),
    (12, HERE, "p12_a_restored_node_gives_no_clock_twice"),
    (
        13,
        "proof/tests/proofs.rs",
        "every_changed_byte_is_refused_but_those_of_the_summary",
    ),
    (
        14,
        HERE,
        "p14_any_two_heads_of_an_honest_node_are_consistent",
    ),
    (15, HERE, "p15_what_an_atom_names_stands_before_it"),
    (16, HERE, "p16_what_honest_parties_say_becomes_final"),
    (
        17,
        HERE,
        "p17_a_minority_finalises_nothing_and_loses_nothing",
    ),
    (
        18,
        HERE,
        "p18_no_node_takes_a_command_of_whoever_has_lost_the_device",
    ),
    (19, HERE, "p19_no_atom_is_twice_in_a_log"),
    (
        20,
        HERE,
        "p20_a_disk_that_fails_or_rots_is_reported_and_never_cut_silently",
    ),
    (
        21,
        HERE,
        "p21_what_is_sent_without_end_fills_no_memory_and_harms_nobody",
    ),
    (22, HERE, "p22_a_clock_that_jumps_changes_no_order"),
    (
        23,
        "replica/src/tests/model_epochs.rs",
        "p23_no_two_quorums_of_two_epochs_decide_differently_in_any_state",
    ),
];

/// Files in which the tests of bad input are.
const OF_BAD_INPUT: [&str; 9] = [
    HERE,
    "core/src/cbor/tests.rs",
    "core/src/atom/tests.rs",
    "core/src/keys.rs",
    "verify/src/tests/forged.rs",
    "replica/src/tests.rs",
    "replica/src/tests/epochs.rs",
    "net/tests/four_nodes.rs",
    "proof/tests/proofs.rs",
];

const HERE: &str = "sim/tests/properties.rs";

#[test]
fn each_property_has_a_test_and_stands_on_the_page_with_it() {
    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(ledger.join(file)).unwrap_or_default();
    let page = read("sim/README.md");
    for (number, file, test) in SHOWN {
        let declared = format!("#[test]\nfn {test}(");
        assert!(read(file).contains(&declared), "{number}: {test} in {file}");
        let row = page
            .lines()
            .find(|l| l.starts_with(&format!("| {number} ")));
        assert!(
            row.is_some_and(|row| row.contains(test)),
            "{number}: {row:?}"
        );
    }
}

#[test]
fn each_bad_input_has_a_test_that_is_there() {
    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &&str| std::fs::read_to_string(ledger.join(file)).unwrap_or_default();
    let tests: String = OF_BAD_INPUT.iter().map(read).collect();
    let page = read(&"sim/README.md");
    let (_, table) = page.split_once("## Bad input").unwrap_or_default();
    let (table, _) = table.split_once("\n## ").unwrap_or_default();
    let rows: Vec<&str> = table
        .lines()
        .filter(|l| l.starts_with("| "))
        .skip(1)
        .collect();
    assert_eq!(rows.len(), 14);
    for row in rows {
        let named = row.split('`').skip(1).step_by(2);
        let named: Vec<&str> = named.collect();
        assert!(!named.is_empty(), "{row}");
        for test in named {
            assert!(tests.contains(&format!("fn {test}(")), "{test}");
        }
    }
}

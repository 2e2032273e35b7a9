//! Each property of the ledger design, section 3, that a simulation can show, as
//! a test over its own share of the seeds. Every checker looks at every run, so a
//! test fails with whatever is broken in its share.

use ledger_sim::properties::{of_seed, report, run_seed, seeds_of};
use ledger_sim::world::{Outcome, run};

/// Seeds of each share: 2,000 of all twenty; see the README for the long run.
const SEEDS: u64 = 100;

/// What happened in the runs of a share.
struct Happened {
    /// Commands that were refused because the device was somebody else's.
    fenced: usize,
    /// Openings that took something out of an index.
    indexed: usize,
    /// Rot that opening had not read, and that was found.
    rot_found_later: usize,
}

/// Runs the share of a property.
fn check(number: u8) -> Happened {
    let mut failed = Vec::new();
    let mut finals = 0;
    let mut happened = Happened {
        fenced: 0,
        indexed: 0,
        rot_found_later: 0,
    };
    for seed in seeds_of(number, SEEDS) {
        let outcome: Outcome = run_seed(seed, None);
        finals += outcome.finals;
        happened.fenced += outcome.fenced;
        happened.indexed += outcome.indexed;
        happened.rot_found_later += outcome.rot_found_later;
        if !outcome.violations.is_empty() {
            failed.push(report(seed, &outcome));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Runs in which nothing becomes final would show nothing.
    assert!(finals as u64 > SEEDS, "{finals} atoms became final");
    happened
}

#[test]
fn p01_the_clock_of_a_node_rises_by_one_across_crashes() {
    check(1);
}

#[test]
fn p02_what_was_acknowledged_is_there_after_the_power_failed() {
    check(2);
}

#[test]
fn p03_no_command_is_let_out_before_it_is_on_stable_storage() {
    check(3);
}

#[test]
fn p04_two_conflicting_atoms_are_never_both_final() {
    check(4);
}

#[test]
fn p05_what_is_final_stays_final() {
    check(5);
}

#[test]
fn p06_all_nodes_come_to_the_same_finals_once_the_network_is_whole() {
    check(6);
}

#[test]
fn p07_amounts_are_conserved_after_each_final_atom() {
    check(7);
}

#[test]
fn p08_no_forged_signature_comes_into_an_honest_log() {
    check(8);
}

#[test]
fn p10_a_fork_is_known_to_all_once_both_sides_of_it_were_seen() {
    check(10);
}

#[test]
fn p11_nobody_honest_is_accused() {
    check(11);
}

#[test]
fn p12_a_restored_node_gives_no_clock_twice() {
    check(12);
}

#[test]
fn p14_any_two_heads_of_an_honest_node_are_consistent() {
    check(14);
}

#[test]
fn p15_what_an_atom_names_stands_before_it() {
    check(15);
}

#[test]
fn p16_what_honest_parties_say_becomes_final() {
    check(16);
}

#[test]
fn p17_a_minority_finalises_nothing_and_loses_nothing() {
    check(17);
}

#[test]
fn p18_no_node_takes_a_command_of_whoever_has_lost_the_device() {
    // Runs in which nobody tried would show nothing.
    let fenced = check(18).fenced;
    assert!(fenced > 10, "{fenced} commands were refused");
}

#[test]
fn p19_no_atom_is_twice_in_a_log() {
    check(19);
}

#[test]
fn p20_a_disk_that_fails_or_rots_is_reported_and_never_cut_silently() {
    let happened = check(20);
    // So would runs that read everything at once.
    let found = (happened.indexed, happened.rot_found_later);
    assert!(found.0 > 20 && found.1 > 2, "{found:?}");
}

#[test]
fn p21_what_is_sent_without_end_fills_no_memory_and_harms_nobody() {
    check(21);
}

#[test]
fn p22_a_clock_that_jumps_changes_no_order() {
    check(22);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 4, 11] {
        let focus = of_seed(seed).focus;
        // Whoever verifies every signature sees the same as who remembers.
        let plain = run(seed, focus, None, true);
        let [one, other] = [(); 2].map(|()| run_seed(seed, None).digest);
        assert_eq!((one, other), (plain.digest, plain.digest));
    }
}

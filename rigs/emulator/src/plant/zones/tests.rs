use document::{Document, Source};

use super::*;

/// A utility, a hall behind the coupling breaker, a shed behind a tie, a yard behind a second one,
/// and a spare way from the yard to the hall.
const NETWORK: &str = r#"
bus = [{ name = "grid", v_ll = "400V" }, { name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }, { name = "yard", v_ll = "400V" }, { name = "far", v_ll = "400V" }]
source = [{ bus = "grid" }]
switch = [{ name = "coupling", from = "grid", to = "hall", device = "brk1" }, { name = "tie1", from = "hall", to = "shed" }, { name = "tie2", from = "shed", to = "yard" }, { name = "ring", from = "yard", to = "hall", closed = false }]
line = [{ name = "cable", from = "yard", to = "far", length_m = 300, r_ohm_per_km = 0.208, x_ohm_per_km = 0.080 }]
"#;

fn zones() -> Zones {
    let document = Document::parse(Source::new("net.toml", NETWORK)).unwrap();
    let network = network::read::read(&document.root(), 50.0).expect("a network");
    let places = Places {
        coupling: Some(0),
        ..Places::default()
    };
    Zones::of(&network, &places)
}

/// Switches with what they are told; the part of each zone then, and whether the utility is joined.
fn check(told: &[(&str, bool)], breaker: bool, parts: &[usize], joined: &[bool]) {
    let mut zones = zones();
    for (name, closed) in told {
        zones.switch(name, *closed).unwrap();
    }
    zones.arrange(breaker);
    let found: Vec<usize> = (0..zones.count()).map(|zone| zones.part_of(zone)).collect();
    assert_eq!(found, parts, "{told:?}");
    assert_eq!(zones.joined(), joined, "{told:?}");
    assert_eq!(zones.arrange(breaker), None, "nothing has moved since");
}

#[test]
fn closed_switches_join_zones_to_parts_and_lines_make_zones() {
    check(&[], true, &[0, 0, 0, 0], &[true]);
    check(&[], false, &[0, 1, 1, 1], &[true, false]);
    check(
        &[("tie1", false)],
        false,
        &[0, 1, 2, 2],
        &[true, false, false],
    );
    check(&[("tie2", false)], true, &[0, 0, 0, 1], &[true, false]);
    let around = [("tie2", false), ("ring", true)];
    check(&around, true, &[0, 0, 0, 0], &[true]);
}

#[test]
fn a_switch_that_would_close_a_loop_or_is_not_there_stays_as_it_is() {
    let mut zones = zones();
    assert_eq!(zones.switch("ring", true), Err(NotSwitched::Loop));
    assert_eq!(zones.is_closed("ring"), Some(false));
    assert_eq!(zones.switch("gate", true), Err(NotSwitched::Unknown));
    // The coupling breaker is its device's, and stays so.
    assert_eq!(zones.switch("coupling", false), Err(NotSwitched::Unknown));
    let named: Vec<&str> = zones.switches().collect();
    assert_eq!(named, ["tie1", "tie2", "ring"]);
}

#[test]
fn without_a_network_the_utility_is_joined_while_the_breaker_is_closed() {
    let mut zones = Zones::busbar();
    zones.arrange(true);
    assert_eq!(zones.joined(), [true]);
    zones.arrange(false);
    assert_eq!(zones.joined(), [false]);
    assert_eq!(zones.part(Unit::Load(7)), 0);
}

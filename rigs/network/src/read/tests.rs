use document::{Document, Source};

use super::*;

const GOOD: &str = r#"
[network]
[[network.bus]]
name = "grid"
v_ll = "400V"
[[network.bus]]
name = "hall"
v_ll = "400V"
[[network.bus]]
name = "shed"
v_ll = "400V"
[[network.source]]
bus = "grid"
[[network.line]]
name = "cable"
from = "grid"
to = "hall"
length_m = 300
r_ohm_per_km = 0.208
x_ohm_per_km = 0.08
[[network.switch]]
name = "breaker"
from = "hall"
to = "shed"
"#;

fn read_text(text: &str) -> (Option<Network>, Vec<(&'static str, String)>) {
    let document = Document::parse(Source::new("net.toml", text.to_owned())).unwrap();
    let table = document.root().table("network").unwrap();
    let network = read(&table, 50.0);
    table.finish();
    let said = document.into_faults().into_iter().map(|fault| {
        let place = fault.place.expect("a fault of a network has its place");
        (fault.code, place.source.text[place.span].to_owned())
    });
    (network, said.collect())
}

fn check(mend: impl Fn(&str) -> String, expected: &[(&'static str, &str)]) {
    let (network, said) = read_text(&mend(GOOD));
    let said: Vec<_> = said.iter().map(|(code, at)| (*code, at.as_str())).collect();
    assert_eq!(said, expected);
    assert!(network.is_none());
}

#[test]
fn a_network_is_read_with_everything_that_it_is_made_of() {
    let (network, said) = read_text(GOOD);
    assert!(said.is_empty(), "{said:?}");
    let network = network.unwrap();
    assert_eq!((network.buses.len(), network.lines.len()), (3, 1));
    assert_eq!(network.edges().count(), 2);
}

#[test]
fn a_loop_is_refused_at_the_branch_that_closes_it() {
    let tie = "[[network.switch]]\nname = \"tie\"\nfrom = \"shed\"\nto = \"grid\"\n";
    check(|good| format!("{good}{tie}"), &[("R050", "\"tie\"")]);
    let (network, _) = read_text(&format!("{GOOD}{tie}closed = false\n"));
    assert!(network.is_some(), "an open ring is a tree");
}

#[test]
fn a_bus_that_nothing_reaches_is_refused_at_its_name() {
    check(
        |good| format!("{good}[[network.bus]]\nname = \"lost\"\nv_ll = \"400V\"\n"),
        &[("R051", "\"lost\"")],
    );
}

#[test]
fn two_names_for_one_breaker_are_refused_at_the_second() {
    let second = |more: &str| {
        let more = more.to_owned();
        move |good: &str| {
            let first = good.replace(
                "name = \"breaker\"",
                "name = \"breaker\"\ndevice = \"brk1\"",
            );
            format!("{first}[[network.switch]]\nname = \"other\"\n{more}")
        }
    };
    let rows = [
        "from = \"shed\"\nto = \"hall\"\n",
        "from = \"hall\"\nto = \"shed\"\nclosed = false\n",
        "from = \"grid\"\nto = \"shed\"\nclosed = false\ndevice = \"brk1\"\n",
    ];
    for row in rows {
        check(second(row), &[("R052", "\"other\"")]);
    }
}

#[test]
fn names_that_are_not_there_or_there_twice_are_refused() {
    check(
        |good| good.replace("to = \"shed\"", "to = \"shet\""),
        &[("R053", "\"shet\"")],
    );
    check(
        |good| format!("{good}[[network.bus]]\nname = \"hall\"\nv_ll = \"400V\"\n"),
        &[("R052", "\"hall\"")],
    );
}

#[test]
fn numbers_that_no_element_has_are_refused() {
    check(
        |good| good.replace("length_m = 300", "length_m = 0"),
        &[("R054", "0")],
    );
    check(
        |good| good.replacen("v_ll = \"400V\"", "v_ll = \"20kV\"", 1),
        &[("R054", "[[network.line]]")],
    );
    let transformer = "[[network.transformer]]\nname = \"t\"\nhigh = \"grid\"\nlow = \"hall\"\n\
        s = \"100kVA\"\nv_high = \"400V\"\nv_low = \"400V\"\nvk_percent = 4\nvkr_percent = 1\ngroup = \"Yy0\"\n";
    check(
        |good| format!("{good}{transformer}"),
        &[("R055", "\"Yy0\"")],
    );
}

#[test]
fn a_second_source_of_an_island_is_refused() {
    check(
        |good| format!("{good}[[network.source]]\nbus = \"shed\"\n"),
        &[("R056", "\"shed\"")],
    );
}

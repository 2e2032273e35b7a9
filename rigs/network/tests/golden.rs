//! The low-voltage benchmark of CIGRE, against voltages that others have computed.
//!
//! `tests/peers/network_flow.py` writes both networks; the voltages are those that pandapower
//! 3.5.6 and OpenDSS (DSS C-API 0.14.5) agree on to 1e-6. The suite `interop_plant` compares
//! all buses with both, and random networks as well.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by a panic"
)]

use document::{Document, Source};
use network::description::Network;
use network::flow::{Flow, Outcome};
use network::read::read;

fn network(text: &str) -> Network {
    let document = Document::parse(Source::new("cigre_lv.toml", text)).unwrap();
    let table = document.root().table("network").unwrap();
    let network = read(&table, 50.0);
    table.finish();
    let faults = document.into_faults();
    assert!(faults.is_empty(), "{faults:?}");
    network.unwrap()
}

fn check<const N: usize>(text: &str, rows: &[(&str, [f64; N])]) {
    let network = network(text);
    let mut flow = Flow::<N>::new(&network).unwrap();
    flow.solve();
    assert!(matches!(
        flow.islands().next(),
        Some((0, Outcome::Solved { .. }))
    ));
    for (bus, expected) in rows {
        let v = flow.voltage(network.bus(bus).unwrap()).map(|v| v.norm());
        for (v, expected) in v.iter().zip(expected) {
            assert!((v - expected).abs() < 1e-5, "{bus}: {v}, theirs {expected}");
        }
    }
}

#[test]
fn the_cigre_benchmark_has_the_voltages_that_pandapower_and_opendss_find() {
    check(
        include_str!("cigre_lv.toml"),
        &[
            ("R1", [0.98089]),
            ("R11", [0.96123]),
            ("R15", [0.91690]),
            ("R16", [0.93506]),
            ("R17", [0.92779]),
            ("R18", [0.92380]),
            ("I2", [0.94346]),
            ("C1", [0.97721]),
            ("C12", [0.91227]),
            ("C20", [0.92340]),
        ],
    );
}

#[test]
fn the_cigre_benchmark_loaded_unevenly_has_them_phase_by_phase() {
    check(
        include_str!("cigre_lv_unbalanced.toml"),
        &[
            ("R1", [0.98323, 0.981031, 0.97756]),
            ("R11", [0.970538, 0.942264, 0.968468]),
            ("R15", [0.990596, 0.768759, 0.981632]),
            ("R17", [0.94248, 0.883637, 0.953551]),
            ("I2", [0.948907, 0.988065, 0.891192]),
            ("C12", [0.896941, 0.953975, 0.884257]),
            ("C20", [0.909904, 0.932155, 0.927034]),
        ],
    );
}

#[test]
fn a_warm_start_needs_few_sweeps() {
    let network = network(include_str!("cigre_lv.toml"));
    let mut flow = Flow::<1>::new(&network).unwrap();
    flow.solve();
    let load = &network.loads[0];
    flow.set_load(0, load.p * 1.01, load.q);
    flow.solve();
    let Some((_, Outcome::Solved { sweeps })) = flow.islands().next() else {
        panic!("not solved");
    };
    assert!(sweeps <= 6, "{sweeps} sweeps");
}

use proptest::prelude::*;

use super::*;
use crate::description::{Bus, Impedance, Line, Load, Source, Switch};

/// A chain of buses behind a source of 400 V, with 0.208 + j0.080 ohm/km between them.
fn chain(lengths_m: &[f64]) -> Network {
    let bus = |n: usize| Bus {
        name: format!("b{n}").into(),
        v_ll: 400.0,
    };
    Network {
        f_nominal: 50.0,
        buses: (0..=lengths_m.len()).map(bus).collect(),
        sources: vec![Source {
            bus: 0,
            v_pu: 1.0,
            angle: 0.0,
            z: Impedance::default(),
            z2: Impedance::default(),
            z0: Impedance::default(),
        }],
        lines: lengths_m
            .iter()
            .enumerate()
            .map(|(n, length_m)| Line {
                name: format!("l{n}").into(),
                from: n,
                to: n + 1,
                length_m: *length_m,
                z_per_km: Impedance { r: 0.208, x: 0.080 },
                z0_per_km: Impedance { r: 0.832, x: 0.320 },
                c_nf_per_km: 0.0,
                c0_nf_per_km: 0.0,
                i_max: None,
            })
            .collect(),
        ..Network::default()
    }
}

fn load(bus: usize, on: On, p: f64, q: f64) -> Load {
    Load {
        bus,
        on,
        p,
        q,
        zip: Zip::default(),
    }
}

fn solved<const N: usize>(network: &Network) -> Flow<N> {
    let mut flow = Flow::new(network).unwrap();
    flow.solve();
    flow
}

#[test]
fn one_load_meets_the_rows_that_pandapower_and_opendss_agree_on() {
    // P kW, Q kvar injected, rise in per unit, angle in degrees: 300 m.
    let rows = [
        (10.0, 0.0, 0.00388, 0.086),
        (50.0, 0.0, 0.01911, 0.422),
        (100.0, 0.0, 0.03749, 0.828),
        (50.0, -24.2, 0.01549, 0.956),
        (50.0, 24.2, 0.02262, -0.109),
        (-50.0, 0.0, -0.01993, -0.438),
        (-100.0, -30.0, -0.04558, -0.198),
        (100.0, -44.0, 0.03094, 1.788),
    ];
    for (kw, kvar, rise, angle) in rows {
        let mut network = chain(&[300.0]);
        network.loads = vec![load(1, On::All, -kw * 1e3, -kvar * 1e3)];
        let balanced = solved::<1>(&network).voltage(1);
        for v in solved::<3>(&network).voltage(1).into_iter().chain(balanced) {
            assert!((v.norm() - 1.0 - rise).abs() < 6e-6, "{kw} kW: {v}");
        }
        let degrees = balanced[0].arg().to_degrees();
        assert!((degrees - angle).abs() < 6e-4, "{kw} kW: {degrees}");
    }
}

#[test]
fn a_feeder_carries_up_to_its_nose_and_no_further() {
    // Of a load with power factor one behind R + jX: P = V^2 / (2 (R + |Z|)).
    let (r, x) = (0.0624, 0.024_f64);
    let most = 400.0_f64.powi(2) / (2.0 * (r + f64::hypot(r, x)));
    let mut network = chain(&[300.0]);
    for (share, holds) in [(0.5, true), (0.97, true), (1.01, false), (50.0, false)] {
        network.loads = vec![load(1, On::All, most * share, 0.0)];
        let mut flow = solved::<1>(&network);
        let outcome = flow.islands().next().unwrap().1;
        assert_eq!(
            matches!(outcome, Outcome::Solved { .. }),
            holds,
            "{share}: {outcome:?}"
        );
        if !holds {
            assert_eq!(outcome, Outcome::Collapsed { bus: 1 });
            assert_eq!(flow.voltage(1), [ZERO]);
            assert_eq!(flow.load_power(0), ZERO);
            flow.set_load(0, most * 0.1, 0.0);
            flow.solve();
            assert_eq!(flow.supply(1), Supply::Live, "it comes back with less load");
        }
    }
}

#[test]
fn no_voltage_is_ever_not_a_number() {
    let mut network = chain(&[300.0, 200.0]);
    for (p, q) in [
        (0.0, -5e6),
        (0.0, 5e6),
        (1e12, 0.0),
        (-1e9, 1e9),
        (1e300, 0.0),
    ] {
        network.loads = vec![load(2, On::All, p, q)];
        for outcome in solved::<1>(&network).islands().map(|(_, o)| o) {
            assert!(
                matches!(outcome, Outcome::Collapsed { .. }),
                "{p} {q}: {outcome:?}"
            );
        }
        let flow = solved::<3>(&network);
        assert_eq!(flow.voltage(2), [ZERO; 3]);
        assert_eq!(flow.source_power(0), [ZERO; 3]);
    }
}

#[test]
fn what_comes_to_rest_too_slowly_is_told_apart_from_a_collapse() {
    let most = 400.0_f64.powi(2) / (2.0 * (0.0624 + f64::hypot(0.0624, 0.024)));
    let mut network = chain(&[300.0]);
    network.loads = vec![load(1, On::All, most * 0.99999, 0.0)];
    let outcome = solved::<1>(&network).islands().next().unwrap().1;
    assert_eq!(outcome, Outcome::NotConverged { bus: 1 });
}

#[test]
fn an_open_switch_makes_a_dead_island_and_a_second_source_takes_it_over() {
    let mut network = chain(&[100.0, 100.0]);
    network.lines.remove(0);
    network.switches = vec![Switch {
        name: "cb".into(),
        from: 0,
        to: 1,
        closed: true,
        device: None,
    }];
    network.loads = vec![load(2, On::All, 10e3, 0.0)];
    let mut other = network.sources[0].clone();
    other.bus = 2;
    network.sources.push(other);
    assert_eq!(
        Flow::<1>::new(&network).err(),
        Some(TreeError::TwoSources {
            first: 0,
            second: 1
        })
    );
    network.switches[0].closed = false;
    let mut flow = solved::<1>(&network);
    flow.rearrange(&[(1, false)], &[]).unwrap();
    flow.solve();
    assert_eq!(
        (flow.supply(0), flow.supply(2)),
        (Supply::Live, Supply::Dead)
    );
    assert_eq!(flow.load_power(0), ZERO);
    flow.rearrange(&[(1, true)], &[]).unwrap();
    flow.solve();
    assert_eq!(flow.source_of(1), Some(1), "fed from the other end");
    assert!((flow.source_power(1)[0].re - 10e3).abs() < 1e-3);
    assert_eq!(
        flow.rearrange(&[], &[(0, true)]),
        Err(TreeError::TwoSources {
            first: 0,
            second: 1
        })
    );
    assert!(!flow.is_closed(0), "what was refused has not happened");
    flow.solve();
    assert_eq!(flow.source_of(1), Some(1));
    flow.rearrange(&[(1, false)], &[(0, true)]).unwrap();
    flow.solve();
    assert_eq!(flow.source_of(2), Some(0), "handed over");
}

#[test]
fn a_load_of_one_phase_moves_the_others_by_the_neutral_they_share() {
    let mut network = chain(&[300.0]);
    network.unbalanced = true;
    network.loads = vec![load(1, On::One(0), 10e3, 0.0)];
    let flow = solved::<3>(&network);
    let [a, b, c] = std::array::from_fn(|n| flow.voltage(0)[n] - flow.voltage(1)[n]);
    assert!((a.norm() - 0.0257).abs() < 1e-4, "{a}");
    // With Z0 = 4 Z1, (Z0 + 2 Z1) / 3 = 2 Z1 act on the phase itself, (Z0 - Z1) / 3 = Z1 on
    // the two others.
    for other in [b, c] {
        assert!((other - a / 2.0).norm() < 1e-9, "{other}");
    }
}

#[test]
fn shares_of_a_load_follow_the_voltage() {
    let mut network = chain(&[300.0]);
    for (z, i) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.3)] {
        network.loads = vec![load(1, On::All, 50e3, 0.0)];
        network.loads[0].zip = Zip { z, i };
        let flow = solved::<1>(&network);
        let v = flow.voltage(1)[0].norm();
        let expected = 50e3 * (1.0 - z - i + i * v + z * v * v);
        assert!((flow.load_power(0).re - expected).abs() < 1e-6);
        // What the source gives is what the load takes and the line loses.
        let s = flow.source_power(0)[0];
        let lost = (s.norm() / 400.0).powi(2) * 0.0624;
        assert!(
            (s.re - expected - lost).abs() < 1e-2,
            "{}",
            s.re - expected - lost
        );
    }
}

proptest! {
    /// Power balance, whatever the tree and the loads: the source gives what loads take and
    /// lines lose, and each line carries what its voltages say.
    #[test]
    fn power_balances_in_random_trees(
        shape in prop::collection::vec((any::<prop::sample::Index>(), 5.0..60.0_f64), 1..40),
        kw in prop::collection::vec((-8.0..8.0_f64, -3.0..3.0_f64, 0..3_usize), 40),
    ) {
        let lengths: Vec<f64> = shape.iter().map(|(_, l)| *l).collect();
        let mut network = chain(&lengths);
        for (n, (parent, _)) in shape.iter().enumerate() {
            network.lines[n].from = parent.index(n + 1);
        }
        for (n, (p, q, phase)) in kw.into_iter().take(shape.len()).enumerate() {
            network.loads.push(load(n + 1, On::One(phase), p * 1e3, q * 1e3));
        }
        let flow = solved::<3>(&network);
        prop_assert_eq!(flow.supply(0), Supply::Live);
        let given: Phasor = flow.source_power(0).iter().sum();
        let taken: Phasor = (0..flow.loads()).map(|n| flow.load_power(n)).sum();
        let per_unit = |bus: usize| flow.voltage(bus);
        let mut lost = ZERO;
        for line in &network.lines {
            let (from, to) = (per_unit(line.from), per_unit(line.to));
            let km = line.length_m / 1e3;
            let z1 = Phasor::new(0.208, 0.080) * km / base::impedance(400.0);
            let y = Sequences { zero: (z1 * 4.0).inv(), positive: z1.inv(), negative: z1.inv() };
            let drop: Phases<3> = std::array::from_fn(|n| from[n] - to[n]);
            for (d, i) in drop.iter().zip(times(&y.matrix(), &drop)) {
                lost += d * i.conj() * base::volt_amperes(1.0, 3);
            }
        }
        prop_assert!((given - taken - lost).norm() < 1.0, "{given} {taken} {lost}");
    }
}

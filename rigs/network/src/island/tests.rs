use super::*;

const F: f64 = 50.0;

fn former(s_va: f64, droop: f64) -> Machine {
    Machine::Former(Former {
        s_va,
        droop,
        filter_s: 0.03,
        p_set: 0.0,
        p_limits: (-s_va, s_va),
    })
}

fn demand(p: f64) -> Demand {
    Demand { p, damping_w: 0.0 }
}

fn near(found: f64, expected: f64, share: f64) {
    let within = share * expected.abs();
    assert!(
        (found - expected).abs() <= within,
        "{found}, not {expected}"
    );
}

#[test]
fn nadir_its_time_steady_state_and_rocof_meet_the_closed_form_within_a_hundredth() {
    // dP, H, D, R, T in per unit and seconds; nadir in hertz, its time, steady state, ROCOF.
    let rows = [
        (0.1, 3.0, 1.0, 0.05, 0.5, 49.6329, 0.801, 49.7619, -0.833),
        (0.1, 1.0, 1.0, 0.05, 0.2, 49.6071, 0.283, 49.7619, -2.5),
        (0.2, 0.5, 1.0, 0.02, 0.1, 49.5230, 0.081, 49.8039, -10.0),
        (0.3, 2.0, 0.5, 0.04, 0.3, 49.0429, 0.452, 49.4118, -3.75),
    ];
    let s_va = 100e3;
    for (dp, h, d, r, t, nadir, at, steady, rocof) in rows {
        for dt_s in [0.001, 0.005, 0.010] {
            let mut diesel = Diesel::running(s_va, h, r, t);
            diesel.p_limits = (-10.0 * s_va, 10.0 * s_va);
            let mut island = Island::new(F, vec![Machine::Diesel(diesel)]);
            // Damping is of the base's power, whatever the load.
            let demand = Demand {
                p: s_va * dp,
                damping_w: d * s_va,
            };
            let (mut lowest, mut first) = ((F, 0.0), 0.0);
            for n in 1..=(20.0 / dt_s) as u32 {
                island.step(dt_s, demand);
                if n == 1 {
                    first = island.rocof();
                }
                if island.f() < lowest.0 {
                    lowest = (island.f(), f64::from(n) * dt_s);
                }
            }
            near(lowest.0 - F, nadir - F, 0.01);
            // A step is as exact as a time can be.
            assert!(
                (lowest.1 - at).abs() <= 0.01 * at + dt_s,
                "{lowest:?}, {at}"
            );
            near(island.f() - F, steady - F, 0.001);
            // Over the first step the governor has begun to act.
            near(first, rocof, 0.01 + 2.0 * dt_s / t);
        }
    }
}

#[test]
fn formers_share_by_their_droop() {
    // Two droops, frequency, power of each: control.md 4.
    let rows = [
        (0.04, 0.04, 48.80, 60e3, 30e3),
        (0.04, 0.02, 49.10, 45e3, 45e3),
    ];
    for (one, other, f, p_one, p_other) in rows {
        let mut island = Island::new(F, vec![former(100e3, one), former(50e3, other)]);
        for _ in 0..500 {
            island.step(0.01, demand(90e3));
        }
        assert!((island.f() - f).abs() < 1e-6, "{}", island.f());
        near(island.power(0), p_one, 1e-6);
        near(island.power(1), p_other, 1e-6);
    }
}

#[test]
fn what_machines_give_is_what_is_asked_for_at_every_moment() {
    let diesel = Diesel::running(60e3, 1.5, 0.04, 0.3);
    let mut island = Island::new(F, vec![former(50e3, 0.03), Machine::Diesel(diesel)]);
    for n in 0..1000 {
        let asked = 20e3 + 30e3 * f64::from(n % 7) / 7.0;
        island.step(0.002, demand(asked));
        let given: f64 = (0..2).map(|n| island.power(n)).sum();
        assert!((given - asked).abs() < 1e-6, "{given} {asked}");
    }
}

#[test]
fn an_overload_loses_the_frequency_and_says_so() {
    let mut island = Island::new(F, vec![former(10e3, 0.02)]);
    for _ in 0..3000 {
        island.step(0.01, demand(20e3));
    }
    assert_eq!(island.state(), State::Lost);
    assert!(island.f().is_finite() && island.f() >= 0.8 * F);
    assert_eq!(island.power(0), 0.0);
    island.begin(F);
    assert_eq!(island.step(0.01, demand(5e3)), State::Held);
}

#[test]
fn steps_of_a_millisecond_and_of_twenty_end_alike() {
    let end = |dt_s: f64| {
        let diesel = Diesel::running(100e3, 0.3, 0.02, 0.05);
        let mut island = Island::new(F, vec![Machine::Diesel(diesel), former(100e3, 0.01)]);
        for _ in 0..(5.0 / dt_s) as u32 {
            island.step(dt_s, demand(70e3));
        }
        island.f()
    };
    assert!((end(0.001) - end(0.020)).abs() < 1e-6);
}

#[test]
fn a_set_takes_load_after_its_starting_time_and_counts_its_fuel() {
    let mut diesel = Diesel::running(100e3, 1.0, 0.04, 0.3);
    diesel.stop();
    diesel.start();
    let mut island = Island::new(F, vec![former(100e3, 0.04), Machine::Diesel(diesel)]);
    for n in 0..6000 {
        island.step(0.01, demand(60e3));
        let Machine::Diesel(diesel) = &island.machines[1] else {
            panic!("it is one");
        };
        if n == 990 {
            assert_eq!((diesel.p(), diesel.litres()), (0.0, 0.0));
        }
    }
    near(island.power(1), 30e3, 1e-3);
    let Machine::Diesel(diesel) = &island.machines[1] else {
        panic!("it is one");
    };
    // 50 s at 4 l/h and 0.22 l/kWh of 30 kW.
    near(diesel.litres(), 50.0 / 3600.0 * (4.0 + 0.22 * 30.0), 0.02);
}

//! A bench that only looks is not touched, over every kind of bus: told by the emulated devices, which
//! note everything that they hear and that is no question.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use emulator::bench::Handle;
use emulator::faults::Fault;
use model::{DeviceIx, ModeRequest, Order, Setpoint};
use quantities::{ActivePower, Quantity, ReactivePower};
use runtime::clock::SimClock;
use runtime::engine::OrderQueue;
use runtime::session::{Options, Session, Time};
use scenario::bench::EmulatedBench;
use tokio::sync::Notify;
use tokio::time::sleep;

/// What a person or a market could ask for, drawn from `n`.
fn order(n: u64) -> Order {
    let p = ActivePower::from_watts((n % 4000) as f64 - 2000.0);
    let q = ReactivePower::ZERO;
    let device = DeviceIx((n / 7 % 8) as u16);
    match n % 6 {
        0 => Order::Hold {
            device,
            setpoint: Setpoint::Power { p, q },
        },
        1 => Order::Hold {
            device,
            setpoint: Setpoint::Ceiling { p: p.abs() },
        },
        2 => Order::Hold {
            device,
            setpoint: Setpoint::Switch { on: n % 4 < 2 },
        },
        3 => Order::Release { device },
        4 => Order::Mode(ModeRequest::Island),
        _ => Order::Mode(ModeRequest::Safe),
    }
}

/// Orders and faults at random for a minute.
async fn trouble(seed: &mut u64, orders: &OrderQueue, bench: &Handle) {
    for _ in 0..60 {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let n = *seed >> 33;
        orders.push(order(n));
        let (target, fault) = [
            ("lan1", Fault::Reboot(Duration::from_secs(2))),
            ("lan2", Fault::HalfOpen),
            ("rs1", Fault::Garbage(0.5)),
            ("can0", Fault::BusOff),
            ("mq", Fault::Restart(Duration::from_secs(2))),
        ][(n / 11 % 5) as usize];
        bench
            .set_fault(target, fault, n.is_multiple_of(3))
            .expect("the bench has it");
        sleep(Duration::from_secs(1)).await;
    }
    for target in ["lan2", "rs1", "can0"] {
        for fault in [Fault::HalfOpen, Fault::Garbage(0.5), Fault::BusOff] {
            bench
                .set_fault(target, fault, false)
                .expect("the bench has it");
        }
    }
    sleep(Duration::from_secs(15)).await;
}

#[tokio::test(start_paused = true)]
async fn a_bench_is_touched_only_while_it_is_armed_whatever_is_asked_and_whatever_breaks() {
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual/lab.toml");
    let rig = Arc::new(runtime::rig::load(Path::new(lab)).expect("the lab rig is good"));
    for first in 1..=3 {
        let mut seed = first;
        let dir = tempfile::tempdir().expect("a folder");
        let (bench, buses) = EmulatedBench::start_memory(&rig, seed).expect("it starts");
        let emulated = bench.handle();
        let touches = || emulated.world().lock().touches().to_vec();
        let session = Session::open(
            Options {
                rig: Arc::clone(&rig),
                buses,
                run_dir: dir.path().to_path_buf(),
                seed,
                armed: false,
                listeners: Vec::new(),
            },
            Time::Virtual(SimClock::start(), Arc::new(Notify::new())),
        )
        .expect("it opens");
        let orders = session.orders.clone();
        let script = async {
            trouble(&mut seed, &orders, &emulated).await;
            assert_eq!(touches(), [], "seed {first}: not armed");

            orders.push(Order::Mode(ModeRequest::Resume));
            orders.push(Order::Arm(true));
            let p = ActivePower::from_watts(1500.0);
            let ess = rig.device("ess1").expect("the lab has it");
            orders.push(Order::Hold {
                device: ess,
                setpoint: Setpoint::Power {
                    p,
                    q: ReactivePower::ZERO,
                },
            });
            sleep(Duration::from_secs(20)).await;
            let armed = touches();
            for what in ["ess1 ctl.p_set", "frame Standard(773)"] {
                assert!(
                    armed.iter().any(|t| t.what == what),
                    "seed {first}: {what} in {armed:?}"
                );
            }

            orders.push(Order::Arm(false));
            // What is urgent (rest) has its two seconds.
            sleep(Duration::from_secs(3)).await;
            let rested = touches();
            trouble(&mut seed, &orders, &emulated).await;
            assert_eq!(touches(), rested, "seed {first}: disarmed");
            "the script is over".to_owned()
        };
        session.run(script).await.expect("it ends well");
    }
}

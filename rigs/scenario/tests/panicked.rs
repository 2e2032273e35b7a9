//! A panic in a step of the control ends in the safe end: rest that was approved beforehand leaves in the
//! order that the rig declares, and the evidence is closed in good order.
//!
//! The panic is real, and comes from where a step can be reached from outside: somebody in the process
//! who listens to it. No build of gridrig has anything that panics on purpose.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Event, Instant, Mode, Order, PointSample, ServiceReport, Setpoint};
use quantities::{ActivePower, ReactivePower};
use runtime::clock::SimClock;
use runtime::engine::Listener;
use runtime::session::{Ended, Options, Session, Time};
use scenario::bench::EmulatedBench;
use tokio::sync::Notify;
use tokio::time::sleep;

/// A listener that breaks the step at a time.
struct Breaks {
    at: Duration,
}

impl Listener for Breaks {
    fn samples(&mut self, _: Instant, _: &[PointSample]) {}

    fn services(&mut self, _: Instant, _: &[ServiceReport]) {}

    fn event(&mut self, _: Instant, _: &Event) {}

    fn cycle(&mut self, now: Instant, _: Mode, _: Duration) {
        assert!(now < Instant::START + self.at, "broken on purpose");
    }
}

/// What a run came to whose control panics after ten seconds, storage and sun held.
struct Broken {
    ended: Ended,
    /// What the devices were told since the panic, in order.
    told: Vec<String>,
    ess_w: f64,
    pv_w: f64,
    events: String,
    verified: bool,
}

async fn broken(order: &str) -> Broken {
    let dir = tempfile::tempdir().expect("a folder");
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual/lab.toml");
    let text = format!(
        "schema = 1\ninherit = {lab:?}\nsafety = {{ heartbeat = \"1s\", order = {order} }}\n"
    );
    let path = dir.path().join("rig.toml");
    std::fs::write(&path, text).expect("written");
    let rig = Arc::new(runtime::rig::load(&path).expect("the rig is good"));
    let (bench, buses) = EmulatedBench::start_memory(&rig, 1).expect("it starts");
    let emulated = bench.handle();
    let run_dir = dir.path().join("run");
    std::fs::create_dir(&run_dir).expect("made");
    let at = Duration::from_secs(10);
    let session = Session::open(
        Options {
            rig: Arc::clone(&rig),
            buses,
            run_dir: run_dir.clone(),
            seed: 1,
            armed: true,
            listeners: vec![Box::new(Breaks { at })],
        },
        Time::Virtual(SimClock::start(), Arc::new(Notify::new())),
    )
    .expect("it opens");
    let orders = session.orders.clone();
    let device = |name: &str| rig.device(name).expect("the lab has it");
    let script = async {
        let p = ActivePower::from_watts(3_000.0);
        let q = ReactivePower::ZERO;
        orders.push(Order::Hold {
            device: device("ess1"),
            setpoint: Setpoint::Power { p, q },
        });
        let p = ActivePower::from_watts(1_000.0);
        orders.push(Order::Hold {
            device: device("pv1"),
            setpoint: Setpoint::Ceiling { p },
        });
        sleep(Duration::from_secs(60)).await;
        "the script is over".to_owned()
    };
    let ended = session
        .run(script)
        .await
        .expect("it ends, and does not hang");
    let world = emulated.world();
    let world = world.lock();
    let told = world.touches().iter().filter(|t| t.at >= at);
    let power = |name: &str| {
        let index = device(name).index();
        world.value(index, model::Point::ActivePower).expect("told")
    };
    Broken {
        told: told.map(|t| t.what.clone()).collect(),
        ess_w: power("ess1"),
        pv_w: power("pv1"),
        events: read(&run_dir.join("events.jsonl")),
        verified: ledger_verify::verify(&run_dir).is_ok(),
        ended,
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it is there")
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_step_brings_the_bench_to_rest_in_its_order_and_closes_the_evidence() {
    for (order, first, last) in [
        (
            r#"["sources", "loads", "storages", "pv", "plugs", "breaker"]"#,
            "ess1 ctl.p_set",
            "pv1 ctl.p_lim",
        ),
        (
            r#"["pv", "sources", "loads", "storages", "plugs", "breaker"]"#,
            "pv1 ctl.p_lim",
            "ess1 ctl.p_set",
        ),
    ] {
        let broken = broken(order).await;
        let fault = broken.ended.fault.as_deref();
        let expected = "a step of the control panicked; devices were brought to rest";
        assert_eq!(fault, Some(expected));
        // Nobody told the plugs anything: they stay as they are.
        let told: Vec<&str> = broken.told.iter().map(String::as_str).collect();
        assert!(!told.iter().any(|t| t.starts_with("plug")), "{told:?}");
        // At rest long before any revert timer of 30 s or 60 s.
        assert!(broken.ess_w.abs() < 60.0, "{}", broken.ess_w);
        assert!(broken.pv_w > 3_500.0, "{}", broken.pv_w);
        let place = |what: &str| broken.told.iter().position(|told| told == what);
        assert!(
            place(first).is_some() && place(first) < place(last),
            "{first} before {last}: {:?}",
            broken.told
        );
        assert_eq!(broken.ended.finished.faults, [""; 0]);
        assert!(broken.verified && !broken.ended.finished.ledger_root.is_empty());
        let went_safe = broken.events.lines().filter(|l| l.contains("went_safe"));
        let went_safe: Vec<&str> = went_safe.collect();
        assert!(
            matches!(went_safe.as_slice(), [one] if one.contains("a step of the control panicked")),
            "{went_safe:?}"
        );
    }
}

//! Characteristics on their way through a line that loses answers, and heartbeats.

use model::Characteristic;

use super::sunspec::sunspec_image;
use super::*;

const VALID: Duration = Duration::from_secs(2);

fn inverter_of_models() -> ModbusProfile {
    ModbusProfile {
        layout: Layout::SunSpec {
            required: vec![1, 123],
            one_of: Vec::new(),
            optional: Vec::new(),
        },
        points: Vec::new(),
        ..meter()
    }
}

/// A device with model 123, where a power factor is written, proved and enabled.
fn with_models(rule: impl FnMut(u64, &Heard) -> Deed + Send + 'static) -> Shared {
    let device = fake(rule);
    sunspec_image(&device);
    {
        let mut fake = device.lock().expect("sound");
        for address in 40_152..40_176 {
            fake.registers.entry((1, address)).or_insert(0);
        }
        fake.registers.insert((1, 40_150 + 24), 0xFFFD);
    }
    device
}

fn teach(bench: &Bench) {
    bench.give(Given::Teaching(Teaching {
        dispatch: DispatchId(1),
        device: DeviceIx(0),
        wish: Characteristic::PowerFactor {
            pf: 0.9,
            absorbs: true,
        },
        revert: None,
        valid_until: bench.clock.now() + VALID,
    }));
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_comes_through_a_busy_device_and_one_that_never_answers_is_given_up() {
    let is_work = |heard: &Heard| heard.address >= 40_150 && heard.address < 40_176;
    // Every request of it is refused as busy twice before it is taken.
    let mut refused = 0;
    let twice_busy = move |_, heard: &Heard| {
        if !is_work(heard) || refused == 2 {
            refused = 0;
            return NOW;
        }
        refused += 1;
        Deed::Refuse(6)
    };
    // Each answer takes so long that all of it takes longer than it was valid for at its beginning.
    let slow = move |_, heard: &Heard| Deed::Busy(if is_work(heard) { 90 * MS } else { MS });
    let device = with_models(twice_busy);
    let bench = Bench::start(false, vec![inverter_of_models()], &device);
    bench.runs(1000 * MS).await;
    teach(&bench);
    bench.runs(10_000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    assert_eq!(device.lock().expect("sound").registers[&(1, 40_164)], 1);

    let device = with_models(slow);
    let bench = Bench::start(false, vec![inverter_of_models()], &device);
    bench.runs(1000 * MS).await;
    teach(&bench);
    bench.runs(VALID - 50 * MS).await;
    {
        let mut fake = device.lock().expect("sound");
        fake.rule = Box::new(move |_, h| if is_work(h) { Deed::Refuse(6) } else { NOW });
        fake.heard.clear();
    }
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    teach(&bench);
    bench.runs(10_000 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate[2].starts_with("missed Written"), "{fate:?}");
    let fake = device.lock().expect("sound");
    let asked = fake.heard.iter().filter(|h| is_work(h));
    assert_eq!(asked.count(), 4, "and not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_that_was_begun_is_finished_although_its_time_is_over() {
    let slow = |_, heard: &Heard| {
        let is_work = heard.address >= 40_150 && heard.address < 40_176;
        Deed::Busy(if is_work { 80 * MS } else { MS })
    };
    let device = with_models(slow);
    let bench = Bench::start(false, vec![inverter_of_models()], &device);
    bench.runs(1000 * MS).await;
    bench.give(Given::Teaching(Teaching {
        dispatch: DispatchId(1),
        device: DeviceIx(0),
        wish: Characteristic::PowerFactor {
            pf: 0.9,
            absorbs: true,
        },
        revert: None,
        valid_until: bench.clock.now() + 100 * MS,
    }));
    bench.runs(5000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
}

fn set(device: &Shared, rule: fn(u64, &Heard) -> Deed) {
    device.lock().expect("sound").rule = Box::new(rule);
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_ends_with_the_device_that_it_was_begun_on() {
    // Whoever comes back may be another one.
    for (rtu, gone) in [(true, Deed::Silent), (false, Deed::HangUp)] {
        let device = with_models(|_, _| NOW);
        let bench = Bench::start(rtu, vec![inverter_of_models()], &device);
        bench.runs(1000 * MS).await;
        let told = gone.clone();
        let mut n = 0;
        device.lock().expect("sound").rule = Box::new(move |_, _| {
            n += 1;
            if n < 2 { NOW } else { gone.clone() }
        });
        teach(&bench);
        bench.runs(20_000 * MS).await;
        let fate = bench.seen.fate(1);
        assert!(
            fate.len() == 1 && fate[0].starts_with("missed Written"),
            "{told:?}: {fate:?}"
        );
        set(&device, |_, _| NOW);
        bench.runs(60_000 * MS).await;
        bench.wrote(&device);
        bench.runs(60_000 * MS).await;
        assert_eq!(bench.wrote(&device), [] as [u16; 0], "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_that_is_never_begun_expires() {
    let device = fake(|_, _| Deed::Silent);
    let bench = Bench::start(true, vec![inverter_of_models()], &device);
    bench.runs(5000 * MS).await;
    teach(&bench);
    bench.runs(VALID - MS).await;
    assert_eq!(bench.seen.fate(1), [] as [&str; 0]);
    bench.runs(2 * MS + 3000 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate.len() == 1 && fate[0].contains("expired"), "{fate:?}");
    assert_eq!(bench.report().expired, 1);
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_that_disarming_cuts_short_is_told() {
    let device = with_models(|_, _| NOW);
    let mut bench = Bench::start(false, vec![inverter_of_models()], &device);
    bench.runs(1000 * MS).await;
    set(&device, |_, h| match h.function {
        16 => Deed::Refuse(6),
        _ => NOW,
    });
    teach(&bench);
    bench.runs(50 * MS).await;
    bench.orders = None;
    bench.runs(50 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate.len() == 1 && fate[0].contains("disarmed"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_characteristic_that_the_device_only_says_it_has_taken_is_not_proved() {
    let device = with_models(|_, _| NOW);
    let bench = Bench::start(false, vec![inverter_of_models()], &device);
    bench.runs(1000 * MS).await;
    device.lock().expect("sound").stubborn = true;
    teach(&bench);
    bench.runs(2000 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(
        fate.len() == 2 && fate[0] == "Written" && fate[1].starts_with("missed Register"),
        "{fate:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_were_missed_are_not_made_up_for() {
    let device = fake(|_, _| NOW);
    let mut profile = meter();
    profile.heartbeats = vec![Heartbeat {
        address: holding(700),
        encoding: u16_plain(),
        every: 1000 * MS,
    }];
    let bench = Bench::start(true, vec![profile], &device);
    bench.runs(1500 * MS).await;
    device.lock().expect("sound").rule = Box::new(|_, _| Deed::Silent);
    bench.runs(40_000 * MS).await;
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);
    bench.wrote(&device);
    bench.runs(20_000 * MS).await;
    let beats = bench.wrote(&device).len();
    assert!((5..=21).contains(&beats), "{beats} in twenty seconds");
}

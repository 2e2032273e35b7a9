//! A journal replays to the same outcomes, and says where it does not.

use std::time::Duration;

use control::Settings;
use model::{DeviceSpec, Point, Rating, Reading, Role, Sample};
use quantities::{
    ActivePower, ApparentPower, Bounds, Frequency, PowerRamp, StateOfCharge, Voltage,
};

use super::*;

/// A device of this name and role, with 5 kW to either side.
pub(crate) fn device(name: &str, role: Role) -> DeviceSpec {
    DeviceSpec {
        id: name.into(),
        role,
        rating: Rating {
            p: Bounds::between(
                ActivePower::from_kilowatts(-5.0),
                ActivePower::from_kilowatts(5.0),
            ),
            s_max: ApparentPower::from_kilovolt_amperes(5.0),
            ramp: PowerRamp::from_watts_per_second(1e6),
            soc: Bounds::between(
                StateOfCharge::from_percent(10.0),
                StateOfCharge::from_percent(90.0),
            ),
            capacity: None,
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: None,
        takes_power: role == Role::Ess,
        takes_reactive: role == Role::Ess,
        takes_ceiling: false,
        takes_switch: false,
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(1),
    }
}

fn bench() -> Bench {
    let mut settings = Settings::nominal(Frequency::from_hertz(50.0), Voltage::from_volts(230.0));
    settings.agreement.target = Some(ActivePower::ZERO);
    Bench {
        settings,
        devices: vec![device("pcc", Role::Pcc), device("ess1", Role::Ess)],
    }
}

/// Writes a journal of some steps in which the exchange wanders.
fn written(path: &Path, steps: u64) {
    let bench = bench();
    let mut journal = Journal::create(path, &bench, true).expect("made");
    let mut image = ProcessImage::unread(2);
    let mut controller = Controller::new(bench);
    for step in 1..=steps {
        let now = Instant::START + Duration::from_millis(100 * step);
        let sample = |device, point, value| PointSample {
            device: DeviceIx(device),
            point,
            sample: Sample {
                measured_at: now,
                reading: Reading::Good(value),
            },
        };
        let samples = [
            sample(0, Point::ActivePower, 300.0 * (step as f64).sin()),
            sample(0, Point::Frequency, 50.0),
            sample(1, Point::StateOfCharge, 0.5),
            sample(1, Point::ActivePower, 0.0),
        ];
        for s in samples {
            image.observe(s);
        }
        image.taken_at = now;
        let orders = if step == 1 {
            vec![Order::Arm(true)]
        } else {
            vec![]
        };
        let outcome = controller.step(now, Rhythm::Supervisory, &image, &orders);
        journal.step(
            now,
            Rhythm::Supervisory,
            &samples,
            &image,
            &orders,
            &outcome,
        );
    }
    assert_eq!(journal.finish().expect("written"), 0);
}

#[test]
fn a_journal_replays_identically() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("journal");
    written(&path, 50);
    let expected = Replayed::Identical {
        steps: 50,
        torn_bytes: 0,
    };
    assert_eq!(replay(&path).expect("read"), expected);
}

#[test]
fn a_journal_that_a_crash_cut_off_replays_up_to_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("journal");
    written(&path, 50);
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("cut");
    match replay(&path).expect("read") {
        Replayed::Identical { steps, torn_bytes } => {
            assert_eq!(steps, 49);
            assert!(torn_bytes > 0);
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_changed_byte_in_the_middle_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("journal");
    written(&path, 20);
    let bytes = std::fs::read(&path).expect("read");
    for at in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).expect("written");
        let same = matches!(
            replay(&path),
            Ok(Replayed::Identical {
                steps: 20,
                torn_bytes: 0
            })
        );
        assert!(!same, "byte {at} of {}", bytes.len());
    }
}

#[test]
fn a_step_that_comes_out_differently_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("journal");
    let bench = bench();
    let mut journal = Journal::create(&path, &bench, true).expect("made");
    let image = ProcessImage::unread(2);
    let mut controller = Controller::new(bench);
    let at = Instant::START + Duration::from_millis(100);
    let mut outcome = controller.step(at, Rhythm::Supervisory, &image, &[]);
    outcome.mode = model::Mode::Islanded;
    journal.step(at, Rhythm::Supervisory, &[], &image, &[], &outcome);
    journal.finish().expect("written");
    assert!(matches!(
        replay(&path).expect("read"),
        Replayed::Different { step: 1, .. }
    ));
}

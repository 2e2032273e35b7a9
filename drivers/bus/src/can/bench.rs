//! What the tests of buses share: a clock on virtual time, a sink that remembers, approved setpoints.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use limiter::Limiter;
use model::{
    Characteristic, Clock, DeviceIx, DeviceSpec, Flaw, Instant, Point, PointSample, ProcessImage,
    Rating, Reading, Role, Setpoint, SourceRating, UtcTime,
};
use quantities::{ActivePower, ApparentPower, Bounds, Frequency, PowerRamp, Voltage};

use crate::{AdoptJob, BusDevice, DispatchId, KeepAlives, LinkEvent, PollPeriods, Sink, WriteJob};

/// Shows tokio's time, so that paused time moves it.
#[derive(Debug)]
pub(crate) struct TestClock(tokio::time::Instant);

impl TestClock {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }
    fn utc(&self) -> UtcTime {
        UtcTime::from_unix_nanos(1_700_000_000_000_000_000)
    }
}

/// Remembers all that a bus says.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    samples: Mutex<Vec<PointSample>>,
    events: Mutex<Vec<LinkEvent>>,
}

impl Sink for Recorder {
    fn sample(&self, sample: PointSample) {
        self.samples.lock().unwrap().push(sample);
    }
    fn event(&self, event: LinkEvent) {
        self.events.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// The latest reading of a point.
    pub(crate) fn latest(&self, device: u16, point: Point) -> Option<Reading<f64>> {
        let samples = self.samples.lock().unwrap();
        let mut of_point = samples.iter().rev();
        of_point
            .find(|s| s.device == DeviceIx(device) && s.point == point)
            .map(|s| s.sample.reading)
    }

    /// All samples of a point: milliseconds and reading.
    pub(crate) fn all(&self, device: u16, point: Point) -> Vec<(u64, Reading<f64>)> {
        let samples = self.samples.lock().unwrap();
        samples
            .iter()
            .filter(|s| s.device == DeviceIx(device) && s.point == point)
            .map(|s| {
                let at = s.sample.measured_at.as_nanos() / 1_000_000;
                (at, s.sample.reading)
            })
            .collect()
    }

    /// All events so far; they are forgotten.
    pub(crate) fn take_events(&self) -> Vec<LinkEvent> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// Texts of all notices so far.
    pub(crate) fn notices(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter_map(|e| match e {
                LinkEvent::Notice { text, .. } => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn check(&self, device: u16, point: Point, expected: Result<f64, Flaw>) {
        let expected = match expected {
            Ok(value) => Reading::Good(value),
            Err(flaw) => Reading::Bad(flaw),
        };
        assert_eq!(self.latest(device, point), Some(expected), "{point}");
    }
}

/// A device that takes everything, of a bench that fences in nothing.
fn able(role: Role) -> DeviceSpec {
    let rated = ActivePower::from_watts(10_000.0);
    DeviceSpec {
        id: "any".into(),
        role,
        rating: Rating {
            p: Bounds::between(-rated, rated),
            s_max: ApparentPower::from_volt_amperes(10_000.0),
            ramp: PowerRamp::from_watts_per_second(1e6),
            soc: Bounds::unbounded(),
            capacity: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
            source: Some(SourceRating {
                f: Bounds::between(Frequency::from_hertz(45.0), Frequency::from_hertz(65.0)),
                v: Bounds::between(Voltage::ZERO, Voltage::from_volts(300.0)),
                rocof: None,
                slew: None,
                nominal: (Frequency::from_hertz(50.0), Voltage::from_volts(230.0)),
            }),
        },
        shed: None,
        battery: None,
        takes_power: true,
        takes_reactive: true,
        takes_ceiling: true,
        takes_switch: true,
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(10),
    }
}

/// A write of a switch (or of power) that passed the limiter, valid for so long.
pub(crate) fn job(
    clock: &TestClock,
    dispatch: u64,
    device: u16,
    setpoint: Setpoint,
    valid: Duration,
    urgent: bool,
) -> WriteJob {
    let devices = usize::from(device) + 1;
    let mut limiter = Limiter::new(
        vec![able(Role::Load); devices],
        limiter::Fences::of(Voltage::from_volts(230.0)),
    );
    let image = ProcessImage::unread(devices);
    let verdict = limiter
        .approve(clock.now(), DeviceIx(device), setpoint, &image)
        .unwrap();
    WriteJob {
        dispatch: DispatchId(dispatch),
        device: DeviceIx(device),
        setpoint: verdict.approved,
        valid_until: clock.now() + valid,
        urgent,
    }
}

/// A characteristic that passed the limiter, valid for two seconds.
pub(crate) fn adoption(clock: &TestClock, dispatch: u64, device: u16) -> AdoptJob {
    let devices = usize::from(device) + 1;
    let limiter = Limiter::new(
        vec![able(Role::Pv); devices],
        limiter::Fences::of(Voltage::from_volts(230.0)),
    );
    let wish = Characteristic::PowerFactor {
        pf: 0.95,
        absorbs: true,
    };
    let characteristic = limiter
        .approve_characteristic(DeviceIx(device), wish, &ProcessImage::unread(devices))
        .unwrap();
    AdoptJob {
        dispatch: DispatchId(dispatch),
        device: DeviceIx(device),
        characteristic,
        revert: None,
        valid_until: clock.now() + Duration::from_secs(2),
    }
}

/// A device of the rig with this profile.
pub(crate) fn device(ix: u16, profile: profile::Protocol, topic: Option<&str>) -> BusDevice {
    BusDevice {
        ix: DeviceIx(ix),
        id: format!("dev{ix}").into(),
        profile: Arc::new(profile::Profile {
            id: "maker/model".into(),
            title: "A device".into(),
            version: 1,
            source: vec!["test".into()],
            opt_in: false,
            protocol: profile,
        }),
        unit: None,
        topic: topic.map(str::to_owned),
        revert: None,
        limits: Vec::new(),
        poll: PollPeriods {
            fast: Duration::from_millis(100),
            normal: Duration::from_secs(1),
            slow: Duration::from_secs(60),
        },
        keep_alives: KeepAlives::default(),
    }
}

//! Where buses put what they hear, and where the cycle takes it from: frozen, all at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bus::{LinkEvent, Sink};
use model::{DeviceIx, Instant, Link, Point, PointSample, ProcessImage, Reading};
use quantities::{Bounds, Frequency};

/// Called when a frequency sample calls for the fast path.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// What has arrived since the last cycle.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Samples, in the order of arrival.
    pub samples: Vec<PointSample>,
    /// Events of the buses, in the order of arrival.
    pub events: Vec<LinkEvent>,
}

struct Inner {
    image: ProcessImage,
    arrivals: Arrivals,
}

/// The image store: the one place where bus tasks and control thread meet.
pub struct ImageStore {
    inner: Mutex<Inner>,
    inverted: Vec<bool>,
    alarm: Alarm,
    wake: Wake,
    /// Words of the buses so far: samples and events.
    words: AtomicU64,
}

/// What calls for the fast path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Frequencies outside of this.
    pub calm: Bounds<Frequency>,
    /// The device whose switch is the emergency stop: anything but closed.
    pub estop: Option<DeviceIx>,
}

impl Alarm {
    fn is_raised_by(&self, sample: &PointSample) -> bool {
        match (sample.point, sample.sample.reading) {
            (Point::Frequency, Reading::Good(f)) => !self.calm.contains(Frequency::from_hertz(f)),
            (Point::SwitchOn, Reading::Good(closed)) => {
                self.estop == Some(sample.device) && closed < 0.5
            }
            _ => false,
        }
    }

    /// A contact that has fallen silent is one that is not seen closed.
    fn is_raised_by_event(&self, event: &LinkEvent) -> bool {
        matches!(event, LinkEvent::Offline(device, _) if self.estop == Some(*device))
    }
}

/// Arrivals kept between two cycles. Chosen: ten times what 100 devices with 20 points say in
/// a second; beyond it the oldest are of no use to anybody.
const ARRIVALS_MAX: usize = 20_000;

impl ImageStore {
    /// A store for so many devices. Power of `inverted` devices is measured with the opposite
    /// sign; samples and silence that raise the alarm wake the fast path.
    #[must_use]
    pub fn new(inverted: Vec<bool>, alarm: Alarm, wake: Wake) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                image: ProcessImage::unread(inverted.len()),
                arrivals: Arrivals::default(),
            }),
            inverted,
            alarm,
            wake,
            words: AtomicU64::new(0),
        })
    }

    /// Freezes the image and takes what has arrived.
    #[must_use]
    pub fn take(&self, now: Instant) -> (ProcessImage, Arrivals) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.image.taken_at = now;
        (inner.image.clone(), std::mem::take(&mut inner.arrivals))
    }

    /// How often the buses have said something. Where no device answers, nobody can expect a word.
    #[must_use]
    pub fn words(&self) -> Option<u64> {
        let mut anybody = false;
        self.with(|inner| {
            anybody = inner.image.devices.iter().any(|d| d.link == Link::Online);
        });
        anybody.then(|| self.words.load(Ordering::Relaxed))
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn set_link(&self, device: DeviceIx, link: Link) {
        self.with(|inner| {
            if let Some(image) = inner.image.devices.get_mut(device.index()) {
                image.link = link;
            }
        });
    }
}

impl Sink for ImageStore {
    fn sample(&self, mut sample: PointSample) {
        let inverted = self
            .inverted
            .get(sample.device.index())
            .copied()
            .unwrap_or(false);
        if inverted {
            sample = turned(sample);
        }
        self.words.fetch_add(1, Ordering::Relaxed);
        self.with(|inner| {
            inner.image.observe(sample);
            if inner.arrivals.samples.len() < ARRIVALS_MAX {
                inner.arrivals.samples.push(sample);
            }
        });
        if self.alarm.is_raised_by(&sample) {
            (self.wake)();
        }
    }

    fn event(&self, event: LinkEvent) {
        self.words.fetch_add(1, Ordering::Relaxed);
        match &event {
            LinkEvent::Online(device) => self.set_link(*device, Link::Online),
            LinkEvent::Offline(device, _) => self.set_link(*device, Link::Offline),
            _ => {}
        }
        let alarming = self.alarm.is_raised_by_event(&event);
        self.with(|inner| inner.arrivals.events.push(event));
        if alarming {
            (self.wake)();
        }
    }
}

/// The same sample of a meter that is wired the other way round: power and current change their
/// sign, the energy counters change places.
fn turned(mut sample: PointSample) -> PointSample {
    match sample.point {
        Point::ActivePower
        | Point::ReactivePower
        | Point::ActivePowerL1
        | Point::ActivePowerL2
        | Point::ActivePowerL3 => {
            sample.sample.reading = sample.sample.reading.map(|v| -v);
        }
        Point::EnergyImport => sample.point = Point::EnergyExport,
        Point::EnergyExport => sample.point = Point::EnergyImport,
        _ => {}
    }
    sample
}

#[cfg(test)]
mod tests {
    use bus::LinkEvent;
    use model::{Flaw, Sample};

    use super::*;

    const ESTOP: DeviceIx = DeviceIx(1);
    const OTHER: DeviceIx = DeviceIx(0);

    #[test]
    fn the_fast_path_is_woken_by_an_odd_frequency_and_by_a_stop_that_is_not_closed() {
        let check = |say: &dyn Fn(&ImageStore), expected: u64| {
            let woken = Arc::new(AtomicU64::new(0));
            let alarm = Alarm {
                calm: Bounds::between(Frequency::from_hertz(49.9), Frequency::from_hertz(50.1)),
                estop: Some(ESTOP),
            };
            let count = Arc::clone(&woken);
            let wake = Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            let store = ImageStore::new(vec![false; 2], alarm, wake);
            say(&store);
            assert_eq!(woken.load(Ordering::Relaxed), expected);
        };
        let sample = |device, point, value| {
            move |store: &ImageStore| {
                let reading = Reading::Good(value);
                let measured_at = Instant::START;
                store.sample(PointSample {
                    device,
                    point,
                    sample: Sample {
                        measured_at,
                        reading,
                    },
                });
            }
        };
        check(&sample(OTHER, Point::Frequency, 50.0), 0);
        check(&sample(OTHER, Point::Frequency, 49.8), 1);
        check(&sample(OTHER, Point::SwitchOn, 0.0), 0);
        check(&sample(ESTOP, Point::SwitchOn, 1.0), 0);
        check(&sample(ESTOP, Point::SwitchOn, 0.0), 1);
        let gone = |device| {
            move |store: &ImageStore| store.event(LinkEvent::Offline(device, Flaw::Timeout))
        };
        check(&gone(OTHER), 0);
        check(&gone(ESTOP), 1);
        check(
            &|store: &ImageStore| store.event(LinkEvent::Online(ESTOP)),
            0,
        );
    }
}

//! The CAN bus on the kernel's own interface.
//!
//! With `GRIDRIG_CAN=vcan0` (an interface that is up, and rights to take it down) the
//! whole path is walked; without it, only the refusal of an interface that is not there.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::can::codec::{Data, Frame};
use bus::can::socketcan::Interface;
use bus::{
    BusDevice, BusHandle, BusSpec, Endpoint, Framing, KeepAlives, LinkEvent, PollPeriods, Sink,
};
use model::{Clock, DeviceIx, Flaw, Instant, Point, PointSample, Reading, UtcTime};
use profile::can::CanId;

struct SystemClock(std::time::Instant);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }
    fn utc(&self) -> UtcTime {
        UtcTime::default()
    }
}

#[derive(Default)]
struct Recorder {
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
    fn has(&self, point: Point, reading: Reading<f64>) -> bool {
        let samples = self.samples.lock().unwrap();
        let mut of_point = samples.iter().rev().filter(|s| s.point == point);
        of_point.next().is_some_and(|s| s.sample.reading == reading)
    }

    fn told(&self, words: &str) -> bool {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .any(|e| matches!(e, LinkEvent::Notice { text, .. } if text.contains(words)))
    }
}

/// Waits until something holds, as real time has no order of its own.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn start(interface: &str) -> (BusHandle, Arc<Recorder>) {
    let spec = BusSpec {
        id: "can-a".into(),
        endpoint: Endpoint::SocketCan {
            interface: interface.into(),
        },
        framing: Framing::default(),
        timeout: None,
        min_gap: None,
        seed: 1,
    };
    let second = Duration::from_secs(1);
    let battery = BusDevice {
        ix: DeviceIx(0),
        id: "battery".into(),
        profile: profile::bundled("pylontech/lv-can").unwrap(),
        unit: None,
        topic: None,
        revert: None,
        poll: PollPeriods {
            fast: second,
            normal: second,
            slow: second,
        },
        keep_alives: KeepAlives::default(),
    };
    let clock = Arc::new(SystemClock(std::time::Instant::now()));
    let sink = Arc::new(Recorder::default());
    let handle = bus::start(spec, vec![battery], clock, sink.clone());
    (handle, sink)
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_told_once_with_what_to_do() {
    let (_handle, sink) = start("nocan99");
    until("a notice", || {
        sink.told("this kernel has no CAN: use socketcand://host:port/nocan99")
            || sink.told("there is no interface nocan99")
    })
    .await;
    until("the battery is offline", || {
        sink.has(Point::StateOfCharge, Reading::Bad(Flaw::Offline))
    })
    .await;
    let events = sink.events.lock().unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
}

#[tokio::test]
async fn the_kernels_interface_carries_a_battery() {
    let Ok(interface) = std::env::var("GRIDRIG_CAN") else {
        eprintln!("GRIDRIG_CAN is not set: no CAN interface to check");
        return;
    };
    let ip = |state: &str| {
        let args = ["link", "set", interface.as_str(), state];
        assert!(Command::new("ip").args(args).status().unwrap().success());
    };
    let (handle, sink) = start(&interface);
    let mut pack = Interface::open(&interface, &[CanId::Standard(0x305)]).unwrap();
    let keep_alive = Frame::Data {
        id: CanId::Standard(0x305),
        data: Data::new(&[0; 8]).unwrap(),
    };
    assert_eq!(pack.receive().await.unwrap(), Some(keep_alive));

    let charge = Frame::Data {
        id: CanId::Standard(0x355),
        data: Data::new(&[88, 0, 94, 0]).unwrap(),
    };
    pack.send(&charge).await.unwrap();
    let read = || sink.has(Point::StateOfCharge, Reading::Good(0.88));
    until("a charge of 88 %", read).await;

    let raw = socketcan::tokio::CanSocket::open(&interface).unwrap();
    let bus_off = socketcan::CanErrorFrame::new_error(0x40, &[]).unwrap();
    raw.write_frame(bus_off.into()).await.unwrap();
    until("bus-off", || {
        sink.has(Point::StateOfCharge, Reading::Bad(Flaw::BusOff))
    })
    .await;

    ip("down");
    until("the interface is down", || sink.told("is down")).await;
    ip("up");
    let mut pack = Interface::open(&interface, &[CanId::Standard(0x305)]).unwrap();
    assert_eq!(pack.receive().await.unwrap(), Some(keep_alive));
    pack.send(&charge).await.unwrap();
    until("the charge again", read).await;
    assert!(handle.stats.report().reconnects >= 1);
}

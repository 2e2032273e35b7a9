//! The CAN bus on the kernel's own interface.
//!
//! With `GRIDRIG_CAN=vcan0` (an interface that is up and takes frames of CAN FD, and rights to
//! take it down) the whole path is walked, with `candump` and `cansend` as the other end;
//! without it, only the refusal of an interface that is not there. With
//! `GRIDRIG_CAN_CONTROLLERS="can0 can1"` (two controllers on one bus, both down) bit rate, bus
//! state and bus-off are walked too. `tests/vmrun` is a kernel that has all of these.
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
        limits: Vec::new(),
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
    // To the battery a keep-alive is an inverter: it is sent while the bench is armed.
    let _writer = handle.arm();
    let mut pack = Interface::open(&interface, &[(CanId::Standard(0x305), 0x7FF)]).unwrap();
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
    let mut pack = Interface::open(&interface, &[(CanId::Standard(0x305), 0x7FF)]).unwrap();
    assert_eq!(pack.receive().await.unwrap(), Some(keep_alive));
    pack.send(&charge).await.unwrap();
    until("the charge again", read).await;
    assert!(handle.stats.report().reconnects >= 1);
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.unwrap().success(), "ip {arguments}");
}

/// Runs a program of can-utils to its end.
fn can_utils(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn data(id: CanId, bytes: &[u8]) -> Frame {
    Frame::Data {
        id,
        data: Data::new(bytes).unwrap(),
    }
}

/// What the other end writes and reads is what we read and write: classic and FD, short and long.
#[tokio::test]
async fn can_utils_and_we_mean_the_same_frames_and_filters_keep_the_others_out() {
    let Ok(interface) = std::env::var("GRIDRIG_CAN") else {
        eprintln!("GRIDRIG_CAN is not set: no CAN interface to check");
        return;
    };
    let any_source = (CanId::Extended(0x18FE_F100), 0x03FF_FF00);
    let wanted = [(CanId::Standard(0x351), 0x7FF), any_source];
    let mut ours = Interface::open(&interface, &wanted).unwrap();
    for frame in [
        "350#FF",
        "00000351#EE",
        "351#1402740E740ECC01",
        "18FEF200#01",
        "0CFEF127#0102",
        "351##0000102030405060708090A0B",
        "351#R",
    ] {
        can_utils("cansend", &[&interface, frame]);
    }
    let twelve: Vec<u8> = (0..12).collect();
    for expected in [
        data(
            CanId::Standard(0x351),
            &[0x14, 2, 0x74, 14, 0x74, 14, 0xCC, 1],
        ),
        data(CanId::Extended(0x0CFE_F127), &[1, 2]),
        data(CanId::Standard(0x351), &twelve),
        Frame::Remote {
            id: CanId::Standard(0x351),
        },
    ] {
        assert_eq!(ours.receive().await.unwrap(), Some(expected));
    }

    let dump = Command::new("candump")
        .args(["-L", "-n", "3", "-T", "5000", &interface])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It has to be on the bus before we speak; the first frame tells when.
    let mut echo = Interface::open(&interface, &[(CanId::Standard(0x7), 0x7FF)]).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for frame in [
        data(CanId::Standard(0x7), &[]),
        data(CanId::Extended(0x18FE_F100), &[0xAB]),
        data(CanId::Standard(0x305), &[7; 64]),
    ] {
        ours.send(&frame).await.unwrap();
    }
    assert!(echo.receive().await.unwrap().is_some());
    let seen = String::from_utf8(dump.wait_with_output().unwrap().stdout).unwrap();
    let frames: Vec<&str> = seen.lines().filter_map(|l| l.split(' ').nth(2)).collect();
    // The digit is the flags of the frame (`can.h`): FD (4), and no change of the bit rate (1).
    let long = format!("305##4{}", "07".repeat(64));
    assert_eq!(frames, ["007#", "18FEF100#AB", long.as_str()], "{seen}");
}

/// An interface that takes classic frames only says so for a long one and stays open.
#[tokio::test]
async fn a_classic_interface_refuses_a_long_frame_in_clear_text() {
    let Ok(interface) = std::env::var("GRIDRIG_CAN_CLASSIC") else {
        eprintln!("GRIDRIG_CAN_CLASSIC is not set: no classic CAN interface to check");
        return;
    };
    let mut ours = Interface::open(&interface, &[]).unwrap();
    let long = data(CanId::Standard(1), &[0; 12]);
    let refusal = ours.send(&long).await.unwrap_err().to_string();
    assert!(refusal.contains("takes no frames of CAN FD"), "{refusal}");
    ours.send(&data(CanId::Standard(1), &[0; 8])).await.unwrap();
}

/// Two real controllers (emulated SJA1000) on one bus.
#[tokio::test]
async fn two_controllers_carry_frames_and_an_interface_that_goes_down_is_told_and_heard_again() {
    let Ok(both) = std::env::var("GRIDRIG_CAN_CONTROLLERS") else {
        eprintln!("GRIDRIG_CAN_CONTROLLERS is not set: no controllers to check");
        return;
    };
    let (one, two) = both.split_once(' ').unwrap();
    for interface in [one, two] {
        ip(&format!(
            "link set {interface} type can bitrate 500000 restart-ms 100"
        ));
        ip(&format!("link set {interface} up"));
    }
    let (handle, sink) = start(one);
    let mut pack = Interface::open(two, &[(CanId::Standard(0x305), 0x7FF)]).unwrap();
    let keep_alive = data(CanId::Standard(0x305), &[0; 8]);
    let _writer = handle.arm();
    assert_eq!(pack.receive().await.unwrap(), Some(keep_alive));
    for percent in 0..100 {
        let charge = data(CanId::Standard(0x355), &[percent, 0, 94, 0]);
        pack.send(&charge).await.unwrap();
    }
    until("a charge of 99 %", || {
        sink.has(Point::StateOfCharge, Reading::Good(0.99))
    })
    .await;
    let state = Command::new("ip")
        .args(["-d", "-s", "link", "show", one])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    for words in [
        "ERROR-ACTIVE",
        "bitrate 500000",
        "restart-ms 100",
        "berr-counter tx 0 rx 0",
    ] {
        assert!(state.contains(words), "{words}: {state}");
    }
    ip(&format!("link set {one} down"));
    until("the interface is down", || sink.told("is down")).await;
    ip(&format!("link set {one} up"));
    assert_eq!(pack.receive().await.unwrap(), Some(keep_alive));
}

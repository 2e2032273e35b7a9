//! What is kept of a run and what is sent of it: nouns of the tests.

mod answers;
mod bad_days;
mod lines;
mod record;
mod server;

use model::{DeviceIx, Flaw, Mode, Point, Reading, Sample};

use super::line::{Labels, Lines, event_lines, sample_lines, values_of};
use super::*;

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9).round() as u64)
}

/// 2026-11-22T10:00:00 UTC, and so many seconds more.
fn utc(seconds: f64) -> UtcTime {
    UtcTime::from_unix_nanos(1_795_341_600_000_000_000 + (seconds * 1e9).round() as i64)
}

fn devices() -> Vec<NamedDevice> {
    [
        ("bat1", Role::Ess),
        ("plug, \"3\"", Role::Load),
        ("bad1", Role::Meter),
    ]
    .map(|(name, role)| NamedDevice {
        name: name.into(),
        role,
        bus: "lan 1".into(),
    })
    .into()
}

fn sample(device: u16, point: Point, t_s: f64, reading: Reading<f64>) -> PointSample {
    PointSample {
        device: DeviceIx(device),
        point,
        sample: Sample {
            measured_at: at(t_s),
            reading,
        },
    }
}

fn watts(device: u16, t_s: f64, value: f64) -> PointSample {
    sample(device, Point::ActivePower, t_s, Reading::Good(value))
}

fn happened_event() -> Event {
    Event::LoadShed {
        device: DeviceIx(1),
        why: "47.9 Hz".into(),
    }
}

fn happened() -> ToldEvent {
    ToldEvent {
        utc: utc(0.0),
        now: at(0.0),
        record: describe(&happened_event(), &|_| "plug".into()),
    }
}

fn rows_of(samples: &[PointSample]) -> Vec<Row> {
    samples
        .iter()
        .map(|s| Row::of(utc(0.0), at(0.0), *s))
        .collect()
}

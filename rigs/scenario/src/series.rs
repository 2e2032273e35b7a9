//! What was recorded of a run: series of readings, modes, marks, faults and events.
//!
//! A series holds measurements and nothing between them: a value is held for a
//! stated time and then is unknown, and no line is drawn through a hole. This file
//! does not judge; see [`crate::check`].

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Event, Flaw, Instant, Mode, Reading, Role, Sample};

use crate::signal::Signal;

/// The readings of one signal, in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    samples: Vec<(Instant, Reading<f64>)>,
}

/// A stretch of time without a usable measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last measurement before it, or the start of the window.
    pub from: Instant,
    /// The first measurement after it, or the end of the window.
    pub to: Instant,
}

impl Gap {
    /// How long nothing was known.
    #[must_use]
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }
}

impl Series {
    /// An empty series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a reading; one that arrives late is put where its time belongs.
    ///
    /// A number that is not finite is no measurement and is kept as out of range.
    pub fn push(&mut self, at: Instant, reading: Reading<f64>) {
        let reading = match reading {
            Reading::Good(value) if !value.is_finite() => Reading::Bad(Flaw::OutOfRange),
            other => other,
        };
        let place = self.samples.partition_point(|(t, _)| *t <= at);
        self.samples.insert(place, (at, reading));
    }

    /// Takes in a sample.
    pub fn observe(&mut self, sample: Sample<f64>) {
        self.push(sample.measured_at, sample.reading);
    }

    /// All readings, good and bad.
    #[must_use]
    pub fn samples(&self) -> &[(Instant, Reading<f64>)] {
        &self.samples
    }

    /// The values measured in `from..=to`, with their times.
    pub fn measured(&self, from: Instant, to: Instant) -> impl Iterator<Item = (Instant, f64)> {
        let first = self.samples.partition_point(|(t, _)| *t < from);
        self.samples[first..]
            .iter()
            .take_while(move |(t, _)| *t <= to)
            .filter_map(|(t, reading)| reading.good().map(|value| (*t, value)))
    }

    /// The reading that broke first in `from..=to`, if one did, with its flaw.
    #[must_use]
    pub fn first_flaw(&self, from: Instant, to: Instant) -> Option<(Instant, Flaw)> {
        let first = self.samples.partition_point(|(t, _)| *t < from);
        self.samples[first..]
            .iter()
            .take_while(|(t, _)| *t <= to)
            .find_map(|(t, reading)| match reading {
                Reading::Bad(flaw) => Some((*t, *flaw)),
                Reading::Good(_) => None,
            })
    }

    /// The value at a time by sample and hold: the last good one, if not older than `age_max`.
    #[must_use]
    pub fn held(&self, at: Instant, age_max: Duration) -> Option<(Instant, f64)> {
        let end = self.samples.partition_point(|(t, _)| *t <= at);
        self.samples[..end]
            .iter()
            .rev()
            .take_while(|(t, _)| at.since(*t) <= age_max)
            .find_map(|(t, reading)| reading.good().map(|value| (*t, value)))
    }

    /// Every stretch of `from..=to` longer than `gap_max` in which nothing was measured.
    ///
    /// The ends of the window count: a series that begins late or stops early has a gap there.
    #[must_use]
    pub fn gaps(&self, from: Instant, to: Instant, gap_max: Duration) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut last = from;
        let ends = self.measured(from, to).map(|(t, _)| t).chain([to]);
        for next in ends {
            if next.since(last) > gap_max {
                gaps.push(Gap {
                    from: last,
                    to: next,
                });
            }
            last = next;
        }
        gaps
    }

    /// Longest time between neighbouring measurements in `from..=to`; `None` for fewer than two.
    #[must_use]
    pub fn spacing_max(&self, from: Instant, to: Instant) -> Option<Duration> {
        let times: Vec<Instant> = self.measured(from, to).map(|(t, _)| t).collect();
        times.windows(2).map(|w| w[1].since(w[0])).max()
    }
}

/// A fault that was put in, and taken away again if it was.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpan {
    /// What and where, such as `lan1.loss = 20%`.
    pub what: String,
    /// From when.
    pub from: Instant,
    /// Until when; `None` = until the run ended.
    pub to: Option<Instant>,
}

/// Something that happened, as the checks look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvent {
    /// When.
    pub at: Instant,
    /// Its kind, one of [`EVENT_KINDS`].
    pub kind: &'static str,
    /// The device that it concerns, if it concerns one.
    pub device: Option<String>,
}

impl RecordedEvent {
    /// Records an event; `name_of` gives the name of a device.
    pub fn of(
        at: Instant,
        event: &Event,
        name_of: impl Fn(model::DeviceIx) -> Option<String>,
    ) -> Self {
        Self {
            at,
            kind: event_kind(event),
            device: event_device(event).and_then(name_of),
        }
    }
}

/// Names of all kinds of events, as in the event stream.
pub const EVENT_KINDS: &[&str] = &[
    "mode_changed",
    "mode_refused",
    "dispatched",
    "setpoint_confirmed",
    "setpoint_missed",
    "setpoint_refused",
    "fell_short",
    "device_online",
    "device_offline",
    "load_shed",
    "load_restored",
    "market_cleared",
    "market_settled",
    "market_not_cleared",
    "market_not_settled",
    "penalty_charged",
    "standing_changed",
    "day_ahead_traded",
    "market_timed",
    "intraday_traded",
    "reserve_bought",
    "reserve_short",
    "market_corrected",
    "market_silent",
    "commitment_infeasible",
    "sign_agreed",
    "sign_refused",
    "meter_doubted",
    "ledger_late",
    "ledger_stopped",
    "ledger_fenced",
    "cycle_late",
    "fault_set",
    "order_refused",
    "agreed",
    "market_suspended",
    "market_resumed",
    "service_phase_changed",
    "service_reallocated",
    "service_fell_short",
    "service_unavailable",
    "service_available",
    "armed",
    "went_safe",
    "rested",
    "lease_taken",
    "lease_ended",
    "unplugged",
    "fell_back",
    "clock_stepped",
    "exchange_missed",
    "exchange_kept",
    "hand_over_began",
    "handed_over",
    "hand_over_failed",
    "adopted",
    "not_adopted",
    "noticed",
    "alarm_raised",
    "alarm_acknowledged",
    "alarm_cleared",
];

/// The kind of an event, as in the event stream.
#[must_use]
pub fn event_kind(event: &Event) -> &'static str {
    match event {
        Event::ModeChanged { .. } => "mode_changed",
        Event::ModeRefused { .. } => "mode_refused",
        Event::Dispatched { .. } => "dispatched",
        Event::SetpointConfirmed { .. } => "setpoint_confirmed",
        Event::SetpointMissed { .. } => "setpoint_missed",
        Event::SetpointRefused { .. } => "setpoint_refused",
        Event::FellShort { .. } => "fell_short",
        Event::DeviceOnline { .. } => "device_online",
        Event::DeviceOffline { .. } => "device_offline",
        Event::LoadShed { .. } => "load_shed",
        Event::LoadRestored { .. } => "load_restored",
        Event::MarketCleared { .. } => "market_cleared",
        Event::MarketSettled { .. } => "market_settled",
        Event::MarketNotCleared { .. } => "market_not_cleared",
        Event::MarketNotSettled { .. } => "market_not_settled",
        Event::PenaltyCharged { .. } => "penalty_charged",
        Event::StandingChanged { .. } => "standing_changed",
        Event::DayAheadTraded { .. } => "day_ahead_traded",
        Event::ReserveBought { .. } => "reserve_bought",
        Event::ReserveShort { .. } => "reserve_short",
        Event::MarketTimed { .. } => "market_timed",
        Event::IntradayTraded { .. } => "intraday_traded",
        Event::MarketCorrected { .. } => "market_corrected",
        Event::MarketSilent { .. } => "market_silent",
        Event::CommitmentInfeasible { .. } => "commitment_infeasible",
        Event::SignAgreed { .. } => "sign_agreed",
        Event::SignRefused { .. } => "sign_refused",
        Event::MeterDoubted { .. } => "meter_doubted",
        Event::LedgerLate { .. } => "ledger_late",
        Event::LedgerStopped { .. } => "ledger_stopped",
        Event::LedgerFenced { .. } => "ledger_fenced",
        Event::CycleLate { .. } => "cycle_late",
        Event::FaultSet { .. } => "fault_set",
        Event::OrderRefused { .. } => "order_refused",
        Event::Agreed { .. } => "agreed",
        Event::MarketSuspended { .. } => "market_suspended",
        Event::MarketResumed { .. } => "market_resumed",
        Event::ServicePhaseChanged { .. } => "service_phase_changed",
        Event::ServiceReallocated { .. } => "service_reallocated",
        Event::ServiceFellShort { .. } => "service_fell_short",
        Event::ServiceUnavailable { .. } => "service_unavailable",
        Event::ServiceAvailable { .. } => "service_available",
        Event::Armed { .. } => "armed",
        Event::WentSafe { .. } => "went_safe",
        Event::Rested { .. } => "rested",
        Event::LeaseTaken { .. } => "lease_taken",
        Event::LeaseEnded { .. } => "lease_ended",
        Event::Unplugged { .. } => "unplugged",
        Event::FellBack { .. } => "fell_back",
        Event::ClockStepped { .. } => "clock_stepped",
        Event::ExchangeMissed { .. } => "exchange_missed",
        Event::ExchangeKept { .. } => "exchange_kept",
        Event::HandOverBegan { .. } => "hand_over_began",
        Event::HandedOver { .. } => "handed_over",
        Event::HandOverFailed { .. } => "hand_over_failed",
        Event::Adopted { .. } => "adopted",
        Event::NotAdopted { .. } => "not_adopted",
        Event::Noticed { .. } => "noticed",
        Event::AlarmRaised { .. } => "alarm_raised",
        Event::AlarmAcknowledged { .. } => "alarm_acknowledged",
        Event::AlarmCleared { .. } => "alarm_cleared",
    }
}

fn event_device(event: &Event) -> Option<model::DeviceIx> {
    match event {
        Event::Dispatched { device, .. }
        | Event::SetpointConfirmed { device, .. }
        | Event::SetpointMissed { device, .. }
        | Event::SetpointRefused { device, .. }
        | Event::DeviceOnline { device }
        | Event::DeviceOffline { device, .. }
        | Event::LoadShed { device, .. }
        | Event::LoadRestored { device }
        | Event::Unplugged { device }
        | Event::ServiceReallocated { device, .. }
        | Event::Adopted { device, .. }
        | Event::NotAdopted { device, .. }
        | Event::FellBack { device, .. } => Some(*device),
        Event::HandOverBegan { to, .. }
        | Event::HandedOver { to, .. }
        | Event::HandOverFailed { to, .. } => Some(*to),
        _ => None,
    }
}

/// Everything that the checks of one scenario look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Begin of the record.
    pub began: Instant,
    /// End of the record; nothing later is known.
    pub ended: Instant,
    /// Period of the control cycle: how finely the times of modes and events are known.
    pub resolution: Duration,
    /// What was measured.
    pub series: BTreeMap<Signal, Series>,
    /// Modes with the time when each began, in order.
    pub modes: Vec<(Instant, Mode)>,
    /// Marks of the script with the time when each was reached.
    pub marks: BTreeMap<String, Instant>,
    /// Faults that were put in.
    pub faults: Vec<FaultSpan>,
    /// Events, in order.
    pub events: Vec<RecordedEvent>,
    /// When each control cycle began.
    pub cycles: Vec<Instant>,
    /// What the rig says of the bench.
    pub facts: BenchFacts,
}

/// What key figures need to know of a bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BenchFacts {
    /// Nominal voltage, line to neutral, in volts.
    pub nominal_v: f64,
    /// The devices, in the order of the rig.
    pub devices: Vec<DeviceFacts>,
    /// The services, in the order of the rig.
    pub services: Vec<ServiceFacts>,
}

/// What checks need to know of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceFacts {
    /// Name in the rig.
    pub name: String,
    /// Power that was sold upwards, in watts.
    pub up_w: f64,
    /// Power that was sold downwards, in watts, as a magnitude.
    pub down_w: f64,
    /// Whether it follows a signal.
    pub follows_signal: bool,
}

/// What key figures need to know of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceFacts {
    /// Name in the rig.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Order in which it is shed; `None` = never.
    pub shed: Option<u8>,
    /// Usable energy in watt-hours.
    pub capacity_wh: Option<f64>,
}

impl Recording {
    /// Takes in a reading of a signal.
    pub fn push(&mut self, signal: &Signal, at: Instant, reading: Reading<f64>) {
        match self.series.get_mut(signal) {
            Some(series) => series.push(at, reading),
            None => {
                let mut series = Series::new();
                series.push(at, reading);
                self.series.insert(signal.clone(), series);
            }
        }
    }

    /// The mode at a time; `None` before the first one is known or after the record.
    #[must_use]
    pub fn mode_at(&self, at: Instant) -> Option<Mode> {
        if at > self.ended {
            return None;
        }
        let end = self.modes.partition_point(|(t, _)| *t <= at);
        self.modes[..end].last().map(|(_, mode)| *mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    fn series(rows: &[(u64, f64)]) -> Series {
        let mut series = Series::new();
        for (ms, value) in rows {
            series.push(at(*ms), Reading::Good(*value));
        }
        series
    }

    #[test]
    fn a_value_is_held_and_then_unknown() {
        let s = series(&[(100, 1.0), (200, 2.0)]);
        let age = Duration::from_millis(50);
        let rows = [
            (99, None),
            (100, Some((at(100), 1.0))),
            (150, Some((at(100), 1.0))),
            (151, None),
            (200, Some((at(200), 2.0))),
            (251, None),
        ];
        for (ms, expected) in rows {
            assert_eq!(s.held(at(ms), age), expected, "at {ms} ms");
        }
    }

    #[test]
    fn a_failed_read_does_not_end_the_hold_and_is_no_measurement() {
        let mut s = series(&[(100, 1.0)]);
        s.push(at(110), Reading::Bad(Flaw::Timeout));
        let age = Duration::from_millis(50);
        assert_eq!(s.held(at(120), age), Some((at(100), 1.0)));
        assert_eq!(s.measured(at(0), at(200)).count(), 1);
        assert_eq!(s.first_flaw(at(0), at(200)), Some((at(110), Flaw::Timeout)));
    }

    #[test]
    fn a_number_that_is_none_is_no_measurement() {
        let s = series(&[(0, f64::NAN), (1, f64::INFINITY)]);
        assert_eq!(s.measured(at(0), at(10)).count(), 0);
        assert_eq!(s.first_flaw(at(0), at(10)), Some((at(0), Flaw::OutOfRange)));
    }

    #[test]
    fn gaps_count_at_the_ends_of_the_window_too() {
        let s = series(&[(100, 1.0), (150, 1.0), (400, 1.0)]);
        let gaps = |from, to| {
            s.gaps(at(from), at(to), Duration::from_millis(100))
                .iter()
                .map(|g| (g.from.as_nanos() / 1_000_000, g.to.as_nanos() / 1_000_000))
                .collect::<Vec<_>>()
        };
        assert_eq!(gaps(0, 400), [(150, 400)]);
        assert_eq!(gaps(100, 150), []);
        assert_eq!(gaps(0, 700), [(150, 400), (400, 700)]);
        assert_eq!(gaps(410, 450), [], "shorter than the longest allowed gap");
        assert_eq!(gaps(410, 600), [(410, 600)], "nothing was measured");
        assert_eq!(Series::new().gaps(at(0), at(200), Duration::ZERO).len(), 1);
    }

    #[test]
    fn a_late_reading_is_put_where_its_time_belongs() {
        let s = series(&[(200, 2.0), (100, 1.0), (300, 3.0)]);
        let values: Vec<f64> = s.measured(at(0), at(999)).map(|(_, v)| v).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
        assert_eq!(
            s.spacing_max(at(0), at(999)),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn every_kind_of_event_is_named_as_in_the_event_stream() {
        let events = [
            Event::CycleLate { late_ms: 3.0 },
            Event::LoadRestored {
                device: model::DeviceIx(1),
            },
            Event::Armed { armed: true },
        ];
        for event in events {
            let json = serde_json::to_value(&event).expect("plain data");
            assert_eq!(json["event"], event_kind(&event));
            assert!(EVENT_KINDS.contains(&event_kind(&event)));
        }
    }
}

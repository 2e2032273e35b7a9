//! The one fan-out at the edge: telemetry, log, page and listeners hear the same of a step.

use std::time::Duration;

use control::{Outcome, Rhythm};
use model::{DeviceIx, Event, Instant, PointSample, ProcessImage, UtcTime};

use super::Engine;
use crate::telemetry::{Figures, Level, describe};
use crate::thread::LATE_SHARE;
use crate::view::{BusView, CycleReport, LedgerView, MarketView};

/// How often the page hears of buses, market and ledger. Chosen: once a second, as people read.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// An amount of 1e-11 EUR in cent.
fn money_text(units: i128) -> String {
    format!("{:.4} ct", units as f64 / 1e9)
}

impl Engine {
    #[allow(clippy::too_many_arguments, reason = "the one fan-out at the edge")]
    pub(super) fn tell(
        &mut self,
        now: Instant,
        utc: UtcTime,
        rhythm: Rhythm,
        due: Instant,
        image: &ProcessImage,
        samples: &[PointSample],
        outcome: &Outcome,
        events: &[Event],
    ) {
        let mut events = events.to_vec();
        let supervisory = rhythm == Rhythm::Supervisory;
        let late = now.since(due);
        if supervisory {
            self.counters.cycles += 1;
            if late > self.period().mul_f64(LATE_SHARE) {
                self.counters.cycles_late += 1;
                events.push(Event::CycleLate {
                    late_ms: late.as_secs_f64() * 1000.0,
                });
            }
        }
        self.parts.telemetry.samples(utc, now, samples);
        for event in &events {
            self.parts.telemetry.event(utc, now, event);
            self.parts.view.event(utc, now, event);
            self.trace(event);
        }
        for listener in &mut self.parts.listeners {
            listener.samples(now, samples);
            listener.services(now, &outcome.services);
            for event in &events {
                listener.event(now, event);
            }
            if supervisory {
                listener.cycle(now, outcome.mode, late);
            }
        }
        if supervisory {
            let took = self.parts.clock.now().since(now);
            let (late_ms, took_ms) = (late.as_secs_f64() * 1000.0, took.as_secs_f64() * 1000.0);
            self.worst_cycle_ms.0 = self.worst_cycle_ms.0.max(late_ms);
            self.worst_cycle_ms.1 = self.worst_cycle_ms.1.max(took_ms);
            self.parts.view.cycle(CycleReport {
                n: self.counters.cycles,
                now,
                utc,
                late_ms,
                took_ms,
                mode: outcome.mode,
                armed: self.parts.path.is_open(),
                estimate: &outcome.estimate,
                image,
                services: &outcome.services,
            });
            if now.since(self.buses_told_at) >= TELL_EVERY {
                self.tell_slowly(utc, now, outcome);
                if !self.parts.path.is_open() && self.ends.is_none() {
                    let ahead = self.look_ahead(now, image);
                    self.parts.view.arming(Some(ahead));
                }
            }
        }
    }

    /// Tells the log, in the same words as everybody else.
    pub(super) fn trace(&self, event: &Event) {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return;
        }
        let name = |device: DeviceIx| {
            self.names
                .get(device.index())
                .map_or_else(String::new, ToString::to_string)
        };
        let record = describe(event, &name);
        let device = record.device.as_deref().unwrap_or("-");
        match record.level {
            Level::Info => tracing::info!(message = record.text, event = record.event, device),
            Level::Warning => tracing::warn!(message = record.text, event = record.event, device),
            Level::Error => tracing::error!(message = record.text, event = record.event, device),
        }
    }

    fn tell_figures(&mut self, utc: UtcTime, now: Instant, outcome: &Outcome, buses: &[BusView]) {
        let (late_ms, took_ms) = std::mem::take(&mut self.worst_cycle_ms);
        let of_buses = buses
            .iter()
            .map(|b| Figures::of_bus(&b.name, b.busy_percent, &b.report));
        let names = &self.parts.rig.control.services;
        let of_services = outcome.services.iter().filter_map(|report| {
            let service = names.get(report.service.index())?;
            Some(Figures::of_service(&service.name, report))
        });
        let figures: Vec<Figures> = of_buses
            .chain(of_services)
            .chain([
                Figures::of_cycle(late_ms, took_ms),
                Figures::of_bench(&outcome.estimate),
            ])
            .collect();
        self.parts.telemetry.figures(utc, now, figures);
    }

    /// What page and telemetry hear once a second.
    pub(super) fn tell_slowly(&mut self, utc: UtcTime, now: Instant, outcome: &Outcome) {
        let elapsed = now.since(self.buses_told_at).as_nanos().max(1) as f64;
        self.buses_told_at = now;
        let buses: Vec<BusView> = self
            .parts
            .path
            .buses()
            .iter()
            .zip(&mut self.busy_before)
            .map(|(bus, before)| {
                let report = bus.stats.report();
                let busy = report.busy_nanos.saturating_sub(*before) as f64 / elapsed;
                *before = report.busy_nanos;
                BusView {
                    name: bus.id.to_string(),
                    report,
                    busy_percent: (busy * 100.0).min(100.0),
                    devices: bus.stats.devices(),
                }
            })
            .collect();
        self.tell_figures(utc, now, outcome, &buses);
        self.parts.view.buses(buses);
        let telemetry = self.parts.telemetry.report();
        self.counters.telemetry_written = telemetry.written;
        self.counters.telemetry_lost = telemetry.lost;
        self.counters.telemetry_waiting = telemetry.waiting;
        self.counters.database_lost = telemetry.database_lost;
        self.counters.home_written = telemetry.home_written;
        self.counters.home_lost = telemetry.home_lost;
        self.parts.view.counters(self.counters);
        self.parts.view.ledger(LedgerView {
            clock: self.parts.evidence.clock,
            root: self.parts.evidence.root_text(),
            entries: self.parts.evidence.clock,
            federation: self.parts.evidence.federation(),
        });
        if let Some(desk) = &self.parts.desk {
            let state = &desk.state;
            self.parts.view.market(MarketView {
                interval: state.interval,
                mechanism: desk.mechanism_name(),
                price_mc_per_kwh: state.price_mc_per_kwh,
                energy_mwh: state.energy_mwh,
                trades: state.trades,
                open: desk.open_gate(),
                accounts: (desk.shown_accounts().into_iter())
                    .map(|(name, paid)| (name, money_text(-paid)))
                    .collect(),
                intervals: desk.shown_intervals(now),
            });
        }
    }
}

//! The end of a run: ledger, journal and telemetry are closed in good order.

use std::path::Path;
use std::time::Duration;

use bus::DeviceReport;
use model::DeviceIx;

use super::{Engine, Fallback, Rested};
use crate::view::Counters;

impl Engine {
    /// Ends the run: closes ledger, journal and telemetry in good order.
    pub fn finish(mut self, run_dir: &Path) -> Finished {
        let utc = self.parts.clock.utc();
        let fallbacks = self.take_fallbacks();
        let buses = self.parts.path.buses().iter();
        let links = buses.clone().flat_map(|bus| bus.stats.devices()).collect();
        let firmware = buses.flat_map(|bus| bus.stats.firmware()).collect();
        let mut parts = self.parts;
        let mut faults = Vec::new();
        let root = match parts.evidence.close(utc) {
            Ok(root) => root,
            Err(e) => {
                faults.push(e.to_string());
                String::new()
            }
        };
        match parts.journal.finish() {
            Ok(0) => {}
            Ok(lost) => faults.push(format!(
                "the journal lost {lost} steps: the disk could not follow"
            )),
            Err(e) => faults.push(format!("the journal could not be written: {e}")),
        }
        let telemetry = parts.telemetry.finish(Duration::from_secs(5));
        let mut counters = self.counters;
        counters.telemetry_written = telemetry.written;
        counters.telemetry_lost = telemetry.lost;
        counters.telemetry_waiting = telemetry.waiting;
        counters.database_lost = telemetry.database_lost;
        counters.home_written = telemetry.home_written;
        counters.home_lost = telemetry.home_lost;
        if telemetry.store_lost > 0 || telemetry.events_lost > 0 {
            faults.push(format!(
                "the run folder lost {} samples and {} events: {}",
                telemetry.store_lost,
                telemetry.events_lost,
                run_dir.display()
            ));
        }
        Finished {
            counters,
            held_back: parts.evidence.held_back,
            ledger_root: root,
            federation: parts.evidence.federation(),
            unaccounted_mwh: parts.desk.as_ref().map_or(0, |d| d.state.unaccounted_mwh),
            accounts: parts
                .desk
                .map(|d| {
                    d.state
                        .accounts
                        .into_iter()
                        .map(|(name, amount)| (name, amount.to_string()))
                        .collect()
                })
                .unwrap_or_default(),
            faults,
            rested: self.rested,
            fallbacks,
            links,
            firmware,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// The counters of the run.
    pub counters: Counters,
    /// Dispatches that are in the ledger but were held back, because their record came too late.
    pub held_back: u64,
    /// Root of the closed ledger, hexadecimal; empty when it could not be closed.
    pub ledger_root: String,
    /// How the ledger stood with the other nodes at the end; `None` where there are none.
    pub federation: Option<crate::evidence::Federation>,
    /// Balance of every account in 1e-11 EUR, positive = has paid.
    pub accounts: Vec<(String, String)>,
    /// Energy that no meter accounts for, in milliwatt-hours; zero without a market.
    pub unaccounted_mwh: i64,
    /// What could not be written.
    pub faults: Vec<String>,
    /// The steps of its safe ends, as they went.
    pub rested: Vec<Rested>,
    /// How devices fell back whose plug was pulled.
    pub fallbacks: Vec<Fallback>,
    /// How the way to each device was that is asked.
    pub links: Vec<DeviceReport>,
    /// What devices call their firmware, as far as they were heard to say so.
    pub firmware: Vec<(DeviceIx, String)>,
}

//! The breaker at the point of common coupling, with its relays.
//!
//! A close command only arms it: the sync-check closes when voltage, frequency and
//! angle have been inside their windows for a dwell time, and gives up when that
//! never comes. Loss of mains opens it without being asked.

use std::time::Duration;

use quantities::{Frequency, PhaseAngle};

use super::Site;
use super::grid::Grid;

/// Windows of the sync-check.
//= IEEE 1547-2018 Table 5 (recalled, secondary source): limits by aggregate rating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SyncCheck {
    /// Largest difference of frequency.
    pub df_max: Frequency,
    /// Largest difference of voltage, in per unit of nominal.
    pub dv_max_pu: f64,
    /// Largest angle.
    pub angle_max: PhaseAngle,
    /// Time inside all windows before it closes.
    pub dwell: Duration,
    /// Time after a close command until it gives up.
    pub give_up: Duration,
}

impl Default for SyncCheck {
    /// The row for up to 500 kVA. Chosen: a dwell of 100 ms, the shortest that was seen in
    /// use; it gives up after 60 s, six beats at 0.1 Hz.
    fn default() -> Self {
        Self {
            df_max: Frequency::from_hertz(0.3),
            dv_max_pu: 0.10,
            angle_max: PhaseAngle::from_degrees(20.0),
            dwell: Duration::from_millis(100),
            give_up: Duration::from_secs(60),
        }
    }
}

/// Limits of the loss-of-mains relay: voltage in per unit, frequency in per unit, time in seconds.
/// Chosen: wide enough for a one-cycle dip and all services' frequencies, fast enough
/// that the storage takes over within 0.16 s (IEEE P&E Magazine 2017 test plan).
const MAINS_V_PU: (f64, f64) = (0.70, 1.20);
const MAINS_F_PU: (f64, f64) = (0.94, 1.04);
const MAINS_TRIP_S: f64 = 0.1;

/// Why a close command did not close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No voltage on the grid side.
    DeadGrid,
    /// The voltages differ too much.
    Voltage,
    /// The frequencies differ too much.
    Frequency,
    /// The angle is too large.
    Angle,
}

/// What the bus side looks like to the relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BusSide {
    /// Whether there is voltage.
    pub live: bool,
    /// Voltage in volts.
    pub v: f64,
    /// Frequency in hertz.
    pub f: f64,
    /// Angle against the grid in degrees.
    pub angle: f64,
}

/// Position of the breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    Closed { mains_bad_s: f64 },
    Open,
    Armed { waited_s: f64, inside_s: f64 },
}

/// The breaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    sync: SyncCheck,
    position: Position,
    blocked_by: Option<Refusal>,
    tripped: bool,
    /// Whether its relay looks at the mains.
    relay: bool,
}

impl Breaker {
    pub(super) fn closed(sync: SyncCheck) -> Self {
        Self {
            sync,
            position: Position::Closed { mains_bad_s: 0.0 },
            blocked_by: None,
            tripped: false,
            relay: true,
        }
    }

    /// Takes the loss-of-mains relay away: it stays closed, whatever the utility does.
    pub fn without_relay(&mut self) {
        self.relay = false;
    }

    /// Opens at once; also takes back a close command that waits.
    pub fn open(&mut self) {
        self.position = Position::Open;
    }

    /// Asks to close: the sync-check decides when, and whether.
    pub fn close(&mut self) {
        if self.position == Position::Open {
            self.tripped = false;
            self.blocked_by = None;
            self.position = Position::Armed {
                waited_s: 0.0,
                inside_s: 0.0,
            };
        }
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.position, Position::Closed { .. })
    }

    /// Whether a close command waits for its window.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        matches!(self.position, Position::Armed { .. })
    }

    /// What keeps, or kept, the last close command from closing.
    #[must_use]
    pub fn blocked_by(&self) -> Option<Refusal> {
        self.blocked_by
    }

    /// Whether the loss-of-mains relay opened it.
    #[must_use]
    pub fn has_tripped(&self) -> bool {
        self.tripped
    }

    pub(super) fn step(&mut self, dt_s: f64, grid: &Grid, bus: &BusSide, site: Site) {
        self.position = match self.position {
            Position::Open => Position::Open,
            Position::Closed { mains_bad_s } => {
                let bad = if !self.relay || mains_good(grid, site) {
                    0.0
                } else {
                    mains_bad_s + dt_s
                };
                if bad >= MAINS_TRIP_S {
                    self.tripped = true;
                    Position::Open
                } else {
                    Position::Closed { mains_bad_s: bad }
                }
            }
            Position::Armed { waited_s, inside_s } => {
                self.blocked_by = self.refusal(grid, bus, site);
                let waited_s = waited_s + dt_s;
                let inside_s = if self.blocked_by.is_none() {
                    inside_s + dt_s
                } else {
                    0.0
                };
                if inside_s >= self.sync.dwell.as_secs_f64() {
                    Position::Closed { mains_bad_s: 0.0 }
                } else if waited_s >= self.sync.give_up.as_secs_f64() {
                    Position::Open
                } else {
                    Position::Armed { waited_s, inside_s }
                }
            }
        };
    }

    /// The first window that is not met; a dead bus may be closed onto a live grid.
    fn refusal(&self, grid: &Grid, bus: &BusSide, site: Site) -> Option<Refusal> {
        if !grid.is_live(site) {
            return Some(Refusal::DeadGrid);
        }
        if !bus.live {
            return None;
        }
        let dv_pu = (bus.v - grid.v()).abs() / site.v_nominal.as_volts();
        if dv_pu > self.sync.dv_max_pu {
            Some(Refusal::Voltage)
        } else if (bus.f - grid.f()).abs() > self.sync.df_max.as_hertz() {
            Some(Refusal::Frequency)
        } else if bus.angle.abs() > self.sync.angle_max.as_degrees() {
            Some(Refusal::Angle)
        } else {
            None
        }
    }
}

fn mains_good(grid: &Grid, site: Site) -> bool {
    let v = grid.v() / site.v_nominal.as_volts();
    let f = grid.f() / site.f_nominal.as_hertz();
    (MAINS_V_PU.0..=MAINS_V_PU.1).contains(&v) && (MAINS_F_PU.0..=MAINS_F_PU.1).contains(&f)
}

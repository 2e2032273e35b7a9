//! The numbers that modes are judged by. Voltages and frequencies are per unit of nominal.

use std::time::Duration;

/// Largest frequency deviation of a stable island.
/// Chosen: 0.5 Hz at 50 Hz, half of what load shedding allows (49.0 Hz).
pub const SETTLED_F_PU: f64 = 0.01;
/// Largest voltage deviation of a stable island. Usual supply band of +-10 %.
pub const SETTLED_V_PU: f64 = 0.10;
/// Window of utility frequency in which a return is allowed.
/// 49.5 to 50.1 Hz: the usual European reconnection window, as a configurable default of the field.
pub const RETURN_F_PU: (f64, f64) = (0.99, 1.002);
/// Window of utility voltage in which a return is allowed. As in the limiter.
pub const RETURN_V_PU: (f64, f64) = (0.917, 1.05);
/// Voltage below which a bus is dead. The usual limit of a dead-bus check.
pub const DEAD_V_PU: f64 = 0.05;
/// Voltage from which a bus is alive. Chosen: half of nominal, far from what a loose contact
/// induces and below every ride-through curve's last step.
pub const LIVE_V_PU: f64 = 0.5;
/// How long a bus must be without voltage to be dead.
/// Chosen: 500 ms, longer than the longest dip that a category II device rides through below 5 %.
pub const DEAD_FOR: Duration = Duration::from_millis(500);
/// Charge that must be left above the lower limit before the microgrid stands on its own.
/// Chosen: 5 %, where load shedding begins to save energy for the essential loads.
pub const RESERVE_SOC: f64 = 0.05;

/// Limits of a utility that can be stayed with: wider than any service's range, as loss-of-mains
/// relays are set. Chosen: 0.70 to 1.20 of voltage, 0.94 to 1.04 of frequency, as the emulated relay.
pub const MAINS_V_PU: (f64, f64) = (0.70, 1.20);
/// Limits of frequency, as above.
pub const MAINS_F_PU: (f64, f64) = (0.94, 1.04);
/// How long the utility must be outside. Chosen: 200 ms, two samples of a slow meter and past the
/// relay's own 100 ms, so that a bench with a relay hears from it first.
pub const MAINS_LOST_FOR: Duration = Duration::from_millis(200);

/// Exchange at which a wanted island may begin, as a share of the storage's rating.
/// Chosen: 5 %, the upper end of what controllers in the field use (2 to 5 %).
pub const QUIET_SHARE: f64 = 0.05;
/// How long the exchange must be that small. Chosen: five samples of the supervisory cycle.
pub const QUIET_FOR: Duration = Duration::from_millis(500);
/// When a planned island is given up, and a demanded one opened, although the exchange is not small.
/// Chosen: 25 s, which leaves the breaker five of the 30 s within which a utility expects it.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(25);
/// How long the breaker may take to be seen open.
/// Chosen: 3 s, a lost request and its repetition on the slowest bus.
pub const OPEN_WITHIN: Duration = Duration::from_secs(3);

/// How long a dead bus may take to come up and be stable.
/// Chosen: 60 s; the usual staging (0.3, 0.7 and 1.0 of nominal for 2, 3 and 3 s), the opening of
/// plugs and the settle time take 15 s.
pub const START_WITHIN: Duration = Duration::from_secs(60);

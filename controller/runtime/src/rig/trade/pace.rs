//! How fast the market goes: whether a gate leaves time for what follows it, and whether market time may be faster
//! than the bench.

use std::time::Duration;

use control::Settings;
use model::DeviceSpec;
use profile::Protocol;

use super::super::parse::Reader;
use super::super::sections::Place;
use super::super::{Market, Participation, RigBus, RigDevice, Strategy};
use crate::desk::ORDERS_DURABLE_WITHIN;
use crate::evidence::DEADLINE;

/// Time for asking agents and finding a clearing.
/// Chosen: 10 ms. A run in real time tells what it took (`market_timed`): of 27 intervals with five participants, not
/// optimised and on two cores that others used, the longest took 0.65 ms (and the longest finality 11.3 ms of the 100);
/// a book of 100000 orders takes 5.6 ms optimised.
const CLEAR_WITHIN: Duration = Duration::from_millis(10);
/// Records that have to be durable one after the other: orders and clearing. The desk waits no longer for either.
const RECORDS: u32 = 2;
/// Time until a device has heard that gives no answer (CAN, MQTT).
/// Chosen: 100 ms, far above what a frame or a message on the bench's own network takes.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// Largest part of an interval, by the clock of the bench, that a device may need from one of its limits to the
/// other where market time is faster.
/// Chosen: a tenth: what is missing while it moves is then below 5 % of the energy of a whole swing.
const SWING_PART_MAX: f64 = 0.1;

/// Shortest interval by the clock of the bench: the gate and as much again.
pub(super) const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long after a gate a setpoint has reached its device at the latest, by the clock of the bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    /// For asking agents and clearing.
    pub clear: Duration,
    /// Until orders and clearing are durable.
    pub finality: Duration,
    /// Until the slowest device that the market commands has answered.
    pub setpoint: Duration,
}

impl Lead {
    /// All of it.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.clear + self.finality + self.setpoint
    }
}

impl std::fmt::Display for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            clear,
            finality,
            setpoint,
        } = self;
        write!(
            f,
            "{clear:?} to clear, {finality:?} until the ledger has it and {setpoint:?} until setpoints are heard"
        )
    }
}

/// Time until a device has answered a command, or is known not to.
fn answered_within(device: &RigDevice, bus: &RigBus) -> Duration {
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => bus.timeout.unwrap_or(modbus.timeout),
        Protocol::Scpi(scpi) => bus.timeout.unwrap_or(scpi.timeout),
        Protocol::Can(_) | Protocol::Mqtt(_) => HEARD_WITHIN,
    }
}

/// What the rig itself bounds.
fn lead(
    market: &Market,
    (buses, devices, specs): (&[RigBus], &[(RigDevice, Place<'_>)], &[DeviceSpec]),
    control: &Settings,
) -> Lead {
    let commanded = market.participants.iter().filter_map(|one| {
        let (device, _) = devices.get(one.device)?;
        let spec = specs.get(one.device)?;
        let bus = buses.get(device.bus)?;
        (spec.takes_power || spec.takes_switch).then(|| answered_within(device, bus))
    });
    let answered = commanded.max().unwrap_or_default();
    Lead {
        clear: CLEAR_WITHIN,
        finality: ORDERS_DURABLE_WITHIN * RECORDS,
        // The schedule is heard in the next cycle, its setpoint is durable before it leaves.
        setpoint: control.period + DEADLINE + answered,
    }
}

/// Checks the pace of a market, and says what its gate has to leave time for.
pub(in super::super) fn check(
    reader: &Reader<'_>,
    market: Option<&mut Market>,
    rig: (&[RigBus], &[(RigDevice, Place<'_>)], &[DeviceSpec]),
    control: &Settings,
) {
    let Some((market, table)) = market.zip(reader.section("market")) else {
        return;
    };
    let bench_interval = market.interval / market.time_factor;
    if bench_interval < INTERVAL_MIN {
        // That is told of, and all else follows from it.
        return;
    }
    let document = table.document();
    let span = |key: &str| match table.has(key) {
        true => table.span_of(key),
        false => table.span(),
    };
    let lead = lead(market, rig, control);
    market.lead = lead;
    let gate = market.gate / market.time_factor;
    if gate < lead.whole() {
        document.error(
            "R181",
            span("gate"),
            format!(
                "the gate closes {gate:?} before an interval by the clock of the bench, and what follows it takes up to {:?}",
                lead.whole()
            ),
            lead.to_string(),
            "let it close earlier, or shorten the time-outs of the buses that the market commands",
        );
    }
    if market.gate > market.interval {
        document.error(
            "R181",
            span("gate"),
            "the gate closes before the interval that precedes has begun",
            "",
            "let it close later, or lengthen the interval",
        );
    }
    if market.time_factor == 1 {
        return;
    }
    let fault = |what: String, help: &str| {
        document.error("R182", span("time_factor"), what, "", help);
    };
    if market.reserve.is_some() {
        fault(
            "reserve is called and held in the time of the bench".into(),
            "leave `[market.reserve]` or `time_factor` out",
        );
    }
    let is_thermal = |one: &&Participation| matches!(one.strategy, Strategy::Hvac { .. });
    if let Some(one) = market.participants.iter().find(is_thermal) {
        fault(
            format!(
                "the room of `{}` warms and cools in the time of the bench",
                one.name
            ),
            "leave its `strategy = \"hvac\"` or `time_factor` out",
        );
    }
    let (_, _, specs) = rig;
    for one in &market.participants {
        let Some(spec) = specs.get(one.device).filter(|spec| spec.takes_power) else {
            continue;
        };
        let p = spec.rating.p;
        let swing = (p.upper() - p.lower()).as_watts() / spec.rating.ramp.as_watts_per_second();
        let most = bench_interval.as_secs_f64() * SWING_PART_MAX;
        if swing > most {
            fault(
                format!(
                    "`{}` takes {swing:.1} s from one limit to the other, and an interval lasts {bench_interval:?} by the clock of the bench",
                    spec.id
                ),
                "its ramp is not faster because the market is: use a smaller factor, longer intervals or narrower `limits.p`",
            );
        }
    }
}

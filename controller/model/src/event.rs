//! The one vocabulary of things that happened. Past tense, with units in the names.

use serde::{Deserialize, Serialize};

use crate::{Agreement, DeviceIx, Flaw, Function, Mode, RestStep, ServicePhase, Setpoint};

/// How far a setpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Written to the device without an error.
    Written,
    /// Read back from the device's own register or state topic.
    Register,
    /// Seen in the measured power or position.
    Power,
}

/// Something that happened. Told once, heard by telemetry, log, journal and page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The operating mode changed.
    ModeChanged {
        /// Old mode.
        from: Mode,
        /// New mode.
        to: Mode,
        /// Why.
        why: String,
    },
    /// A mode request was refused.
    ModeRefused {
        /// Mode at that time.
        mode: Mode,
        /// What was asked for.
        request: String,
        /// The guard that refused.
        why: String,
    },
    /// A setpoint left for its device.
    Dispatched {
        /// Which device.
        device: DeviceIx,
        /// What it was asked to do.
        setpoint: Setpoint,
        /// Who asked.
        function: Function,
        /// Why, with numbers.
        why: String,
        /// What the limiter changed, empty when nothing.
        clamped: Vec<String>,
        /// Ledger clock of the record that was durable before.
        ledger_clock: u64,
        /// Identity of the ledger record, hexadecimal.
        atom: String,
    },
    /// A setpoint was confirmed.
    SetpointConfirmed {
        /// Which device.
        device: DeviceIx,
        /// How far it came.
        stage: Stage,
        /// Time since dispatch in seconds.
        after_s: f64,
        /// Ledger identity of the dispatch, hexadecimal.
        atom: String,
    },
    /// A setpoint was not carried out.
    SetpointMissed {
        /// Which device.
        device: DeviceIx,
        /// The stage that was not reached.
        stage: Stage,
        /// What went wrong.
        why: String,
        /// Ledger identity of the dispatch, hexadecimal.
        atom: String,
    },
    /// The limiter refused a setpoint.
    SetpointRefused {
        /// Which device.
        device: DeviceIx,
        /// Who asked.
        function: Function,
        /// Why it was refused.
        why: String,
    },
    /// A wish could not be met in full.
    FellShort {
        /// Who asked.
        function: Function,
        /// Power that no device could give, in watts, signed as the wish.
        excess_w: f64,
    },
    /// A device answered again.
    DeviceOnline {
        /// Which device.
        device: DeviceIx,
    },
    /// A device stopped answering.
    DeviceOffline {
        /// Which device.
        device: DeviceIx,
        /// Why it is thought so.
        flaw: Flaw,
    },
    /// A load was shed.
    LoadShed {
        /// Which device.
        device: DeviceIx,
        /// Why.
        why: String,
    },
    /// A shed load was given back.
    LoadRestored {
        /// Which device.
        device: DeviceIx,
    },
    /// The market cleared an interval.
    MarketCleared {
        /// Number of the interval.
        interval: u64,
        /// Price in milli-cent per kWh, the mean if not all traded at one; none without trade.
        price_mc_per_kwh: Option<i64>,
        /// Cleared energy in milliwatt-hours.
        energy_mwh: i64,
        /// Number of trades.
        trades: u64,
    },
    /// The market settled an interval.
    MarketSettled {
        /// Number of the interval.
        interval: u64,
        /// Sum over all accounts in 1e-11 EUR; zero by construction.
        sum_u: String,
        /// Unaccounted energy in milliwatt-hours.
        unaccounted_mwh: i64,
    },
    /// The market could not clear an interval: nothing is traded in it.
    MarketNotCleared {
        /// Number of the interval.
        interval: u64,
        /// Why.
        why: String,
    },
    /// The market could not settle an interval: nobody pays for it.
    MarketNotSettled {
        /// Number of the interval.
        interval: u64,
        /// Why.
        why: String,
    },
    /// A participant of the market pays a penalty for what it did not deliver, or not take.
    PenaltyCharged {
        /// Number of the interval.
        interval: u64,
        /// Who.
        participant: String,
        /// What was metered beyond its commitment in milliwatt-hours, positive = into the bus.
        deviation_mwh: i64,
        /// The penalty in 1e-11 EUR.
        amount_u: String,
    },
    /// A participant of the market stands otherwise than before.
    StandingChanged {
        /// Number of the interval after which it does.
        interval: u64,
        /// Who.
        participant: String,
        /// How it stood: good, called, capped or suspended.
        from: String,
        /// How it stands.
        to: String,
    },
    /// The ledger was not durable before the deadline.
    LedgerLate {
        /// Deadline in milliseconds.
        deadline_ms: u64,
        /// What was done about it.
        policy: String,
    },
    /// The ledger stopped: nothing more is dispatched.
    LedgerStopped {
        /// Why.
        why: String,
    },
    /// A control cycle began late.
    CycleLate {
        /// Lateness in milliseconds.
        late_ms: f64,
    },
    /// A fault was put in or taken away by a script.
    FaultSet {
        /// What and where.
        what: String,
    },
    /// An order from outside was refused.
    OrderRefused {
        /// Why.
        why: String,
    },
    /// Something else is agreed with the utility from now on.
    Agreed {
        /// What.
        agreement: Agreement,
    },
    /// The market's schedule does not count any more, since the microgrid stands on its own.
    MarketSuspended {
        /// The interval whose schedule is left.
        interval: u64,
        /// Mode at that time.
        mode: Mode,
    },
    /// The market's schedule counts again.
    MarketResumed {
        /// The interval whose schedule is followed from now on.
        interval: u64,
    },
    /// A service has come to another phase.
    ServicePhaseChanged {
        /// Name of the service.
        service: String,
        /// Old phase.
        from: ServicePhase,
        /// New phase.
        to: ServicePhase,
        /// Power that it is asked for on top of the baseline, in watts.
        asked_w: f64,
        /// Power of its devices that was declared before, in watts.
        baseline_w: f64,
    },
    /// A device does not give its share of a service any more, and the others were asked for it.
    ServiceReallocated {
        /// Name of the service.
        service: String,
        /// The device that failed.
        device: DeviceIx,
        /// Why it is thought so.
        why: String,
        /// Power that it owes, in watts, signed as the service.
        lost_w: f64,
        /// Power of that which the others were asked for, in watts.
        moved_w: f64,
        /// Power that nobody can give, in watts.
        missing_w: f64,
    },
    /// A service is given in part only.
    ServiceFellShort {
        /// Name of the service.
        service: String,
        /// Power that it is asked for on top of the baseline, in watts.
        asked_w: f64,
        /// Power of that which its devices can give, in watts.
        achieved_w: f64,
        /// Why, with the devices that give less than their share.
        why: String,
    },
    /// A service could not give all that was sold, if it were asked now.
    ServiceUnavailable {
        /// Name of the service.
        service: String,
        /// Power upwards that is there, in watts.
        up_w: f64,
        /// Power downwards that is there, in watts.
        down_w: f64,
        /// Why.
        why: String,
    },
    /// A service can give all that was sold again.
    ServiceAvailable {
        /// Name of the service.
        service: String,
        /// Power upwards that is there, in watts.
        up_w: f64,
        /// Power downwards that is there, in watts.
        down_w: f64,
    },
    /// Writing to devices was allowed or stopped.
    Armed {
        /// Whether it is allowed now.
        armed: bool,
    },
    /// A bus or device has something to tell a person.
    Noticed {
        /// Which device, if it is about one.
        device: Option<DeviceIx>,
        /// What, where, and what to do.
        text: String,
    },
    /// The run ended and devices were told to go safe.
    WentSafe {
        /// Why.
        why: String,
        /// Number of devices that were told.
        devices: u64,
    },
    /// A step of the safe end is over.
    Rested {
        /// Which step.
        step: RestStep,
        /// Number of devices that were told.
        devices: u64,
        /// Number of those that did not confirm it in time.
        missed: u64,
        /// How long it took, in seconds.
        after_s: f64,
        /// How long it might have taken, in seconds.
        within_s: f64,
    },
    /// Somebody has the bench to himself for a time, or has renewed that.
    LeaseTaken {
        /// Who.
        by: String,
        /// For how long, in seconds.
        for_s: f64,
    },
    /// The bench is free again.
    LeaseEnded {
        /// Who had it.
        by: String,
        /// Whether it was given back; otherwise it ran out.
        given_back: bool,
    },
    /// A device hears nothing any more, on purpose: it is to prove that it falls back by itself.
    Unplugged {
        /// Which device.
        device: DeviceIx,
    },
    /// A device that heard nothing has left what it was held at.
    FellBack {
        /// Which device.
        device: DeviceIx,
        /// How long after its plug was pulled, in seconds.
        after_s: f64,
        /// Within which time it has to, as rig and profile say, in seconds.
        stated_s: Option<f64>,
    },
    /// Another unit is brought up to form the island in place of the present one.
    HandOverBegan {
        /// Which unit.
        to: DeviceIx,
        /// Who wanted it, or what made it necessary, with numbers.
        why: String,
    },
    /// A unit forms the island, and those before it were taken off.
    HandedOver {
        /// Which unit.
        to: DeviceIx,
        /// Number of units that were taken off.
        parted: u64,
        /// How long it took in the island, in seconds.
        after_s: f64,
    },
    /// The part of the former stays with those who had it.
    HandOverFailed {
        /// The unit that was to have it.
        to: DeviceIx,
        /// What was missing.
        why: String,
    },
    /// A device follows another characteristic by itself: written, read back, and in force.
    Adopted {
        /// Which device.
        device: DeviceIx,
        /// What it follows.
        characteristic: String,
        /// Time since it was let through, in seconds.
        after_s: f64,
        /// Its record in the ledger.
        atom: String,
    },
    /// A device does not follow what it was to follow by itself.
    NotAdopted {
        /// Which device.
        device: DeviceIx,
        /// What it was to follow.
        characteristic: String,
        /// Who refused it, and why.
        why: String,
    },
    /// The exchange has left what was agreed with the utility, and nothing brings it back.
    ExchangeMissed {
        /// Power beyond the nearest limit in watts, positive = import.
        missing_w: f64,
        /// What stands in the way, with numbers.
        why: String,
    },
    /// What was agreed with the utility is kept again, or does not count any more.
    ExchangeKept {
        /// How long it was not, in seconds.
        after_s: f64,
        /// Which of the two.
        why: String,
    },
    /// A value that the rig watches has left its limit, or has not been known for too long.
    AlarmRaised {
        /// Name of the alarm in the rig.
        alarm: String,
        /// Whether somebody should come; otherwise somebody should know.
        severe: bool,
        /// What was seen, with numbers.
        why: String,
    },
    /// Somebody has seen an alarm.
    AlarmAcknowledged {
        /// Name of the alarm in the rig.
        alarm: String,
        /// Who.
        by: String,
    },
    /// The value is back.
    AlarmCleared {
        /// Name of the alarm in the rig.
        alarm: String,
        /// How long it was raised, in seconds.
        after_s: f64,
        /// What is seen now.
        why: String,
    },
    /// The wall clock of the controller was stepped. Control goes on by monotonic time.
    ClockStepped {
        /// By how much in seconds, positive = forward.
        by_s: f64,
    },
    /// Intervals of the market were traded ahead.
    DayAheadTraded {
        /// Number of the first one.
        from: u64,
        /// How many.
        intervals: u64,
        /// Energy of all of them in milliwatt-hours.
        energy_mwh: i64,
        /// Number of trades.
        trades: u64,
    },
    /// Readiness to give more or less in an interval was bought.
    ReserveBought {
        /// Number of the interval.
        interval: u64,
        /// What is ready upwards over the interval, in milliwatt-hours.
        up_mwh: i64,
        /// Its price; `None` when nothing was bought.
        up_price_mc_per_kwh: Option<i64>,
        /// What is ready downwards over the interval, in milliwatt-hours.
        down_mwh: i64,
        /// Its price; `None` when nothing was bought.
        down_price_mc_per_kwh: Option<i64>,
    },
    /// Less readiness was offered than is needed.
    ReserveShort {
        /// Number of the interval.
        interval: u64,
        /// Whether it is upwards.
        is_up: bool,
        /// What is needed over the interval, in milliwatt-hours.
        needed_mwh: i64,
        /// What was bought of it.
        bought_mwh: i64,
    },
    /// How long it took to clear an interval; told where time passes meanwhile, so not in virtual time.
    MarketTimed {
        /// Number of the interval.
        interval: u64,
        /// Asking agents and finding the clearing, in microseconds.
        clear_us: u64,
        /// Until the ledger had the orders and the clearing for good, in microseconds.
        finality_us: u64,
    },
    /// Two participants have traded energy of an interval within the day.
    IntradayTraded {
        /// Number of the interval.
        interval: u64,
        /// Who has bought.
        buyer: String,
        /// Who has sold.
        seller: String,
        /// How much, in milliwatt-hours.
        energy_mwh: i64,
        /// At what price, in milli-cent per kWh.
        price_mc_per_kwh: i64,
    },
    /// A reading has come after its interval was settled, and is booked.
    MarketCorrected {
        /// Number of the interval.
        interval: u64,
        /// Whose reading.
        participant: String,
        /// What it says, in milliwatt-hours, positive into the bus.
        energy_mwh: i64,
        /// What its owner receives by it, in 1e-11 EUR.
        amount_u: String,
    },
    /// A participant of the market orders nothing from an interval on.
    MarketSilent {
        /// Number of the interval.
        interval: u64,
        /// Who.
        participant: String,
        /// Why.
        why: String,
    },
    /// What the market has committed for an interval cannot be delivered any more.
    CommitmentInfeasible {
        /// Number of the interval.
        interval: u64,
        /// Whose commitment: a device of the rig, or `utility` for the exchange at the coupling.
        device: String,
        /// Committed energy in milliwatt-hours, positive = into the bus.
        committed_mwh: i64,
        /// What of it will be missing at least, signed as what should still flow.
        missing_mwh: i64,
        /// What stands in the way.
        why: String,
    },
    /// The meter of a device follows its setpoints: it may trade.
    SignAgreed {
        /// Which device.
        device: DeviceIx,
        /// What was asked and measured.
        text: String,
    },
    /// The meter of a device does not follow its setpoints: it may not trade.
    SignRefused {
        /// Which device.
        device: DeviceIx,
        /// The code of the refusal, and what was asked and measured.
        why: String,
    },
    /// A meter of the market cannot be believed as it is, from an interval on.
    MeterDoubted {
        /// Number of the interval.
        interval: u64,
        /// Whose meter: a device of the rig, or `utility`.
        meter: String,
        /// What is wrong with it: missing, gaps, frozen or jumped.
        fault: String,
        /// What is settled instead.
        instead: String,
    },
    /// The ledger refuses commands, for a device was granted to another controller.
    LedgerFenced {
        /// Which device, and why.
        why: String,
    },
}

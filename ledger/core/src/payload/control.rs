//! Payloads of control: dispatch, its acknowledgement, trips and modes.

use crate::hash::AtomId;
use crate::record::SchemaError;

/// The name of a device as the rig calls it.
pub type Device = String;

coded! {
    /// What a dispatch commands.
    DispatchKind {
        /// Active power, reactive power or both.
        Power = 1 "power",
        /// A switch or breaker.
        Switch = 2 "switch",
        /// A bound on the magnitude of active power.
        Ceiling = 3 "ceiling",
        /// Hand the device back to its own control.
        Release = 4 "release",
        /// Frequency, voltage, phase or output of a grid simulator.
        Source = 5 "source",
    }
}

record! {
    /// A commanded setpoint in fixed point. Absent means not commanded.
    Setpoint {
        /// Active power in milliwatts, positive into the AC bus.
        p_milliwatts: Option<i64>,
        /// Reactive power in millivars, positive into the AC bus.
        q_millivars: Option<i64>,
        /// True closes the switch, false opens it.
        switch_closed: Option<bool>,
        /// Bound on the magnitude of active power in milliwatts.
        ceiling_milliwatts: Option<i64>,
        /// Frequency of a source in microhertz.
        frequency_microhertz: Option<i64>,
        /// Voltage of a source in millivolts, line to neutral.
        voltage_millivolts: Option<i64>,
        /// Phase angle of a source in millidegrees.
        phase_millidegrees: Option<i64>,
    }
}

impl Setpoint {
    /// Nothing is commanded.
    pub const NONE: Setpoint = Setpoint {
        p_milliwatts: None,
        q_millivars: None,
        switch_closed: None,
        ceiling_milliwatts: None,
        frequency_microhertz: None,
        voltage_millivolts: None,
        phase_millidegrees: None,
    };
}

record! {
    /// A command to a device, durable before its first byte leaves.
    Dispatch where dispatch_is_consistent {
        /// The device.
        device: Device,
        /// What is commanded.
        kind: DispatchKind,
        /// The commanded values.
        setpoint: Setpoint,
        /// Fencing token: a device adapter refuses a lower one than it has seen.
        authority_epoch: u64,
        /// Start of validity in nanoseconds since the Unix epoch, UTC.
        valid_from_utc_ns: i64,
        /// End of validity in nanoseconds since the Unix epoch, UTC.
        valid_until_utc_ns: i64,
        /// The market result or mode change that caused it, where there is one.
        cause: Option<AtomId>,
        /// Why, for people.
        why: String,
    }
}

fn dispatch_is_consistent(d: &Dispatch) -> Result<(), SchemaError> {
    let s = &d.setpoint;
    // Which fields are present, in the order p, q, switch, ceiling.
    let present = [
        s.p_milliwatts.is_some(),
        s.q_millivars.is_some(),
        s.switch_closed.is_some(),
        s.ceiling_milliwatts.is_some(),
    ];
    let of_source = s.frequency_microhertz.is_some()
        || s.voltage_millivolts.is_some()
        || s.phase_millidegrees.is_some();
    let fits = match d.kind {
        DispatchKind::Source => match present {
            // A source's output is its switch.
            [false, false, switched, false] => of_source || switched,
            _ => false,
        },
        _ if of_source => false,
        DispatchKind::Power => matches!(present, [true, _, false, false] | [_, true, false, false]),
        DispatchKind::Switch => present == [false, false, true, false],
        DispatchKind::Ceiling => present == [false, false, false, true],
        DispatchKind::Release => present == [false; 4],
    };
    let rules = [
        (!d.device.is_empty(), "A dispatch names its device."),
        (fits, "A dispatch commands exactly the values of its kind."),
        (
            s.ceiling_milliwatts.is_none_or(|c| c >= 0),
            "A ceiling is not negative.",
        ),
        (
            d.valid_from_utc_ns <= d.valid_until_utc_ns,
            "A dispatch ends no earlier than it begins.",
        ),
    ];
    all_hold(&rules)
}

/// The first broken rule as an error.
pub(super) fn all_hold(rules: &[(bool, &'static str)]) -> Result<(), SchemaError> {
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(SchemaError::Rule { rule }),
        None => Ok(()),
    }
}

coded! {
    /// How far a dispatch is known to have got.
    DispatchStage {
        /// The device confirmed the register or command.
        Register = 1 "register",
        /// The measured power follows.
        Power = 2 "power",
        /// It failed; the device keeps what it did before.
        Failed = 3 "failed",
    }
}

record! {
    /// What came back after a dispatch.
    DispatchAck {
        /// The dispatch.
        dispatch: AtomId,
        /// How far it got.
        stage: DispatchStage,
        /// Measured active power in milliwatts, positive into the AC bus.
        measured_p_milliwatts: Option<i64>,
        /// When it was seen, in nanoseconds since the Unix epoch, UTC.
        seen_utc_ns: i64,
    }
}

record! {
    /// A protective act. It comes first and is logged beside, with both times.
    Trip where trip_is_named {
        /// The device that acted or was acted on.
        device: Device,
        /// What was done and why.
        what: String,
        /// When it was done, in nanoseconds since the Unix epoch, UTC.
        acted_at_utc_ns: i64,
        /// When this record was made, in nanoseconds since the Unix epoch, UTC.
        logged_at_utc_ns: i64,
    }
}

fn trip_is_named(t: &Trip) -> Result<(), SchemaError> {
    all_hold(&[(!t.device.is_empty(), "A trip names its device.")])
}

record! {
    /// A change of the operating mode.
    Mode {
        /// The mode that was left.
        from: String,
        /// The mode that was entered.
        to: String,
        /// Why.
        reason: String,
    }
}

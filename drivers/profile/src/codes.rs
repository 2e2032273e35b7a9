//! Codes of the faults that a profile can have, each with a longer explanation.

macro_rules! codes {
    ($($name:ident = $code:literal, $explanation:literal;)+) => {
        $(
            #[doc = $explanation]
            pub(crate) const $name: &str = $code;
        )+

        /// All codes in ascending order, each with what it means and how to mend it.
        pub const EXPLANATIONS: &[(&str, &str)] = &[$(($code, $explanation),)+];
    };
}

codes! {
    UNKNOWN_POINT = "P001",
        "The name is not a canonical point. Every vendor's value is mapped to one of the names on the reference page, such as `ac.p` or `bat.soc`; control, telemetry and scenarios know nothing else. Take the suggested name, or leave the value out when no canonical point means the same.";
    WRONG_UNIT = "P002",
        "The unit belongs to another quantity than the point. Watt, var and volt-ampere are different things here even though their dimension is the same. Check which register the vendor's table means, then write the unit in which the vendor counts; it is converted to the point's base unit.";
    POINT_TWICE = "P003",
        "The same point is mapped twice. A point has one place in a device (for MQTT: one in each topic), or it would have two values. Keep the better one.";
    OVERLAP = "P004",
        "Two points share a register, but not all of their registers. Usually an address is off by one, or a 32 bit type was written where the value takes one register. Two points with exactly the same registers and type are allowed.";
    PAST_THE_END = "P005",
        "The value reaches past the last Modbus address, 65535. Addresses are zero-based wire addresses: 40001 in a manual's five-digit notation is 0 in the holding table.";
    ODD_ONE_OUT = "P006",
        "All other values of several registers begin at addresses of the same parity, and this one does not. Vendors hardly mix them: one address was probably taken from a one-based table. A register that `[[identify]]` reads is proved by the device itself and is not told. This is a warning; it does not prevent the use of the profile.";
    BAD_RANGE = "P007",
        "A range is a pair with the lower end first. Where the point has a unit it is a text such as \"0..500V\"; where it has none (fractions, states, switches) it is a list of two numbers such as [0, 1]. Values outside the range are not believed.";
    READ_TOO_WIDE = "P008",
        "Modbus function 3 and 4 carry at most 125 registers in one answer (MODBUS Application Protocol Specification V1.1b3, 6.3). `max_regs` must lie in 1..=125; take less where the device takes less.";
    WRITE_TOO_WIDE = "P009",
        "Modbus function 16 carries at most 123 registers in one request (MODBUS Application Protocol Specification V1.1b3, 6.12). Neighbouring fields go into one request so that the device sees them together, and this run of fields is longer.";
    SCALE_TOO_FAR = "P010",
        "The scale factor of this value may change while the device runs, so both are read in the same request. They stand further apart than `max_regs` allows.";
    NO_SOURCE = "P011",
        "A profile says what it was made from, with revision: the maker's document, or the reader of the same registers that was followed. Without it nobody can check an address.";
    COMMS_LOSS_UNSTATED = "P012",
        "For everything that can be set, the profile says what the device does when it hears nothing more: `comms_loss = \"reverts\"` with the time after which it falls back by itself, or `comms_loss = \"holds\"` when it keeps the last value for ever. There is no default, because this decides what a cut cable does.";
    REFRESH_TOO_SLOW = "P013",
        "A setpoint that the device drops by itself is rewritten before that. The interval must be at most half of the time until the device reverts, so that one lost write does not drop it.";
    REFRESH_MISSING = "P014",
        "The device drops the setpoint by itself, so it must be rewritten: say how often with `refresh`, at most half of the revert time.";
    SAFE_OUTSIDE = "P015",
        "The value for a safe end lies outside what the control takes. The device would refuse it at the moment when it matters most.";
    NOT_WRITABLE = "P016",
        "The field stands where nothing can be written: input registers and discrete inputs are read-only, and a SunSpec point is writable only if its model says so. A setpoint that cannot be written cannot be read back either.";
    SETPOINT_FIELD = "P017",
        "The fields of a control tell the device the whole setpoint once, sign included: one field with `write = \"setpoint\"` or `\"percent\"`; or two of `\"percent\"` with opposite scales, limits that meet; or a `\"magnitude\"` beside a `\"by-sign\"`; or a `\"negative-part\"` and a `\"positive-part\"`. They are read back and compared after every write; with none of them there is nothing to prove, with more nobody knows which one counts. Over MQTT the number stands where the payload says `{v}`.";
    NO_REFERENCE = "P018",
        "A setpoint in percent needs the value that is 100 percent: a point of the same unit that this profile reads, such as `rating.p`.";
    CONSTANT_TOO_BIG = "P019",
        "The constant does not fit the type of its field. Constants are raw numbers, as they stand in the register.";
    UNKNOWN_MODEL = "P020",
        "The layout of this SunSpec model is not bundled. The known models are listed on the reference page.";
    UNKNOWN_MODEL_POINT = "P021",
        "The SunSpec model has no point of this name. Names are those of the specification, in its capitals; members of a nested group are written `group.point`.";
    MODEL_NOT_REQUIRED = "P022",
        "A point refers to a SunSpec model that is not in the list of required models. A device without that model would be accepted and then never have a value for it.";
    SIGN_UNSTATED = "P023",
        "Powers and currents with a direction need a sign: positive is from the device into the AC bus everywhere in this house, and a vendor's sign is never guessed. Say which direction the vendor counts as positive: `sign = \"import+\"` or `\"export+\"` for a meter at the point of common coupling, `\"generation+\"` or `\"consumption+\"` for inverters and plugs, `\"discharge+\"` or `\"charge+\"` for batteries.";
    TYPE_AND_TABLE = "P024",
        "Coils and discrete inputs are single bits, registers are not: `type = \"bit\"` goes with the tables `coil` and `discrete`, and all other types with `holding` and `input`.";
    NOTHING_READ = "P025",
        "The profile maps no point. A device that says nothing cannot be told from one that is not there.";
    FIELD_ORDER = "P026",
        "The fields of a control stand in address order, in one table or model, and do not overlap. Neighbours are written in one request, in that order. A device that wants another order (first the power, then the command) says `stepwise = true`; then the order of the file is that of the writes, and only overlaps are wrong.";
    REVERT_FIELD = "P027",
        "A field with the revert time needs `comms_loss = \"reverts\"`, and the time must be a whole number of seconds, at least one, that fits the field's type. Zero seconds would mean that the device never reverts.";
    BAD_ID = "P028",
        "An identity is `vendor/model` in lower-case letters, digits and hyphens. Rigs name the profile by it.";
    CAN_ID = "P029",
        "A standard CAN identifier has 11 bits (up to 0x7ff), an extended one 29 (up to 0x1fffffff, with `extended = true`).";
    SIGNAL_OUTSIDE = "P030",
        "The number does not lie within the bytes of its frame (eight, or 64 where `[can]` says `fd = true`), has no bits, or is a floating-point number of another size than 32 or 64 bits. Count little-endian signals from their least significant bit and big-endian ones from their most significant bit, in the numbering of DBC files.";
    SIGNALS_OVERLAP = "P031",
        "Two signals of the frame share a bit. Usually a start bit is off by a byte.";
    TIMEOUT_TOO_SHORT = "P032",
        "Points are believed for at least two periods of what brings them, or a single late message would make them stale.";
    FRAME_TWICE = "P033",
        "The same frame, topic or keep-alive stands in the profile twice. Put everything that it holds into one place.";
    BAD_BYTES = "P034",
        "Bytes are written as pairs of hexadecimal digits such as \"00 00 00 00 00 00 00 00\": up to eight of them, and on CAN FD also 12, 16, 20, 24, 32, 48 or 64.";
    BAD_TOPIC = "P035",
        "A topic has no wildcards (a device is one device), is not empty, knows only the placeholders `{t}` (the device's topic in the rig), `{t.1}` to `{t.9}` (a level of it) and `{c}` (the controller's own reply topic), and holds one of them, or all devices of this kind would answer at once.";
    BAD_POINTER = "P036",
        "A JSON pointer is empty or begins with a slash, such as `/ENERGY/Power` (RFC 6901); `~` is written `~0` and a slash in a name `~1`.";
    UNCONFIRMED = "P037",
        "A command counts only when the device's own topic confirms it. The point that the command sets must be among the values of a topic.";
    DEAD_MAN = "P038",
        "`comms_loss = \"reverts\"` and `dead_man` belong together: the dead-man message is what makes the device fall back by itself, and without it the device holds.";
    NOT_CONTROLLABLE = "P039",
        "Only `ctl.p_set`, `ctl.p_lim`, `ctl.q_set` and `switch.on` can be set; over MQTT `ctl.q_set` cannot; over SCPI `ctl.f_set`, `ctl.v_set`, `ctl.phase_set`, `ctl.p_set` and `switch.on`. Everything else is measured.";
    ZERO_SCALE = "P040",
        "A scale of zero would make every value zero, and zero is a value, not the absence of one.";
    NOT_A_NUMBER = "P041",
        "This SunSpec point is a text or filler and has no numeric value.";
    RANGE_NOT_POWER = "P042",
        "Only active power controls (`ctl.p_set`, `ctl.p_lim`) take a `range`. Reactive power is limited by the rig, a switch has two positions.";
    CONTROL_TWICE = "P043",
        "The same control stands in the profile twice. A setpoint has one recipe.";
    BAD_TIME = "P044",
        "Intervals and timeouts are longer than nothing; zero would ask the bus for infinitely many messages.";
    BAD_PERCENTAGE = "P045",
        "`min` is the smallest percentage that may be written, between 0 and 100; some inverters trip to standby at 0 percent.";
    NOT_A_COUNTER = "P046",
        "`monotonic = true` says that a value only grows: energy counters do, everything else may fall. A smaller value of a counter is believed when the next read confirms it, and is then told as a reset.";
    PATTERN_TOO_BIG = "P047",
        "A pattern that means \"not implemented\" is the raw number as it stands in the registers, so it fits the value's type; a negative number stands for its two's complement. A value has at most four of them, as a list.";
    BAD_RAMP = "P048",
        "`ramp` is the fastest change of active power that the device bears, such as \"500W/s\", above zero. The limiter keeps it, and a rig may only ask for a slower one.";
    ONE_REGISTER = "P049",
        "`write_function = \"single\"` writes one register at a time (function 6), so that a value of several registers would be seen half-written.";
    BAD_DBC = "P050",
        "The DBC file that `dbc` of `[can]` names cannot be used: it is not there, it is larger than gridrig reads, or a line of it is not DBC. The path is relative to the profile's own folder. The message says the line; mend it with the tool that wrote the file, or keep only the messages that are mapped.";
    DBC_NAME = "P051",
        "A frame or control names a message, or a number names a signal, that the DBC file does not have. Names are those of the file, in its capitals; `signal` needs a `message`, and `message` needs `dbc` in `[can]`.";
    DBC_SIGNAL = "P052",
        "The DBC file has the signal, but nobody could read it: it has no bits or more than 64, it leaves the bytes of its message, it is a floating-point number of another size than 32 or 64 bits, its factor is zero, or its multiplexer is not there. The message says which line of the file.";
    PAGE = "P053",
        "`page` says for which value of a number in the frame this table holds, as the multiplexer of a DBC file does. The value must fit into the bits of that number.";
    SCPI_MESSAGE = "P054",
        "An SCPI message is one printable line without its terminator. A query asks one thing and ends with `?`; a setting asks nothing and holds its placeholder: `{value}` in `set`, `{low}` or `{high}` in `limit`. The identity is a text of at least three letters, so that no late number can be taken for it.";
}

/// The longer explanation of a code.
#[must_use]
pub fn explanation(code: &str) -> Option<&'static str> {
    EXPLANATIONS
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_a_hole_and_each_is_explained() {
        for (i, (code, text)) in EXPLANATIONS.iter().enumerate() {
            assert_eq!(*code, format!("P{:03}", i + 1));
            assert!(text.ends_with('.') && text.len() > 60, "{code}: {text}");
        }
        assert_eq!(explanation("P999"), None);
    }
}

//! Every fault that a profile can have, with its code and place.

use std::collections::BTreeSet;

use document::Source;
use proptest::prelude::*;

use crate::{EXPLANATIONS, Profile};

const METER: &str = r#"schema = 1
[profile]
id = "acme/meter"
title = "Acme meter"
version = 1
source = ["Acme manual 1.0"]
protocol = "modbus"
sign = "import+"
[modbus]
layout = "fixed"
unit = 1
timeout = "500ms"
table = "holding"
order = "ABCD"
[[point]]
name = "ac.p"
addr = 0
type = "f32"
unit = "W"
range = "-9..9kW"
[[point]]
name = "ac.f"
addr = 2
type = "f32"
unit = "Hz"
range = "0..100Hz"
[[point]]
name = "rating.p"
addr = 4
type = "f32"
unit = "W"
range = "0..9kW"
[[point]]
name = "ac.v.l1"
addr = 6
type = "f32"
unit = "V"
range = "0..500V"
[[control]]
name = "ctl.p_set"
safe = "0W"
range = "-2..2kW"
tolerance = "5W"
comms_loss = "reverts"
revert = "60s"
refresh = "30s"
fields = [
  { addr = 100, type = "f32", unit = "W", write = "setpoint" },
  { addr = 102, type = "u16", write = "revert-seconds" },
  { addr = 103, type = "u16", write = "constant", raw = 1 },
]
"#;

const SUNSPEC: &str = r#"schema = 1
[profile]
id = "acme/inverter"
title = "Acme inverter"
version = 1
source = ["Acme manual 1.0"]
protocol = "modbus"
sign = "generation+"
[modbus]
layout = "sunspec"
models = [1, 121, 701]
unit = 1
timeout = "500ms"
[[point]]
name = "ac.p"
model = 701
point = "W"
range = "-9..9kW"
[[point]]
name = "rating.p"
model = 121
point = "WMax"
range = "0..9kW"
"#;

const BATTERY: &str = r#"schema = 1
[profile]
id = "acme/battery"
title = "Acme battery"
version = 1
source = ["Acme manual 1.0"]
protocol = "can"
sign = "charge+"
[can]
bitrate = 500000
[[frame]]
id = 0x356
len_min = 6
period = "1s"
timeout = "3s"
signals = [
  { name = "bat.v", start = 0, bits = 16, unit = "V", range = "0..60V" },
  { name = "bat.i", start = 16, bits = 16, unit = "A", range = "-9..9A" },
]
[[frame]]
id = 0x357
len_min = 2
period = "1s"
timeout = "3s"
signals = []
[[keep_alive]]
id = 0x305
data = "00 01"
every = "1s"
"#;

/// An inverter of the user's own, from a DBC file; its command is on its own bits here.
const DBC: &str = r#"schema = 1
[profile]
id = "acme/inverter"
title = "Acme inverter"
version = 1
source = ["Acme manual 1.0"]
protocol = "can"
sign = "generation+"
[can]
bitrate = 500000
dbc = "../../tests/peers/inverter.dbc"
[[frame]]
message = "PowerStatus"
timeout = "1s"
signals = [
  { name = "ctl.p_set", signal = "PowerTaken", range = "-9..9kW" },
]
[[frame]]
id = 0x300
len_min = 8
period = "1s"
timeout = "3s"
page = { start = 0, bits = 8, value = 1 }
signals = [
  { name = "ac.p", start = 8, bits = 32, float = true, unit = "W", range = "-9..9kW" },
]
[[control]]
name = "ctl.p_set"
id = 0x200
len = 8
refresh = "100ms"
confirm_within = "1s"
comms_loss = "reverts"
revert = "1s"
safe = "0W"
tolerance = "10W"
range = "-9..9kW"
fields = [
  { start = 0, bits = 4, write = "constant", raw = 1 },
  { start = 8, bits = 16, signed = true, unit = "W", scale = 10, write = "setpoint" },
  { start = 60, bits = 4, write = "counter" },
]
"#;

const PLUG: &str = r#"schema = 1
[profile]
id = "acme/plug"
title = "Acme plug"
version = 1
source = ["Acme manual 1.0"]
protocol = "mqtt"
sign = "consumption+"
[mqtt]
timeout = "10s"
[[topic]]
subscribe = "{t}/state"
values = [
  { name = "ac.p", json = "/power", unit = "W", range = "-9..9kW" },
  { name = "switch.on", json = "/on", range = [0, 1] },
]
[[request]]
topic = "{t}/get"
payload = ""
every = "2s"
[[command]]
name = "switch.on"
topic = "{t}/set"
on = "1"
off = "0"
confirm_within = "3s"
comms_loss = "reverts"
dead_man = "1 for 60 s"
revert = "60s"
refresh = "30s"
safe = "off"
"#;

const NUMBER: &str = r#"schema = 1
[profile]
id = "acme/gateway"
title = "Acme gateway"
version = 1
source = ["Acme manual 1.0"]
protocol = "mqtt"
sign = "consumption+"
[mqtt]
timeout = "10s"
availability = { topic = "{t.1}/up", json = "/up", online = "true", offline = "false" }
empty = "gone"
[[topic]]
subscribe = "{t.1}/{t.2}/set"
values = [
  { name = "ctl.p_set", json = "/w", unit = "W", range = "-5..5kW" },
]
[[command]]
name = "ctl.p_set"
topic = "{t}/w"
payload = "{\"w\":{v}}"
unit = "W"
decimals = 1
range = "-5..5kW"
tolerance = "5W"
confirm_within = "3s"

comms_loss = "reverts"
revert = "60s"
refresh = "20s"

safe = "0W"
"#;

const SOURCE: &str = r#"schema = 1
[profile]
id = "acme/source"
title = "Acme source"
version = 1
source = ["Acme manual 1.0"]
protocol = "scpi"
sign = "generation+"
[scpi]
timeout = "500ms"
identify = "ACME"
remote = ["SYSTem:REMote"]
[[point]]
name = "ac.p"
query = "MEASure:POWer?"
unit = "W"
range = "-9..9kW"
[[control]]
name = "ctl.f_set"
set = "FREQuency {value}"
decimals = 2
unit = "Hz"
readback = "FREQuency?"
tolerance = "0.02Hz"
range = "45..65Hz"
limit = "FREQuency:LIMit {low},{high}"
comms_loss = "holds"
[[control]]
name = "ctl.p_set"
set = "POWer {value}"
decimals = 1
unit = "W"
readback = "POWer?"
tolerance = "1W"
range = "-4..0kW"
safe = "0W"
comms_loss = "holds"
[[control]]
name = "switch.on"
on = "OUTPut ON"
off = "OUTPut OFF"
readback = "OUTPut?"
safe = "off"
comms_loss = "holds"
"#;

/// Faults of a text as `code line:column`.
fn faults(text: &str) -> Vec<String> {
    let found = match Profile::parse(Source::new("p.toml", text)) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    found
        .iter()
        .map(|d| {
            let (line, column) = d.place.as_ref().expect("a place").line_and_column();
            format!("{} {line}:{column}", d.code)
        })
        .collect()
}

/// A profile without faults, what is replaced in it, and the faults that follow.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    // The head.
    (METER, "schema = 1", "schema = 2", &["D005 1:10"]),
    (
        METER,
        "id = \"acme/meter\"",
        "id = \"Acme Meter\"",
        &["P028 3:6"],
    ),
    (METER, "[\"Acme manual 1.0\"]", "[]", &["P011 6:10"]),
    (METER, "source = [\"Acme manual 1.0\"]\n", "", &["P011 2:1"]),
    (METER, "\"modbus\"", "\"modbos\"", &["D006 7:12"]),
    (
        METER,
        "version = 1",
        "versoin = 1",
        &["D004 2:1", "D002 5:1"],
    ),
    (
        METER,
        "[modbus]\n",
        "[can]\nbitrate = 500000\n[modbus]\n",
        &["D002 9:2"],
    ),
    // Points.
    (METER, "\"ac.f\"", "\"ac.frequency\"", &["P001 22:8"]),
    (METER, "unit = \"Hz\"", "unit = \"kW\"", &["P002 25:8"]),
    (METER, "unit = \"Hz\"\n", "", &["D004 21:1"]),
    (
        METER,
        "\"ac.f\"\naddr = 2",
        "\"ac.p\"\naddr = 8",
        &["P003 22:8", "P002 25:8", "D007 26:9"],
    ),
    (METER, "addr = 2", "addr = 1", &["P004 23:8", "P006 23:8"]),
    (
        METER,
        "addr = 2",
        "addr = 65535",
        &["P005 23:8", "P006 23:8"],
    ),
    (METER, "addr = 2", "addr = 65536", &["D005 23:8"]),
    (METER, "addr = 2", "addr = 9", &["P006 23:8"]),
    (
        METER,
        "\"ac.f\"\naddr = 2\ntype = \"f32\"\nunit = \"Hz\"\nrange = \"0..100Hz\"",
        "\"ac.pf\"\naddr = 2\ntype = \"f32\"\nrange = [1, -1]",
        &["P007 25:9"],
    ),
    (
        METER,
        "\"ac.f\"\naddr = 2\ntype = \"f32\"\nunit = \"Hz\"\nrange = \"0..100Hz\"",
        "\"ac.pf\"\naddr = 2\ntype = \"f32\"\nrange = [nan, 1]",
        &["P007 25:9", "D003 25:10"],
    ),
    (METER, "\"0..100Hz\"", "\"100..0Hz\"", &["D007 26:9"]),
    (METER, "range = \"0..100Hz\"\n", "", &["D004 21:1"]),
    (
        METER,
        "unit = \"Hz\"",
        "unit = \"Hz\"\nscale = 0",
        &["P040 26:9"],
    ),
    (
        METER,
        "unit = \"Hz\"",
        "unit = \"Hz\"\nscale = nan",
        &["D003 26:9"],
    ),
    (
        METER,
        "unit = \"Hz\"",
        "unit = \"Hz\"\nscael = 0.1",
        &["D002 26:1"],
    ),
    (
        METER,
        "sign = \"import+\"\n",
        "",
        &["P023 14:1", "P023 47:3"],
    ),
    (
        METER,
        "addr = 2\ntype = \"f32\"",
        "addr = 2\ntype = \"bit\"",
        &["P024 24:8"],
    ),
    (
        METER,
        "order = \"ABCD\"\n",
        "",
        &[
            "D004 14:1",
            "D004 20:1",
            "D004 26:1",
            "D004 32:1",
            "D004 47:3",
        ],
    ),
    (
        METER,
        "order = \"ABCD\"",
        "order = \"ABCD\"\nmax_regs = 126",
        &["P008 15:12"],
    ),
    (
        METER,
        "order = \"ABCD\"",
        "order = \"ABCD\"\nmax_regs = 60\nserial = { baud = 9600, parity = \"evn\", stop = 3 }",
        &["D006 16:34", "D005 16:48"],
    ),
    (
        METER,
        "unit = \"Hz\"",
        "unit = \"Hz\"\nscale_addr = 300",
        &["P010 21:1"],
    ),
    (METER, "timeout = \"500ms\"\n", "", &["D004 9:1"]),
    (
        METER,
        "timeout = \"500ms\"",
        "timeout = \"0s\"",
        &["P044 12:11"],
    ),
    // Controls.
    (METER, "\"ctl.p_set\"", "\"ac.q\"", &["P039 40:8"]),
    (METER, "comms_loss = \"reverts\"\n", "", &["P012 39:1"]),
    (
        METER,
        "comms_loss = \"reverts\"",
        "comms_loss = \"holds\"",
        &["D002 45:1", "P027 49:39"],
    ),
    (METER, "revert = \"60s\"\n", "", &["D004 39:1"]),
    (
        METER,
        "refresh = \"30s\"",
        "refresh = \"31s\"",
        &["P013 46:11"],
    ),
    (METER, "refresh = \"30s\"\n", "", &["P014 45:10"]),
    (METER, "safe = \"0W\"", "safe = \"3kW\"", &["P015 41:8"]),
    (METER, "safe = \"0W\"\n", "", &["D004 39:1"]),
    (METER, "tolerance = \"5W\"\n", "", &["D004 39:1"]),
    (
        METER,
        "{ addr = 100,",
        "{ table = \"input\", addr = 100,",
        &["P016 48:29", "P026 49:12"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "write = \"constant\", raw = 1",
        &["P017 47:10"],
    ),
    (
        METER,
        "write = \"constant\", raw = 1",
        "write = \"setpoint\", unit = \"W\"",
        &["P017 47:10"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "write = \"percent\", of = \"rating.s\"",
        &["P018 48:55"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "write = \"percent\", of = \"ac.f\"",
        &["P018 48:55"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "write = \"percent\", of = \"rating.p\", min = 101",
        &["P045 48:73"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "unit = \"W\", write = \"magnitude\"",
        &["P017 47:10"],
    ),
    (
        METER,
        "unit = \"W\", write = \"setpoint\"",
        "unit = \"W\", write = \"positive-part\"",
        &["P017 47:10"],
    ),
    (
        METER,
        "write = \"constant\", raw = 1",
        "write = \"by-sign\", positive = 1, zero = 0",
        &["D004 50:3"],
    ),
    (
        METER,
        "write = \"constant\", raw = 1",
        "write = \"by-sign\", positive = 1, zero = 0, negative = -2",
        &["P017 47:10", "P019 50:85"],
    ),
    (
        METER,
        "safe = \"0W\"\n",
        "safe = \"0W\"\nceiling = \"ac.f\"\n",
        &["P018 42:11"],
    ),
    (
        METER,
        "safe = \"0W\"\n",
        "safe = \"0W\"\nfloor = \"bat.soc\"\n",
        &["P018 42:9"],
    ),
    (
        METER,
        "safe = \"0W\"\n",
        "safe = \"0W\"\nramp = \"0W/s\"\n",
        &["P048 42:8"],
    ),
    (
        METER,
        "timeout = \"500ms\"",
        "timeout = \"500ms\"\nwrite_function = \"single\"",
        &["P049 49:12"],
    ),
    (METER, "{ addr = 103,", "{ addr = 99,", &["P026 50:12"]),
    (
        METER,
        "name = \"ac.f\"",
        "name = \"ac.f\"\nmonotonic = true",
        &["P046 23:13"],
    ),
    (
        METER,
        "name = \"ac.f\"",
        "name = \"ac.f\"\nnot_implemented = [0xffff, -32768, 0x1_0000_0000]",
        &["P047 23:36"],
    ),
    (
        METER,
        "name = \"ac.f\"",
        "name = \"ac.f\"\nnot_implemented = [1, 2, 3, 4, 5]",
        &["P047 23:19"],
    ),
    (METER, "raw = 1", "raw = 65536", &["P019 50:57"]),
    (METER, "raw = 1", "raw = -1", &["P019 50:57"]),
    (METER, "{ addr = 102,", "{ addr = 101,", &["P026 49:12"]),
    (METER, "{ addr = 103,", "{ addr = 99,", &["P026 50:12"]),
    (
        METER,
        "revert = \"60s\"",
        "revert = \"60.5s\"",
        &["P027 49:39"],
    ),
    (
        METER,
        "revert = \"60s\"",
        "revert = \"20h\"",
        &["P027 49:39"],
    ),
    (
        METER,
        "name = \"ctl.p_set\"\nsafe = \"0W\"",
        "name = \"ctl.q_set\"\nsafe = \"0var\"",
        &["P042 42:9", "D007 43:13", "P002 48:38"],
    ),
    (
        METER,
        "[[control]]\n",
        "[[control]]\nname = \"ctl.p_set\"\nsafe = \"0W\"\ntolerance = \"5W\"\ncomms_loss = \"holds\"\nfields = [{ addr = 200, type = \"f32\", unit = \"W\", write = \"setpoint\" }]\n[[control]]\n",
        &["P043 46:8"],
    ),
    // SunSpec.
    (
        SUNSPEC,
        "[1, 121, 701]",
        "[1, 121, 701, 64001]",
        &["P020 11:24"],
    ),
    (SUNSPEC, "model = 701", "model = 7", &["P020 16:9"]),
    (
        SUNSPEC,
        "point = \"WMax\"",
        "point = \"WMx\"",
        &["P021 22:9"],
    ),
    (SUNSPEC, "[1, 121, 701]", "[1, 701]", &["P022 21:9"]),
    (
        SUNSPEC,
        "model = 121\npoint = \"WMax\"",
        "model = 1\npoint = \"SN\"",
        &["P041 22:9"],
    ),
    (
        SUNSPEC,
        "timeout = \"500ms\"",
        "timeout = \"500ms\"\nmax_regs = 100",
        &["P010 15:1"],
    ),
    (
        SUNSPEC,
        "point = \"WMax\"",
        "point = \"VAMax\"",
        &["P002 19:1"],
    ),
    (
        SUNSPEC,
        "range = \"0..9kW\"\n",
        "range = \"0..9kW\"\n[[control]]\nname = \"ctl.p_set\"\nsafe = \"0W\"\ntolerance = \"5W\"\ncomms_loss = \"holds\"\nfields = [{ model = 701, point = \"W\", write = \"setpoint\" }]\n",
        &["P016 29:34"],
    ),
    // CAN.
    (BATTERY, "id = 0x356", "id = 0x800", &["P029 12:6"]),
    (BATTERY, "start = 16,", "start = 56,", &["P030 18:29"]),
    (BATTERY, "start = 16,", "start = 64,", &["D005 18:29"]),
    (BATTERY, "start = 16,", "start = 15,", &["P031 18:29"]),
    (
        BATTERY,
        "start = 16, bits = 16",
        "start = 16, bits = 0",
        &["D005 18:40"],
    ),
    (
        BATTERY,
        "timeout = \"3s\"\nsignals = []",
        "timeout = \"1s\"\nsignals = []",
        &["P032 24:11"],
    ),
    (BATTERY, "id = 0x357", "id = 0x356", &["P033 21:6"]),
    (BATTERY, "\"00 01\"", "\"00 0\"", &["P034 28:8"]),
    (
        BATTERY,
        "\"00 01\"",
        "\"0 1 2 3 4 5 6 7 8\"",
        &["P034 28:8"],
    ),
    (
        BATTERY,
        "\"00 01\"",
        "\"00 00 00 00 00 00 00 00 00\"",
        &["P034 28:8"],
    ),
    (
        BATTERY,
        "\"bat.i\"",
        "\"bat.v\"",
        &["P003 18:12", "P002 18:51", "D007 18:64"],
    ),
    (BATTERY, "sign = \"charge+\"\n", "", &["P023 17:3"]),
    (BATTERY, "every = \"1s\"", "every = \"0s\"", &["P044 29:9"]),
    // DBC files, pages and controls of CAN.
    (DBC, "inverter.dbc", "ghost.dbc", &["P050 11:7"]),
    (DBC, "inverter.dbc", "inverter.toml", &["P050 11:7"]),
    (DBC, "inverter.dbc", "", &["P050 11:7"]),
    (
        DBC,
        "dbc = \"../../tests/peers/inverter.dbc\"\n",
        "",
        &["P051 12:11"],
    ),
    (DBC, "\"PowerStatus\"", "\"PowerStats\"", &["P051 13:11"]),
    (DBC, "\"PowerTaken\"", "\"PowerTake\"", &["P051 16:34"]),
    (
        DBC,
        "start = 8, bits = 32",
        "signal = \"X\"",
        &["P051 25:29"],
    ),
    (DBC, "value = 1 }", "value = 256 }", &["P053 23:39"]),
    (DBC, "bits = 32, float", "bits = 16, float", &["P030 25:50"]),
    (DBC, "len = 8", "len = 2", &["P030 40:13", "D005 41:13"]),
    (DBC, "len = 8", "len = 9", &["D005 30:7"]),
    (DBC, "raw = 1 }", "raw = 16 }", &["P019 39:52"]),
    (DBC, "start = 60, bits", "start = 20, bits", &["P031 38:10"]),
    (
        DBC,
        "write = \"counter\"",
        "unit = \"W\", write = \"setpoint\"",
        &["P017 38:10"],
    ),
    (
        DBC,
        "\"ctl.p_set\", signal",
        "\"ac.q\", signal",
        &["P002 16:3", "D007 16:51", "P037 28:8"],
    ),
    (DBC, "\"100ms\"", "\"600ms\"", &["P013 31:11"]),
    (DBC, "safe = \"0W\"", "safe = \"10kW\"", &["P015 35:8"]),
    // MQTT.
    (PLUG, "\"{t}/state\"", "\"state\"", &["P035 12:13"]),
    (PLUG, "\"{t}/state\"", "\"{t}/+\"", &["P035 12:13"]),
    (PLUG, "\"{t}/state\"", "\"{t}/{x}\"", &["P035 12:13"]),
    (PLUG, "\"/power\"", "\"power\"", &["P036 14:27"]),
    (PLUG, "\"/power\"", "\"/po~wer\"", &["P036 14:27"]),
    (
        PLUG,
        "name = \"switch.on\", json",
        "name = \"state\", json",
        &["P037 22:8"],
    ),
    (PLUG, "dead_man = \"1 for 60 s\"\n", "", &["P038 27:14"]),
    (
        PLUG,
        "refresh = \"30s\"",
        "refresh = \"31s\"",
        &["P013 30:11"],
    ),
    (PLUG, "refresh = \"30s\"\n", "", &["P014 29:10"]),
    (PLUG, "comms_loss = \"reverts\"\n", "", &["P012 21:1"]),
    (
        PLUG,
        "name = \"switch.on\"\ntopic",
        "name = \"ctl.q_set\"\ntopic",
        &["P039 22:8"],
    ),
    (NUMBER, "{\\\"w\\\":{v}}", "{\\\"w\\\":0}", &["P017 21:11"]),
    (NUMBER, "safe = \"0W\"", "safe = \"6kW\"", &["P015 32:8"]),
    (NUMBER, "decimals = 1", "decimals = 7", &["D005 23:12"]),
    (
        NUMBER,
        "unit = \"W\"\ndec",
        "unit = \"V\"\ndec",
        &["P002 22:8"],
    ),
    (
        NUMBER,
        "refresh = \"20s\"",
        "refresh = \"40s\"",
        &["P013 30:11"],
    ),
    (NUMBER, "range = \"-5..5kW\"\ntol", "tol", &["D004 18:1"]),
    (NUMBER, "\"{t}/w\"", "\"{t.10}/w\"", &["P035 20:9"]),
    (NUMBER, "json = \"/up\"", "json = \"up\"", &["P036 11:45"]),
    (
        NUMBER,
        "empty = \"gone\"",
        "empty = \"zero\"",
        &["D006 12:9"],
    ),
    (PLUG, "every = \"2s\"", "every = \"6s\"", &["P032 10:11"]),
    (PLUG, "safe = \"off\"", "safe = \"maybe\"", &["D006 31:8"]),
    (
        PLUG,
        "name = \"switch.on\", json = \"/on\", range = [0, 1]",
        "name = \"ac.p\", unit = \"W\", range = \"0..1W\"",
        &["P003 15:12", "P037 22:8"],
    ),
    (
        PLUG,
        "  { name = \"ac.p\", json = \"/power\", unit = \"W\", range = \"-9..9kW\" },\n  { name = \"switch.on\", json = \"/on\", range = [0, 1] },\n",
        "",
        &["P025 1:1", "P037 20:8"],
    ),
    // SCPI.
    (SOURCE, "\"ACME\"", "\"A1\"", &["P054 11:12"]),
    (SOURCE, "\"ACME\"", "\"off\"", &["P054 11:12"]),
    (
        SOURCE,
        "\"SYSTem:REMote\"",
        "\"SYSTem:REMote?\"",
        &["P054 12:11"],
    ),
    (
        SOURCE,
        "\"MEASure:POWer?\"",
        "\"MEASure:POWer\"",
        &["P054 15:9"],
    ),
    (
        SOURCE,
        "\"MEASure:POWer?\"",
        "\"MEASure:POWer?;VOLTage?\"",
        &["P054 15:9"],
    ),
    (
        SOURCE,
        "\"MEASure:POWer?\"",
        "\"MEAS:\\nPOW?\"",
        &["P054 15:9"],
    ),
    (SOURCE, "FREQuency {value}", "FREQuency 50", &["P054 20:7"]),
    (SOURCE, "FREQuency {value}", "FREQuency {f}", &["P054 20:7"]),
    (SOURCE, "LIMit {low},{high}", "LIMit 1", &["P054 26:9"]),
    (SOURCE, "decimals = 2\n", "", &["D004 18:1"]),
    (SOURCE, "\"ctl.f_set\"", "\"ac.f\"", &["P039 19:8"]),
    (
        SOURCE,
        "\"ctl.p_set\"",
        "\"ctl.f_set\"",
        &["P002 32:8", "D007 34:13", "D007 35:9", "D002 36:1"],
    ),
    (SOURCE, "safe = \"0W\"", "safe = \"1kW\"", &["P015 36:8"]),
    (
        SOURCE,
        "sign = \"generation+\"\n",
        "",
        &["P025 1:1", "P023 12:1", "P023 27:1"],
    ),
    (SOURCE, "comms_loss = \"holds\"\n", "", &["P012 18:1"]),
    (SOURCE, "off = \"OUTPut OFF\"\n", "", &["D004 38:1"]),
];

#[test]
fn a_profile_without_faults_has_none() {
    for text in [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE] {
        assert_eq!(faults(text), Vec::<String>::new());
    }
}

#[test]
fn every_fault_is_told_with_its_code_and_place() {
    let mut wrong = Vec::new();
    for (text, from, to, expected) in ROWS {
        assert!(text.contains(from), "{from}");
        let found = faults(&text.replacen(from, to, 1));
        if found != *expected {
            wrong.push(format!(
                "{from:?} -> {to:?}: {found:?}, expected {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_write_of_more_than_123_registers_is_a_fault() {
    let field = |i: u32| {
        format!(
            "  {{ addr = {}, type = \"u16\", write = \"constant\", raw = 0 }},\n",
            104 + i
        )
    };
    let with = |n: u32| {
        let more: String = (0..n).map(field).collect();
        METER.replace("raw = 1 },\n", &format!("raw = 1 }},\n{more}"))
    };
    // Four registers stand there already.
    assert_eq!(faults(&with(119)), Vec::<String>::new());
    assert_eq!(faults(&with(121)), ["P009 170:12"]);
}

#[test]
fn a_spoilt_signal_of_a_dbc_file_is_told_where_it_is_mapped_with_its_line() {
    let folder = std::env::temp_dir().join(format!("gridrig-dbc-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let good = include_str!("../../../../tests/peers/inverter.dbc");
    let spoilt = good.replace("PowerTaken : 7|16", "PowerTaken : 7|65");
    std::fs::write(folder.join("spoilt.dbc"), spoilt).expect("written");
    let text = DBC.replace("../../tests/peers/inverter.dbc", "spoilt.dbc");
    let path = folder.join("p.toml").display().to_string();
    let faults = Profile::parse(Source::new(path, text)).expect_err("spoilt");
    std::fs::remove_dir_all(&folder).expect("removed");
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!(fault.code, "P052");
    let words = "`PowerTaken` (line 15 of the DBC file) cannot be read: it has 65 bits";
    assert!(fault.message.contains(words), "{}", fault.message);
}

#[test]
fn every_code_has_a_row() {
    let mut seen: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|(_, _, _, expected)| expected.iter())
        .filter_map(|e| e.split(' ').next())
        .collect();
    seen.insert("P009");
    // A DBC file with a spoilt signal has a test of its own.
    seen.insert("P052");
    for (code, _) in EXPLANATIONS {
        assert!(seen.contains(code), "{code} is never tested");
    }
}

#[test]
fn a_fault_says_what_was_probably_meant() {
    let rows = [
        (METER, "\"ac.f\"", "\"ac.ff\"", "did you mean `ac.f`?"),
        (SUNSPEC, "\"WMax\"", "\"Wmax\"", "did you mean `WMax`?"),
        (
            METER,
            "unit = \"Hz\"",
            "unti = \"Hz\"",
            "did you mean `unit`?",
        ),
        (
            METER,
            "refresh = \"30s\"",
            "refresh = \"40s\"",
            "write `refresh = \"30s\"` or less",
        ),
    ];
    for (text, from, to, help) in rows {
        let faults =
            Profile::parse(Source::new("p.toml", text.replacen(from, to, 1))).expect_err("a fault");
        assert!(
            faults.iter().any(|f| f.help.as_deref() == Some(help)),
            "{to}: {faults:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_text_pasted_over_another_never_stops_the_reader(
        base in 0..5_usize, other in 0..5_usize,
        at in 0..900_usize, end in 0..900_usize, from in 0..900_usize, len in 0..60_usize,
    ) {
        // The base texts are ASCII, so every byte is a boundary.
        let texts = [METER, SUNSPEC, BATTERY, DBC, PLUG, SOURCE];
        let cut = |text: &'static str, range: std::ops::Range<usize>| {
            text.get(range.start.min(text.len())..range.end.min(text.len())).unwrap_or_default()
        };
        let (at, end) = (at.min(end), at.max(end));
        let text = [
            cut(texts[base], 0..at),
            cut(texts[other], from..from + len),
            cut(texts[base], end..usize::MAX),
        ]
        .concat();
        if let Err(faults) = Profile::parse(Source::new("p.toml", text.clone())) {
            prop_assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                let place = fault.place.expect("a place");
                prop_assert!(place.span.end <= text.len(), "{}", fault.message);
            }
        }
    }
}

#[test]
fn whatever_stands_in_the_file_the_reader_answers() {
    // Each line in turn is left out, doubled, or given another value: faults, never a panic.
    for text in [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE] {
        let lines: Vec<&str> = text.lines().collect();
        for i in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(i);
            let _ = faults(&without.join("\n"));
            let mut twice = lines.clone();
            twice.insert(i, lines[i]);
            let _ = faults(&twice.join("\n"));
            for value in [
                "-1",
                "9223372036854775807",
                "nan",
                "\"\"",
                "[]",
                "{}",
                "\"é\"",
            ] {
                let key = lines[i].split('=').next().unwrap_or_default();
                let other = format!("{key}= {value}");
                let mut changed = lines.clone();
                changed[i] = &other;
                let _ = faults(&changed.join("\n"));
            }
        }
    }
}

#[test]
fn a_profile_that_only_reads_keeps_its_points_and_has_no_way_to_write() {
    let own = [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE]
        .map(|text| Profile::parse(Source::new("p.toml", text)).expect("good").0);
    let bundled = crate::bundled_ids()
        .into_iter()
        .filter_map(crate::bundled)
        .map(|profile| (*profile).clone());
    for profile in own.into_iter().chain(bundled) {
        let reader = profile.read_only();
        assert_eq!(reader.controls(), [], "{}", profile.id);
        assert_eq!(reader.points(), profile.points(), "{}", profile.id);
        if let crate::Protocol::Modbus(modbus) = &reader.protocol {
            assert!(
                modbus.heartbeats.is_empty(),
                "{} has a heartbeat",
                profile.id
            );
        }
    }
}

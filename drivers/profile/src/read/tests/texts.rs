//! Profiles without faults, one of each protocol and form: what the rows of faults begin with.

pub(super) const METER: &str = r#"schema = 1
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

pub(super) const SUNSPEC: &str = r#"schema = 1
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

pub(super) const BATTERY: &str = r#"schema = 1
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
pub(super) const DBC: &str = r#"schema = 1
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

pub(super) const PLUG: &str = r#"schema = 1
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

pub(super) const NUMBER: &str = r#"schema = 1
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

pub(super) const SOURCE: &str = r#"schema = 1
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

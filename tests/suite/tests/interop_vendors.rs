//! Registers of vendors, written down by others: a hybrid inverter and a meter served by pymodbus.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use serde_json::{Value, json};
use suite::folder;
use suite::process::{Peer, WithArguments, gridrig, text_of};

/// The values that `device read` tells of a device, by point.
fn read(rig: &std::path::Path, device: &str) -> String {
    text_of(
        gridrig()
            .with(["device", "read", "--json", "--within", "30s"])
            .with([rig])
            .with([device]),
    )
}

fn rig(dir: &std::path::Path, port: u16, keys: &str) -> std::path::PathBuf {
    let path = dir.join("vendors.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nlan = {{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {port} }}\n\
         [device]\n\
         ess1 = {{ profile = \"sungrow/sh\", bus = \"lan\", unit = 1, role = \"ess\"{keys} }}\n\
         met1 = {{ profile = \"carlo-gavazzi/em24-e1\", bus = \"lan\", unit = 2, role = \"pcc\" }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

/// The value of a point in what `device read --json` printed, in the base unit.
fn value(text: &str, point: &str) -> f64 {
    fn find(value: &Value, point: &str) -> Option<f64> {
        match value {
            Value::Object(fields) if fields.get("point") == Some(&json!(point)) => {
                fields.get("value").and_then(Value::as_f64)
            }
            Value::Object(fields) => fields.values().find_map(|v| find(v, point)),
            Value::Array(items) => items.iter().find_map(|v| find(v, point)),
            _ => None,
        }
    }
    let mut lines = text.lines().filter_map(|l| serde_json::from_str(l).ok());
    lines
        .find_map(|line: Value| find(&line, point))
        .unwrap_or_else(|| panic!("{point} has no value in {text}"))
}

#[test]
#[ignore = "needs peers"]
fn the_registers_of_others_are_read_as_their_makers_mean_them() {
    let dir = folder();
    let peer = Peer::start("vendor_images.py", [""; 0]);
    let rig = rig(dir.path(), peer.port(), "");
    let rows: [(&str, &[(&str, f64)]); 2] = [
        (
            "ess1",
            &[
                ("ac.p", -2500.0),
                ("dc.p", 70_000.0),
                ("ac.v.l1", 231.1),
                ("ac.f", 50.0),
                ("bat.soc", 0.555),
                ("bat.v", 256.1),
                ("rating.p", 10_000.0),
                ("ac.e_exp", 4_567_800.0),
            ],
        ),
        (
            "met1",
            &[
                ("ac.p", -1234.5),
                ("ac.p.l3", -412.5),
                ("ac.v.l2", 230.9),
                ("ac.f", 49.9),
                ("ac.e_exp", 12_345_600.0),
            ],
        ),
    ];
    for (device, points) in rows {
        let text = read(&rig, device);
        for (point, expected) in points {
            let told = value(&text, point);
            let close = (told - expected).abs() <= 1e-6 * expected.abs();
            assert!(close, "{device} {point}: {told}, not {expected}");
        }
    }
}

#[test]
#[ignore = "needs peers"]
fn a_sungrow_of_others_is_told_mode_power_and_command_only_where_the_rig_permits_it() {
    let dir = folder();
    let mut peer = Peer::start("vendor_images.py", [""; 0]);
    let write = |rig: &std::path::Path| {
        suite::process::output(
            gridrig()
                .with(["device", "write"])
                .with([rig])
                .with(["ess1", "ctl.p_set=-1500W", "--arm", "--out"])
                .with([dir.path().join("out")]),
        )
    };
    let limits = ", limits = { p = \"-3..3kW\" }, ramp = \"5kW/s\"";
    let closed = write(&rig(dir.path(), peer.port(), limits));
    assert!(!closed.status.success(), "{closed:?}");
    assert_eq!(peer.ask("dump")["writes"], json!([]));
    let keys = format!("{limits}, allow_writes = true, accept_hold = true");
    let open = write(&rig(dir.path(), peer.port(), &keys));
    assert!(open.status.success(), "{open:?}");
    // The ramp may take it there in steps, from the 2500 W with which it charges; each is whole.
    let writes = peer.ask("dump")["writes"].clone();
    let writes = writes.as_array().expect("a list");
    for step in writes.chunks(3) {
        let power = step[1][3][0].as_u64().expect("a power");
        assert!((1500..=2500).contains(&power), "{writes:?}");
        let expected = json!([
            [1, 6, 13049, [2]],
            [1, 6, 13051, [power]],
            [1, 6, 13050, [0xAA]]
        ]);
        assert_eq!(json!(step), expected, "{writes:?}");
    }
    let last = writes.len() - 2;
    assert_eq!(writes[last], json!([1, 6, 13051, [1500]]), "{writes:?}");
}

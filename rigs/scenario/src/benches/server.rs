//! `modbus-server`: our emulator and pymodbus as servers, under the same client in C.
//!
//! libmodbus reads ten registers over one connection as fast as it can, first from ours and
//! then from pymodbus' asyncio server. Ours moves a plant beside it, as in a run.

use std::time::Duration;

use serde_json::{Value, json};

use super::meters::{self, REGISTERS, Wiring};
use super::{BenchError, child, peer, rounded, usage};

/// The role of the child process that holds our server.
pub(super) const SERVER: &str = "modbus-server-ours";

/// Time for which the client reads. Chosen: a thousand answers lie beyond the last quantile that is told.
const RUN: Duration = Duration::from_secs(10);

/// The child: one meter behind a port.
pub(super) fn serve() -> Result<(), BenchError> {
    meters::serve(1, Wiring::Ports)
}

fn scan(port: u64) -> Result<Value, String> {
    let arguments = [
        "scan".to_owned(),
        "tcp".to_owned(),
        "127.0.0.1".to_owned(),
        port.to_string(),
        "1".to_owned(),
        RUN.as_secs().to_string(),
    ];
    peer::tool("libmodbus_peer", &arguments)
}

fn theirs() -> Result<Value, String> {
    let (_server, said) = peer::Serving::start("pymodbus_scan.py", &["serve".to_owned()])?;
    let port = said.get("port").and_then(Value::as_u64);
    let mut document = scan(port.ok_or("pymodbus_scan.py names no port")?)?;
    document["version"] = said.get("version").cloned().unwrap_or(Value::Null);
    Ok(document)
}

/// Reads both servers with the same client.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (server, said) = child::Kept::start(SERVER)?;
    let port = meters::ports(&said)?.first().copied().unwrap_or_default();
    let load = usage::load();
    let ours = scan(port.into());
    drop(server);
    let theirs = theirs();
    let p999 = |of: &Result<Value, String>| of.as_ref().ok()?.get("p999_us")?.as_f64();
    let ratio = match (p999(&theirs), p999(&ours)) {
        (Some(theirs), Some(ours)) => Some(rounded(theirs / ours)),
        _ => None,
    };
    let why = [&ours, &theirs].into_iter().find_map(|r| r.as_ref().err());
    Ok(json!({
        "bench": "modbus-server",
        "registers": REGISTERS,
        "run_s": RUN.as_secs(),
        "ours": ours.as_ref().ok(),
        "pymodbus": theirs.as_ref().ok(),
        "p999_ratio": ratio,
        "why_no_peer": why,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

//! The emulated bench on real sockets, ptys, CAN and MQTT, for other people's tools to look at.

use std::path::Path;

use serde_json::Value;

use crate::process::{Running, WithArguments, gridrig};

/// A running `gridrig sim`.
#[derive(Debug)]
pub struct Sim {
    running: Running,
    devices: Vec<Value>,
}

impl Sim {
    /// Starts the emulators of a rig and waits until they serve.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn start(rig: &Path) -> Self {
        let mut running = Running::start(gridrig().with(["sim", "--json"]).with([rig.as_os_str()]));
        // Every device is told before this line.
        let _ = running.told("The emulators run.");
        let mut sim = Self {
            devices: Vec::new(),
            running,
        };
        while let Some(line) = sim.running.waiting_line() {
            sim.devices
                .push(serde_json::from_str(&line).expect("each line is JSON"));
        }
        assert!(!sim.devices.is_empty(), "the emulators named no device");
        sim
    }

    /// What is said of a device.
    ///
    /// # Panics
    /// When nothing is.
    #[must_use]
    pub fn device(&self, name: &str) -> &Value {
        let found = self.devices.iter().find(|device| device["device"] == name);
        found.unwrap_or_else(|| panic!("no device {name} among {:?}", self.devices))
    }

    /// The address of a device, as it is told.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        self.device(name)["address"]
            .as_str()
            .expect("a device has an address")
            .to_owned()
    }

    /// The port of a device that is reached over TCP.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        let address = self.address(name);
        let host_and_port = address.split("://").last().unwrap_or_default();
        let port = host_and_port
            .split('/')
            .next()
            .and_then(|a| a.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {address}"))
    }

    /// Ends it as Ctrl-C's gentler sibling does; it must leave well.
    ///
    /// # Panics
    /// When it leaves with an error.
    pub fn end(self) {
        let (status, stderr) = self.running.terminate();
        assert!(
            status.success(),
            "the emulators ended with {status}:\n{stderr}"
        );
    }
}

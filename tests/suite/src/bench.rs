//! Our own controller as a process, on whatever bench a test gives it, and what its page says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::http;
use crate::process::{Running, WithArguments, gridrig};

/// The token for commands; only loopback and the test know it.
pub const TOKEN: &str = "bench-under-test-0123456789";

/// A running `gridrig run` or `gridrig demo`.
#[derive(Debug)]
pub struct Controller {
    /// The process.
    pub running: Running,
    /// The port of its page.
    pub page: u16,
    /// Its run folder.
    pub run_dir: PathBuf,
}

impl Controller {
    /// Runs it on a rig whose devices are there already, armed.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_bench(rig: &Path, run_dir: &Path, more: &[&str]) -> Self {
        Self::start(&["run", "--on", "bench", "--arm"], Some(rig), run_dir, more)
    }

    /// The same with more variables in its environment.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_bench_with(
        rig: &Path,
        run_dir: &Path,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let verb = &["run", "--on", "bench", "--arm"];
        Self::start_with(verb, Some(rig), run_dir, more, variables)
    }

    /// Runs it on the emulated bench of a rig; it only looks until somebody arms it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn read_only(rig: &Path, run_dir: &Path, more: &[&str]) -> Self {
        Self::start(&["run", "--on", "sim"], Some(rig), run_dir, more)
    }

    /// Runs the demo, on its own rig or on another.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn demo(rig: Option<&Path>, run_dir: &Path, more: &[&str]) -> Self {
        Self::demo_with(rig, run_dir, more, &[])
    }

    /// The same with more variables in its environment.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn demo_with(
        rig: Option<&Path>,
        run_dir: &Path,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let verb: &[&str] = if rig.is_some() {
            &["demo", "--rig"]
        } else {
            &["demo"]
        };
        Self::start_with(verb, rig, run_dir, more, variables)
    }

    fn start(verb: &[&str], rig: Option<&Path>, run_dir: &Path, more: &[&str]) -> Self {
        Self::start_with(verb, rig, run_dir, more, &[])
    }

    fn start_with(
        verb: &[&str],
        rig: Option<&Path>,
        run_dir: &Path,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = gridrig()
            .with(verb)
            .with(rig)
            .with([
                "--listen",
                "127.0.0.1:0",
                "--token-env",
                "BENCH_TOKEN",
                "--out",
            ])
            .with([run_dir])
            .with(more);
        command.env("BENCH_TOKEN", TOKEN);
        command.envs(variables.iter().copied());
        let mut running = Running::start(command);
        let told = running.told("http://127.0.0.1:");
        let port = told.split("127.0.0.1:").nth(1).map(|rest| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        });
        let Some(page) = port.and_then(|p| p.parse().ok()) else {
            panic!("no port in {told}")
        };
        Self {
            running,
            page,
            run_dir: run_dir.to_path_buf(),
        }
    }

    /// Runs the demo where others reach it, with the keys and tokens of this folder.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn beyond_this_machine(keys: &Path, run_dir: &Path) -> Self {
        Self::start_beyond(gridrig().with(["demo"]), keys, run_dir)
    }

    /// Runs the emulated bench of a rig there; it only looks until somebody arms it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn read_only_beyond(rig: &Path, keys: &Path, run_dir: &Path) -> Self {
        let command = gridrig().with(["run", "--on", "sim"]).with([rig]);
        Self::start_beyond(command, keys, run_dir)
    }

    fn start_beyond(command: Command, keys: &Path, run_dir: &Path) -> Self {
        let command = command
            .with(["--listen", "0.0.0.0:0", "--tls"])
            .with([keys])
            .with([Path::new("--tokens"), &keys.join("tokens.toml")])
            .with([Path::new("--out"), run_dir]);
        let mut running = Running::start(command);
        let told = running.told(" https://");
        let address = told
            .split("https://")
            .nth(1)
            .and_then(|a| a.split('/').next());
        let port = address.and_then(|a| a.rsplit(':').next()?.parse().ok());
        Self {
            running,
            page: port.unwrap_or_else(|| panic!("no port in {told}")),
            run_dir: run_dir.to_path_buf(),
        }
    }

    /// A good reading of a device, as the page shows it.
    #[must_use]
    pub fn shown(&self, device: &str, reading: &str) -> Option<Value> {
        let reading = &self.device(device)?[reading];
        (reading["quality"] == "good").then(|| reading["value"].clone())
    }

    /// All that the page says of a device.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<Value> {
        let devices = http::try_request(self.page, "GET", "/api/v1/devices", None, "")?.json();
        devices
            .as_array()?
            .iter()
            .find(|d| d["name"] == name)
            .cloned()
    }

    /// Lets a device hold a setpoint.
    ///
    /// # Panics
    /// When the command is refused.
    pub fn hold(&self, device: &str, setpoint: &Value) {
        self.command(
            "/api/v1/hold",
            &json!({ "device": device, "setpoint": setpoint }),
        );
    }

    /// Lets go of a device.
    ///
    /// # Panics
    /// When the command is refused.
    pub fn release(&self, device: &str) {
        self.command("/api/v1/release", &json!({ "device": device }));
    }

    /// Takes the way to write away again.
    ///
    /// # Panics
    /// When the command is refused.
    pub fn disarm(&self) {
        self.command("/api/v1/disarm", &json!({}));
    }

    fn command(&self, path: &str, body: &Value) {
        let answer = http::post(self.page, path, Some(TOKEN), body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.body);
    }

    /// Ends it by SIGTERM, which must be a good end, and gives its run folder.
    ///
    /// # Panics
    /// When it ends badly.
    #[must_use]
    pub fn end(self) -> PathBuf {
        let (status, stderr) = self.running.terminate();
        assert!(status.success(), "gridrig ended with {status}:\n{stderr}");
        self.run_dir
    }
}

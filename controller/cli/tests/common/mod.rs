//! The binary in a folder of its own, as a person would call it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder to work in.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What came of a command.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Fails the test unless the exit code is this one.
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is below the folder"))
            .expect("a folder is made");
        std::fs::write(&path, text).expect("a file is written");
        path
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gridrig"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs gridrig to its end.
    pub fn gridrig(&self, words: &[&str]) -> Done {
        Done::of(self.command(words).output().expect("gridrig starts"))
    }

    /// Runs a line of the shell in which `$G` is gridrig.
    pub fn shell(&self, line: &str) -> Done {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("G", env!("CARGO_BIN_EXE_gridrig"))
            .env("NO_COLOR", "1")
            .output()
            .expect("sh starts");
        Done::of(output)
    }

    /// Starts gridrig and leaves it running.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::of(
            self.command(words)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )
    }

    pub fn result(&self, run: &str) -> Value {
        let text = std::fs::read_to_string(self.path(run).join("result.json"))
            .expect("the run left a result");
        serde_json::from_str(&text).expect("the result is JSON")
    }
}

/// A running gridrig; it does not outlive the test.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    /// Starts a command.
    pub fn of(command: &mut Command) -> Self {
        let child = command.spawn().expect("gridrig starts");
        Self { child: Some(child) }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .expect("kill starts");
        assert!(sent.success());
    }

    pub fn end(mut self) -> Done {
        let child = self.child.take().expect("it runs");
        Done::of(child.wait_with_output().expect("gridrig ends"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so; the test fails when it never is.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// The campus rig on disk, with the course of its day beside it.
pub fn campus(place: &Place) -> PathBuf {
    for name in ["campus.toml", "campus-day.toml"] {
        let text = std::fs::read_to_string(repository(&format!("rigs/virtual/{name}")))
            .expect("the repository has the campus rig");
        place.file(name, &text);
    }
    place.path("campus.toml")
}

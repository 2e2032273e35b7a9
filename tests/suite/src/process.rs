//! Programs under test and foreign peers: started with pipes, heard line by line, and never left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{PATIENCE, wait_for};

/// A path that `tests/run` gives through the environment.
fn from_environment(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!("{variable} is not set: start this suite by `tests/run --only SUITE`"),
    }
}

/// The `gridrig` under test.
///
/// # Panics
/// When the environment does not name it.
#[must_use]
pub fn gridrig() -> Command {
    let mut command = Command::new(from_environment("GRIDRIG_BIN"));
    // What is traced is the test's; a filter of the caller must not hide or flood it.
    command
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .current_dir(crate::root());
    command
}

/// A foreign tool of `target/peers`.
///
/// # Panics
/// When the environment does not say where the tools are.
#[must_use]
pub fn tool(name: &str) -> Command {
    Command::new(from_environment("GRIDRIG_PEERS_BIN").join(name))
}

/// The interpreter of a Python peer that has packages of its own.
///
/// # Panics
/// When the environment does not say where the peers are.
#[must_use]
pub fn python_of(peer: &str) -> Command {
    Command::new(
        from_environment("GRIDRIG_PEERS")
            .join(peer)
            .join("bin/python"),
    )
}

/// A script of `tests/peers`, run by the interpreter that has the packages.
///
/// # Panics
/// When the environment does not say where they are.
#[must_use]
pub fn script(name: &str) -> Command {
    let mut command = Command::new(from_environment("GRIDRIG_PEERS_PYTHON"));
    command
        .arg(from_environment("GRIDRIG_PEERS_SCRIPTS").join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A script of `tests/peers/node`, run in the folder that has the packages: the script
/// gets them by `createRequire(process.cwd() + '/')`.
///
/// # Panics
/// When the environment does not say where they are.
#[must_use]
pub fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(
            from_environment("GRIDRIG_PEERS_SCRIPTS")
                .join("node")
                .join(name),
        )
        .current_dir(from_environment("GRIDRIG_PEERS_NODE"));
    command
}

/// Adds arguments of mixed kinds.
pub trait WithArguments {
    /// Appends each, as the shell would see it.
    #[must_use]
    fn with<I: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = I>) -> Self;
}

impl WithArguments for Command {
    fn with<I: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.args(arguments);
        self
    }
}

/// A running program: its lines, its end. Dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let name = Path::new(command.get_program())
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => panic!("{command:?} cannot be started: {e}"),
        };
        let (lines, stdout) = channel();
        let out = child.stdout.take().expect("standard output is a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&stderr);
        let mut err = child.stderr.take().expect("standard error is a pipe");
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            while let Ok(n @ 1..) = err.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Self {
            name,
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
        }
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Its next line on standard output; `None` when it closed it.
    ///
    /// # Panics
    /// When none came within [`PATIENCE`].
    pub fn line(&mut self) -> Option<String> {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "{} said nothing for {PATIENCE:?}; standard error:\n{}",
                    self.name,
                    self.stderr()
                )
            }
        }
    }

    /// A line that it has written already; `None` when none comes for half a second.
    pub fn waiting_line(&mut self) -> Option<String> {
        // Chosen: far longer than a pipe of this machine takes to deliver what is in it.
        self.stdout.recv_timeout(Duration::from_millis(500)).ok()
    }

    /// Its next line that is a JSON object.
    ///
    /// # Panics
    /// When it ended before, or said nothing for too long.
    pub fn json(&mut self) -> Value {
        loop {
            let Some(line) = self.line() else {
                panic!(
                    "{} ended early; standard error:\n{}",
                    self.name,
                    self.stderr()
                )
            };
            if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
                return value;
            }
        }
    }

    /// Waits for a text in what it writes to standard error, and gives the line it is in.
    ///
    /// # Panics
    /// When it did not come within [`PATIENCE`], or the program ended before.
    pub fn told(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let heard = self.stderr();
            // A line without its end may still grow.
            let whole = heard.rfind('\n').map_or("", |end| &heard[..end]);
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            assert!(
                !ended && began.elapsed() < PATIENCE,
                "{} never told {text:?} (ended: {ended}); standard error:\n{heard}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its number among the processes of the machine.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal).expect("the child lives");
    }

    /// Asks it to end by SIGTERM and waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn terminate(mut self) -> (ExitStatus, String) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
        }
        self.end(PATIENCE)
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub fn kill(mut self) {
        self.finish();
    }

    /// Waits for its own end; gives its exit and its standard error.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn end(&mut self, patience: Duration) -> (ExitStatus, String) {
        let (name, child) = (self.name.clone(), &mut self.child);
        let status = wait_for(&format!("{name} ends"), patience, || {
            child.try_wait().ok().flatten()
        });
        (status, self.stderr())
    }

    fn finish(&mut self) {
        // Errors mean that it is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A script of `tests/peers` that serves: it obeys commands on standard input.
#[derive(Debug)]
pub struct Peer {
    running: Running,
    /// What it said when it was ready.
    pub ready: Value,
    /// Everything it said unasked, such as received frames.
    pub unasked: Vec<Value>,
}

impl Peer {
    /// Starts a script and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start<I: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = I>) -> Self {
        Self::of(script(name).with(arguments))
    }

    /// Starts a program that lives as such a script does, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn of(command: Command) -> Self {
        let shown = format!("{command:?}");
        let mut peer = Self {
            running: Running::start(command),
            ready: Value::Null,
            unasked: Vec::new(),
        };
        peer.ready = peer.running.json();
        assert_eq!(
            peer.ready["ready"], true,
            "{shown} is not ready: {}",
            peer.ready
        );
        peer
    }

    /// The port on which it serves.
    ///
    /// # Panics
    /// When it named none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.ready["port"]
            .as_u64()
            .and_then(|p| u16::try_from(p).ok());
        port.expect("the peer names its port")
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Panics
    /// When it ended, or does not answer.
    pub fn ask(&mut self, command: &str) -> Value {
        let stdin = self.running.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{command}").expect("the peer lives");
        loop {
            let answer = self.running.json();
            // What a peer says by itself comes between command and answer.
            if ["received", "lost", "reconnected"]
                .iter()
                .all(|key| answer.get(key).is_none())
            {
                return answer;
            }
            self.unasked.push(answer);
        }
    }
}

/// Runs a program to its end and gives what it wrote.
///
/// # Panics
/// When it cannot be started or does not end within [`PATIENCE`].
#[must_use]
pub fn output(mut command: Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) => panic!("{shown} cannot be started: {e}"),
    };
    let pid = child.id();
    let (done, result) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match result.recv_timeout(PATIENCE) {
        Ok(Ok(output)) => output,
        Ok(Err(e)) => panic!("{shown}: {e}"),
        Err(_) => {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            panic!("{shown} did not end within {PATIENCE:?}")
        }
    }
}

/// Runs a program that must succeed, and gives its standard output.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn text_of(command: Command) -> String {
    let shown = format!("{command:?}");
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{shown}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Runs a script that prints one JSON line and ends.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn json_of<I: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = I>) -> Value {
    let text = text_of(script(name).with(arguments));
    serde_json::from_str(&text).expect("one line of JSON")
}

/// A mosquitto on a free port of loopback, open to everybody.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn mosquitto(folder: &Path, port: u16) -> Running {
    let config = folder.join("mosquitto.conf");
    // Without `user root` the broker gives up its rights, and a root's folder with them.
    let text = format!("user root\nallow_anonymous true\nlistener {port} 127.0.0.1\n");
    std::fs::write(&config, text).expect("the folder can be written");
    let broker = Running::start(tool("mosquitto").with([OsStr::new("-c"), config.as_os_str()]));
    crate::wait_for_port("mosquitto", port);
    broker
}

/// A serial cable: two ptys that are joined, `ours` and `theirs` in a folder.
///
/// # Panics
/// When it does not come to be.
#[must_use]
pub fn serial_cable(folder: &Path) -> Running {
    let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
    let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
    let cable = Running::start(tool("socat").with([end(&ours), end(&theirs)]));
    wait_for("the serial cable", PATIENCE, || {
        (ours.exists() && theirs.exists()).then_some(())
    });
    cable
}

impl Peer {
    /// Lets a plug lose its supply: its process ends without a farewell.
    ///
    /// # Panics
    /// When it does not end.
    pub fn vanish(mut self) {
        let stdin = self.running.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "vanish").expect("the peer lives");
        let _ = self.running.end(PATIENCE);
    }
}

//! `gridrig doctor`: what this machine can do for a bench, and what stands in its way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use document::{Actor, Diagnostic};
use runtime::awake;
use runtime::evidence::DEADLINE;
use runtime::fitness::{self, Times};
use runtime::rig::{BusKind, Rig};
use runtime::rights::Rights;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::live::time;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Time for which lateness is measured. Chosen: a thousand wake-ups, so that one in a thousand is seen.
const MEASURE_FOR: &str = "5s";

/// Longest time that a USB serial adapter may hold answers back, in milliseconds. Chosen: the least that such
/// adapters can be set to.
const LATENCY_TIMER_MAX_MS: u32 = 1;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The rig whose period and serial lines are looked at; without it, 100 ms and every serial line.
    rig: Option<PathBuf>,
    /// How long the machine is measured.
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = MEASURE_FOR)]
    run_for: Duration,
    /// A folder on the disk that the runs are written to.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As a bench wants it.
    Good,
    /// A bench runs, but not as well as it could.
    Warning,
    /// Nothing here can tell.
    Unknown,
    /// A bench cannot be run so.
    Bad,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Bad => "bad",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    state: State,
    found: String,
    /// What to do; empty where nothing is to be done.
    help: &'static str,
}

impl Finding {
    fn new(what: impl Into<String>, state: State, found: String, help: &'static str) -> Self {
        let help = match state {
            State::Good => "",
            _ => help,
        };
        Self {
            what: what.into(),
            state,
            found,
            help,
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let rig = match &arguments.rig {
        Some(path) => Some(rig_file::load(Some(path), terminal)?),
        None => None,
    };
    let period = rig
        .as_ref()
        .map_or(Duration::from_millis(100), |rig| rig.control.period);
    terminal.say("Measuring; other work on this machine belongs to the answer.");
    let failed = |what: &dyn std::fmt::Display| {
        Problem::from(
            Diagnostic::error("R026", Actor::Operator, format!("the machine: {what}"))
                .help("free threads or file descriptors, and ask again"),
        )
    };
    let (rights, late) = fitness::lateness(arguments.run_for).map_err(|e| failed(&e))?;
    let records = measure_disk(&arguments.dir)?;
    let sustained = fitness::sustains(&late, &records, DEADLINE);
    let mut findings = of_rights(&rights);
    findings.push(of_processors(&awake::kernel()));
    findings.push(of_records(&records));
    findings.push(of_clock(&synchronised()));
    findings.extend(of_governor());
    findings.extend(of_serial(
        &lines(rig.as_deref()),
        Path::new("/sys/class/tty"),
    ));
    let ok = sustained.is_some_and(|shortest| shortest <= period);
    let verdict = match ok && findings.iter().all(|f| f.state != State::Bad) {
        true => Verdict::Pass,
        false => Verdict::Infrastructure,
    };
    let line = verdict_line(sustained, period, &late);
    terminal.result(
        || {
            let rows: Vec<Value> = findings.iter().map(row).collect();
            json!({
                "verdict": verdict.word(),
                "period_ms": period.as_secs_f64() * 1e3,
                "sustains_ms": sustained.map(|p| p.as_secs_f64() * 1e3),
                "lateness_ms": spread(&late),
                "record_ms": spread(&records),
                "findings": rows,
            })
        },
        || {
            let mut text = String::new();
            for f in &findings {
                text.push_str(&format!(
                    "{:<8} {:<26} {}\n",
                    f.state.word(),
                    f.what,
                    f.found
                ));
                if !f.help.is_empty() {
                    text.push_str(&format!("{:36}{}\n", "", f.help));
                }
            }
            text + &line
        },
    );
    Ok(verdict)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Half, 990 and 999 of a thousand and the worst, in milliseconds.
fn spread(times: &Times) -> Value {
    let at = |rank| times.per_mille(rank).as_secs_f64() * 1e3;
    json!({ "n": times.count(), "p50": at(500), "p99": at(990), "p99_9": at(999), "max": at(1000) })
}

fn row(finding: &Finding) -> Value {
    json!({
        "what": finding.what,
        "state": finding.state.word(),
        "found": finding.found,
        "help": finding.help,
    })
}

fn verdict_line(sustained: Option<Duration>, period: Duration, late: &Times) -> String {
    let late = ms(late.per_mille(999));
    match sustained {
        None => {
            format!("This box sustains no control period; 99.9 % of cycles begin within {late}.")
        }
        Some(shortest) if shortest > period => format!(
            "This box sustains {} ms and no less, {} ms are asked for; 99.9 % of cycles begin within {late}.",
            shortest.as_millis(),
            period.as_millis()
        ),
        Some(shortest) => format!(
            "This box sustains {} ms; 99.9 % of cycles begin within {late}.",
            shortest.as_millis()
        ),
    }
}

/// A ledger in a folder of its own that goes away again.
fn measure_disk(dir: &Path) -> Result<Times, Problem> {
    let folder = dir.join(format!(".gridrig-doctor-{}", std::process::id()));
    let cannot = |what: &dyn std::fmt::Display| {
        Problem::from(
            Diagnostic::error(
                "R025",
                Actor::Operator,
                format!("{} cannot be written: {what}", dir.display()),
            )
            .help("name a folder on the disk of the runs with `--dir`"),
        )
    };
    fs::create_dir(&folder).map_err(|e| cannot(&e))?;
    let measured = fitness::records(&folder).map_err(|e| cannot(&e));
    let removed = fs::remove_dir_all(&folder).map_err(|e| cannot(&e));
    let times = measured?;
    removed?;
    Ok(times)
}

fn of_rights(rights: &Rights) -> Vec<Finding> {
    let finding = |what, granted: &Result<(), String>, help| {
        let (state, found) = match granted {
            Ok(()) => (State::Good, "granted".to_owned()),
            Err(why) => (State::Warning, format!("refused: {why}")),
        };
        Finding::new(what, state, found, help)
    };
    vec![
        finding(
            "SCHED_FIFO",
            &rights.fifo,
            "without it other work delays control: `ulimit -r 60` (LimitRTPRIO=60 in a unit of systemd), or CAP_SYS_NICE",
        ),
        finding(
            "locked memory",
            &rights.locked,
            "without it a cycle may wait for memory: `ulimit -l unlimited` (LimitMEMLOCK=infinity), or CAP_IPC_LOCK",
        ),
    ]
}

/// Which way `processors = "awake"` would go here.
fn of_processors(kernel: &Result<bool, String>) -> Finding {
    let (state, found) = match kernel {
        Ok(true) => (
            State::Good,
            "the kernel keeps them awake for `processors = \"awake\"`".to_owned(),
        ),
        Ok(false) => (
            State::Good,
            "no idle states to choose from: threads keep them awake for `processors = \"awake\"`"
                .to_owned(),
        ),
        Err(why) => (
            State::Unknown,
            format!("threads would keep them awake for `processors = \"awake\"`: {why}"),
        ),
    };
    Finding::new(
        "idle processors",
        state,
        found,
        "the kernel does it at less cost: let gridrig write there (a udev rule with a group, or CAP_DAC_OVERRIDE)",
    )
}

fn of_records(records: &Times) -> Finding {
    let p99 = records.per_mille(990);
    let state = match p99 <= DEADLINE {
        true => State::Good,
        false => State::Bad,
    };
    let found = format!(
        "durable in {} (half), {} (99 %); a setpoint waits for at most {}",
        ms(records.per_mille(500)),
        ms(p99),
        ms(DEADLINE)
    );
    Finding::new(
        "records on the disk",
        state,
        found,
        "setpoints would be held back: keep the runs on another disk (`--out`), and measure it with `--dir`",
    )
}

/// What the system says of its clock: `yes`, `no`, or why it does not tell.
fn synchronised() -> Result<String, String> {
    let told = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output()
        .map_err(|e| format!("timedatectl: {e}"))?;
    match told.status.success() {
        true => Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned()),
        false => {
            let why = String::from_utf8_lossy(&told.stderr);
            Err(why
                .lines()
                .next()
                .unwrap_or("timedatectl failed")
                .to_owned())
        }
    }
}

fn of_clock(told: &Result<String, String>) -> Finding {
    let (state, found) = match told.as_deref() {
        Ok("yes") => (State::Good, "synchronised".to_owned()),
        Ok("no") => (State::Warning, "not synchronised".to_owned()),
        Ok(other) => (State::Unknown, format!("timedatectl says `{other}`")),
        Err(why) => (State::Unknown, why.clone()),
    };
    Finding::new(
        "wall clock",
        state,
        found,
        "records bear its time: let chrony, systemd-timesyncd or ptp4l keep it; control goes by another clock",
    )
}

/// The governor of the processors, where they change their speed.
fn of_governor() -> Option<Finding> {
    let path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    let governor = fs::read_to_string(path).ok()?.trim().to_owned();
    let state = match governor.as_str() {
        "performance" => State::Good,
        _ => State::Warning,
    };
    let help =
        "wake-ups are slower while a processor sleeps: `cpupower frequency-set -g performance`";
    Some(Finding::new("processor speed", state, governor, help))
}

/// The serial lines of a rig; `None` = it was not asked about one.
fn lines(rig: Option<&Rig>) -> Option<Vec<String>> {
    let port = |kind: &BusKind| match kind {
        BusKind::ModbusRtu { port, .. } | BusKind::ScpiSerial { port, .. } => Some(port.clone()),
        _ => None,
    };
    rig.map(|rig| rig.buses.iter().filter_map(|b| port(&b.kind)).collect())
}

/// Serial lines: whether they are there and may be opened, and how long their adapters hold answers back.
fn of_serial(wanted: &Option<Vec<String>>, class: &Path) -> Vec<Finding> {
    let ports = match wanted {
        Some(ports) => ports.iter().map(PathBuf::from).collect(),
        None => usb_lines(class),
    };
    ports.iter().map(|port| of_line(port, class)).collect()
}

/// Lines on USB, by name.
fn usb_lines(class: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    let mut usb: Vec<PathBuf> = names
        .filter(|name| name.starts_with("ttyUSB") || name.starts_with("ttyACM"))
        .map(|name| Path::new("/dev").join(name))
        .collect();
    usb.sort();
    usb
}

fn of_line(port: &Path, class: &Path) -> Finding {
    let what = port.display().to_string();
    let open = fs::OpenOptions::new().read(true).write(true).open(port);
    if let Err(e) = open {
        let help = "plug it in, or become a member of the group that may use it (`dialout`)";
        return Finding::new(what, State::Bad, e.to_string(), help);
    }
    // A name by id is a link to the line itself.
    let line = port.canonicalize().unwrap_or_else(|_| port.to_path_buf());
    let name = line.file_name().unwrap_or_default();
    let timer = class.join(name).join("device/latency_timer");
    let held = fs::read_to_string(timer).ok();
    let Some(held_ms) = held.and_then(|text| text.trim().parse::<u32>().ok()) else {
        return Finding::new(what, State::Good, "can be opened".into(), "");
    };
    let state = match held_ms <= LATENCY_TIMER_MAX_MS {
        true => State::Good,
        false => State::Warning,
    };
    let help = "every answer waits for that: `setserial LINE low_latency`, or write 1 into its latency_timer";
    let found = format!("its adapter holds answers back for {held_ms} ms");
    Finding::new(what, state, found, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_good_only_when_somebody_says_so() {
        for (told, state) in [
            (Ok("yes"), State::Good),
            (Ok("no"), State::Warning),
            (Ok(""), State::Unknown),
            (Err("no such program"), State::Unknown),
        ] {
            let told = told.map(str::to_owned).map_err(str::to_owned);
            let found = of_clock(&told);
            assert_eq!(found.state, state, "{told:?}");
            assert_eq!(found.help.is_empty(), state == State::Good);
        }
    }

    #[test]
    fn who_would_keep_processors_awake_is_told_and_what_keeps_the_kernel_from_it() {
        for (kernel, state, words) in [
            (Ok(true), State::Good, "the kernel keeps"),
            (Ok(false), State::Good, "threads keep"),
            (Err("denied".to_owned()), State::Unknown, "denied"),
        ] {
            let found = of_processors(&kernel);
            assert_eq!(found.state, state, "{kernel:?}");
            assert!(found.found.contains(words), "{}", found.found);
            assert_eq!(found.help.is_empty(), state == State::Good);
        }
    }

    #[test]
    fn a_serial_line_is_opened_and_its_adapter_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let class = folder.path().join("class");
        let line = |name: &str, timer: Option<&str>| {
            let device = class.join(name).join("device");
            fs::create_dir_all(&device).expect("made");
            if let Some(text) = timer {
                fs::write(device.join("latency_timer"), text).expect("written");
            }
            let port = folder.path().join(name);
            fs::write(&port, "").expect("written");
            port.display().to_string()
        };
        let slow = line("ttyUSB0", Some("16\n"));
        let quick = line("ttyUSB1", Some("1\n"));
        let plain = line("ttyS0", None);
        let gone = folder.path().join("ttyUSB9").display().to_string();
        let by_id = folder.path().join("by-id");
        std::os::unix::fs::symlink(&slow, &by_id).expect("linked");
        let by_id = by_id.display().to_string();
        for (port, state) in [
            (&slow, State::Warning),
            (&by_id, State::Warning),
            (&quick, State::Good),
            (&plain, State::Good),
            (&gone, State::Bad),
        ] {
            let found = of_serial(&Some(vec![port.clone()]), &class);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].state, state, "{port}: {found:?}");
        }
        let all: Vec<PathBuf> = ["ttyUSB0", "ttyUSB1"]
            .map(|name| Path::new("/dev").join(name))
            .into();
        assert_eq!(usb_lines(&class), all);
    }

    #[test]
    fn the_last_line_says_what_the_machine_sustains_and_what_was_asked() {
        let millis = Duration::from_millis;
        let late = Times::of(vec![Duration::from_micros(400)]);
        for (sustained, says) in [
            (
                Some(20),
                "This box sustains 20 ms; 99.9 % of cycles begin within 0.40 ms.",
            ),
            (
                Some(200),
                "This box sustains 200 ms and no less, 100 ms are asked for; 99.9 % of cycles begin within 0.40 ms.",
            ),
            (
                None,
                "This box sustains no control period; 99.9 % of cycles begin within 0.40 ms.",
            ),
        ] {
            assert_eq!(
                verdict_line(sustained.map(millis), millis(100), &late),
                says
            );
        }
    }
}

//! What `demo` and `run` have in common: times, folders, the page, and the end of a run.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use document::{Actor, Diagnostic};
use model::Clock as _;
use runtime::clock::SystemClock;
use runtime::rig::Rig;
use runtime::web::{Tls, Tokens};
use scenario::far_ends;
use scenario::folder::About;
use scenario::live::{LiveOptions, Ready};
use scenario::report::result::RunResult;
use scenario::verdict::Verdict;
use serde_json::Value;

use crate::codes::{self, usage};
use crate::folder::{self, Attempt};
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Where the page is served when nothing else is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// Seed when nothing else is said. Chosen: any fixed number, so that two runs are alike.
pub const SEED: u64 = 1;

/// How fast time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Speed {
    /// Real time, over real sockets, serial lines, CAN and MQTT.
    #[default]
    #[value(name = "1")]
    Real,
    /// Virtual time, in this process, the same for the same seed.
    #[value(name = "max")]
    Max,
}

/// What is at the far end of the buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum On {
    /// Emulated devices.
    Sim,
    /// The devices of the bench.
    Bench,
    /// Those of the buses that `[bench] real` of the rig names; the others are emulated.
    Mixed,
}

impl From<On> for far_ends::On {
    fn from(on: On) -> Self {
        match on {
            On::Sim => Self::Sim,
            On::Bench => Self::Bench,
            On::Mixed => Self::Mixed,
        }
    }
}

impl On {
    /// The word in results.
    pub fn word(self) -> &'static str {
        far_ends::On::from(self).word()
    }
}

/// Reads a time for the command line.
///
/// # Errors
/// What is wrong with it, for clap to tell.
pub fn time(text: &str) -> Result<Duration, String> {
    match quantities::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("it is longer than nothing".into()),
        Ok(time) => Ok(time),
        Err(e) => Err(e.to_string()),
    }
}

/// Flags of `demo` and `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct LiveArguments {
    /// End by itself after this time, such as `30s`, with exit code 0.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    run_for: Option<Duration>,
    /// Serve no page.
    #[arg(long, conflicts_with = "listen")]
    headless: bool,
    /// Where the page is served [default: 127.0.0.1:7070].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Real time, or as fast as the machine can (needs --for).
    #[arg(long, value_enum, default_value_t)]
    speed: Speed,
    /// Seed of everything random [default: 1].
    #[arg(long)]
    seed: Option<u64>,
    /// The run folder; it must be new or empty (by default a new one under `out/`).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Environment variable with a token that may do everything over the API.
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Who may do what over the API: a tokens file, as `gridrig init` makes one.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Encrypt the page, by the keys in this folder, as `gridrig init` makes them.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

/// What makes `demo` and `run` differ.
pub struct Kind {
    /// The verb, for the name of the run folder.
    pub verb: &'static str,
    /// Rig file; `None` = the demo rig.
    pub rig: Option<PathBuf>,
    /// What is at the far end.
    pub on: On,
    /// Whether devices may be written to from the start.
    pub armed: bool,
    /// Whether a token is made up where none is given: nobody else can reach an emulated bench.
    pub makes_token: bool,
    /// What is said when it runs.
    pub tells: fn(&Terminal, &Ready, &Told),
}

/// What the greeting needs to know.
pub struct Told {
    /// The run folder.
    pub dir: PathBuf,
    /// The token for commands.
    pub token: Option<String>,
    /// The folder of keys, where the page is encrypted.
    pub keys: Option<PathBuf>,
}

/// Runs the bench to its end.
///
/// # Errors
/// What kept it from starting; the run folder says it too.
pub fn run(arguments: &LiveArguments, kind: Kind, terminal: &Terminal) -> Outcome {
    if arguments.speed == Speed::Max && arguments.run_for.is_none() {
        return Err(Problem::usage(usage(
            "C002",
            "`--speed max` needs `--for`",
            "say how much time of the bench shall pass, such as `--for 10min`",
        )));
    }
    if arguments.speed == Speed::Max && kind.on != On::Sim {
        return Err(Problem::usage(usage(
            "C002",
            "a bench with hardware has no virtual time",
            "add `--on sim`, or leave out `--speed max`",
        )));
    }
    let about = About {
        rig: rig_file::shown(kind.rig.as_ref()),
        on: kind.on.word().into(),
        speed: if arguments.speed == Speed::Max {
            "max"
        } else {
            "1"
        }
        .into(),
        seed: arguments.seed.unwrap_or(SEED),
        ..About::default()
    };
    let attempt = folder::make(arguments.out.as_deref(), kind.verb, about)?;
    match start(arguments, &kind, &attempt, terminal) {
        Ok(result) => {
            tell_end(terminal, &attempt, &result);
            Ok(result.verdict)
        }
        Err(problem) => {
            let problem = attempt.failed(problem);
            terminal.say(format!("The run folder is {}.", attempt.dir.display()));
            Err(problem)
        }
    }
}

fn start(
    arguments: &LiveArguments,
    kind: &Kind,
    attempt: &Attempt,
    terminal: &Terminal,
) -> Result<RunResult, Problem> {
    let rig: Arc<Rig> = rig_file::load(kind.rig.as_deref(), terminal)?;
    let is_virtual = arguments.speed == Speed::Max;
    // In virtual time a page would show hours as a flash.
    let listen = match (arguments.headless, arguments.listen) {
        (true, _) => None,
        (false, Some(address)) => Some(address),
        (false, None) => (!is_virtual).then_some(LISTEN),
    };
    let is_made_up = kind.makes_token && listen.is_some() && arguments.tokens.is_none();
    let token = token(arguments.token_env.as_deref(), is_made_up)?;
    let mut tokens = Tokens::one(token.clone());
    if let Some(file) = &arguments.tokens {
        tokens = tokens.and(Tokens::read(file)?);
    }
    let tls = match &arguments.tls {
        Some(folder) => Some(Tls::read(folder, SystemClock::start().utc())?),
        None => None,
    };
    if let Some(address) = listen {
        runtime::web::check_listen(address, &tokens, tls.is_some())?;
    }
    if tls.as_ref().is_some_and(|tls| tls.ends_soon) {
        terminal.say(
            "The certificate of the page ends within a month: move its server.pem away and ask `gridrig init` for the next one.",
        );
    }
    let told = Told {
        dir: attempt.dir.clone(),
        token,
        keys: arguments.tls.clone(),
    };
    let tells = kind.tells;
    let options = LiveOptions {
        rig,
        on: kind.on.into(),
        virtual_time: is_virtual,
        seed: attempt.about.seed,
        run_dir: attempt.dir.clone(),
        run_for: arguments.run_for,
        listen,
        tokens,
        tls,
        armed: kind.armed,
        command: attempt.about.command.clone(),
        id: attempt.about.id.clone(),
    };
    scenario::live::run(options, |ready| tells(terminal, ready, &told)).map_err(Problem::from)
}

/// The token for commands: from the environment, or made up.
fn token(variable: Option<&str>, made_up: bool) -> Result<Option<String>, Box<Diagnostic>> {
    match variable {
        Some(name) => match std::env::var(name) {
            Ok(token) => Ok(Some(token)),
            Err(_) => Err(Box::new(usage(
                "R022",
                "the token for commands is not set",
                &format!("set the environment variable {name}"),
            ))),
        },
        None if made_up => {
            let mut bytes = [0_u8; 12];
            // Without entropy there is no token and the page is read-only.
            let drawn =
                std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
            Ok(drawn
                .is_ok()
                .then(|| bytes.iter().map(|b| format!("{b:02x}")).collect()))
        }
        None => Ok(None),
    }
}

/// Why a run did not end as it was asked to, with the code that its reason names.
fn fault_of(result: &RunResult) -> Option<Diagnostic> {
    let usual = match result.verdict {
        Verdict::Pass | Verdict::Interrupted => return None,
        Verdict::Ledger => "C015",
        _ => "R026",
    };
    // The longest code first, lest a part of it be taken for the whole.
    let mut known: Vec<&'static str> = codes::all()
        .map(|(code, _)| code)
        .filter(|code| result.why.contains(code))
        .collect();
    known.sort_by_key(|code| std::cmp::Reverse(code.len()));
    let code = known.first().copied().unwrap_or(usual);
    Some(
        Diagnostic::error(code, Actor::Operator, &*result.why)
            .help(format!("`gridrig explain {code}` says more")),
    )
}

fn tell_end(terminal: &Terminal, attempt: &Attempt, result: &RunResult) {
    let counters = &result.counters;
    terminal.say(format!(
        "{}: {} cycles ({} late), {} samples, {} dispatches of which {} are in the ledger, {} trades.",
        result.verdict,
        counters.cycles,
        counters.cycles_late,
        counters.samples,
        counters.dispatches,
        counters.dispatches_logged,
        counters.trades
    ));
    if let Some(missing) = counters.telemetry_missing() {
        terminal.say(missing);
    }
    if let Some(fault) = fault_of(result) {
        terminal.draw(&[fault]);
    }
    terminal.say(format!(
        "The run folder is {dir}; see {dir}/report.html, or `gridrig ledger verify {dir}`.",
        dir = attempt.dir.display()
    ));
    if terminal.is_json() {
        terminal.print(serde_json::to_value(result).unwrap_or(Value::Null));
    }
}

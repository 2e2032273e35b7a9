//! The thread that asks the daemon, so that a silent daemon does not keep a key from being heard.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;

use super::ledger::{Filter, Found, Page};
use super::look::{self, Look, questions};
use super::paint::words;
use super::trend::History;
use crate::daemon::{Address, Caller, Question, Vouched, refused};
use crate::problem::Problem;
use crate::verb::arming::{self, Ahead};

/// Time between two looks. Twice a second, as the page's stream.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the asking thread has to tell.
#[derive(Debug)]
pub enum News {
    /// The daemon has answered.
    Looked(Box<Look>),
    /// What it remembers of the last minutes.
    Recalled(Box<History>),
    /// It has not, and why.
    Failed(String),
    /// What arming for this time would write.
    Ahead(Duration, Box<Ahead>),
    /// Entries of the ledger, with what was asked for.
    Paged(Filter, Box<Page>),
    /// An entry of the ledger.
    Opened(Box<Found>),
    /// What came of an order.
    Told(String),
    /// Somebody wants this process to end.
    Ended,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The safe state.
    Safe,
    /// That an alarm, by its name, counts as seen.
    Acknowledge(String),
    /// What arming for this time would write; where the bench is armed already, that it stays so.
    Ahead(Duration),
    /// That the bench is armed for this time.
    Arm(Duration),
    /// That nothing is written any more.
    Disarm,
    /// A change of the mode, by its word.
    Mode(&'static str),
    /// That a device holds a setpoint.
    Hold {
        /// Its name.
        device: String,
        /// As the API takes it.
        setpoint: Value,
    },
    /// That a device is let go.
    Release(String),
    /// Entries of the ledger.
    Page(Filter),
    /// An entry of the ledger by its identity.
    Entry(String),
}

/// Where orders go.
#[derive(Debug)]
pub struct Orders {
    usual: UnboundedSender<Order>,
    /// The way of the safe state, which waits for no other order.
    safe: UnboundedSender<Order>,
}

impl Orders {
    /// Gives an order.
    pub fn give(&self, order: Order) {
        // The thread lives as long as this end does.
        let _ = match order {
            Order::Safe => self.safe.send(order),
            order => self.usual.send(order),
        };
    }
}

/// Starts the thread; it ends when both ends of it are dropped.
///
/// # Errors
/// R024 when the system gives no sockets.
pub fn start(address: Address, caller: Caller) -> Result<(Receiver<News>, Orders), Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| refused(format!("the system gives no sockets: {e}")))?;
    let (tells, news) = channel();
    let (usual, orders) = unbounded_channel();
    let (safe, safes) = unbounded_channel();
    std::thread::Builder::new()
        .name("top-asks".into())
        .spawn(move || runtime.block_on(ask_on(&address, &caller, &tells, [orders, safes])))
        .map_err(|e| refused(format!("the system gives no thread: {e}")))?;
    Ok((news, Orders { usual, safe }))
}

async fn ask_on(
    address: &Address,
    caller: &Caller,
    tells: &Sender<News>,
    [orders, safes]: [UnboundedReceiver<Order>; 2],
) {
    let listener = tells.clone();
    tokio::spawn(async move {
        asked_to_end().await;
        let _ = listener.send(News::Ended);
    });
    let looking = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Asked for once; without it the charts begin with the first look.
        if let Some(history) = recall(address, caller).await
            && tells.send(history).is_err()
        {
            return;
        }
        loop {
            ticks.tick().await;
            if tells.send(look(address, caller).await).is_err() {
                return;
            }
        }
    };
    // An order does not wait for an answer that may never come.
    let ordering = |mut orders: UnboundedReceiver<Order>| async move {
        while let Some(order) = orders.recv().await {
            if tells.send(obey(address, caller, order).await).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = ordering(orders) => {}
        () = ordering(safes) => {}
    }
}

/// Ends when a signal to end arrives; never where none can be heard, for then it ends the process.
async fn asked_to_end() {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::interrupt(),
    ];
    let [Ok(mut term), Ok(mut hangup), Ok(mut interrupt)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = hangup.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What the daemon remembers of the last minutes, if it says so.
async fn recall(address: &Address, caller: &Caller) -> Option<News> {
    let answers = address.answers(caller, &[look::history()]).await.ok()?;
    let history = serde_json::from_value(answers.into_iter().next()?).ok()?;
    Some(News::Recalled(Box::new(history)))
}

async fn look(address: &Address, caller: &Caller) -> News {
    let answers = address.answers(caller, &questions()).await;
    match answers.and_then(Look::of) {
        Ok(look) => News::Looked(Box::new(look)),
        Err(problem) => News::Failed(short(&problem)),
    }
}

async fn safe(address: &Address) -> News {
    News::Told(match address.make_safe().await {
        Ok(Vouched::Yes) => {
            "SAFE was accepted: every device is being told to go to its safe state.".into()
        }
        Ok(Vouched::No) => {
            "SAFE was accepted by somebody whose certificate is not trusted: look at the bench."
                .into()
        }
        Err(problem) => format!(
            "SAFE failed: {}. Use the bench's own emergency stop.",
            short(&problem)
        ),
    })
}

async fn obey(address: &Address, caller: &Caller, order: Order) -> News {
    let told = match order {
        Order::Safe => return safe(address).await,
        Order::Page(filter) => match read(address, caller, &filter.path()).await {
            Ok(page) => return News::Paged(filter, Box::new(page)),
            Err(why) => format!("The ledger is not shown: {why}."),
        },
        Order::Entry(atom) => {
            match read(address, caller, &format!("/api/v1/ledger/{atom}")).await {
                Ok(found) => return News::Opened(Box::new(found)),
                Err(why) => format!("The entry is not shown: {why}."),
            }
        }
        order if caller.token.is_none() => format!(
            "{} by who has the token: start with --token-env NAME.",
            wants(&order)
        ),
        Order::Ahead(time) => return ahead(address, caller, time).await,
        order => tell(address, caller, &order).await,
    };
    News::Told(told)
}

/// What needs the token, as the beginning of a sentence.
fn wants(order: &Order) -> &'static str {
    match order {
        Order::Acknowledge(_) => "Alarms are seen",
        Order::Ahead(_) | Order::Arm(_) => "The bench is armed",
        Order::Disarm => "The bench is disarmed",
        Order::Mode(_) => "Modes are asked for",
        Order::Hold { .. } | Order::Release(_) => "Devices are held and let go",
        // Everybody may do that, or it is only looked at.
        Order::Safe | Order::Page(_) | Order::Entry(_) => "This is done",
    }
}

/// What is at a path.
async fn read<T: DeserializeOwned>(
    address: &Address,
    caller: &Caller,
    path: &str,
) -> Result<T, String> {
    let answers = address.answers(caller, &[Question::read(path)]).await;
    let answer = answers.map_err(|problem| short(&problem))?;
    serde_json::from_value(answer.into_iter().next().unwrap_or_default())
        .map_err(|e| format!("the daemon's answer at {path} is not understood: {e}"))
}

/// Looks at what arming would write. Who has the bench already keeps it without a look.
async fn ahead(address: &Address, caller: &Caller, time: Duration) -> News {
    let ahead: Ahead = match read(address, caller, "/api/v1/arming").await {
        Ok(ahead) => ahead,
        Err(why) => return News::Told(format!("The bench is not armed: {why}.")),
    };
    if ahead.armed {
        return News::Told(tell(address, caller, &Order::Arm(time)).await);
    }
    match ahead.forbids() {
        Some((why, help)) => News::Told(format!("Not armed: {why}; {help}.")),
        None => News::Ahead(time, Box::new(ahead)),
    }
}

/// Gives an order that needs the token; what came of it.
async fn tell(address: &Address, caller: &Caller, order: &Order) -> String {
    let holder = &caller.holder;
    let (path, body, done, not) = match order {
        Order::Acknowledge(alarm) => (
            "/api/v1/acknowledge",
            json!({ "alarm": alarm }),
            format!("{alarm} was seen by {holder}."),
            format!("{alarm} does not count as seen"),
        ),
        Order::Arm(time) => (
            "/api/v1/arm",
            json!({ "for_s": time.as_secs_f64() }),
            format!(
                "The bench is armed from the next cycle on, for {}; arm it anew before that is over.",
                arming::words(*time)
            ),
            "The bench is not armed".to_owned(),
        ),
        Order::Disarm => (
            "/api/v1/disarm",
            Value::Null,
            "The bench is disarmed: what was touched comes to rest, and nothing more is written."
                .to_owned(),
            "The bench is not disarmed".to_owned(),
        ),
        Order::Mode(mode) => (
            "/api/v1/mode",
            json!({ "mode": mode }),
            format!("{} was accepted: it enters the next cycle.", words(mode)),
            format!("{} is not asked for", words(mode)),
        ),
        Order::Hold { device, setpoint } => (
            "/api/v1/hold",
            json!({ "device": device, "setpoint": setpoint }),
            format!(
                "{device} is to hold this: it enters the next cycle, and is limited like any other."
            ),
            format!("{device} is not held"),
        ),
        Order::Release(device) => (
            "/api/v1/release",
            json!({ "device": device }),
            format!("{device} is let go from the next cycle on."),
            format!("{device} is not let go"),
        ),
        Order::Safe | Order::Ahead(_) | Order::Page(_) | Order::Entry(_) => return String::new(),
    };
    let question = Question {
        method: Method::POST,
        path,
        body: &body,
    };
    match address.answers(caller, &[question]).await {
        Ok(_) => done,
        Err(problem) => format!("{not}: {}.", short(&problem)),
    }
}

/// The first thing that went wrong, without its code.
fn short(problem: &Problem) -> String {
    let first = problem.diagnostics.first();
    first.map(|d| d.message.clone()).unwrap_or_default()
}

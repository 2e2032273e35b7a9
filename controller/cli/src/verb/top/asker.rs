//! The thread that asks the daemon, so that a silent daemon does not keep a key from being heard.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hyper::Method;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;

use super::look::{self, Look, questions};
use super::trend::History;
use crate::daemon::{Address, Caller, Question, Vouched, refused};
use crate::problem::Problem;

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
}

/// Where orders go.
#[derive(Debug)]
pub struct Orders {
    sender: UnboundedSender<Order>,
}

impl Orders {
    /// Gives an order.
    pub fn give(&self, order: Order) {
        // The thread lives as long as this end does.
        let _ = self.sender.send(order);
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
    let (sender, orders) = unbounded_channel();
    std::thread::Builder::new()
        .name("top-asks".into())
        .spawn(move || runtime.block_on(ask_on(&address, &caller, &tells, orders)))
        .map_err(|e| refused(format!("the system gives no thread: {e}")))?;
    Ok((news, Orders { sender }))
}

async fn ask_on(
    address: &Address,
    caller: &Caller,
    tells: &Sender<News>,
    mut orders: UnboundedReceiver<Order>,
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
    let ordering = async {
        while let Some(order) = orders.recv().await {
            let told = match order {
                Order::Safe => safe(address).await,
                Order::Acknowledge(alarm) => acknowledge(address, caller, &alarm).await,
            };
            if tells.send(told).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = ordering => {}
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

async fn acknowledge(address: &Address, caller: &Caller, alarm: &str) -> News {
    if caller.token.is_none() {
        let text = "Alarms are seen by who has the token: start with --token-env NAME.";
        return News::Told(text.into());
    }
    let question = Question {
        method: Method::POST,
        path: "/api/v1/acknowledge",
        body: &serde_json::json!({ "alarm": alarm }),
    };
    News::Told(match address.answers(caller, &[question]).await {
        Ok(_) => format!("{alarm} was seen by {}.", caller.holder),
        Err(problem) => format!("{alarm} does not count as seen: {}.", short(&problem)),
    })
}

/// The first thing that went wrong, without its code.
fn short(problem: &Problem) -> String {
    let first = problem.diagnostics.first();
    first.map(|d| d.message.clone()).unwrap_or_default()
}

//! `gridrig top`: a running bench in the terminal.
//!
//! On a terminal it looks twice a second until somebody ends it; elsewhere it prints one frame of
//! plain text, or with `--json` the daemon's state, and ends. It can ask for the safe state, which
//! everybody may, and with the token for what the page can ask for: arming, modes, setpoints, alarms seen.
//! It is not responsible for what is true on the bench, nor for what may be done there: it shows what the
//! daemon says, says so when that is old, and asks.

mod asker;
mod frame;
mod ledger;
mod look;
mod market;
mod operate;
mod paint;
mod pane;
mod row;
mod scene;
mod screen;
#[cfg(test)]
mod tests;
mod trend;

use std::io::IsTerminal as _;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use clap::Args;
use document::{Actor, Diagnostic};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::style::force_color_output;
use scenario::verdict::Verdict;

use super::arming::Daemon;
use crate::daemon::{Address, Caller, Question};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use asker::{News, Orders};
use ledger::Filter;
use look::Look;
use paint::Palette;
use screen::{Act, Screen};

/// How long a key waits at most until it is seen, and news until it is drawn. Chosen: 50 ms, which
/// a hand does not feel.
const KEYS_EVERY: Duration = Duration::from_millis(50);
/// How often the screen is drawn when nothing is new: ages grow. Chosen: 500 ms, as the page.
const DRAWN_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let caller = arguments.daemon.caller()?;
    let address = arguments.daemon.address;
    let can_draw = std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
    if !terminal.is_json() && can_draw && std::io::stdout().is_terminal() {
        return live(address, caller, terminal);
    }
    let questions = look::questions().into_iter().chain([look::history()]);
    let questions: Vec<_> = questions.collect();
    let mut answers = address.ask_all(&caller, &questions)?;
    let history = answers.pop().unwrap_or_default();
    if terminal.is_json() {
        terminal.print(answers.into_iter().next().unwrap_or_default());
        return Ok(Verdict::Pass);
    }
    let mut screen = Screen::new(address.to_string());
    // Charts and entries are not worth a refusal.
    if let Ok(history) = serde_json::from_value(history) {
        screen.hear(News::Recalled(history), Duration::ZERO);
    }
    let newest = Filter::default();
    let page = address.ask(&caller, Question::read(&newest.path()));
    if let Some(page) = page.ok().and_then(|page| serde_json::from_value(page).ok()) {
        screen.hear(News::Paged(newest, page), Duration::ZERO);
    }
    screen.hear(News::Looked(Box::new(Look::of(answers)?)), Duration::ZERO);
    terminal.print(frame::plain(&screen, Duration::ZERO));
    Ok(Verdict::Pass)
}

/// Draws until somebody ends it.
fn live(address: Address, caller: Caller, terminal: &Terminal) -> Outcome {
    let mut screen = Screen::new(address.to_string());
    let (news, orders) = asker::start(address, caller)?;
    let palette = Palette::new(terminal.is_screen_coloured());
    // Whether there are colours was decided already, `--color always` over `NO_COLOR`.
    force_color_output(terminal.is_screen_coloured());
    let mut held = Held::open().map_err(unusable)?;
    watch(&mut screen, &news, &orders, palette, &mut held.terminal)
}

fn watch(
    screen: &mut Screen,
    news: &Receiver<News>,
    orders: &Orders,
    palette: Palette,
    terminal: &mut DefaultTerminal,
) -> Outcome {
    let begin = Instant::now();
    let mut drawn: Option<Duration> = None;
    loop {
        let now = begin.elapsed();
        for item in news.try_iter() {
            if matches!(item, News::Ended) {
                return Ok(Verdict::Interrupted);
            }
            screen.hear(item, now);
            drawn = None;
        }
        if let Some(order) = screen.wants(now) {
            orders.give(order);
        }
        if drawn.is_none_or(|at| now.saturating_sub(at) >= DRAWN_EVERY) {
            terminal
                .draw(|area| {
                    let room = frame::draw(area, screen, palette, now);
                    screen.fit(room);
                })
                .map_err(unusable)?;
            drawn = Some(now);
        }
        if !event::poll(KEYS_EVERY).map_err(unusable)? {
            continue;
        }
        drawn = None;
        match event::read().map_err(unusable)? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match screen.press(key, now) {
                Act::None => {}
                Act::Quit => return Ok(Verdict::Pass),
                Act::Give(order) => orders.give(order),
            },
            _ => {}
        }
    }
}

/// The whole terminal, given back whatever happens: also a panic unwinds through here, and the hook
/// that `ratatui` puts before ours gives it back before the panic is told.
struct Held {
    terminal: DefaultTerminal,
}

impl Held {
    fn open() -> std::io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn unusable(e: std::io::Error) -> Problem {
    let fault = Diagnostic::error(
        "C003",
        Actor::Operator,
        format!("the terminal cannot be drawn on: {e}"),
    );
    fault
        .help("`gridrig top | cat` prints one frame as plain text")
        .into()
}

//! The market as lines: its newest interval with the book, the newest that is settled, and the prices before.

use ratatui::text::Line;

use super::look::{Interval, Market, Order};
use super::paint::{Cell, Head, Palette, Side, Tone, UNKNOWN, clock, head, table};
use super::row::Row;

const HEADS: &[Head] = &[
    head("participant", Side::Left, 0),
    head("order", Side::Left, 2),
    head("committed", Side::Right, 0),
    head("metered", Side::Right, 0),
    head("settled", Side::Right, 0),
    head("balance", Side::Right, 1),
];

/// Energy of milliwatt-hours; + into the bus.
fn energy(mwh: Option<i64>) -> String {
    mwh.map_or_else(
        || UNKNOWN.to_owned(),
        |mwh| format!("{:.1} Wh", mwh as f64 / 1e3),
    )
}

fn price(mc: i64) -> String {
    format!("{:.3}", mc as f64 / 1e3)
}

/// The pane.
pub(super) fn rows(market: &Market, width: usize, palette: Palette) -> Vec<Row> {
    let Some(newest) = market.intervals.first() else {
        return Vec::new();
    };
    let mut rows = of_interval(newest, market, width, palette);
    rows.push(Row::plain(
        palette.word(Tone::Dim, "book, price in ct/kWh:"),
    ));
    rows.extend(
        (newest.orders.iter()).map(|order| Row::about(book(order, palette), order.atom.as_ref())),
    );
    let mut settled = market.intervals.iter().skip(1).filter(|i| i.settled);
    if let Some(settled) = settled.next().filter(|_| !newest.settled) {
        rows.push(Line::default().into());
        rows.extend(of_interval(settled, market, width, palette));
    }
    let prices = market.intervals.iter();
    let prices: Vec<String> = prices
        .map(|i| i.price_mc_per_kwh.map_or_else(|| UNKNOWN.to_owned(), price))
        .collect();
    let text = format!("prices in ct/kWh, newest first: {}", prices.join(" "));
    rows.push(Line::default().into());
    rows.push(Row::plain(palette.word(Tone::Dim, text)));
    rows
}

fn of_interval(i: &Interval, market: &Market, width: usize, palette: Palette) -> Vec<Row> {
    let traded = match (&i.failure, i.price_mc_per_kwh) {
        (Some(why), _) => format!("not cleared, {why}"),
        (None, Some(mc)) => format!("{} at {} ct/kWh", energy(Some(i.energy_mwh)), price(mc)),
        (None, None) => "nothing traded".to_owned(),
    };
    let settled = match i.unaccounted_mwh.filter(|_| i.settled) {
        Some(mwh) => format!("settled, {} belong to nobody", energy(Some(mwh))),
        None => "not settled yet".to_owned(),
    };
    let title = format!(
        "interval {}, {} to {}, {}: {traded}; {settled}",
        i.interval,
        clock(i.from_s),
        clock(i.until_s),
        market.mechanism
    );
    let cells: Vec<Vec<Cell>> = (i.participants.iter())
        .map(|p| {
            let orders = i.orders.iter().filter(|o| o.who == p.who).map(side);
            let orders: Vec<String> = orders.collect();
            let mut accounts = market.accounts.iter();
            let balance = accounts.find(|a| a.name == p.who);
            let known = |there: bool| if there { Tone::Plain } else { Tone::Dim };
            let amount = p.amount_ct.map(|ct| format!("{ct:.4} ct"));
            vec![
                (Tone::Strong, p.who.clone()),
                (Tone::Dim, orders.join(", ")),
                (Tone::Plain, energy(Some(p.committed_mwh))),
                (known(p.metered_mwh.is_some()), energy(p.metered_mwh)),
                (
                    known(amount.is_some()),
                    amount.unwrap_or_else(|| UNKNOWN.to_owned()),
                ),
                (
                    Tone::Plain,
                    balance.map_or_else(String::new, |a| a.balance.clone()),
                ),
            ]
        })
        .collect();
    let title = Line::from(palette.word(Tone::Strong, title));
    // The clearing, then the order of each participant, below the names of the columns.
    let orders = (i.participants.iter())
        .map(|p| (i.orders.iter().find(|o| o.who == p.who)).and_then(|o| o.atom.as_ref()));
    let goals = std::iter::once(None).chain(orders);
    let lines = table(HEADS, &cells, width, palette);
    std::iter::once(Row::about(title, i.atom.as_ref()))
        .chain(
            lines
                .into_iter()
                .zip(goals)
                .map(|(line, atom)| Row::about(line, atom)),
        )
        .collect()
}

/// What an order is for, and what of it was served.
fn side(order: &Order) -> String {
    let verb = if order.side == "buy" { "buys" } else { "sells" };
    let of = order
        .steps
        .iter()
        .fold(0_i64, |sum, (_, mwh)| sum.saturating_add(*mwh));
    format!(
        "{verb} {} of {}",
        energy(Some(order.served_mwh)),
        energy(Some(of))
    )
}

/// The curve of an order.
fn book(order: &Order, palette: Palette) -> Line<'static> {
    let (tone, verb) = if order.side == "buy" {
        (Tone::Warn, "buys ")
    } else {
        (Tone::Accent, "sells")
    };
    let steps: Vec<String> = (order.steps.iter())
        .map(|(mc, mwh)| format!("{} at {}", energy(Some(*mwh)), price(*mc)))
        .collect();
    Line::from(vec![
        palette.word(tone, format!("  {verb} ")),
        palette.word(Tone::Plain, format!("{}: {}", order.who, steps.join(", "))),
    ])
}

//! What a person types after `:`, read: an order for the daemon, or why it is none.
//!
//! Pure. Whether it may be done, and how far it is limited, the daemon decides.

use std::time::Duration;

use quantities::{ActivePower, Quantity, ReactivePower, parse_quantity};
use serde_json::{Value, json};

use super::asker::Order;
use super::ledger::Filter;

/// How long a bench is armed for when nothing is said. Source: `gridrig arm`.
const ARMED_FOR: Duration = Duration::from_secs(3_600);

/// What can be said, with how it is written.
const WORDS: &[(&str, &str)] = &[
    ("arm", "arm [for 30min]"),
    ("disarm", "disarm"),
    ("island", "island"),
    ("reconnect", "reconnect"),
    ("black start", "black start"),
    ("resume", "resume"),
    (
        "hold",
        "hold DEVICE 1.5kW [200var], hold DEVICE ceiling 2kW, hold DEVICE on|off",
    ),
    ("release", "release DEVICE"),
    (
        "ledger",
        "ledger [order|dispatch|…] [about WHO] [interval N]",
    ),
];

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Ask the daemon.
    Order(Order),
    /// Look at these entries of the ledger.
    Ledger(Filter),
}

/// What can be said to begin with, or how the word that stands there is written.
pub fn hint(text: &str) -> String {
    let text = text.trim_start();
    let known = WORDS.iter().find(|(word, _)| {
        let rest = text.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    match known {
        Some((_, written)) => (*written).to_owned(),
        None => {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            words.join(", ")
        }
    }
}

/// Reads a line; `devices` are those of the rig.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn read(line: &str, devices: &[&str]) -> Result<Said, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let order = match words.as_slice() {
        ["arm"] => Order::Ahead(ARMED_FOR),
        ["arm", "for", time] | ["arm", time] => Order::Ahead(crate::verb::live::time(time)?),
        ["disarm"] => Order::Disarm,
        ["island"] => Order::Mode("island"),
        ["reconnect"] => Order::Mode("reconnect"),
        ["black", "start"] => Order::Mode("black_start"),
        ["resume"] => Order::Mode("resume"),
        ["hold", device, rest @ ..] if !rest.is_empty() => Order::Hold {
            device: known(device, devices)?,
            setpoint: setpoint(rest)?,
        },
        ["release", device] => Order::Release(known(device, devices)?),
        ["ledger", rest @ ..] => return Ok(Said::Ledger(filter(rest)?)),
        [] => return Err("nothing was said".to_owned()),
        [word, ..] => {
            let mut known = WORDS
                .iter()
                .filter(|(of, _)| of.split(' ').next() == Some(word));
            return Err(match known.next() {
                Some((_, written)) => format!("write {written}"),
                None => format!("{word:?} is nothing that can be done here"),
            });
        }
    };
    Ok(Said::Order(order))
}

fn known(device: &str, devices: &[&str]) -> Result<String, String> {
    match devices.contains(&device) {
        true => Ok(device.to_owned()),
        false => Err(format!(
            "there is no device {device:?}; there are {}",
            devices.join(", ")
        )),
    }
}

/// A setpoint as the API takes it.
fn setpoint(words: &[&str]) -> Result<Value, String> {
    match words {
        ["on"] => Ok(json!({ "on": true })),
        ["off"] => Ok(json!({ "on": false })),
        ["ceiling", p] => Ok(json!({ "ceiling_w": base::<ActivePower>(p)? })),
        [p] => Ok(json!({ "p_w": base::<ActivePower>(p)? })),
        [p, q] => Ok(json!({
            "p_w": base::<ActivePower>(p)?,
            "q_var": base::<ReactivePower>(q)?,
        })),
        _ => Err(format!("write {}", hint("hold"))),
    }
}

fn base<Q: Quantity>(text: &str) -> Result<f64, String> {
    let quantity: Q = parse_quantity(text).map_err(|e| e.to_string())?;
    Ok(quantity.base())
}

fn filter(words: &[&str]) -> Result<Filter, String> {
    let mut filter = Filter::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().copied();
        match *word {
            "about" => {
                filter.who = Some(next().ok_or("about whom?")?.to_owned());
            }
            "interval" => {
                let number = next().and_then(|n| n.parse().ok());
                filter.interval = Some(number.ok_or("an interval is a whole number")?);
            }
            kind if filter.kind.is_none() => filter.kind = Some(kind.to_owned()),
            more => return Err(format!("{more:?} is a second kind; one at a time")),
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_an_order_with_units() {
        let hold = |setpoint: Value| Order::Hold {
            device: "ess1".into(),
            setpoint,
        };
        for (line, order) in [
            ("arm", Order::Ahead(Duration::from_secs(3_600))),
            ("arm 30min", Order::Ahead(Duration::from_secs(1_800))),
            (" arm  for 90s ", Order::Ahead(Duration::from_secs(90))),
            ("disarm", Order::Disarm),
            ("island", Order::Mode("island")),
            ("reconnect", Order::Mode("reconnect")),
            ("black start", Order::Mode("black_start")),
            ("resume", Order::Mode("resume")),
            ("hold ess1 1.5kW", hold(json!({ "p_w": 1500.0 }))),
            (
                "hold ess1 -500W 200var",
                hold(json!({ "p_w": -500.0, "q_var": 200.0 })),
            ),
            (
                "hold ess1 ceiling 2kW",
                hold(json!({ "ceiling_w": 2000.0 })),
            ),
            ("hold ess1 on", hold(json!({ "on": true }))),
            ("hold ess1 off", hold(json!({ "on": false }))),
            ("release ess1", Order::Release("ess1".into())),
        ] {
            assert_eq!(read(line, &["ess1"]), Ok(Said::Order(order)), "{line}");
        }
        let filter = Filter {
            kind: Some("dispatch-ack".into()),
            who: Some("ess1".into()),
            interval: Some(7),
            before: None,
        };
        for (line, filter) in [
            ("ledger", Filter::default()),
            ("ledger dispatch-ack about ess1 interval 7", filter),
        ] {
            assert_eq!(read(line, &[]), Ok(Said::Ledger(filter)), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_how_it_is_written() {
        for (line, told) in [
            ("", "nothing was said"),
            ("dance", "\"dance\" is nothing that can be done here"),
            ("arm 30", "unit"),
            ("arm 0s", "longer than nothing"),
            ("arm for", "`for` does not start with a number"),
            ("black", "write black start"),
            ("hold", "write hold DEVICE 1.5kW"),
            ("hold ess1", "write hold DEVICE 1.5kW"),
            (
                "hold ess9 1kW",
                "there is no device \"ess9\"; there are ess1",
            ),
            ("hold ess1 1500", "unit"),
            ("hold ess1 1kvar", "unit `kvar` does not fit here"),
            ("hold ess1 1kW 2kW", "unit `kW` does not fit here"),
            ("hold ess1 1kW 1var now", "write hold DEVICE"),
            ("release", "write release DEVICE"),
            ("ledger interval x", "an interval is a whole number"),
            ("ledger about", "about whom?"),
            ("ledger order trade", "\"trade\" is a second kind"),
        ] {
            let found = read(line, &["ess1"]);
            assert!(
                found.as_ref().is_err_and(|e| e.contains(told)),
                "{line}: {found:?}"
            );
        }
    }
}

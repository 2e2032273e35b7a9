//! Whether a bench has what a scenario names: told before anything moves, and all of it at once.
//!
//! A bench that lacks what a scenario says to `need` is another matter: there it cannot run, and
//! nothing is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use document::{Actor, Diagnostic};
use runtime::rig::Rig;

use crate::codes;
use crate::far_ends::{FarEnds, On};
use crate::recorder::signals;
use crate::runner::{load_rig, rig_path, unmet};
use crate::script::{Mention, Named, Scenario, nearest};
use crate::signal::Signal;
use crate::stage::{CONTROLLER, is_input};

/// What a rig has that scenarios can name.
struct Bench {
    rig: Rig,
    title: String,
    devices: BTreeSet<String>,
    /// Who trades, and what a feeder books by itself.
    participants: BTreeSet<String>,
    /// What faults can be put into.
    faulty: BTreeSet<String>,
    /// What steps can set something of.
    set: BTreeSet<String>,
    /// What can be looked at.
    measured: BTreeSet<Signal>,
}

impl Bench {
    fn of(rig: Rig, path: Option<&Path>) -> Self {
        let devices: BTreeSet<String> = rig.devices.iter().map(|d| d.id.to_string()).collect();
        let buses = rig.buses.iter().map(|bus| bus.id.to_string());
        let controller = std::iter::once(CONTROLLER.to_owned());
        let services = rig.control.services.iter().map(|sold| sold.name.clone());
        let network = rig.emulate.network.iter();
        let switches = network.flat_map(|n| n.switches.iter().map(|s| s.name.to_string()));
        let utility = std::iter::once("grid".to_owned());
        let set = devices.iter().cloned().chain(services);
        let on_feeder = rig
            .market
            .as_ref()
            .is_some_and(|market| market.feeder.is_some());
        let accounts = runtime::desk::FEEDER_ACCOUNTS.iter();
        let accounts = accounts
            .filter(|_| on_feeder)
            .map(|name| (*name).to_owned());
        Self {
            title: path.map_or_else(|| "the demo bench".to_owned(), |p| p.display().to_string()),
            faulty: devices
                .iter()
                .cloned()
                .chain(buses)
                .chain(controller)
                .collect(),
            set: set.chain(switches).chain(utility).collect(),
            measured: signals(&rig),
            participants: runtime::desk::Desk::participants(&rig)
                .into_iter()
                .chain(accounts)
                .collect(),
            devices,
            rig,
        }
    }

    /// What is wrong with a name: a code, a message and what would help.
    fn misses(&self, named: &Named) -> Option<(&'static str, String, String)> {
        let absent = |what: &str, name: &str, known: &BTreeSet<String>| {
            let words: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!("{} has no {what} `{name}`", self.title);
            (codes::NOT_ON_THE_BENCH, message, nearest(name, &words))
        };
        match named {
            Named::Device(name) => {
                (!self.devices.contains(name)).then(|| absent("device", name, &self.devices))
            }
            Named::Participant(name) => (!self.participants.contains(name))
                .then(|| absent("participant of the market", name, &self.participants)),
            Named::Faulty(name) => {
                (!self.faulty.contains(name)).then(|| absent("device or bus", name, &self.faulty))
            }
            Named::Set(signal) | Named::Held(signal) if !self.set.contains(&signal.subject) => {
                Some(absent("device", &signal.subject, &self.set))
            }
            Named::Set(_) | Named::Held(_) => None,
            Named::Measured(signal) if self.measured.contains(signal) => None,
            Named::Measured(signal) => {
                let of_it: Vec<&str> = self
                    .measured
                    .iter()
                    .filter(|known| known.subject == signal.subject)
                    .map(|known| known.quantity.name())
                    .collect();
                if of_it.is_empty() && !self.set.contains(&signal.subject) {
                    let subjects = self.measured.iter().map(|known| known.subject.clone());
                    return Some(absent("device", &signal.subject, &subjects.collect()));
                }
                let help = match of_it.as_slice() {
                    [] => format!("nothing of `{}` is measured there", signal.subject),
                    known => format!("of `{}` it measures {}", signal.subject, known.join(", ")),
                };
                let message = format!("`{signal}` is never measured on {}", self.title);
                Some((codes::NEVER_MEASURED, message, help))
            }
        }
    }
}

/// Everything that scenarios name and that is not on the rig that they would run on: `given`, or
/// their own, or the demo bench. A rig that cannot be loaded has its faults told once.
#[must_use]
pub fn faults(scenarios: &[Scenario], given: Option<&Path>, on: On) -> Vec<Diagnostic> {
    let mut faults: Vec<Diagnostic> = Vec::new();
    let mut benches: BTreeMap<Option<PathBuf>, Option<Bench>> = BTreeMap::new();
    for scenario in scenarios {
        let path = rig_path(scenario, given);
        let bench =
            benches
                .entry(path)
                .or_insert_with_key(|path| match load_rig(path.as_deref()) {
                    Ok(rig) => Some(Bench::of(rig, path.as_deref())),
                    Err(found) => {
                        faults.extend(found);
                        None
                    }
                });
        let Some(bench) = bench else { continue };
        let far_ends = match FarEnds::of(&bench.rig, on) {
            Ok(far_ends) => far_ends,
            Err(fault) => {
                if !faults.contains(&fault) {
                    faults.push(*fault);
                }
                continue;
            }
        };
        if unmet(&scenario.need, &bench.rig, &far_ends).is_some() {
            continue;
        }
        for mention in &scenario.mentions {
            let Some((code, message, help)) = bench.misses(&mention.named) else {
                continue;
            };
            let mut fault =
                Diagnostic::error(code, Actor::Author, message).at(mention.place.clone(), "");
            fault.help = (!help.is_empty()).then_some(help);
            // The combinations of a matrix name the same things at the same places.
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    faults
}

/// What a scenario does that only emulated devices can bear, so that it cannot run where they are real.
pub(crate) fn only_emulated(scenario: &Scenario, rig: &Rig, far_ends: &FarEnds) -> Vec<Diagnostic> {
    let is_mixed = far_ends.has_emulated() && far_ends.has_real();
    let of_mention = |mention: &Mention| {
        let message = match &mention.named {
            Named::Faulty(name) if !far_ends.emulates(rig, name) => match is_mixed {
                true => format!(
                    "`{name}` is real here, and faults can only be put into what is emulated"
                ),
                false => "faults can only be put into an emulated bench".to_owned(),
            },
            Named::Set(signal) if is_input(rig, signal) && !far_ends.takes_input(rig, signal) => {
                match is_mixed {
                    true => {
                        format!("`{signal}` is real here, and can only be set where it is emulated")
                    }
                    false => format!("`{signal}` can only be set on an emulated bench"),
                }
            }
            _ => return None,
        };
        let fault = Diagnostic::error(codes::ONLY_EMULATED, Actor::Author, message);
        Some(fault.at(mention.place.clone(), "").help("use `--on sim`"))
    };
    scenario.mentions.iter().filter_map(of_mention).collect()
}

#[cfg(test)]
mod tests {
    use document::Source;

    use super::*;
    use crate::demo;

    #[test]
    fn what_only_an_emulated_bench_has_is_told_before_a_real_one_moves() {
        let text = r#"name = "n"
do = [
  { at = "0s", set = { "ess1.p" = "1kW", "pv1.available" = "1kW", "load1.p" = "-1kW" } },
  { at = "1s", hold = { "plug1.on" = "off" }, fault = { "lan1.loss" = "2%" } },
]
check = [{ ledger = "complete" }]
"#;
        let loaded = crate::script::read(Source::new("s.toml", text)).expect("right");
        let rig = include_str!("../../virtual/lab.toml");
        let rig = format!("bench = {{ real = [\"lan1\"] }}\n{rig}");
        let rig = runtime::rig::load_text(Path::new(demo::RIG_PATH), &rig).expect("a rig");
        let check = |on: On, expected: &[&str]| {
            let far_ends = FarEnds::of(&rig, on).expect("the rig says which half is real");
            let told: Vec<String> = only_emulated(&loaded.scenarios[0], &rig, &far_ends)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(told.len(), expected.len(), "{told:#?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "{expected}: {told}");
            }
        };
        check(On::Sim, &[]);
        check(
            On::Bench,
            &[
                "`pv1.available` can only be set on an emulated bench at s.toml:3:42",
                "`load1.p` can only be set on an emulated bench at s.toml:3:67",
                "faults can only be put into an emulated bench at s.toml:4:57",
            ],
        );
        // The inverter and its bus are real, the load is not.
        check(
            On::Mixed,
            &[
                "`pv1.available` is real here, and can only be set where it is emulated at s.toml:3:42",
                "`lan1` is real here, and faults can only be put into what is emulated at s.toml:4:57",
            ],
        );
    }
}

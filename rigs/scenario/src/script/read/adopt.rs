//! Characteristics that a step lets devices adopt: `adopt = { pv1 = { volt_var = [[0.95, 0.44], ..] } }`.

use document::Table;
use model::{Characteristic, Droop};

use super::Reader;
use crate::codes;
use crate::script::{Action, Named};

/// The characteristics by the keys that name them, as in the `der` of a rig.
const KINDS: [&str; 5] = [
    "volt_var",
    "volt_watt",
    "watt_var",
    "freq_droop",
    "power_factor",
];

impl Reader<'_> {
    pub(super) fn adoptions(&self, table: &Table<'_>, actions: &mut Vec<Action>) {
        let Some(table) = self.optional(table, "adopt") else {
            return;
        };
        for name in table.keys() {
            let Some(adopt) = table.table(&name.value) else {
                continue;
            };
            let revert = self.optional_time(&adopt, "revert");
            let characteristic = self.adopted(&adopt);
            adopt.finish();
            if let (Some(device), Some(characteristic)) = (self.key(&name), characteristic) {
                self.mention(Named::Device(device.value.clone()), name.span.clone());
                actions.push(Action::Adopt {
                    device: device.value,
                    characteristic,
                    revert,
                });
            }
        }
        table.finish();
    }

    fn adopted(&self, table: &Table<'_>) -> Option<Characteristic> {
        let refuse = |what: String, help: &str| {
            self.document
                .error(codes::BAD_CHARACTERISTIC, table.span(), what, "", help);
            None
        };
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
        let points = |key: &str| {
            table
                .pairs(key)
                .into_iter()
                .map(|pair| pair.value)
                .collect()
        };
        let characteristic = match given.as_slice() {
            [key @ "volt_var"] => Characteristic::VoltVar(points(key)),
            [key @ "volt_watt"] => Characteristic::VoltWatt(points(key)),
            [key @ "watt_var"] => Characteristic::WattVar(points(key)),
            [key @ "freq_droop"] => {
                let droop = table.table(key)?;
                let number = |key: &str, example: &str| match droop.number(key) {
                    Some(number) => Some(number.value),
                    None if droop.has(key) => None,
                    None => droop.missing(key, example),
                };
                let read = (
                    number("db_of_hz", "0.036"),
                    number("db_uf_hz", "0.036"),
                    number("k_of", "0.05"),
                    number("k_uf", "0.05"),
                );
                droop.finish();
                Characteristic::FreqDroop(Droop {
                    db_over_hz: read.0?,
                    db_under_hz: read.1?,
                    k_over: read.2?,
                    k_under: read.3?,
                })
            }
            [key @ "power_factor"] => {
                let factor = table.table(key)?;
                let pf = match factor.number("pf") {
                    None if !factor.has("pf") => factor.missing("pf", "0.95"),
                    pf => pf,
                };
                let absorbs = factor.boolean("absorbs");
                factor.finish();
                Characteristic::PowerFactor {
                    pf: pf?.value,
                    absorbs: absorbs.is_some_and(|absorbs| absorbs.value),
                }
            }
            _ => {
                return refuse(
                    format!(
                        "a device adopts one thing at a time, this says {}",
                        given.len()
                    ),
                    "use one of: volt_var, volt_watt, watt_var, freq_droop, power_factor",
                );
            }
        };
        match characteristic.check() {
            Ok(()) => Some(characteristic),
            // What could not be read was told already.
            Err(_) if self.document.has_errors() => None,
            Err(why) => refuse(why.to_string(), ""),
        }
    }
}

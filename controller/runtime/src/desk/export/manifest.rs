//! The manifest of a run: what it was made of, and the digest of every other table, so that a paper can name its
//! data and a reader can tell whether they are the same.

use serde_json::Value;
use sha3::{Digest as _, Sha3_256};

use super::super::RULES_FILE;
use super::{Cell, Kind, MarketOfRun, Table, What};

/// Files of a run folder and what of them says what it was made of, by the keys that lead to it.
const BESIDE: [(&str, &[&str]); 9] = [
    ("env.json", &["gridrig"]),
    ("env.json", &["system"]),
    ("env.json", &["rig"]),
    ("env.json", &["rig_hash"]),
    ("env.json", &["seed"]),
    ("result.json", &["id"]),
    ("result.json", &["speed"]),
    ("result.json", &["started_utc"]),
    ("result.json", &["ledger", "root"]),
];

fn hexadecimal(digest: impl IntoIterator<Item = u8>) -> String {
    let bytes = digest.into_iter().map(|byte| format!("{byte:02x}"));
    bytes.collect()
}

impl MarketOfRun {
    pub(super) fn manifest(&self) -> Table {
        let mut items: Vec<(String, String)> = Vec::new();
        for (file, keys) in BESIDE {
            let bytes = std::fs::read(self.run_dir.join(file)).unwrap_or_default();
            let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let found = keys.iter().try_fold(&document, |at, key| at.get(key));
            let told = match found {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            items.push((keys.join("_"), told));
        }
        if let Ok(rules) = std::fs::read(self.run_dir.join(RULES_FILE)) {
            let digest = hexadecimal(Sha3_256::digest(rules));
            items.push(("rules_sha3_256".into(), digest));
        }
        items.push(("mechanism".into(), self.rules.venue.mechanism.clone()));
        let factor = self.rules.time_factor.to_string();
        items.push(("time_factor".into(), factor));
        items.push(("interval_ns".into(), self.rules.interval_ns.to_string()));
        for (name, what) in What::NAMES {
            if what == What::Manifest {
                continue;
            }
            let mut digest = Sha3_256::new();
            for line in self.table(what).csv() {
                digest.update(line);
                digest.update("\n");
            }
            let digest = hexadecimal(digest.finalize());
            items.push((format!("{name}_csv_sha3_256"), digest));
        }
        Table {
            columns: vec![("item", Kind::Text), ("value", Kind::Text)],
            rows: (items.into_iter())
                .map(|(item, value)| vec![Cell::Text(item), Cell::Text(value)])
                .collect(),
        }
    }
}

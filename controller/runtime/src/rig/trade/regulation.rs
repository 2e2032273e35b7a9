//! `[regulation]`: bounds of prices, tariffs of the network, levies, who may take part and under which
//! contract, and what of participants others are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use document::{Spanned, Table};
use market::Price;
use market::regulation::{Beyond, Levy};
use market::utility::Tariff;
use model::UtcTime;
use quantities::Energy;
use sha3::{Digest as _, Sha3_256};

use super::super::parse::Reader;
use super::super::sections::Place;
use super::super::{Participation, RigDevice};
use super::participant;
use crate::evidence::milliwatts;

/// Bounds of prices lie within those of a bench's market.
const BOUNDS: RangeInclusive<i64> = crate::desk::PRICE_FLOOR.0..=crate::desk::PRICE_CAP.0;
/// Tariffs and levies of a unit, in milli-cent per kWh: up to 10 EUR.
const RATES: RangeInclusive<i64> = 0..=1_000_000;
/// Fewest characters of the salt of pseudonyms. Chosen: 16, beyond guessing from a list of names.
const SALT_CHARS_MIN: usize = 16;

/// What a rig says under `[regulation]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regulation {
    /// Lowest admissible price, if it is not that of every bench.
    pub floor: Option<Price>,
    /// Highest admissible price.
    pub cap: Option<Price>,
    /// What becomes of a price beyond them.
    pub beyond: Beyond,
    /// Names of those who may take part, if not everybody may.
    pub eligible: Option<BTreeSet<String>>,
    /// Contracts by participant, if anybody needs one.
    pub contracts: Option<BTreeMap<String, ContractOfRig>>,
    /// Digest of the terms that hold, hexadecimal.
    pub terms: Option<String>,
    /// What the state takes.
    pub tax: Levy,
    /// What networks and funds take.
    pub surcharge: Levy,
    /// What of participants others are shown, if not everything.
    pub data: Option<DataOfRig>,
}

/// A participation contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractOfRig {
    /// What it is called where it is filed.
    pub id: String,
    /// From when it holds.
    pub from: UtcTime,
    /// Until when.
    pub until: UtcTime,
    /// Digest of the terms that it accepts.
    pub accepts: Option<String>,
}

/// What of participants others are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DataOfRig {
    /// From what pseudonyms are made; without it names are shown as they are.
    pub salt: Option<String>,
    /// Steps in which energies are shown, in milliwatt-hours.
    pub resolution_mwh: Option<i64>,
    /// How long intervals are shown after their end.
    pub retention: Option<Duration>,
    /// Whether orders are shown.
    pub orders: bool,
}

impl std::fmt::Debug for DataOfRig {
    /// The salt stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataOfRig")
            .field("pseudonyms", &self.salt.is_some())
            .field("resolution_mwh", &self.resolution_mwh)
            .field("retention", &self.retention)
            .field("orders", &self.orders)
            .finish()
    }
}

/// What the network takes on top of the utility's own prices, which are its two orders.
pub(super) fn with_network_tariff(reader: &Reader<'_>, tariff: Tariff) -> Tariff {
    let Some(table) = section(reader).and_then(|table| sub(&table, "tariff")) else {
        return tariff;
    };
    let rate = |key: &str| table.integer(key, RATES).map_or(0, |rate| rate.value);
    let (import, export) = (rate("import_mc_per_kwh"), rate("export_mc_per_kwh"));
    table.finish();
    Tariff {
        surcharge: Price(tariff.surcharge.0.saturating_add(import)),
        export_fee: Price(tariff.export_fee.0.saturating_add(export)),
        ..tariff
    }
}

fn section<'a>(reader: &Reader<'a>) -> Option<Table<'a>> {
    reader.section("regulation")
}

fn sub<'a>(table: &Table<'a>, key: &str) -> Option<Table<'a>> {
    table.has(key).then(|| table.table(key)).flatten()
}

/// A section that regulates nothing would be believed to.
pub(super) fn without_market(reader: &Reader<'_>) {
    if let Some(table) = section(reader) {
        let (what, help) = ("`[regulation]` has no market to regulate", "add `[market]`");
        (table.document()).error("R166", table.span(), what, "", help);
    }
}

pub(super) fn regulation(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    participants: &[Participation],
    tariff: &Tariff,
    lost_load: Option<i64>,
) -> Option<Regulation> {
    let table = section(reader)?;
    let bound = |key: &str| table.integer(key, BOUNDS).map(|price| Price(price.value));
    let (floor, cap) = (
        bound("price_floor_mc_per_kwh"),
        bound("price_cap_mc_per_kwh"),
    );
    let beyond = match table.has("beyond") {
        true => {
            let names = [("refuse", Beyond::Refuse), ("clip", Beyond::Clip)];
            table.choice("beyond", &names)?.value
        }
        false => Beyond::default(),
    };
    check_bounds(&table, (floor, cap), tariff, lost_load);
    let terms = terms(reader, &table);
    let eligible = sub(&table, "eligible").map(|list| eligible(list, devices, participants));
    let contracts =
        sub(&table, "contract").map(|list| contracts(&list, participants, terms.as_deref()));
    let tax = levy(&table, "tax");
    let surcharge = levy(&table, "surcharge");
    let data = sub(&table, "data").map(data);
    // The tariff is read where the market's own is.
    let _read_before = table.has("tariff");
    table.finish();
    Some(Regulation {
        floor,
        cap,
        beyond,
        eligible,
        contracts,
        terms,
        tax,
        surcharge,
        data,
    })
}

/// The utility grid orders at its tariff, and a load that must run at the value of lost load: bounds
/// that shut them out would stop the market.
fn check_bounds(
    table: &Table<'_>,
    (floor, cap): (Option<Price>, Option<Price>),
    tariff: &Tariff,
    lost_load: Option<i64>,
) {
    let wrong = |key: &str, what: String, help: String| {
        let document = table.document();
        document.error("R165", table.span_of(key), what, "", help);
    };
    const FLOOR: &str = "price_floor_mc_per_kwh";
    const CAP: &str = "price_cap_mc_per_kwh";
    if let (Some(floor), Some(cap)) = (floor, cap)
        && floor >= cap
    {
        let what = format!("the floor {floor} is not below the cap {cap}");
        wrong(FLOOR, what, "let the floor be the lower one".into());
        return;
    }
    // A tariff that is none was told already.
    let Ok(parity) = tariff.parity() else {
        return;
    };
    if let Some(cap) = cap.filter(|cap| *cap < parity.import) {
        let what = format!(
            "energy of the utility costs {}, and the cap is {cap}: it could sell nothing",
            parity.import
        );
        wrong(
            CAP,
            what,
            format!("let the cap be {} or more", parity.import.0),
        );
    }
    if let Some(floor) = floor.filter(|floor| *floor > parity.export) {
        let what = format!(
            "the utility pays {} for energy, and the floor is {floor}: it could buy nothing",
            parity.export
        );
        wrong(
            FLOOR,
            what,
            format!("let the floor be {} or less", parity.export.0),
        );
    }
    if let (Some(cap), Some(lost_load)) = (cap, lost_load)
        && lost_load > cap.0
    {
        let what = format!("the value of lost load, {lost_load} mc/kWh, is above the cap {cap}");
        wrong(
            CAP,
            what,
            "let the cap be no less than `lost_load_mc_per_kwh`".into(),
        );
    }
}

/// The digest of the file with the terms.
fn terms(reader: &Reader<'_>, table: &Table<'_>) -> Option<String> {
    let named = table.text("terms")?;
    let path = reader.path(table, &named.value);
    match std::fs::read(&path) {
        Ok(bytes) => Some(hexadecimal(&Sha3_256::digest(bytes))),
        Err(e) => {
            let what = format!("the terms {} cannot be read: {e}", path.display());
            let help = "name a file beside the rig: contracts accept it by its digest";
            (table.document()).error("R169", named.span, what, "", help);
            None
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whom a list of names, kinds or devices means.
fn eligible(
    list: Table<'_>,
    devices: &[(RigDevice, Place<'_>)],
    participants: &[Participation],
) -> BTreeSet<String> {
    let device = |one: &Participation| devices[one.device].0.id.to_string();
    let kind = |one: &Participation| participant::kind_name(one.kind).to_owned();
    let name = |one: &Participation| one.name.clone();
    type Of<'a> = &'a dyn Fn(&Participation) -> String;
    let keys = [
        ("participants", &name as Of<'_>),
        ("kinds", &kind),
        ("devices", &device),
    ];
    let mut found = BTreeSet::new();
    for (key, of) in keys {
        for wanted in list.texts(key) {
            let mut fitting = participants
                .iter()
                .filter(|one| of(one) == wanted.value)
                .peekable();
            if fitting.peek().is_none() {
                stranger(&list, &wanted, key);
            }
            found.extend(fitting.map(|one| one.name.clone()));
        }
    }
    list.finish();
    found
}

fn stranger(table: &Table<'_>, wanted: &Spanned<String>, key: &str) {
    let what = format!("nobody in the market is `{}`", wanted.value);
    let help = match key {
        "kinds" => "a kind is that of a participant: pv, must_run, flexible or storage",
        "devices" => "a device is one with which somebody trades",
        _ => "use the names of `[market.participant]`",
    };
    (table.document()).error("R167", wanted.span.clone(), what, "", help);
}

fn contracts(
    list: &Table<'_>,
    participants: &[Participation],
    terms: Option<&str>,
) -> BTreeMap<String, ContractOfRig> {
    let document = list.document();
    let mut found = BTreeMap::new();
    for name in list.keys() {
        let Some(entry) = list.table(&name.value) else {
            continue;
        };
        if participants.iter().all(|one| one.name != name.value) {
            stranger(list, &name, "participants");
        }
        let id = entry.required_text("id", "\"2026-017\"");
        let moment = |key: &str, example: &str| {
            let text = entry.required_text(key, example)?;
            let moment = text.value.parse::<UtcTime>();
            moment
                .map_err(|e| document.error("R168", text.span, e.to_string(), "", ""))
                .ok()
        };
        let from = moment("from", "\"2026-01-01\"");
        let until = moment("until", "\"2027-01-01\"");
        let accepts = entry.text("accepts");
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            let what = "the contract ends before it begins";
            document.error("R168", entry.span_of("until"), what, "", "");
        }
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let accepts = match (accepts, terms) {
            (Some(accepts), _) if !is_digest(&accepts.value) => {
                let what = "terms are accepted by their SHA3-256 digest, 64 hexadecimal digits";
                document.error("R168", accepts.span, what, "", "");
                None
            }
            (Some(accepts), None) => {
                let what = "the contract accepts terms, and the rig names none";
                document.error(
                    "R168",
                    accepts.span,
                    what,
                    "",
                    "add `terms` to `[regulation]`",
                );
                None
            }
            (None, Some(_)) => {
                entry.missing::<()>("accepts", &format!("\"{}\"", terms.unwrap_or_default()));
                None
            }
            (Some(accepts), Some(terms)) => {
                let digest = accepts.value.to_ascii_lowercase();
                if digest != terms {
                    let what = format!("`{}` has not accepted the terms that hold", name.value);
                    let help = format!(
                        "its orders are refused with M058 until `accepts` is the digest of the terms, {terms}"
                    );
                    document.warning("R168", accepts.span, what, help);
                }
                Some(digest)
            }
            (None, None) => None,
        };
        entry.finish();
        if let (Some(id), Some(from), Some(until)) = (id, from, until) {
            let id = id.value;
            let contract = ContractOfRig {
                id,
                from,
                until,
                accepts,
            };
            found.insert(name.value, contract);
        }
    }
    found
}

fn levy(table: &Table<'_>, key: &str) -> Levy {
    let Some(levy) = sub(table, key) else {
        return Levy::default();
    };
    let rate = |key: &str| Price(levy.integer(key, RATES).map_or(0, |rate| rate.value));
    let found = Levy {
        withdrawal: rate("withdrawal_mc_per_kwh"),
        injection: rate("injection_mc_per_kwh"),
    };
    levy.finish();
    found
}

fn data(table: Table<'_>) -> DataOfRig {
    let document = table.document();
    let are_hidden = table.has("names") && {
        let names = [("as_they_are", false), ("pseudonyms", true)];
        table.choice("names", &names).is_some_and(|it| it.value)
    };
    let salt = table.text("salt");
    match &salt {
        Some(salt) if !are_hidden => {
            let what = "a salt is for pseudonyms, and names are shown as they are";
            let help = "add `names = \"pseudonyms\"`, or leave `salt` out";
            document.error("R170", salt.span.clone(), what, "", help);
        }
        Some(salt) if salt.value.len() < SALT_CHARS_MIN => {
            let what = "so short a salt can be guessed, and with it every name";
            let help = "give 16 characters or more, such as `openssl rand -hex 16` prints";
            document.error("R170", salt.span.clone(), what, "", help);
        }
        None if are_hidden => {
            let what = "pseudonyms are made from the names and a salt that nobody else knows";
            let help = "add `salt = \"…\"`, 16 characters or more";
            document.error("R170", table.span_of("names"), what, "", help);
        }
        _ => {}
    }
    let resolution = table.quantity::<Energy>("resolution");
    let resolution_mwh = resolution.map(|it| (milliwatts(it.value.as_watt_hours()), it.span));
    if let Some((mwh, span)) = &resolution_mwh
        && *mwh <= 0
    {
        let help = "such as \"10Wh\"";
        document.error("R170", span.clone(), "a resolution is positive", "", help);
    }
    let retention = table.duration("retention").map(|it| it.value);
    let orders = match table.has("orders") {
        true => table.boolean("orders").is_none_or(|it| it.value),
        false => true,
    };
    table.finish();
    DataOfRig {
        salt: salt.map(|salt| salt.value),
        resolution_mwh: resolution_mwh.map(|(mwh, _)| mwh),
        retention,
        orders,
    }
}

#[cfg(test)]
mod tests;

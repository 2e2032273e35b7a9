//! `[market.participant]`: who takes part with which device, and by which strategy.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use document::Table;
use market::forecast::{Method, Profile};
use quantities::StateOfCharge;

use super::super::sections::{Place, named};
use super::super::{ParticipantKind, Participation, RigDevice, Strategy};
use super::penalty::DEPOSITS;
use super::{hvac, reserve};
use crate::evidence::milliwatts;

/// One whole, in parts per million.
const WHOLE_PPM: u32 = 1_000_000;
/// Prices of participants lie within these, in milli-cent per kWh.
pub(super) const PRICES: RangeInclusive<i64> = -10_000_000..=10_000_000;
/// Accounts of the market itself.
const RESERVED: [&str; 8] = [
    crate::desk::UTILITY,
    market::venue::balancing::POOL,
    "operator",
    "penalties",
    "taxes",
    "surcharges",
    "congestion",
    "losses",
];

pub(super) fn participants(
    market: &Table<'_>,
    devices: &[(RigDevice, Place<'_>)],
) -> Vec<Participation> {
    let mut found = Vec::new();
    let mut shares: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
    let Some(list) = market.table("participant") else {
        return found;
    };
    let document = list.document();
    for name in list.keys() {
        let Some(entry) = list.table(&name.value) else {
            continue;
        };
        if RESERVED.contains(&name.value.as_str()) {
            document.error(
                "R096",
                name.span.clone(),
                format!("`{}` is an account of the market itself", name.value),
                "",
                "give the participant another name, and its device by `device`",
            );
        }
        let device = entry.text("device");
        let (on, span) = match &device {
            Some(device) => (device.value.clone(), device.span.clone()),
            None => (name.value.clone(), name.span.clone()),
        };
        let index = named(devices, &on);
        if index.is_none() {
            document.error(
                "R009",
                span,
                format!("`market` speaks of `{on}`, which the rig does not have"),
                "",
                "use the same names as in `[device]`",
            );
        }
        let share = entry.integer("share_ppm", 1..=i64::from(WHOLE_PPM));
        let share_ppm = share.map_or(WHOLE_PPM, |share| share.value as u32);
        let deposit_mc = entry.integer("deposit_mc", DEPOSITS).map(|it| it.value);
        let states_bound = entry.boolean("bound").map(|it| it.value);
        let strategy = strategy(&entry);
        let forecast = strategy
            .as_ref()
            .and_then(|(kind, _)| forecast(&entry, *kind));
        let reserve = reserve::offer(&entry, strategy.as_ref().map(|(kind, _)| *kind));
        entry.finish();
        if let Some(index) = index {
            let sum = shares.entry(index).or_default();
            sum.0 += u64::from(share_ppm);
            sum.1 += 1;
        }
        if let (Some(index), Some((_, Strategy::External))) = (index, &strategy)
            && devices[index].0.p.is_none()
        {
            document.error(
                "R105",
                name.span.clone(),
                format!(
                    "`{}` orders from outside, and the rig states no limits of `{}`",
                    name.value, devices[index].0.id
                ),
                "",
                "give the device `limits = { p = \"-2..0kW\" }`: what is ordered beyond is refused",
            );
        }
        if let (Some(device), Some((kind, strategy)), Some(forecast)) = (index, strategy, forecast)
        {
            found.push(Participation {
                name: name.value,
                device,
                share_ppm,
                kind,
                strategy,
                forecast,
                // The bench holds its exchange with storages: what they do is then not their own.
                bound: states_bound.unwrap_or(kind != ParticipantKind::Storage),
                deposit_mc,
                reserve,
            });
        }
    }
    for (index, (sum, count)) in shares {
        if sum != u64::from(WHOLE_PPM) {
            document.error(
                "R097",
                list.span(),
                format!(
                    "the shares of `{}` come to {sum} ppm in {count} participants",
                    devices[index].0.id
                ),
                "",
                "let `share_ppm` of all participants with one device come to 1000000",
            );
        }
    }
    list.finish();
    found.sort_by(|a, b| (a.device, &a.name).cmp(&(b.device, &b.name)));
    found
}

/// Weight of the newest power in a smoothed forecast. Chosen: a fifth, so that the last ten intervals
/// make up most of it.
const SMOOTHING_PPM: u32 = 200_000;
/// Length of a day whose course repeats.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How a participant whose device does as it likes forecasts it; the others order what they can do.
fn forecast(entry: &Table<'_>, kind: ParticipantKind) -> Option<Method> {
    #[derive(Clone, Copy)]
    enum Named {
        Persistence,
        Smoothing,
        Profile,
    }
    const KEY: &str = "forecast";
    if !matches!(kind, ParticipantKind::Pv | ParticipantKind::MustRun) || !entry.has(KEY) {
        return Some(Method::default());
    }
    let names = [
        ("persistence", Named::Persistence),
        ("smoothing", Named::Smoothing),
        ("profile", Named::Profile),
    ];
    Some(match entry.choice(KEY, &names)?.value {
        Named::Persistence => Method::Persistence,
        Named::Smoothing => Method::Smoothing {
            weight_ppm: match entry.has("smoothing_ppm") {
                true => {
                    entry
                        .integer("smoothing_ppm", 1..=i64::from(WHOLE_PPM))?
                        .value as u32
                }
                false => SMOOTHING_PPM,
            },
        },
        Named::Profile => {
            let points: Vec<f64> = match entry.has("profile_w") {
                true => (entry.numbers("profile_w").into_iter())
                    .map(|p| p.value)
                    .collect(),
                false => entry.missing("profile_w", "[-300, -900, -600]")?,
            };
            let day = match entry.has("profile_day") {
                true => entry.duration("profile_day")?.value,
                false => DAY,
            };
            if points.is_empty() || day.is_zero() {
                let what = "a profile has a power at one time of its day at least";
                let help = "give powers of the device in W, + into the bus, from the beginning of the day on";
                let document = entry.document();
                document.error("R171", entry.span_of("profile_w"), what, "", help);
                return None;
            }
            Method::Profile(Profile {
                milliwatts: points.into_iter().map(milliwatts).collect(),
                day_ns: i64::try_from(day.as_nanos()).unwrap_or(i64::MAX),
            })
        }
    })
}

/// The names of the strategies, as a rig writes them.
#[derive(Clone, Copy)]
enum Name {
    PriceTaker,
    Zi,
    Zip,
    Quadratic,
    Hvac,
    Thresholds,
    BatteryDp,
    Vehicle,
    External,
}

/// A kind, and which strategies it may follow; the first is what it does by default.
struct Kind {
    name: &'static str,
    kind: ParticipantKind,
    strategies: &'static [(&'static str, Name)],
}

const TRADERS: [(&str, Name); 4] = [
    ("price_taker", Name::PriceTaker),
    ("zi", Name::Zi),
    ("zip", Name::Zip),
    ("external", Name::External),
];

const KINDS: [Kind; 4] = [
    Kind {
        name: "pv",
        kind: ParticipantKind::Pv,
        strategies: &TRADERS,
    },
    Kind {
        name: "must_run",
        kind: ParticipantKind::MustRun,
        strategies: &TRADERS,
    },
    Kind {
        name: "flexible",
        kind: ParticipantKind::Flexible,
        strategies: &[
            ("price_taker", Name::PriceTaker),
            ("zi", Name::Zi),
            ("zip", Name::Zip),
            ("quadratic", Name::Quadratic),
            ("hvac", Name::Hvac),
            ("external", Name::External),
        ],
    },
    Kind {
        name: "storage",
        kind: ParticipantKind::Storage,
        strategies: &[
            ("thresholds", Name::Thresholds),
            ("battery_dp", Name::BatteryDp),
            ("ev", Name::Vehicle),
            ("external", Name::External),
        ],
    },
];

/// What a rig calls a kind.
pub(super) fn kind_name(wanted: ParticipantKind) -> &'static str {
    let mut kinds = KINDS.iter().filter(|kind| kind.kind == wanted);
    kinds.next().map_or("", |kind| kind.name)
}

fn strategy(entry: &Table<'_>) -> Option<(ParticipantKind, Strategy)> {
    if !entry.has("kind") {
        return entry.missing("kind", "\"pv\"");
    }
    let kinds = KINDS.each_ref().map(|kind| (kind.name, kind));
    let Kind {
        kind, strategies, ..
    } = entry.choice("kind", &kinds)?.value;
    let kind = *kind;
    let name = match entry.has("strategy") {
        true => entry.choice("strategy", strategies)?.value,
        false => strategies[0].1,
    };
    let price = |key: &str| match entry.has(key) {
        true => entry.integer(key, PRICES).map(|p| p.value),
        false => entry.missing(key, "20000"),
    };
    let optional = |key: &str, range: RangeInclusive<i64>, default: i64| match entry.has(key) {
        true => entry.integer(key, range).map(|p| p.value),
        false => Some(default),
    };
    // What a unit is worth to it, or costs it: the sun costs nothing, a load says what it pays.
    let limit = || match kind {
        ParticipantKind::Pv => optional("limit_mc_per_kwh", PRICES, 0),
        ParticipantKind::Flexible => price("willingness_mc_per_kwh"),
        ParticipantKind::MustRun | ParticipantKind::Storage => price("limit_mc_per_kwh"),
    };
    let seed = || optional("seed", 0..=i64::MAX, 0).map(|seed| seed.unsigned_abs());
    let strategy = match name {
        Name::PriceTaker => Strategy::PriceTaker {
            limit_mc: match kind {
                ParticipantKind::MustRun => None,
                _ => Some(limit()?),
            },
        },
        Name::External => Strategy::External,
        Name::Zi => {
            let (limit_mc, seed) = (limit(), seed());
            let constrained = match entry.has("constrained") {
                true => entry.boolean("constrained").map(|it| it.value),
                false => Some(true),
            };
            Strategy::ZeroIntelligence {
                limit_mc: limit_mc?,
                constrained: constrained?,
                seed: seed?,
            }
        }
        Name::Zip => {
            let (limit_mc, seed) = (limit(), seed());
            let margin_mc = optional("margin_mc_per_kwh", 0..=*PRICES.end(), 0);
            Strategy::Zip {
                limit_mc: limit_mc?,
                margin_mc: margin_mc?,
                seed: seed?,
            }
        }
        Name::Hvac => hvac::strategy(entry)?,
        Name::Quadratic => Strategy::Quadratic {
            choke_mc: price("willingness_mc_per_kwh")?,
        },
        Name::Thresholds => {
            let buy_below_mc = price("buy_below_mc_per_kwh");
            let sell_above_mc = price("sell_above_mc_per_kwh");
            Strategy::Thresholds {
                buy_below_mc: buy_below_mc?,
                sell_above_mc: sell_above_mc?,
            }
        }
        Name::BatteryDp => {
            let value_mc = match entry.has("value_mc_per_kwh") {
                true => entry.integer("value_mc_per_kwh", 100..=*PRICES.end()),
                false => entry.missing("value_mc_per_kwh", "20000"),
            };
            let wear_mc = optional("wear_mc_per_kwh", 0..=*PRICES.end(), 0);
            let forecast_mc: Vec<i64> = match entry.has("forecast_mc_per_kwh") {
                true => (entry.integers("forecast_mc_per_kwh").into_iter())
                    .map(|p| p.value)
                    .collect(),
                false => entry.missing("forecast_mc_per_kwh", "[12000, 30000]")?,
            };
            if forecast_mc.is_empty() || forecast_mc.iter().any(|p| !PRICES.contains(p)) {
                entry.document().error(
                    "R098",
                    entry.span_of("forecast_mc_per_kwh"),
                    "a forecast is a list of prices between -10000000 and 10000000",
                    "",
                    "give one price for each interval to come; the list begins again at its end",
                );
                return None;
            }
            Strategy::BatteryDp {
                value_mc: value_mc?.value,
                wear_mc: wear_mc?,
                forecast_mc,
            }
        }
        Name::Vehicle => {
            let time = |key: &str, example: &str| match entry.has(key) {
                true => entry.duration(key).map(|it| it.value),
                false => entry.missing(key, example),
            };
            let departure = time("departure", "\"45min\"");
            let patient_mc = price("patient_mc_per_kwh");
            let slack = match entry.has("slack") {
                true => time("slack", ""),
                // Chosen: an hour, the time within which prices of a day differ little.
                false => Some(Duration::from_secs(3600)),
            };
            let wanted = match entry.has("wanted") {
                true => entry.quantity::<StateOfCharge>("wanted").map(|it| it.value),
                false => entry.missing("wanted", "\"80%\""),
            };
            let urgency = optional("urgency", 1..=4, 2);
            Strategy::Vehicle {
                departure: departure?,
                wanted_ppm: (wanted?.as_fraction() * 1e6).round() as u32,
                patient_mc: patient_mc?,
                slack: slack?,
                urgency: urgency? as u32,
            }
        }
    };
    Some((kind, strategy))
}

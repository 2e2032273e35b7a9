//! Opens a desk: the rules of a rig's market, written beside the run and bound in its ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use market::agent::UtilityGrid;
use market::book::Capability;
use market::meter::{EnergyMeter, MeterRules};
use market::quantity::energy_of_power_mwh;
use market::regulation::{Contract, RegulationRules};
use market::venue::{AheadRules, IntradayRules, VenueRules};
use market::{AgentId, BookRules, Counter, Mwh, MwhTotal};
use model::{DeviceIx, Instant, UtcTime};

use super::credits::Credits;
use super::direction::DirectionWatch;
use super::doubt::WatchedMeter;
use super::intraday::Quotes;
use super::outside::BidQueue;
use super::protection::Protection;
use super::reserve::{self, Reserves};
use super::seat::{self, Seat};
use super::signs::Signs;
use super::{
    AheadTimes, Desk, DeskError, DeskState, FIRST_START, PRICE_CAP, PRICE_FLOOR, PRICE_TICK,
    RULES_FILE, RULES_SCHEMA, RULES_SUBJECT, Rules, UTILITY,
};
use crate::evidence::{self, CONTROLLER, Evidence, milliwatts};
use crate::rig::{ContractOfRig, Regulation, Rig};

/// Coverage rules of the meters: samples up to 3 s apart count as one curve (a plug reports every
/// 1 to 2 s); 95 % coverage is valid, 50 % is an estimate. Chosen from the poll periods of the
/// bundled profiles.
const METER_RULES: MeterRules = MeterRules {
    gap_ns_max: 3_000_000_000,
    valid_ppm: 950_000,
    estimated_ppm: 500_000,
};

/// Multiple of its stated limits beyond which a device cannot be.
/// Chosen: twice, more than any inverter bears for the time of a sample.
const OVER_LIMITS: f64 = 2.0;

/// What a rig's regulation asks of the venue, with its moments in market time.
fn regulation_rules(
    regulation: &Regulation,
    epoch_utc_ns: i64,
    time_factor: i64,
) -> RegulationRules {
    let contract = |(who, contract): (&String, &ContractOfRig)| {
        let at = |utc: UtcTime| {
            let since = utc.unix_nanos().saturating_sub(epoch_utc_ns);
            since.saturating_mul(time_factor)
        };
        let contract = Contract {
            id: contract.id.clone(),
            from_ns: at(contract.from),
            until_ns: at(contract.until),
            accepts: contract.accepts.clone(),
        };
        (AgentId::from(who.as_str()), contract)
    };
    RegulationRules {
        beyond: regulation.beyond,
        eligible: (regulation.eligible.as_ref())
            .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        contracts: (regulation.contracts.as_ref())
            .map(|contracts| contracts.iter().map(contract).collect()),
        terms: regulation.terms.clone(),
        tax: regulation.tax,
        surcharge: regulation.surcharge,
    }
}

impl Desk {
    /// Opens the desk of a rig: writes its rules into the run folder and binds them to the ledger.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn open(
        rig: &Rig,
        market: &crate::rig::Market,
        run_dir: &Path,
        evidence: &mut Evidence,
        now: Instant,
        utc: UtcTime,
    ) -> Result<Self, DeskError> {
        let wrong = |e: &dyn std::fmt::Display| DeskError::Rules(e.to_string());
        let parity = market.tariff.parity().map_err(|e| wrong(&e))?;
        let bench = rig.bench();
        let interval_ns = market.interval.as_nanos() as i64;
        let time_factor = i64::from(market.time_factor);
        let mut seats = Vec::new();
        let mut indivisible = BTreeSet::new();
        let energy = |milliwatts: i64| {
            let energy = energy_of_power_mwh(milliwatts, interval_ns);
            MwhTotal::from(energy.unwrap_or(Mwh(i64::MAX)))
        };
        let coupling = energy(milliwatts(market.pcc_max.as_watts()));
        let both = Capability {
            inject_max: coupling,
            withdraw_max: coupling,
        };
        let mut capabilities = BTreeMap::from([(AgentId::from(UTILITY), both)]);
        for how in &market.participants {
            let spec = seat::left_by_reserves(&bench, DeviceIx(how.device as u16));
            let spec = reserve::left_by_offer(market, &bench, how.reserve.as_ref(), spec);
            let seat = Seat::of(how, &spec, (interval_ns, time_factor)).map_err(|e| wrong(&e))?;
            if seat.is_indivisible(&spec) {
                indivisible.insert(seat.agent.clone());
            }
            let (withdraw, inject) = match rig.devices[how.device].p {
                Some(_) => seat::most_milliwatts(how, &spec),
                // Without stated limits nobody can say what would be too much.
                None => (i64::MAX, i64::MAX),
            };
            let capability = Capability {
                inject_max: energy(inject),
                withdraw_max: energy(withdraw),
            };
            capabilities.insert(seat.agent.clone(), capability);
            seats.push(seat);
        }
        let wired = super::feeder::of_rig(rig, &seats, interval_ns).map_err(|e| wrong(&e))?;
        let (feeder, watch) = wired.unzip();
        let obligations = market.obligations.clone();
        let outside = seats.iter().filter(|seat: &&Seat| seat.is_outside());
        let outsiders: BTreeSet<AgentId> = outside.map(|seat| seat.agent.clone()).collect();
        // Nobody from outside may order what its device cannot do.
        let reserve = reserve::rules(market, &bench);
        let are_bounded = obligations.is_some() || !outsiders.is_empty() || reserve.is_some();
        let regulation = market.regulation.as_ref();
        let epoch_utc_ns = utc.unix_nanos().saturating_sub(now.as_nanos() as i64);
        let floor = regulation.and_then(|it| it.floor).unwrap_or(PRICE_FLOOR);
        let cap = regulation.and_then(|it| it.cap).unwrap_or(PRICE_CAP);
        let names: Vec<String> = seats
            .iter()
            .map(|seat: &Seat| seat.agent.to_string())
            .collect();
        let data = regulation.and_then(|it| it.data.as_ref());
        let rules = Rules {
            schema: RULES_SCHEMA,
            venue: VenueRules {
                mechanism: market.mechanism.clone(),
                book: BookRules {
                    capabilities: are_bounded.then_some(capabilities),
                    ..BookRules::bounded(floor, cap, PRICE_TICK)
                },
                utility: UTILITY.into(),
                parity,
                indivisible,
                obligations,
                ahead: market.day_ahead.as_ref().map(|stage| AheadRules {
                    mechanism: stage.mechanism.clone(),
                }),
                regulation: regulation.map(|it| regulation_rules(it, epoch_utc_ns, time_factor)),
                contracts: market.contracts.clone(),
                intraday: (market.intraday_intervals).map(|intervals| IntradayRules { intervals }),
                reserve: reserve.clone(),
            },
            epoch_utc_ns,
            first_start_ns: FIRST_START.as_nanos() as i64 * time_factor,
            interval_ns,
            feeder,
            balancing: market.balancing,
            time_factor,
            protection: data.map(|data| Protection::of_rig(data, &names, parity.import.0)),
        };
        let venue = rules.venue().map_err(DeskError::Rules)?;
        let bytes = serde_json::to_vec_pretty(&rules).map_err(|e| wrong(&e))?;
        std::fs::write(run_dir.join(RULES_FILE), &bytes).map_err(DeskError::Write)?;
        let bind = evidence::document(RULES_SUBJECT, &bytes, "rules of this run's market");
        evidence.note(utc, vec![evidence.draft(CONTROLLER, bind)])?;
        let ahead = market.day_ahead.as_ref().map(|stage| {
            let gate_ns = stage.gate.as_nanos() as i64;
            // Blocks whose gate had closed before the run began are traded in real time alone.
            let is_open = |block: &u64| {
                let first = rules.interval(block * stage.intervals);
                first.is_none_or(|first| first.start_ns - gate_ns >= rules.market_ns(now))
            };
            AheadTimes {
                intervals: stage.intervals,
                gate_ns,
                next: (0..).find(is_open).unwrap_or_default() * stage.intervals,
            }
        });
        let meter_rules = MeterRules {
            gap_ns_max: METER_RULES.gap_ns_max * time_factor,
            ..METER_RULES
        };
        let watched = |most| {
            let meter = EnergyMeter::new(meter_rules).map_err(|e| wrong(&e))?;
            Ok::<_, DeskError>(WatchedMeter::new(meter, &meter_rules, most, time_factor))
        };
        let mut meters = BTreeMap::new();
        for seat in &seats {
            let limits = rig.devices[seat.device.index()].p;
            let most = limits.map(|p| {
                let (low, high) = (p.lower().as_watts().abs(), p.upper().as_watts().abs());
                milliwatts(low.max(high) * OVER_LIMITS)
            });
            meters.insert(seat.device, watched(most)?);
        }
        let signs = market.sign_check.map(|share| {
            let traded = market.participants.iter().map(|how| {
                let device = DeviceIx(how.device as u16);
                let name = &*rig.devices[how.device].id;
                (device, how.kind, name, &bench.devices[how.device])
            });
            Signs::new(share, traded)
        });
        Ok(Self {
            venue,
            signs,
            pcc_max: market.pcc_max,
            utility: UtilityGrid {
                agent: UTILITY.into(),
                parity,
            },
            // What flows at the coupling has no limit that a rig must state.
            utility_meter: watched(None)?,
            pcc: bench.first(model::Role::Pcc).map(|(ix, _)| ix),
            rules,
            seats,
            meters,
            unread: BTreeMap::new(),
            lost_load: market.lost_load,
            directions: DirectionWatch::default(),
            watch,
            ceilings: BTreeMap::new(),
            names: rig.devices.iter().map(|d| d.id.to_string()).collect(),
            bids: BidQueue::default(),
            ahead_counter: Counter::new(outsiders.clone()),
            counter: Counter::new(outsiders),
            silent: BTreeSet::new(),
            ahead,
            intraday: market.intraday_intervals.map(Quotes::new),
            reserves: Reserves::of(market, &bench, reserve, |device| {
                seat::left_by_reserves(&bench, device)
            }),
            clock: None,
            gate_before_ns: market.gate.as_nanos() as i64,
            untold: Vec::new(),
            lead: None,
            next: 0,
            waiting: Vec::new(),
            running: Vec::new(),
            credits: Credits::default(),
            cause: None,
            state: DeskState::default(),
        })
    }
}

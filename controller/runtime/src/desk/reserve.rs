//! The reserve stage at the desk: buys readiness at the gate, tells control who is ready, and looks in every
//! cycle at how those who are called follow.
//!
//! What was asked for is what control asks of each device; what is measured is its meter. Both are summed
//! up in whole milliwatts, and the sums are what the ledger has: a replay comes to the same pay by them.

use std::collections::BTreeMap;

use ledger_core::payload::Payload;
use market::activation::Moment;
use market::quantity::energy_of_power_mwh;
use market::venue::ReserveRules;
use market::venue::reserve::{Activation, Course, Offer, product};
use market::{AgentId, Clearing, Interval, Mwh, Order, Side};
use model::{DeviceIx, DeviceSpec, Event, Instant, Link, Readiness, ReadyShare, ServiceIx};
use quantities::{ActivePower, Energy, Quantity};

use super::clearing::{AtGate, Posted, append, clearing_draft, order_drafts, uncleared};
use super::records::activation_payload;
use super::seat::charge_of;
use super::{BenchNow, Desk, DeskSays};
use crate::evidence::{CONTROLLER, Evidence, NotDurable, milliwatts};
use crate::rig::{Market, ReserveOffer, reserves};

/// The directions of readiness: up sells more, down less.
pub(super) const SIDES: [Side; 2] = [Side::Sell, Side::Buy];

/// Who offers to be ready.
struct Provider {
    agent: AgentId,
    /// Its device, as services other than that of the market leave it.
    spec: DeviceSpec,
    device: DeviceIx,
}

/// Who is ready in an interval, and how it is called.
struct Running {
    interval: Interval,
    /// By provider: its baseline and its course.
    courses: BTreeMap<AgentId, (Baseline, Course)>,
}

/// What a provider does in an interval without being called, in milliwatts.
struct Baseline {
    /// What it has traded.
    cleared: i64,
    /// On its way there from where it was found, no faster than its ramp.
    now: Option<i64>,
}

impl Baseline {
    /// Where it is after so long: it goes to what is asked of it beside the calls.
    fn after(&mut self, for_ns: i64, asked: i64, found: Option<i64>, ramp_w_per_s: f64) -> i64 {
        // A step of the ramp in that time; a ramp beyond all bounds is none.
        let step = milliwatts(ramp_w_per_s * for_ns as f64 * 1e-9).max(0);
        let now = match self.now {
            Some(from) => asked.clamp(from.saturating_sub(step), from.saturating_add(step)),
            None => found.unwrap_or(asked),
        };
        self.now = Some(now);
        now
    }
}

/// What the desk keeps of the stage.
pub(super) struct Reserves {
    /// The service that the market buys.
    service: ServiceIx,
    /// How long each provider must be able to sustain what it is ready for.
    hold: std::time::Duration,
    rules: ReserveRules,
    providers: Vec<Provider>,
    running: BTreeMap<u64, Running>,
    /// When it was looked last.
    looked_ns: i64,
}

/// The rules of the stage for intervals of this length; `None` where nobody buys reserve.
pub(super) fn rules(market: &Market, bench: &control::Bench) -> Option<ReserveRules> {
    let stage = market.reserve.as_ref()?;
    let (_, spec) = service_of(market, bench)?;
    let interval_ns = i64::try_from(market.interval.as_nanos()).ok()?;
    let energy = |milliwatt: i64| energy_of_power_mwh(milliwatt, interval_ns).unwrap_or(Mwh(0));
    let offer = |offer: &ReserveOffer| Offer {
        up: energy(offer.up_milliwatt),
        down: energy(offer.down_milliwatt),
        ready: offer.ready,
        up_energy: offer.up_energy,
        down_energy: offer.down_energy,
    };
    let offers = market.participants.iter();
    let offers =
        offers.filter_map(|one| Some((one.name.as_str().into(), offer(one.reserve.as_ref()?))));
    Some(ReserveRules {
        up: energy(milliwatts(spec.up.as_watts())),
        down: energy(milliwatts(spec.down.as_watts())),
        limit: stage.limit,
        penalty: stage.penalty,
        procurement: stage.procurement,
        offers: offers.collect(),
    })
}

/// The service that a market buys.
fn service_of<'a>(
    market: &Market,
    bench: &'a control::Bench,
) -> Option<(usize, &'a control::ServiceSpec)> {
    let stage = market.reserve.as_ref()?;
    let mut services = bench.settings.services.iter().enumerate();
    services.find(|(_, spec)| spec.name == stage.service)
}

/// The device of a participant without the charge for all that it offers: charge cannot be bought back from
/// one interval to the next.
pub(super) fn left_by_offer(
    market: &Market,
    bench: &control::Bench,
    offer: Option<&ReserveOffer>,
    mut spec: DeviceSpec,
) -> DeviceSpec {
    if let Some((offer, (_, service))) = offer.zip(service_of(market, bench)) {
        // The rig was refused if no charge were left.
        let charge = reserves(offer, service).charge(&spec);
        spec.rating.soc = charge.unwrap_or(spec.rating.soc);
    }
    spec
}

impl Reserves {
    pub(super) fn of(
        market: &Market,
        bench: &control::Bench,
        rules: Option<ReserveRules>,
        spec: impl Fn(DeviceIx) -> DeviceSpec,
    ) -> Option<Self> {
        let (index, service) = service_of(market, bench)?;
        let offering = market
            .participants
            .iter()
            .filter(|one| one.reserve.is_some());
        let providers = offering.map(|one| Provider {
            agent: one.name.as_str().into(),
            device: DeviceIx(one.device as u16),
            spec: spec(DeviceIx(one.device as u16)),
        });
        Some(Self {
            service: ServiceIx(index as u16),
            hold: service.hold,
            rules: rules?,
            providers: providers.collect(),
            running: BTreeMap::new(),
            looked_ns: 0,
        })
    }

    /// What the charge of each provider sustains to a side, as energy of an interval; who does not know its
    /// charge can promise nothing.
    fn able(&self, side: Side, at: &AtGate<'_>, interval: &Interval) -> BTreeMap<AgentId, Mwh> {
        let able = self.providers.iter().filter_map(|provider| {
            let spec = &provider.spec;
            let soc = charge_of(provider.device, spec, at.now, at.bench.image)?.as_fraction();
            let capacity = spec.rating.capacity?.as_watt_hours();
            let (bounds, efficiency) = (spec.rating.soc, spec.rating.efficiency);
            let energy = match side {
                Side::Sell => {
                    let part = (soc - bounds.lower().as_fraction()).max(0.0);
                    efficiency.gives(Energy::from_watt_hours(capacity * part))
                }
                Side::Buy => {
                    let part = (bounds.upper().as_fraction() - soc).max(0.0);
                    efficiency.fills(Energy::from_watt_hours(capacity * part))
                }
            };
            let power = milliwatts((energy / self.hold).as_watts());
            Some((
                provider.agent.clone(),
                energy_of_power_mwh(power, interval.dt_ns)?,
            ))
        });
        able.collect()
    }
}

impl Desk {
    /// The service that the market buys readiness for, if it buys any.
    #[must_use]
    pub fn bought_service(&self) -> Option<ServiceIx> {
        self.reserves.as_ref().map(|reserves| reserves.service)
    }

    /// Buys readiness for an interval; none while the utility is away.
    pub(super) fn buy_reserve(
        &mut self,
        at: &AtGate<'_>,
        interval: Interval,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let (mut books, mut drafts) = (Vec::new(), Vec::new());
        for (side, orders) in SIDES.into_iter().zip(self.readiness(at, &interval)) {
            if orders.is_empty() {
                continue;
            }
            let before = drafts.len();
            drafts.extend(order_drafts(&product(interval, side), &orders, evidence));
            books.push((side, orders, before));
        }
        if books.is_empty() {
            return Ok(());
        }
        let index = interval.index;
        let late = || format!("nobody is ready in interval {index}");
        let Some(receipts) = append(at.utc, drafts, late, evidence, says)? else {
            return Ok(());
        };
        let (mut drafts, mut bought) = (Vec::new(), Vec::new());
        for (side, orders, before) in books {
            let own = &receipts[before..before + orders.len()];
            let posted = Posted::of(&orders, own, 0);
            let cleared = match self.venue.clear_reserve(interval, side, orders) {
                Ok(Some(cleared)) => cleared,
                Ok(None) => continue,
                Err(e) => {
                    says.events.push(uncleared(index, e));
                    continue;
                }
            };
            let Some(draft) = clearing_draft(&cleared, &posted, evidence, says) else {
                continue;
            };
            drafts.push(draft);
            self.venue.take_reserve(&cleared.clearing);
            bought.push((side, cleared.clearing));
        }
        // On the ledger sooner or later, and so it counts.
        let late = || format!("readiness of interval {index} is recorded late");
        append(at.utc, drafts, late, evidence, says)?;
        self.tell_bought(index, bought.iter().map(|(side, it)| (*side, it)), says);
        Ok(())
    }

    /// The orders of readiness upwards and downwards in an interval; none while the utility is away.
    pub(super) fn readiness(&self, at: &AtGate<'_>, interval: &Interval) -> [Vec<Order>; 2] {
        let Some(reserves) = self.reserves.as_ref().filter(|_| at.bench.connected) else {
            return Default::default();
        };
        SIDES.map(|side| {
            let mut able = reserves.able(side, at, interval);
            able.retain(|agent, _| {
                self.venue.lets(agent, interval).is_ok() && self.sign_lets(agent).is_ok()
            });
            self.venue.reserve_orders(side, &able)
        })
    }

    /// Tells what is bought of an interval, and where it is too little.
    pub(super) fn tell_bought<'a>(
        &self,
        interval: u64,
        bought: impl Iterator<Item = (Side, &'a Clearing)>,
        says: &mut DeskSays,
    ) {
        let rules = self.rules.venue.reserve.as_ref();
        let mut found = [(0, None), (0, None)];
        for (side, clearing) in bought {
            let bought_mwh = i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX);
            let needed_mwh = rules.map_or(0, |rules| rules.needed(side).0);
            if bought_mwh < needed_mwh {
                says.events.push(Event::ReserveShort {
                    interval,
                    is_up: side == Side::Sell,
                    needed_mwh,
                    bought_mwh,
                });
            }
            let price = clearing.price.map(|price| price.0);
            found[usize::from(side == Side::Buy)] = (bought_mwh, price);
        }
        let [(up_mwh, up_price), (down_mwh, down_price)] = found;
        says.events.push(Event::ReserveBought {
            interval,
            up_mwh,
            up_price_mc_per_kwh: up_price,
            down_mwh,
            down_price_mc_per_kwh: down_price,
        });
    }

    /// Tells control who is ready in an interval that is cleared, and looks at them from then on.
    pub(super) fn bind_reserve(&mut self, clearing: &Clearing, says: &mut DeskSays) {
        let interval = clearing.interval;
        let Some(reserves) = &mut self.reserves else {
            return;
        };
        let power = |energy: Mwh| {
            let hours = interval.dt_ns as f64 / 3.6e12;
            ActivePower::from_watts(energy.0 as f64 / 1e3 / hours)
        };
        let commitments = market::schedule::schedule(clearing).unwrap_or_default();
        let merit = [Side::Sell, Side::Buy].map(|side| reserves.rules.merit(side));
        let rank = |order: &[AgentId], agent: &AgentId| {
            order.iter().position(|it| it == agent).unwrap_or(0) as u16
        };
        let (mut shares, mut courses) = (Vec::new(), BTreeMap::new());
        for Provider { agent, device, .. } in &reserves.providers {
            let ready = |side| self.venue.ready(interval.index, agent, side);
            let (up, down) = (ready(Side::Sell), ready(Side::Buy));
            if up.0 == 0 && down.0 == 0 {
                continue;
            }
            shares.push(ReadyShare {
                device: *device,
                up: power(up),
                down: power(down),
                up_rank: rank(&merit[0], agent),
                down_rank: rank(&merit[1], agent),
            });
            let own = commitments.iter().find(|it| it.agent == *agent);
            let baseline = own.map_or(0, |it| it.power_milliwatt);
            let baseline = Baseline {
                cleared: baseline,
                now: None,
            };
            courses.insert(agent.clone(), (baseline, Course::default()));
        }
        let at = |ns: i64| Instant::from_nanos(u64::try_from(ns).unwrap_or(0));
        says.orders.push(model::Order::Ready(Readiness {
            service: reserves.service,
            from: at(interval.start_ns),
            until: at(interval.end_ns()),
            shares,
        }));
        let running = Running { interval, courses };
        reserves.running.insert(interval.index, running);
    }

    /// Looks at those who are ready now.
    pub(super) fn watch_reserve(&mut self, now: Instant, bench: &BenchNow<'_>) {
        let Some(mut reserves) = self.reserves.take() else {
            return;
        };
        let now_ns = now.as_nanos() as i64;
        let before = std::mem::replace(&mut reserves.looked_ns, now_ns);
        for running in reserves.running.values_mut() {
            let interval = running.interval;
            // The last moment of an interval is looked at behind its end.
            let for_ns = now_ns.min(interval.end_ns()) - before.max(interval.start_ns);
            if for_ns <= 0 {
                continue;
            }
            let is_first = before < interval.start_ns;
            for provider in &reserves.providers {
                let Some((baseline, course)) = running.courses.get_mut(&provider.agent) else {
                    continue;
                };
                let shifted = self.shifted(interval.index, provider.device);
                let asked = baseline.cleared.saturating_add(shifted);
                let own = &bench.image.devices[provider.device.index()];
                let measured = own.p.fresh(now, provider.spec.sample_age_max);
                let can = bench.delivers && own.link != Link::Offline;
                let mut called = bench.called.iter();
                let called = called.find(|(device, _)| *device == provider.device);
                let called = called.map(|(_, power)| milliwatts(power.as_watts()));
                // Control names everybody that it could call, if only for nothing; whom somebody holds or
                // who is off it does not name. What it says first is of the interval before.
                let called = called.or(is_first.then_some(0));
                let found = measured.zip(called);
                let found = found.map(|(p, called)| milliwatts(p.as_watts()) - called);
                let ramp = provider.spec.rating.ramp.base();
                let baseline = baseline.after(for_ns, asked, found, ramp);
                let seen = measured.filter(|_| can).zip(called);
                let moment = seen.map(|(measured, called)| Moment {
                    baseline,
                    commanded: baseline.saturating_add(called),
                    measured: milliwatts(measured.as_watts()),
                });
                course.take(moment, for_ns);
            }
        }
        self.reserves = Some(reserves);
    }

    /// How everybody was called in an interval that is over.
    pub(super) fn close_reserve(&mut self, interval: u64) -> BTreeMap<AgentId, Activation> {
        let Some(reserves) = &mut self.reserves else {
            return BTreeMap::new();
        };
        let running = reserves.running.remove(&interval);
        // What was never settled is not any more.
        reserves.running.retain(|other, _| *other > interval);
        let courses = running.into_iter().flat_map(|running| running.courses);
        courses
            .map(|(agent, (_, course))| (agent, course.close()))
            .collect()
    }
}

/// The records of how everybody was called.
pub(super) fn drafts(
    interval: u64,
    activations: &BTreeMap<AgentId, Activation>,
    evidence: &Evidence,
) -> Vec<ledger_node::AtomDraft> {
    let draft = |(agent, activation): (&AgentId, &Activation)| {
        let payload = Payload::Activation(activation_payload(interval, agent, activation));
        evidence.draft(CONTROLLER, payload)
    };
    activations.iter().map(draft).collect()
}

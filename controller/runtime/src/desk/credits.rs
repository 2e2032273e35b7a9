//! Energy credits: what a meter has attested is minted, and what was sold is moved.
//!
//! Market and ledger do not know each other. The market says who has sold how much to
//! whom; the ledger says who owns which credits. This module follows each settled
//! interval through three steps, one batch of the ledger each: the readings are there,
//! the operator mints for them, and the sellers hand over. A step waits until the
//! one before is on stable storage here and, among several nodes, final; the cycle
//! never waits for it. Nobody hands over more than was metered and minted: what a
//! seller lacks is for the market to settle in money.

use std::collections::{BTreeMap, VecDeque};

use ledger_core::credit::CREDIT;
use ledger_core::particle::Up;
use ledger_core::payload::{Mint, Transfer};
use ledger_core::{Amount, AtomId, Particle, Payload};
use ledger_node::{AtomDraft, Receipt};
use market::{AgentId, Clearing, Interval};
use model::{Event, UtcTime};

use crate::evidence::{Evidence, MARKET_OPERATOR, NotDurable, Progressed, UnderWay, party_of};

/// Most credits that one transfer takes down.
/// Chosen: an atom has 64 particles; half of them are left for what goes up.
const TAKEN_MAX: usize = 32;

/// A credit that somebody owns, and the atom that put it up.
#[derive(Debug, Clone)]
struct Credit {
    up: Up,
    from: AtomId,
}

/// What a seller owes a buyer, in milliwatt-hours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sold {
    seller: AgentId,
    buyer: AgentId,
    energy_milliwatt_hours: i128,
}

/// What one batch brings about once it is in the ledger, draft by draft.
#[derive(Debug, Default)]
struct Batch {
    drafts: Vec<AtomDraft>,
    /// By draft: what is not owned any more, and what is, by whom.
    spends: Vec<(AgentId, usize)>,
    brings: Vec<Vec<(AgentId, Up)>>,
}

/// How far an interval has come.
enum Stage {
    /// Its readings are under way; by draft what each attests, and in whose name.
    Metered(UnderWay, Vec<(usize, AgentId, Up)>),
    /// Its mints, or its transfers, are under way.
    Booked(UnderWay, Batch, Next),
    /// They were too early, and are said again.
    Again(Batch, Next),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Transfers,
    Nothing,
}

/// A settled interval on its way.
struct Due {
    interval: u64,
    sold: Vec<Sold>,
    stage: Option<Stage>,
}

/// The credits of a run's participants.
#[derive(Default)]
pub(super) struct Credits {
    due: VecDeque<Due>,
    owned: BTreeMap<AgentId, VecDeque<Credit>>,
    nonce: u64,
}

impl Credits {
    /// A number that no other particle of this run has, nor of an earlier one.
    pub(super) fn nonce(&mut self, utc: UtcTime) -> u64 {
        let now = u64::try_from(utc.unix_nanos()).unwrap_or_default();
        self.nonce = now.max(self.nonce + 1);
        self.nonce
    }

    /// Takes an interval whose readings are on their way into the ledger.
    pub(super) fn settled(
        &mut self,
        clearing: &Clearing,
        agents: impl Iterator<Item = AgentId>,
        under_way: UnderWay,
        attested: Vec<(usize, AgentId, Up)>,
    ) {
        let Interval { index, .. } = clearing.interval;
        let positions = agents.map(|agent| {
            let position = clearing.position(&agent).0;
            (agent, position)
        });
        self.due.push_back(Due {
            interval: index,
            sold: who_sold_to_whom(positions.collect()),
            stage: Some(Stage::Metered(under_way, attested)),
        });
    }

    /// Does the next step of whatever has come so far.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when the ledger has failed.
    pub(super) fn work(
        &mut self,
        utc: UtcTime,
        evidence: &mut Evidence,
        events: &mut Vec<Event>,
    ) -> Result<(), NotDurable> {
        // One interval after the other: what was received in one is sold in the next.
        while let Some(mut due) = self.due.pop_front() {
            let Some(stage) = due.stage.take() else {
                continue;
            };
            let (stage, goes_on) = self.step(utc, stage, &due, evidence, events)?;
            if stage.is_some() {
                due.stage = stage;
                self.due.push_front(due);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// The next stage of an interval, and whether more can be done in this cycle.
    fn step(
        &mut self,
        utc: UtcTime,
        stage: Stage,
        due: &Due,
        evidence: &mut Evidence,
        events: &mut Vec<Event>,
    ) -> Result<(Option<Stage>, bool), NotDurable> {
        match stage {
            Stage::Metered(mut under_way, attested) => match evidence.look(&mut under_way)? {
                Progressed::NotYet => Ok((Some(Stage::Metered(under_way, attested)), false)),
                Progressed::Done(receipts) => {
                    let mints = self.mints(utc, &receipts, attested, evidence);
                    Ok((book(utc, mints, Next::Transfers, evidence), true))
                }
                // Readings spend nothing: what refuses them refuses the settlement, too.
                Progressed::TooEarly => Err(NotDurable::Stopped("a reading is early".into())),
                Progressed::Refused(why) => Err(NotDurable::Stopped(why)),
            },
            Stage::Again(batch, next) => Ok((book(utc, batch, next, evidence), true)),
            Stage::Booked(mut under_way, batch, next) => match evidence.look(&mut under_way)? {
                Progressed::NotYet => Ok((Some(Stage::Booked(under_way, batch, next)), false)),
                Progressed::TooEarly => Ok((Some(Stage::Again(batch, next)), false)),
                Progressed::Refused(why) => {
                    let text = format!("the credits of interval {}: {why}", due.interval);
                    events.push(Event::Noticed { device: None, text });
                    Ok((None, true))
                }
                Progressed::Done(receipts) => {
                    self.take_over(batch, &receipts);
                    if next == Next::Nothing {
                        return Ok((None, true));
                    }
                    let transfers = self.transfers(utc, due, evidence);
                    Ok((book(utc, transfers, Next::Nothing, evidence), true))
                }
            },
        }
    }

    fn mints(
        &mut self,
        utc: UtcTime,
        readings: &[Receipt],
        attested: Vec<(usize, AgentId, Up)>,
        evidence: &Evidence,
    ) -> Batch {
        let mut batch = Batch::default();
        for (draft, agent, metered) in attested {
            let owner = evidence.address_of(&party_of(agent.as_str()));
            let down = metered.id(&evidence.universe());
            let (Some(reading), Some(owner), Ok(down)) = (readings.get(draft), owner, down) else {
                continue;
            };
            let reading = reading.atom_id;
            let credit = Up {
                asset: CREDIT.to_owned(),
                amount: metered.amount,
                owner,
                nonce: self.nonce(utc),
            };
            let mut mint = evidence.draft(MARKET_OPERATOR, Payload::Mint(Mint { reading }));
            mint.particles = vec![Particle::Down(down), Particle::Up(credit.clone())];
            batch.drafts.push(mint);
            batch.spends.push((agent.clone(), 0));
            batch.brings.push(vec![(agent, credit)]);
        }
        batch
    }

    /// One transfer of each seller that has credits, to all who bought of it.
    fn transfers(&mut self, utc: UtcTime, due: &Due, evidence: &Evidence) -> Batch {
        let mut batch = Batch::default();
        let mut by_seller: BTreeMap<&AgentId, Vec<&Sold>> = BTreeMap::new();
        for sold in &due.sold {
            by_seller.entry(&sold.seller).or_default().push(sold);
        }
        for (seller, sold) in by_seller {
            let owed: i128 = sold.iter().map(|s| s.energy_milliwatt_hours).sum();
            let mut taken: Vec<Credit> = Vec::new();
            let mut left = 0;
            for credit in self.owned.get(seller).into_iter().flatten().take(TAKEN_MAX) {
                if left >= owed {
                    break;
                }
                left += credit.up.amount.0;
                taken.push(credit.clone());
            }
            let mut brings = Vec::new();
            let mut give = |agent: &AgentId, amount: i128, nonce: u64| {
                if let Some(owner) = evidence.address_of(&party_of(agent.as_str())) {
                    let up = Up {
                        asset: CREDIT.to_owned(),
                        amount: Amount(amount),
                        owner,
                        nonce,
                    };
                    brings.push((agent.clone(), up));
                    return amount;
                }
                0
            };
            for sold in sold {
                let part = sold.energy_milliwatt_hours.min(left);
                if part > 0 {
                    left -= give(&sold.buyer, part, self.nonce(utc));
                }
            }
            if left > 0 {
                give(seller, left, self.nonce(utc));
            }
            let ids = taken.iter().map(|c| c.up.id(&evidence.universe()));
            let Ok(downs) = ids.collect::<Result<Vec<_>, _>>() else {
                continue;
            };
            if brings.iter().all(|(agent, _)| agent == seller) {
                continue;
            }
            let memo = format!("interval {}", due.interval);
            let payload = Payload::Transfer(Transfer { memo });
            let mut transfer = evidence.draft(&party_of(seller.as_str()), payload);
            transfer.deps = taken.iter().map(|credit| credit.from).collect();
            let downs = downs.into_iter().map(Particle::Down);
            let ups = brings.iter().map(|(_, up)| Particle::Up(up.clone()));
            transfer.particles = downs.chain(ups).collect();
            batch.drafts.push(transfer);
            batch.spends.push((seller.clone(), taken.len()));
            batch.brings.push(brings);
        }
        batch
    }

    /// Notes who owns what after a batch.
    fn take_over(&mut self, batch: Batch, receipts: &[Receipt]) {
        for (agent, count) in batch.spends {
            self.owned.entry(agent).or_default().drain(..count);
        }
        for (brings, receipt) in batch.brings.into_iter().zip(receipts) {
            for (agent, up) in brings {
                let from = receipt.atom_id;
                let owned = self.owned.entry(agent).or_default();
                owned.push_back(Credit { up, from });
            }
        }
    }
}

/// Says a batch to the ledger; nothing where there is nothing to say.
fn book(utc: UtcTime, batch: Batch, next: Next, evidence: &mut Evidence) -> Option<Stage> {
    // Without a mint there may be older credits to hand over.
    if batch.drafts.is_empty() && next == Next::Nothing {
        return None;
    }
    let under_way = evidence.begin(utc, batch.drafts.clone());
    Some(Stage::Booked(under_way, batch, next))
}

/// Matches sellers and buyers in the order of their names, until one side is served.
fn who_sold_to_whom(positions: Vec<(AgentId, i128)>) -> Vec<Sold> {
    let mut positions = positions;
    positions.sort();
    let buys =
        |(agent, position): &(AgentId, i128)| (*position < 0).then(|| (agent.clone(), -position));
    let mut buyers: VecDeque<(AgentId, i128)> = positions.iter().filter_map(buys).collect();
    let mut sold = Vec::new();
    for (seller, mut left) in positions.into_iter().filter(|(_, position)| *position > 0) {
        while left > 0
            && let Some((buyer, wants)) = buyers.front_mut()
        {
            let part = left.min(*wants);
            sold.push(Sold {
                seller: seller.clone(),
                buyer: buyer.clone(),
                energy_milliwatt_hours: part,
            });
            left -= part;
            *wants -= part;
            if *wants == 0 {
                buyers.pop_front();
            }
        }
    }
    sold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sellers_serve_buyers_in_the_order_of_their_names_and_nobody_more_than_it_bought() {
        let check = |positions: &[(&str, i128)], expected: &[(&str, &str, i128)]| {
            let positions = positions.iter().map(|(who, p)| (AgentId::from(*who), *p));
            let sold = who_sold_to_whom(positions.collect());
            let sold: Vec<(&str, &str, i128)> = sold
                .iter()
                .map(|s| {
                    (
                        s.seller.as_str(),
                        s.buyer.as_str(),
                        s.energy_milliwatt_hours,
                    )
                })
                .collect();
            assert_eq!(sold, expected);
        };
        check(
            &[("pv", 7), ("load", -5), ("ess", -4), ("utility", 2)],
            &[("pv", "ess", 4), ("pv", "load", 3), ("utility", "load", 2)],
        );
        check(&[("pv", 7), ("load", -5)], &[("pv", "load", 5)]);
        check(&[("load", -5)], &[]);
        check(&[("load", 0), ("pv", 0)], &[]);
    }
}

//! Reads the meters of an interval that is over, and settles it.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::Particle;
use ledger_core::credit::attested;
use ledger_core::payload::Payload;
use ledger_node::AtomDraft;
use market::meter::Reading;
use market::venue::{CORRECTED_MAX, Settled};
use market::{AgentId, Interval, MwhTotal};
use model::{DeviceIx, Event, UtcTime};

use super::direction;
use super::doubt::Doubt;
use super::records::{reading_payload, settlement_payload};
use super::seat::Seat;
use super::{Cleared, Desk, DeskSays, UTILITY};
use crate::evidence::{CONTROLLER, Evidence, MARKET_OPERATOR, NotDurable, UnderWay, party_of};

fn doubted(interval: &Interval, meter: String, doubt: Doubt) -> Event {
    Event::MeterDoubted {
        interval: interval.index,
        meter,
        fault: doubt.name().into(),
        instead: doubt.instead().into(),
    }
}

impl Desk {
    /// What the meters say of each participant; the energy of a device is split among those who
    /// share it by what they have committed.
    fn readings(
        &mut self,
        clearing: &market::Clearing,
        is_excused: bool,
        events: &mut Vec<Event>,
    ) -> BTreeMap<AgentId, Reading> {
        let mut readings = BTreeMap::new();
        for (device, meter) in &mut self.meters {
            let seats: Vec<&Seat> = (self.seats.iter())
                .filter(|seat| seat.device == *device)
                .collect();
            let parts: Vec<(MwhTotal, u32)> = (seats.iter())
                .map(|seat| (clearing.position(&seat.agent), seat.share_ppm))
                .collect();
            let committed = parts.iter().map(|(committed, _)| *committed).sum();
            let (reading, doubt) = meter.close(&clearing.interval, committed);
            let name = |device: DeviceIx| self.names[device.index()].clone();
            events.extend(doubt.map(|doubt| doubted(&clearing.interval, name(*device), doubt)));
            if let (Reading::Valid { energy }, Some(first), false) =
                (reading, seats.first(), is_excused)
            {
                let interval = &clearing.interval;
                let watch = &mut self.directions;
                if watch.see(*device, first.kind, committed, energy, interval) {
                    events.push(Event::Noticed {
                        device: Some(*device),
                        text: direction::suspicion(committed, energy),
                    });
                }
            }
            let split = market::meter::split(reading, &parts);
            let agents = seats.into_iter().map(|seat| seat.agent.clone());
            if !matches!(reading, Reading::Valid { .. }) {
                let key = (clearing.interval.index, *device);
                let owners = agents.clone().zip(parts);
                self.unread.insert(key, owners.collect());
            }
            readings.extend(agents.zip(split));
        }
        // What is longer ago can be corrected no more.
        let kept = CORRECTED_MAX as u64;
        let now = clearing.interval.index;
        (self.unread).retain(|(index, _), _| index.saturating_add(kept) > now);
        readings
    }

    pub(super) fn settle(
        &mut self,
        utc: UtcTime,
        cleared: Cleared,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let interval = cleared.clearing.interval;
        let is_excused = cleared.is_excused;
        let delivers = self.venue.delivering(&cleared.clearing);
        let readings = self.readings(&delivers, is_excused, &mut says.events);
        let traded = delivers.position(&self.utility.agent);
        let coupling = self
            .pcc
            .map(|_| self.utility_meter.close(&interval, traded));
        let coupling = coupling.map(|(reading, doubt)| {
            let told = doubt.map(|doubt| doubted(&interval, UTILITY.into(), doubt));
            says.events.extend(told);
            reading
        });
        let activations = self.close_reserve(interval.index);
        (self.venue).take_activations(interval.index, activations.clone());
        let settled =
            (self.venue).settle(&cleared.clearing, readings.clone(), coupling, is_excused);
        let Settled {
            settlement,
            consequences,
        } = match settled {
            Ok(settled) => settled,
            Err(e) => {
                says.events.push(Event::MarketNotSettled {
                    interval: interval.index,
                    why: e.to_string(),
                });
                return Ok(());
            }
        };
        let start = self.rules.utc_of(&interval);
        let utility = coupling
            .iter()
            .map(|reading| (AgentId::from(UTILITY), reading));
        let told = readings
            .iter()
            .map(|(agent, reading)| (agent.clone(), reading));
        let mut drafts: Vec<AtomDraft> = Vec::new();
        // What the meters attest for the operator to mint, by the draft that says so.
        let mut minted = Vec::new();
        for (who, reading) in told.chain(utility) {
            let payload = reading_payload(who.as_str(), start, &interval, reading);
            let issuer = evidence.address_of(MARKET_OPERATOR);
            let whose = evidence.address_of(&party_of(who.as_str()));
            // What never flowed is no credit: where market time is faster, its energy is not that of the bench.
            let is_real = self.rules.time_factor == 1;
            let up = issuer
                .zip(whose)
                .filter(|_| is_real)
                .and_then(|(issuer, whose)| {
                    attested(&payload, &whose, issuer, self.credits.nonce(utc))
                });
            let mut draft = evidence.draft(CONTROLLER, Payload::MeterReading(payload));
            draft.particles = up.iter().cloned().map(Particle::Up).collect();
            minted.extend(up.map(|up| (drafts.len(), who, up)));
            drafts.push(draft);
        }
        drafts.extend(super::reserve::drafts(
            interval.index,
            &activations,
            evidence,
        ));
        drafts.push(
            evidence
                .draft(
                    MARKET_OPERATOR,
                    Payload::Settlement(settlement_payload(&settlement, is_excused)),
                )
                .after(vec![cleared.atom]),
        );
        let under_way = match self.rules.time_factor {
            1 => evidence.begin(utc, drafts),
            _ => {
                evidence.note(utc, drafts)?;
                UnderWay::Answered(Ok(Vec::new()))
            }
        };
        let agents = (self.seats.iter()).map(|seat| seat.agent.clone());
        let agents: BTreeSet<AgentId> = agents.chain([AgentId::from(UTILITY)]).collect();
        if self.rules.time_factor == 1 {
            (self.credits).settled(&delivers, agents.into_iter(), under_way, minted);
        }
        let readings = readings
            .iter()
            .map(|(agent, reading)| (agent.to_string(), *reading))
            .chain(coupling.map(|reading| (UTILITY.to_owned(), reading)))
            .collect();
        (self.state).show_settled(interval.index, &readings, &settlement, is_excused);
        let unaccounted = i64::try_from(settlement.unaccounted.0).unwrap_or(i64::MAX);
        self.state.unaccounted_mwh = self.state.unaccounted_mwh.saturating_add(unaccounted);
        let mut sum = 0_i128;
        for (account, amount) in settlement.balances() {
            sum += amount.0;
            *self.state.accounts.entry(account.to_string()).or_default() += amount.0;
        }
        says.events.push(Event::MarketSettled {
            interval: interval.index,
            sum_u: sum.to_string(),
            unaccounted_mwh: unaccounted,
        });
        let charged = consequences.charged.into_iter();
        says.events.extend(
            charged.map(|(agent, deviation, charge)| Event::PenaltyCharged {
                interval: interval.index,
                participant: agent.to_string(),
                deviation_mwh: i64::try_from(deviation.0).unwrap_or(i64::MAX),
                amount_u: charge.0.to_string(),
            }),
        );
        let changed = consequences.changed.into_iter();
        says.events
            .extend(changed.map(|(agent, from, to)| Event::StandingChanged {
                interval: interval.index,
                participant: agent.to_string(),
                from: from.name().into(),
                to: to.name().into(),
            }));
        Ok(())
    }
}

//! Readings that come after their interval is settled: who reads a meter by hand says what it missed, and so does the
//! counter of one that was away.

use ledger_core::payload::Payload;
use market::meter::Reading;
use market::venue::CorrectionError;
use market::{AgentId, Coded, Mwh};
use model::{Event, UtcTime};
use tokio::sync::oneshot;

use super::records::{reading_payload, settlement_payload};
use super::{Desk, DeskSays, UTILITY};
use crate::evidence::{CONTROLLER, Evidence, MARKET_OPERATOR, NotDurable};

/// A reading that comes late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateReading {
    /// Whose meter.
    pub participant: String,
    /// Of which interval.
    pub interval: u64,
    /// What it says, in milliwatt-hours, positive into the bus.
    pub energy_mwh: i64,
}

/// What a late reading has changed: the account of its owner receives this, in 1e-11 EUR.
pub type Corrected = i128;

/// A reading with the way back.
pub(super) type LateAsked = (
    LateReading,
    oneshot::Sender<Result<Corrected, CorrectionError>>,
);

impl Desk {
    /// Settles again what readings have come for.
    pub(super) fn hear_readings(
        &mut self,
        utc: UtcTime,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        for (late, answer) in self.bids.take_readings() {
            let agent = AgentId::from(late.participant.as_str());
            let reading = Reading::Valid {
                energy: Mwh(late.energy_mwh),
            };
            let corrected = self.correct(utc, (late.interval, &agent), reading, evidence, says)?;
            if let Err(why) = &corrected {
                let why = format!("[{}] {why}", why.code());
                says.events.push(Event::OrderRefused { why });
            }
            let _gone = answer.send(corrected);
        }
        Ok(())
    }

    /// Settles again what meters have counted while nobody heard them.
    pub(super) fn hear_counters(
        &mut self,
        utc: UtcTime,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let mut told = Vec::new();
        for (interval, energy) in self.utility_meter.told_late() {
            told.push((interval.index, UTILITY.into(), estimated(energy)));
        }
        for (device, meter) in &mut self.meters {
            for (interval, energy) in meter.told_late() {
                let owners = self.unread.remove(&(interval.index, *device));
                let (agents, parts): (Vec<AgentId>, Vec<_>) =
                    owners.unwrap_or_default().into_iter().unzip();
                let split = market::meter::split(estimated(energy), &parts);
                let own = agents.into_iter().zip(split);
                told.extend(own.map(|(agent, reading)| (interval.index, agent, reading)));
            }
        }
        for (index, agent, reading) in told {
            // Where somebody has read the meter by now, or it is too long ago, that stands.
            let _stands = self.correct(utc, (index, &agent), reading, evidence, says)?;
        }
        Ok(())
    }

    /// Settles an interval again by a reading of somebody's meter; what its owner receives more.
    fn correct(
        &mut self,
        utc: UtcTime,
        (index, agent): (u64, &AgentId),
        reading: Reading,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<Result<Corrected, CorrectionError>, NotDurable> {
        let interval = self.venue.correctable(index);
        let settlement = match self.venue.correct(index, agent, reading) {
            Ok(settlement) => settlement,
            Err(why) => return Ok(Err(why)),
        };
        // What was corrected is kept.
        let Some((interval, is_excused)) = interval else {
            return Ok(Err(CorrectionError::NotSettled { interval: index }));
        };
        let begins = self.rules.utc_of(&interval);
        let read = reading_payload(agent.as_str(), begins, &interval, &reading);
        let drafts = vec![
            evidence.draft(CONTROLLER, Payload::MeterReading(read)),
            evidence.draft(
                MARKET_OPERATOR,
                Payload::Settlement(settlement_payload(&settlement, is_excused)),
            ),
        ];
        evidence.note(utc, drafts)?;
        let mut own = 0;
        for (account, amount) in settlement.balances() {
            let name = account.to_string();
            if name == agent.as_str() {
                own -= amount.0;
            }
            *self.state.accounts.entry(name).or_default() += amount.0;
        }
        says.events.push(Event::MarketCorrected {
            interval: index,
            participant: agent.to_string(),
            energy_mwh: reading.energy().map_or(0, |energy| energy.0),
            amount_u: own.to_string(),
        });
        Ok(Ok(own))
    }
}

/// What a counter says of an interval with gaps; the part that samples cover does not enter a settlement.
fn estimated(energy: Mwh) -> Reading {
    Reading::Estimated {
        energy,
        coverage_ppm: 0,
    }
}

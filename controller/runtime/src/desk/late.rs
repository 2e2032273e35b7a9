//! Readings that come after their interval is settled: who reads a meter by hand, or a meter that
//! was away, says what it missed.

use ledger_core::payload::Payload;
use market::meter::Reading;
use market::venue::CorrectionError;
use market::{AgentId, Coded, Mwh};
use model::{Event, UtcTime};
use tokio::sync::oneshot;

use super::records::{reading_payload, settlement_payload};
use super::{Desk, DeskSays};
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
            let interval = self.venue.correctable(late.interval);
            let corrected = self.venue.correct(late.interval, &agent, reading);
            let Some((settlement, (interval, is_excused))) = corrected.as_ref().ok().zip(interval)
            else {
                if let Err(why) = &corrected {
                    let why = format!("[{}] {why}", why.code());
                    says.events.push(Event::OrderRefused { why });
                }
                let _gone = answer.send(corrected.map(|_| 0));
                continue;
            };
            let begins = self.rules.utc_of(&interval);
            let read = reading_payload(&late.participant, begins, &interval, &reading);
            let drafts = vec![
                evidence.draft(CONTROLLER, Payload::MeterReading(read)),
                evidence.draft(
                    MARKET_OPERATOR,
                    Payload::Settlement(settlement_payload(settlement, is_excused)),
                ),
            ];
            evidence.note(utc, drafts)?;
            let mut own = 0;
            for (account, amount) in settlement.balances() {
                let name = account.to_string();
                if name == late.participant {
                    own -= amount.0;
                }
                *self.state.accounts.entry(name).or_default() += amount.0;
            }
            says.events.push(Event::MarketCorrected {
                interval: late.interval,
                participant: late.participant,
                energy_mwh: late.energy_mwh,
                amount_u: own.to_string(),
            });
            let _gone = answer.send(Ok(own));
        }
        Ok(())
    }
}

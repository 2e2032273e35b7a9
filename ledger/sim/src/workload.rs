//! What the parties of the laboratory say, and where.
//!
//! Honest parties are at home at one node. The dishonest one has its key at
//! several and says different things there.

use std::collections::BTreeMap;

use ledger_core::credit::{CREDIT, attested};
use ledger_core::particle::Up;
use ledger_core::payload::{
    AuthorityGrant, Dispatch, DispatchAck, DispatchKind, DispatchStage, MeterReading, Mint, Mode,
    Order, ReadingQuality, Setpoint, Side, Step, Transfer,
};
use ledger_core::{Amount, AtomId, Particle, ParticleId, Payload};
use ledger_node::{AppendError, AtomDraft, Receipt, Refusal};

use crate::chance::Chance;
use crate::lab::{DISHONEST, Lab};

/// One thing that a party is about to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A change of the mode.
    Mode,
    /// A command to a device.
    Dispatch {
        /// By the second controller instead of the first.
        by_standby: bool,
    },
    /// What came back after a command, said by who gave it.
    Ack {
        /// The command.
        dispatch: AtomId,
        /// Whether the second controller gave it.
        by_standby: bool,
    },
    /// A reading of somebody's meter, for the operator to mint.
    Reading {
        /// Whose.
        participant: &'static str,
    },
    /// Credits for a reading.
    Mint,
    /// An owner gives something to another.
    Transfer {
        /// Who gives.
        owner: &'static str,
    },
    /// The device is handed to the second controller.
    Grant,
    /// The dishonest party offers something, at this node and at others.
    TwoOrders {
        /// Where.
        node: usize,
    },
    /// The dishonest party spends, at this node and at others.
    DoubleSpend {
        /// Where.
        node: usize,
        /// For whom.
        payee: &'static str,
    },
}

/// An amount that somebody owns, as its owner knows.
#[derive(Debug, Clone)]
struct Credit {
    up: Up,
    id: ParticleId,
    owner: &'static str,
    is_spent: bool,
    /// The atom that put it up.
    from: AtomId,
    /// For whom it is to be minted, where it is metered energy.
    for_whom: Option<&'static str>,
}

/// What is under way: an act, its place, and what it would bring.
#[derive(Debug)]
pub struct Said {
    /// The act.
    pub act: Act,
    /// How often it was refused as too early.
    pub tries: u32,
    spends: Vec<ParticleId>,
    brings: Vec<(&'static str, Up)>,
    /// In whose name energy was metered, where that is what it brings.
    for_whom: Option<&'static str>,
}

/// All parties.
#[derive(Debug)]
pub struct Workload {
    lab: &'static Lab,
    chance: Chance,
    homes: BTreeMap<&'static str, usize>,
    credits: Vec<Credit>,
    nonce: u64,
    epoch: u64,
    interval: u64,
    /// What honest parties were told is in the log, with the node that told it.
    pub acknowledged: Vec<(usize, AtomId)>,
}

/// The honest parties.
pub const HONEST: [&str; 7] = [
    "admin",
    "anna",
    "bert",
    "controller",
    "meter",
    "operator",
    "standby",
];

/// Who mints credits.
const ISSUER: &str = "operator";

/// What each reading has metered, and so the size of each credit.
/// Chosen: small, so that a few transfers use it up.
const ENERGY_MILLIWATT_HOURS: i64 = 10;

/// The device of the run.
pub const DEVICE: &str = "battery";

/// How often an act that came too early is tried again.
/// Chosen: every 300 ms of the run's own time, so three seconds.
pub const TRIES_MAX: u32 = 10;

impl Workload {
    /// Parties with homes among `honest` nodes.
    pub fn new(lab: &'static Lab, honest: &[usize], mut chance: Chance) -> Workload {
        let home = |name| (name, *chance.pick(honest).unwrap_or(&0));
        let homes = HONEST.into_iter().map(home).collect();
        Workload {
            lab,
            homes,
            chance,
            credits: vec![],
            nonce: 0,
            epoch: 1,
            interval: 0,
            acknowledged: vec![],
        }
    }

    /// The parties that have their key at a node.
    pub fn residents(&self, node: usize) -> Vec<&'static str> {
        let at_home = self.homes.iter().filter(|(_, home)| **home == node);
        at_home.map(|(name, _)| *name).chain([DISHONEST]).collect()
    }

    /// The node at which an act is said.
    pub fn home(&self, act: &Act) -> usize {
        match act {
            Act::TwoOrders { node } | Act::DoubleSpend { node, .. } => *node,
            other => self.homes[author(other)],
        }
    }

    /// The draft of an act at time `now_utc_ns`; none while its author has
    /// nothing to give.
    pub fn draft(&mut self, now_utc_ns: i64, act: &Act) -> Option<(AtomDraft, Said)> {
        let mut said = Said {
            act: act.clone(),
            tries: 0,
            spends: vec![],
            brings: vec![],
            for_whom: None,
        };
        let mut particles = Vec::new();
        let payload = match act {
            Act::Mode => Payload::Mode(Mode {
                from: "grid".to_owned(),
                to: "island".to_owned(),
                reason: String::new(),
            }),
            Act::Dispatch { by_standby } => self.dispatch(now_utc_ns, *by_standby),
            Act::Ack { dispatch, .. } => Payload::DispatchAck(DispatchAck {
                dispatch: *dispatch,
                stage: DispatchStage::Power,
                measured_p_milliwatts: Some(1),
                seen_utc_ns: now_utc_ns,
            }),
            Act::Reading { participant } => {
                self.interval += 1;
                let reading = MeterReading {
                    participant: (*participant).to_owned(),
                    interval_start_utc_ns: now_utc_ns,
                    interval_ns: self.interval,
                    energy_milliwatt_hours: Some(ENERGY_MILLIWATT_HOURS),
                    quality: ReadingQuality::Valid,
                };
                self.nonce += 1;
                let (whose, issuer) = (self.lab.party(participant), self.lab.party(ISSUER));
                let metered = attested(&reading, &whose, issuer, self.nonce)?;
                said.brings.push((ISSUER, metered));
                said.for_whom = Some(participant);
                Payload::MeterReading(reading)
            }
            Act::Mint => self.mint(&mut said, &mut particles)?,
            Act::Transfer { owner } => {
                let payee = if *owner == "anna" { "bert" } else { "anna" };
                self.give(owner, payee, &mut said, &mut particles)?
            }
            Act::DoubleSpend { payee, .. } => {
                self.give(DISHONEST, payee, &mut said, &mut particles)?
            }
            Act::Grant => {
                self.epoch += 1;
                Payload::AuthorityGrant(AuthorityGrant {
                    issuer: self.lab.party("standby"),
                    device: DEVICE.to_owned(),
                    authority_epoch: self.epoch,
                })
            }
            Act::TwoOrders { node } => Payload::Order(Order {
                agent: format!("at-{node}"),
                interval: self.interval,
                side: Side::Sell,
                steps: vec![Step {
                    price_millicents_per_kwh: 1,
                    quantity_milliwatt_hours: 1,
                }],
                rank: 0,
            }),
        };
        let ups = said.brings.iter().map(|(_, up)| Particle::Up(up.clone()));
        particles.extend(ups);
        let mut draft = AtomDraft::new(author(act), payload);
        draft.particles = particles;
        Some((draft, said))
    }

    fn dispatch(&mut self, now_utc_ns: i64, by_standby: bool) -> Payload {
        Payload::Dispatch(Dispatch {
            device: DEVICE.to_owned(),
            kind: DispatchKind::Power,
            setpoint: Setpoint {
                p_milliwatts: Some(self.chance.between(-1_000, 1_000)),
                ..Setpoint::NONE
            },
            // The first controller does not hear of the grant in time.
            authority_epoch: if by_standby { self.epoch } else { 1 },
            valid_from_utc_ns: now_utc_ns,
            valid_until_utc_ns: now_utc_ns + 1_000_000_000,
            cause: None,
            why: "droop".to_owned(),
        })
    }

    fn up(&mut self, amount: i128, owner: &str) -> Up {
        self.nonce += 1;
        Up {
            asset: CREDIT.to_owned(),
            amount: Amount(amount),
            owner: self.lab.party(owner),
            nonce: self.nonce,
        }
    }

    /// Credits for the first reading that was not minted yet.
    fn mint(&mut self, said: &mut Said, particles: &mut Vec<Particle>) -> Option<Payload> {
        let mut metered = self.credits.iter();
        let metered = metered.find(|c| c.for_whom.is_some() && !c.is_spent)?;
        let (id, reading, owner) = (metered.id, metered.from, metered.for_whom?);
        particles.push(Particle::Down(id));
        said.spends.push(id);
        said.brings
            .push((owner, self.up(ENERGY_MILLIWATT_HOURS.into(), owner)));
        for credit in &mut self.credits {
            credit.is_spent |= credit.id == id;
        }
        Some(Payload::Mint(Mint { reading }))
    }

    /// One credit of the owner, a part of it to the payee and the rest back.
    fn give(
        &mut self,
        owner: &'static str,
        payee: &'static str,
        said: &mut Said,
        particles: &mut Vec<Particle>,
    ) -> Option<Payload> {
        // Who is dishonest spends again what it has spent.
        let may_spend = |c: &&Credit| c.owner == owner && (!c.is_spent || owner == DISHONEST);
        let candidates: Vec<&Credit> = self.credits.iter().filter(may_spend).collect();
        let credit = (*self.chance.pick(&candidates)?).clone();
        let part = 1 + i128::from(self.chance.below(credit.up.amount.0 as u64));
        particles.push(Particle::Down(credit.id));
        said.spends.push(credit.id);
        said.brings.push((payee, self.up(part, payee)));
        if credit.up.amount.0 > part {
            let rest = self.up(credit.up.amount.0 - part, owner);
            said.brings.push((owner, rest));
        }
        for credit in &mut self.credits {
            credit.is_spent |= credit.id == said.spends[0];
        }
        Some(Payload::Transfer(Transfer {
            memo: String::new(),
        }))
    }

    /// Takes the answer to what was said at `node`. Gives the act if it is to
    /// be tried again.
    pub fn answered(
        &mut self,
        node: usize,
        mut said: Said,
        result: &Result<Vec<Receipt>, AppendError>,
    ) -> Option<Said> {
        match result {
            Ok(receipts) => {
                if author(&said.act) != DISHONEST {
                    let ids = receipts.iter().map(|receipt| (node, receipt.atom_id));
                    self.acknowledged.extend(ids);
                }
                let from = receipts.first().map(|receipt| receipt.atom_id);
                for (owner, up) in said.brings {
                    if let (Ok(id), Some(from)) = (up.id(&self.lab.id), from) {
                        self.credits.push(Credit {
                            up,
                            id,
                            owner,
                            is_spent: false,
                            from,
                            for_whom: said.for_whom,
                        });
                    }
                }
                None
            }
            Err(e) => {
                for credit in &mut self.credits {
                    if said.spends.contains(&credit.id) {
                        credit.is_spent = false;
                    }
                }
                let is_early = matches!(
                    e,
                    AppendError::Refused {
                        reason: Refusal::NotFinal { .. },
                        ..
                    }
                );
                said.tries += 1;
                (is_early && said.tries < TRIES_MAX).then_some(said)
            }
        }
    }

    /// Takes that a node was lost with what was said there.
    pub fn unanswered(&mut self, said: &Said) {
        for credit in &mut self.credits {
            if said.spends.contains(&credit.id) && author(&said.act) == DISHONEST {
                credit.is_spent = false;
            }
        }
    }
}

/// Who says it.
pub fn author(act: &Act) -> &'static str {
    match act {
        Act::Mode => "controller",
        Act::Ack { by_standby, .. } | Act::Dispatch { by_standby } => match by_standby {
            false => "controller",
            true => "standby",
        },
        Act::Reading { .. } => "meter",
        Act::Mint => ISSUER,
        Act::Transfer { owner } => owner,
        Act::Grant => "admin",
        Act::TwoOrders { .. } | Act::DoubleSpend { .. } => DISHONEST,
    }
}

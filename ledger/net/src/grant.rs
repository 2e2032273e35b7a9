//! Granting devices to a controller: an admin's word that is final before anybody
//! relies on it.

use std::time::{Duration, Instant};

use ledger_core::payload::AuthorityGrant;
use ledger_core::{Address, Authority, Holder, Level, Payload, Role, Universe, UniverseId};
use ledger_node::AtomDraft;
use ledger_node::writer::WaitError;
use thiserror::Error;

use crate::node::Node;

/// How often one grants anew when another admin grants at the same time.
/// Chosen: two admins who do it at once are rare, three rounds of it are a quarrel.
const ROUNDS: usize = 3;

/// How often it is looked whether something holds by now.
/// Chosen: far below the time that a person notices.
const LOOK: Duration = Duration::from_millis(5);

/// Who grants what to whom.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The admin who signs; its key lies with the node.
    pub admin: &'a str,
    /// The party that commands the devices from now on.
    pub to: &'a str,
    /// The devices, by their names in the rig.
    pub devices: &'a [String],
    /// How long each wait may take.
    pub patience: Duration,
}

/// A device that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The device.
    pub device: String,
    /// The epoch of the grant.
    pub epoch: u64,
    /// What held before.
    pub before: Option<Authority>,
}

/// Why devices are not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrantError {
    /// The universe has no such party, or it may not do that.
    #[error("`{name}` is no {role} of this universe; it has {has}")]
    Party {
        /// The party.
        name: String,
        /// What it would have to be.
        role: &'static str,
        /// Who is one.
        has: String,
    },
    /// The node has not heard what the others have.
    #[error("the node has not caught up with a quorum of the others; it waits for {waits_for}")]
    Behind {
        /// Whom it has no connection with, or has not heard.
        waits_for: String,
    },
    /// The ledger does not take the grant.
    #[error("the ledger does not take the grant: {0}")]
    Refused(String),
    /// It is in the log of this node, and no quorum has it.
    #[error("the grant is no further than {level}: it is final when a quorum of nodes has it")]
    NotFinal {
        /// How far it is.
        level: String,
    },
    /// Somebody else grants the same device again and again.
    #[error("`{device}` is granted to another at the same time")]
    Contended {
        /// The device.
        device: String,
    },
}

/// Grants devices to a controller, each under an epoch above all that were seen,
/// and waits until that is final.
///
/// # Errors
/// See [`GrantError`]. After [`GrantError::NotFinal`] the grant stays in the log of
/// this node and holds as soon as others hear of it.
pub fn grant(
    node: &Node,
    universe: &Universe,
    now_utc_ns: &dyn Fn() -> i64,
    wish: &Wish<'_>,
) -> Result<Vec<Granted>, GrantError> {
    let id = node.universe_id();
    let issuer = party(universe, &id, wish.to, Role::Dispatcher)?;
    party(universe, &id, wish.admin, Role::Admin)?;
    wait(wish.patience, || {
        let status = node.status();
        (status.may_sign && status.has_caught_up).then_some(())
    })
    .ok_or_else(|| {
        let status = node.status();
        let away = status.nodes.into_iter().filter(|(_, _, is_up)| !is_up);
        let away: Vec<String> = away.map(|(name, _, _)| name).collect();
        let waits_for = if away.is_empty() {
            status.unheard
        } else {
            away
        };
        GrantError::Behind {
            waits_for: waits_for.join(", "),
        }
    })?;
    for _ in 0..ROUNDS {
        let granted = ask(node, now_utc_ns, wish, issuer)?;
        let holds = |granted: &&Granted| {
            node.authority(&granted.device)
                == Some(Authority {
                    epoch: granted.epoch,
                    holder: Holder::Issuer(issuer),
                })
        };
        if granted.iter().all(|g| holds(&g)) {
            return Ok(granted);
        }
    }
    Err(GrantError::Contended {
        device: wish.devices.join(", "),
    })
}

fn ask(
    node: &Node,
    now_utc_ns: &dyn Fn() -> i64,
    wish: &Wish<'_>,
    issuer: Address,
) -> Result<Vec<Granted>, GrantError> {
    let granted = wish.devices.iter().map(|device| {
        let before = node.authority(device);
        Granted {
            device: device.clone(),
            epoch: before.map_or(0, |authority| authority.epoch) + 1,
            before,
        }
    });
    let granted: Vec<Granted> = granted.collect();
    let drafts = granted.iter().map(|granted| {
        let payload = AuthorityGrant {
            issuer,
            device: granted.device.clone(),
            authority_epoch: granted.epoch,
        };
        AtomDraft::new(wish.admin, Payload::AuthorityGrant(payload))
    });
    let mut ticket = node.submit(now_utc_ns(), drafts.collect());
    let receipts = ticket.wait(wish.patience);
    let receipts = receipts.map_err(|e: WaitError| GrantError::Refused(e.to_string()))?;
    // One behind the other in the sequence of the admin: the last is final last.
    let Some(last) = receipts.last() else {
        return Ok(granted);
    };
    let is_final = || (node.level(last.atom_id) == Some(Level::Final)).then_some(());
    wait(wish.patience, is_final).ok_or_else(|| {
        let level = node.level(last.atom_id);
        GrantError::NotFinal {
            level: level.map_or("nothing", Level::name).to_owned(),
        }
    })?;
    Ok(granted)
}

/// The address of a party that has a role.
fn party(
    universe: &Universe,
    id: &UniverseId,
    name: &str,
    role: Role,
) -> Result<Address, GrantError> {
    let mut with_role = universe.parties.iter().filter(|p| p.roles.contains(&role));
    match with_role.clone().find(|party| party.name == name) {
        Some(party) => Ok(Address::of_key(id, &party.key)),
        _ => Err(GrantError::Party {
            name: name.to_owned(),
            role: role.name(),
            has: with_role
                .by_ref()
                .map(|party| party.name.clone())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// Looks until there is something, or patience ends.
pub(crate) fn wait<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        match look() {
            Some(found) => return Some(found),
            None if began.elapsed() >= patience => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

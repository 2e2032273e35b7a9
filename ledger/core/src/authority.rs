//! Who may command a device.
//!
//! An epoch is a fencing token: whoever commands names one, and what is older
//! than one that was seen is refused. As long as nobody was granted a device, an
//! epoch is anybody's who names it, so two controllers can use the same one. From
//! the first grant on only grants count: an epoch then belongs to one issuer, and
//! who has lost a device is refused as soon as its node hears of it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::address::Address;
use crate::payload::{Dispatch, Payload};

/// Whose the epoch of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody was ever granted the device.
    Anybody,
    /// It was granted to this issuer.
    Issuer(Address),
    /// It was granted to two issuers. Which grant came first differs from node to
    /// node, so neither may command; a grant of a later epoch ends that.
    Contested,
}

/// From which epoch on a device is commanded, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// The epoch.
    pub epoch: u64,
    /// Whose it is.
    pub holder: Holder,
}

/// Why somebody may not command a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthorityFault {
    /// A later epoch was seen.
    #[error("authority epoch {found} is below {seen}")]
    Stale {
        /// The epoch of the command.
        found: u64,
        /// The highest epoch so far.
        seen: u64,
    },
    /// The device was granted to somebody else, or the epoch to nobody.
    #[error("authority epoch {found} was not granted to its author")]
    NotGranted {
        /// The epoch of the command.
        found: u64,
    },
    /// The epoch was granted to two.
    #[error("authority epoch {found} was granted to two issuers")]
    Contested {
        /// The epoch of the command.
        found: u64,
    },
}

/// Who may command which device, after a prefix of a log.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    by_device: BTreeMap<String, Authority>,
    changes: u64,
}

impl Authorities {
    /// Who may command a device; `None` while nobody has.
    pub fn of(&self, device: &str) -> Option<Authority> {
        self.by_device.get(device).copied()
    }

    /// All devices that were commanded or granted.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Authority)> {
        self.by_device.iter()
    }

    /// How often it has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether `author` may give this command.
    ///
    /// # Errors
    /// See [`AuthorityFault`].
    pub fn check(&self, author: &Address, dispatch: &Dispatch) -> Result<(), AuthorityFault> {
        let found = dispatch.authority_epoch;
        let Some(Authority { epoch, holder }) = self.of(&dispatch.device) else {
            return Ok(());
        };
        match holder {
            _ if found < epoch => Err(AuthorityFault::Stale { found, seen: epoch }),
            Holder::Anybody => Ok(()),
            Holder::Issuer(issuer) if found == epoch && issuer == *author => Ok(()),
            Holder::Issuer(_) => Err(AuthorityFault::NotGranted { found }),
            Holder::Contested => Err(AuthorityFault::Contested { found }),
        }
    }

    /// Sets what was known of a device, where it was kept beside the log.
    pub fn recall(&mut self, device: String, authority: Authority) {
        self.by_device.insert(device, authority);
        self.changes += 1;
    }

    /// Takes note of a command or a grant that stands in the log.
    pub fn note(&mut self, payload: &Payload) {
        let (device, authority) = match payload {
            Payload::Dispatch(dispatch) => {
                let (epoch, holder) = (dispatch.authority_epoch, Holder::Anybody);
                (&dispatch.device, Authority { epoch, holder })
            }
            Payload::AuthorityGrant(grant) => {
                let (epoch, holder) = (grant.authority_epoch, Holder::Issuer(grant.issuer));
                (&grant.device, Authority { epoch, holder })
            }
            _ => return,
        };
        let after = match self.of(device) {
            None => authority,
            Some(seen) => seen.after(authority),
        };
        if self.of(device) != Some(after) {
            self.by_device.insert(device.clone(), after);
            self.changes += 1;
        }
    }
}

impl Authority {
    /// What holds when `next` is seen as well: the same in whichever order grants
    /// are seen.
    fn after(self, next: Authority) -> Authority {
        match (self.holder, next.holder) {
            // A command takes no grant away.
            (Holder::Issuer(_) | Holder::Contested, Holder::Anybody) => self,
            (Holder::Anybody, Holder::Anybody) if next.epoch > self.epoch => next,
            (Holder::Anybody, Holder::Issuer(_)) if next.epoch >= self.epoch => next,
            (Holder::Issuer(_) | Holder::Contested, _) if next.epoch > self.epoch => next,
            (Holder::Issuer(one), Holder::Issuer(other))
                if next.epoch == self.epoch && one != other =>
            {
                Authority {
                    holder: Holder::Contested,
                    ..self
                }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{AuthorityGrant, DispatchKind, Setpoint};

    const ANNA: Address = Address([1; 32]);
    const BERT: Address = Address([2; 32]);

    fn command(authority_epoch: u64) -> Dispatch {
        Dispatch {
            device: "battery".to_owned(),
            kind: DispatchKind::Release,
            setpoint: Setpoint::NONE,
            authority_epoch,
            valid_from_utc_ns: 0,
            valid_until_utc_ns: 1,
            cause: None,
            why: String::new(),
        }
    }

    fn grant(issuer: Address, authority_epoch: u64) -> Payload {
        Payload::AuthorityGrant(AuthorityGrant {
            issuer,
            device: "battery".to_owned(),
            authority_epoch,
        })
    }

    #[test]
    fn an_epoch_is_anybodys_until_a_grant_says_whose() {
        let seen = |epoch| Payload::Dispatch(command(epoch));
        let check = |log: &[Payload], who: Address, epoch: u64, expected: &str| {
            let mut authorities = Authorities::default();
            log.iter().for_each(|payload| authorities.note(payload));
            let found = authorities.check(&who, &command(epoch));
            let found = found.map_or_else(|e| e.to_string(), |()| "may".to_owned());
            assert_eq!(found, expected, "{log:?}");
        };
        let (stale, granted) = ("authority epoch 1 is below 2", [grant(BERT, 2)]);
        check(&[], ANNA, 1, "may");
        check(&[seen(1)], BERT, 1, "may");
        check(&[seen(2)], ANNA, 1, stale);
        check(&[seen(1)], ANNA, 2, "may");
        check(&granted, ANNA, 1, stale);
        let not_granted = |epoch| format!("authority epoch {epoch} was not granted to its author");
        check(&granted, ANNA, 2, &not_granted(2));
        check(&granted, BERT, 2, "may");
        // Nobody takes what was granted by naming a higher number.
        check(&granted, BERT, 3, &not_granted(3));
        check(&[grant(BERT, 2), seen(3)], ANNA, 3, &not_granted(3));
        check(&[grant(BERT, 2), seen(3)], BERT, 2, "may");
        // An epoch that somebody has used already is granted all the same.
        check(&[seen(2), grant(BERT, 2)], ANNA, 2, &not_granted(2));
        check(
            &[seen(3), grant(BERT, 2)],
            BERT,
            2,
            "authority epoch 2 is below 3",
        );
    }

    #[test]
    fn of_two_grants_of_one_epoch_neither_holds_in_whichever_order_they_came() {
        let orders = [[ANNA, BERT], [BERT, ANNA]];
        for [one, other] in orders {
            let mut authorities = Authorities::default();
            for issuer in [one, other, one] {
                authorities.note(&grant(issuer, 2));
            }
            for who in [ANNA, BERT] {
                let found = authorities.check(&who, &command(2));
                assert_eq!(found, Err(AuthorityFault::Contested { found: 2 }));
            }
            authorities.note(&grant(ANNA, 3));
            assert_eq!(authorities.check(&ANNA, &command(3)), Ok(()));
            assert!(authorities.check(&BERT, &command(3)).is_err());
            // Each of the three has changed something, the repetition has not.
            assert_eq!(authorities.changes(), 3);
        }
    }
}

//! Patience with wrong tokens: so many for each address, then one every few seconds.
//!
//! An address that has none left is not even compared, so that nobody guesses faster than that. Who
//! has the right token waits those few seconds at most; `safe` never does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Instant;

/// Wrong tokens of one address at once. Chosen: 10, a person with the wrong note in hand.
const WRONG_MAX: u32 = 10;
/// Time after which one more is borne. Chosen: 6 s, ten a minute.
const ONE_MORE_AFTER: Duration = Duration::from_secs(6);
/// Addresses that are remembered. Chosen: 1024; beyond, who was wrong the longest ago is forgotten.
const ADDRESSES_MAX: usize = 1024;
/// Bits of a version 6 address that belong to one customer (RFC 6177): the rest is free to choose.
const V6_HOST_BITS: u32 = 64;

/// How many wrong tokens of each address are remembered, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience {
    wrong: Mutex<BTreeMap<IpAddr, (u32, Instant)>>,
}

/// The part of an address that its owner cannot change at will.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> V6_HOST_BITS << V6_HOST_BITS).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What is left of a count after some time.
fn left(wrong: u32, since: Instant, now: Instant) -> u32 {
    let forgotten = now.since(since).as_secs() / ONE_MORE_AFTER.as_secs();
    wrong.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
}

impl Patience {
    /// Whether a token of this address is looked at now.
    pub(super) fn is_left(&self, address: IpAddr, now: Instant) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let known = wrong.get(&owner(address));
        known.is_none_or(|(count, since)| left(*count, *since, now) < WRONG_MAX)
    }

    /// A token of this address was wrong.
    pub(super) fn wrong(&self, address: IpAddr, now: Instant) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES_MAX {
            wrong.retain(|_, (count, since)| left(*count, *since, now) > 0);
        }
        if wrong.len() >= ADDRESSES_MAX
            && let Some(oldest) = wrong.iter().min_by_key(|(_, (_, since))| *since)
        {
            let oldest = *oldest.0;
            wrong.remove(&oldest);
        }
        let entry = wrong.entry(owner(address)).or_insert((0, now));
        *entry = (left(entry.0, entry.1, now) + 1, now);
    }

    /// When one more is looked at, at the latest, in whole seconds.
    pub(super) fn retry_after_s() -> u64 {
        ONE_MORE_AFTER.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_was_wrong_too_often_waits_and_others_do_not() {
        let patience = Patience::default();
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, other) = (of("10.1.0.7"), of("10.1.0.8"));
        let mut now = Instant::START;
        for n in 0..WRONG_MAX {
            assert!(patience.is_left(one, now), "{n} wrong");
            patience.wrong(one, now);
        }
        assert!(!patience.is_left(one, now) && patience.is_left(other, now));
        assert!(
            !patience.is_left(of("::ffff:10.1.0.7"), now),
            "the same one"
        );
        now = now + (ONE_MORE_AFTER - Duration::from_millis(1));
        assert!(!patience.is_left(one, now));
        now = now + Duration::from_millis(1);
        assert!(patience.is_left(one, now), "one more is borne");
        patience.wrong(one, now);
        assert!(!patience.is_left(one, now));
        now = now + ONE_MORE_AFTER * WRONG_MAX;
        patience.wrong(one, now);
        assert!(
            patience.is_left(one, now),
            "all is forgotten after a minute"
        );
    }

    #[test]
    fn an_address_of_version_6_is_not_another_one_by_its_last_half() {
        let patience = Patience::default();
        for n in 0..WRONG_MAX {
            patience.wrong(format!("fd00::{n:x}").parse().unwrap(), Instant::START);
        }
        let is_left = |text: &str| patience.is_left(text.parse().unwrap(), Instant::START);
        assert!(!is_left("fd00::ffff:1"));
        assert!(is_left("fd00:0:0:1::1"));
    }

    #[test]
    fn no_flood_of_addresses_is_remembered_whole() {
        let patience = Patience::default();
        for n in 0..2 * ADDRESSES_MAX {
            let address = std::net::Ipv4Addr::from_bits(n as u32);
            patience.wrong(address.into(), Instant::START);
            assert!(patience.wrong.lock().unwrap().len() <= ADDRESSES_MAX);
        }
    }
}

//! Addresses and shards: where an atom belongs.
//!
//! An address is the hash of a key, or of the name of a thing without a key
//! such as a device. Its first 64 bits are its shard, and the first bits of the
//! shard are the group of replicas that will keep it. Today one node keeps
//! all groups; the numbers are in the format so that this can change alone.

use crate::hash::{DIGEST_BYTES, Tag, UniverseId, fixed_bytes, tagged};
use crate::keys::PublicKey;

fixed_bytes! {
    /// The address of a party or of a named thing.
    Address(DIGEST_BYTES) "32 bytes, an address";
}

/// A shard: one of 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(
    /// The number of the shard.
    pub u64,
);

impl Address {
    /// The address of a key.
    pub fn of_key(universe: &UniverseId, key: &PublicKey) -> Address {
        Address(tagged(Tag::Address, universe, &[&key.0]))
    }

    /// The address of a thing that has a name and no key.
    pub fn of_name(universe: &UniverseId, name: &str) -> Address {
        Address(tagged(Tag::Name, universe, &[name.as_bytes()]))
    }

    /// The shard: the first 8 bytes, big-endian.
    pub fn shard(&self) -> Shard {
        let (first, _) = self.0.as_chunks::<8>();
        Shard(u64::from_be_bytes(first[0]))
    }
}

impl Shard {
    /// The group of this shard in a universe with `shard_bits` (at most 16).
    pub fn group(self, shard_bits: u8) -> u64 {
        match shard_bits {
            0 => 0,
            bits => self.0 >> (64 - u32::from(bits.min(64))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_first_bits_of_the_shard() {
        let mut address = Address([0; 32]);
        address.0[..8].copy_from_slice(&[0xa7, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(address.shard(), Shard(0xa701_0203_0405_0607));
        for (bits, group) in [(0, 0), (1, 1), (4, 0xa), (8, 0xa7), (16, 0xa701)] {
            assert_eq!(address.shard().group(bits), group);
        }
    }

    #[test]
    fn a_name_never_has_the_address_of_a_key() {
        let universe = UniverseId([1; 32]);
        let key = PublicKey([b'a'; 33]);
        let name = "a".repeat(33);
        assert_ne!(
            Address::of_key(&universe, &key),
            Address::of_name(&universe, &name)
        );
    }
}

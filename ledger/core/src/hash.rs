//! Tagged hashes and the ids made of them.
//!
//! Every hash is `SHA3-256(Tag(t) || universe_id || bytes)` with `Tag(t) =
//! SHA3-256(t)` (FIPS 202, not the older Keccak padding). The tag separates
//! the domains, so that an atom can never be read as a tree node; the universe
//! id makes a statement of the simulator worthless on the bench.

use std::fmt;
use std::sync::OnceLock;

use sha3::{Digest, Sha3_256};

use crate::cbor::Value;
use crate::record::{Field, SchemaError, Shown};

/// Length of every hash in bytes (FIPS 202, SHA3-256).
pub const DIGEST_BYTES: usize = 32;

/// A 32-byte digest whose meaning is given by the place where it stands.
pub type Digest32 = [u8; DIGEST_BYTES];

/// What is hashed: one domain per kind of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A genesis configuration.
    Universe,
    /// A compressed public key.
    Address,
    /// The name of a thing without a key, such as a device.
    Name,
    /// The body of an atom.
    Atom,
    /// A particle that was put up.
    Particle,
    /// A vertex.
    Vertex,
    /// A leaf of a node's tree.
    Leaf,
    /// An inner node of a node's tree.
    Inner,
    /// A tree head.
    Head,
    /// A change of the configuration.
    Epoch,
    /// A block of the index beside a log, which never leaves its node.
    Index,
    /// What a node has taken in of a range of a log.
    Range,
}

/// The tag texts, in the order of [`Tag`]. The number is the format version.
const TAG_TEXTS: [&str; 12] = [
    "gridrig/universe/1",
    "gridrig/addr/1",
    "gridrig/name/1",
    "gridrig/atom/1",
    "gridrig/particle/1",
    "gridrig/vertex/1",
    "gridrig/leaf/1",
    "gridrig/inner/1",
    "gridrig/head/1",
    "gridrig/epoch/1",
    "gridrig/index/1",
    "gridrig/range/1",
];

impl Tag {
    /// The text whose hash is the prefix.
    pub fn text(self) -> &'static str {
        TAG_TEXTS[self as usize]
    }

    /// `SHA3-256` of the text.
    pub fn prefix(self) -> Digest32 {
        static PREFIXES: OnceLock<[Digest32; TAG_TEXTS.len()]> = OnceLock::new();
        PREFIXES.get_or_init(|| TAG_TEXTS.map(|t| Sha3_256::digest(t.as_bytes()).into()))
            [self as usize]
    }
}

/// The tagged hash of the concatenated `parts`.
pub fn tagged(tag: Tag, universe: &UniverseId, parts: &[&[u8]]) -> Digest32 {
    let mut hasher = Sha3_256::new();
    hasher.update(tag.prefix());
    hasher.update(universe.0);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The bytes that [`tagged`] hashes: what another tool needs to check a
/// signature, for example `openssl dgst -sha3-256 -verify`.
pub fn preimage(tag: Tag, universe: &UniverseId, bytes: &[u8]) -> Vec<u8> {
    [&tag.prefix()[..], &universe.0, bytes].concat()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}

/// The bytes of lower-case hexadecimal; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect()
}

/// Declares a byte-array newtype of a fixed length.
macro_rules! fixed_bytes {
    ($( $(#[$meta:meta])* $name:ident($len:expr) $expected:literal; )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(
            /// The bytes.
            pub [u8; $len],
        );

        impl $crate::record::Field for $name {
            fn to_value(&self) -> $crate::cbor::Value {
                $crate::cbor::Value::Bytes(self.0.to_vec())
            }
            fn from_value(
                value: $crate::cbor::Value,
            ) -> Result<Self, $crate::record::SchemaError> {
                match value {
                    $crate::cbor::Value::Bytes(bytes) => bytes.try_into().ok().map($name),
                    _ => None,
                }
                .ok_or($crate::record::SchemaError::Expected { expected: $expected })
            }
            fn shown(&self) -> $crate::record::Shown {
                $crate::record::Shown::Text(self.to_string())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::hash::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::record::SchemaError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::hash::from_hex(text)
                    .and_then(|bytes| bytes.try_into().ok().map($name))
                    .ok_or($crate::record::SchemaError::Expected { expected: $expected })
            }
        }
    )+};
}
pub(crate) use fixed_bytes;

fixed_bytes! {
    /// The id of a universe: the hash of its genesis configuration.
    UniverseId(DIGEST_BYTES) "32 bytes, a universe id";
    /// The id of an atom: the hash of its body, without the signatures.
    AtomId(DIGEST_BYTES) "32 bytes, an atom id";
    /// The id of a particle that was put up.
    ParticleId(DIGEST_BYTES) "32 bytes, a particle id";
    /// The hash of a vertex.
    VertexId(DIGEST_BYTES) "32 bytes, a vertex id";
    /// The hash of a tree head.
    HeadId(DIGEST_BYTES) "32 bytes, a head id";
}

impl UniverseId {
    /// Stands in for the universe id while that id itself is being hashed.
    pub const NONE: UniverseId = UniverseId([0; DIGEST_BYTES]);
}

impl VertexId {
    /// The predecessor of a node's first vertex.
    pub const NONE: VertexId = VertexId([0; DIGEST_BYTES]);
}

impl HeadId {
    /// The predecessor of a node's first head.
    pub const NONE: HeadId = HeadId([0; DIGEST_BYTES]);
}

impl Field for Digest32 {
    fn to_value(&self) -> Value {
        Value::Bytes(self.to_vec())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Bytes(bytes) => bytes.try_into().ok(),
            _ => None,
        }
        .ok_or(SchemaError::Expected {
            expected: "32 bytes, a digest",
        })
    }
    fn shown(&self) -> Shown {
        Shown::Text(hex(self))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha3_and_not_the_older_keccak() {
        // FIPS 202 example value: SHA3-256 of the empty message.
        let empty: Digest32 = Sha3_256::digest(b"").into();
        assert_eq!(
            hex(&empty),
            "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
        );
    }

    #[test]
    fn tag_universe_and_bytes_each_change_the_hash() {
        let one = UniverseId([1; 32]);
        let base = tagged(Tag::Atom, &one, &[b"ab"]);
        assert_eq!(base, tagged(Tag::Atom, &one, &[b"a", b"b"]));
        let plain: Digest32 = Sha3_256::digest(preimage(Tag::Atom, &one, b"ab")).into();
        assert_eq!(base, plain);
        assert_ne!(base, tagged(Tag::Vertex, &one, &[b"ab"]));
        assert_ne!(base, tagged(Tag::Atom, &UniverseId([2; 32]), &[b"ab"]));
        assert_ne!(base, tagged(Tag::Atom, &one, &[b"ac"]));
    }

    #[test]
    fn ids_read_back_from_their_own_text_only() {
        let id = AtomId([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        let text = id.to_string();
        for bad in [
            &text[1..],
            &text.to_uppercase(),
            "",
            &format!("{text}00"),
            &text.replace('a', "é"),
        ] {
            assert!(bad.parse::<AtomId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_format_page_names_every_tag() {
        let rows = crate::page::rows("tag");
        let tags: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(tags, TAG_TEXTS);
    }
}

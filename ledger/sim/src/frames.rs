//! Batches as bytes: a reader and a writer of their own.
//!
//! The auditor and the liars share no code with the node log for it, so that a
//! mistake there does not cancel out here.

/// One place of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// The bytes of an entry.
    Entry(&'a [u8]),
    /// The hash of an entry that is kept elsewhere.
    Leaf(&'a [u8]),
}

/// A batch of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The clock of its first entry.
    pub first_clock: u64,
    /// Its places.
    pub items: Vec<Item<'a>>,
    /// The bytes of its signed head.
    pub head: &'a [u8],
}

const KIND_BEGIN: u8 = 2;
const KIND_ENTRY: u8 = 3;
const KIND_HEAD: u8 = 4;
const KIND_END: u8 = 5;
const KIND_LEAF: u8 = 6;

/// Bytes before the payload of a frame.
const FRAME_HEAD: usize = 9;

fn checksum(length: &[u8], kind: u8, payload: &[u8]) -> u32 {
    let with_length = crc32c::crc32c(length);
    let with_kind = crc32c::crc32c_append(with_length, &[kind]);
    crc32c::crc32c_append(with_kind, payload)
}

/// The frame at the beginning of `bytes` and what is behind it.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(head[4..8].try_into().ok()?);
    let (payload, rest) = rest.split_at_checked(length)?;
    (checksum(&head[..4], head[8], payload) == crc).then_some((head[8], payload, rest))
}

/// The batch at the beginning of `bytes`, and what is behind it.
pub fn batch(bytes: &[u8]) -> Option<(Batch<'_>, &[u8])> {
    let (KIND_BEGIN, begin, mut rest) = frame(bytes)? else {
        return None;
    };
    let first_clock = u64::from_be_bytes(begin.get(8..16)?.try_into().ok()?);
    let mut items = Vec::new();
    loop {
        let (kind, payload, behind) = frame(rest)?;
        rest = behind;
        match kind {
            KIND_ENTRY => items.push(Item::Entry(payload)),
            KIND_LEAF => items.push(Item::Leaf(payload)),
            KIND_HEAD => {
                let (KIND_END, _, behind) = frame(rest)? else {
                    return None;
                };
                let head = payload;
                return Some((
                    Batch {
                        first_clock,
                        items,
                        head,
                    },
                    behind,
                ));
            }
            _ => return None,
        }
    }
}

/// All batches of a segment file, behind its header; whatever follows the last
/// whole one is not read.
pub fn batches(file: &[u8]) -> Vec<Batch<'_>> {
    let mut found = Vec::new();
    let Some((_, _, mut rest)) = frame(file) else {
        return found;
    };
    while let Some((batch, behind)) = batch(rest) {
        found.push(batch);
        rest = behind;
    }
    found
}

fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length, kind, payload).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
}

/// The bytes of a batch with these entries, this signed head and its id.
pub fn write(first_clock: u64, entries: &[Vec<u8>], head: &[u8], head_id: &[u8; 32]) -> Vec<u8> {
    let items: Vec<Item<'_>> = entries.iter().map(|bytes| Item::Entry(bytes)).collect();
    write_items(first_clock, &items, head, head_id)
}

/// A segment file in which the leaves of its entries stand in place of these.
pub fn thinned(file: &[u8], leaf: &dyn Fn(&[u8]) -> [u8; 32]) -> Vec<u8> {
    let Some((_, _, mut rest)) = frame(file) else {
        return file.to_vec();
    };
    let mut out = file[..file.len() - rest.len()].to_vec();
    while let Some((batch, behind)) = batch(rest) {
        let leaves: Vec<Vec<u8>> = batch
            .items
            .iter()
            .map(|item| match item {
                Item::Entry(bytes) => leaf(bytes).to_vec(),
                Item::Leaf(hash) => hash.to_vec(),
            })
            .collect();
        let items: Vec<Item<'_>> = leaves.iter().map(|hash| Item::Leaf(hash)).collect();
        // The id of the head ends the batch.
        let id = rest[..rest.len() - behind.len()].last_chunk();
        let id = id.copied().unwrap_or_default();
        out.extend_from_slice(&write_items(batch.first_clock, &items, batch.head, &id));
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

fn write_items(first_clock: u64, items: &[Item<'_>], head: &[u8], head_id: &[u8; 32]) -> Vec<u8> {
    let mut inner = Vec::new();
    for item in items {
        match item {
            Item::Entry(bytes) => put(&mut inner, KIND_ENTRY, bytes),
            Item::Leaf(hash) => put(&mut inner, KIND_LEAF, hash),
        }
    }
    put(&mut inner, KIND_HEAD, head);
    let length = (2 * FRAME_HEAD + 20 + 40 + inner.len()) as u64;
    let mut out = Vec::new();
    let begin = [
        &length.to_be_bytes()[..],
        &first_clock.to_be_bytes(),
        &(items.len() as u32).to_be_bytes(),
    ];
    put(&mut out, KIND_BEGIN, &begin.concat());
    out.extend_from_slice(&inner);
    put(
        &mut out,
        KIND_END,
        &[&length.to_be_bytes()[..], head_id].concat(),
    );
    out
}

//! Segments: batches framed on both ends, and what their absence means.

use ledger_core::merkle::leaf_hash;
use ledger_core::{Digest32, Field as _, HeadId, SegmentHeader, UniverseId};

use crate::error::LedgerError;
use crate::frame::{FRAME_HEAD_BYTES, Frame, FrameKind, any_frame_from, frame_at, write_frame};

/// Payload of a `Begin` frame: length of the batch, clock of its first entry
/// (both u64 big-endian) and number of entries (u32 big-endian).
const BEGIN_BYTES: usize = 20;

/// Payload of an `End` frame: length of the batch (u64 big-endian) and head id.
const END_BYTES: usize = 40;

/// Bytes of a whole `Begin` frame.
const BEGIN_FRAME_BYTES: usize = FRAME_HEAD_BYTES + BEGIN_BYTES;

/// Bytes of a whole `End` frame.
pub(crate) const END_FRAME_BYTES: usize = FRAME_HEAD_BYTES + END_BYTES;

/// The name of a segment file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("segment-{number:08}.log")
}

/// The number in the name of a segment file.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name
        .strip_prefix("segment-")?
        .strip_suffix(".log")?
        .parse()
        .ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The frame of a segment header.
pub(crate) fn header_frame(header: &SegmentHeader) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = header.to_bytes().expect("a header is a few short fields");
    write_frame(&mut out, FrameKind::Segment, &payload);
    out
}

/// The bytes of a batch.
pub(crate) fn batch_bytes(
    first_clock: u64,
    items: &[Item<'_>],
    head: &[u8],
    id: &HeadId,
) -> Vec<u8> {
    let frames = items
        .iter()
        .map(|item| item.bytes().len())
        .chain([head.len()]);
    let inner: usize = frames.map(|bytes| FRAME_HEAD_BYTES + bytes).sum();
    let length = (BEGIN_FRAME_BYTES + inner + END_FRAME_BYTES) as u64;
    let mut out = Vec::with_capacity(length as usize);
    let count = (items.len() as u32).to_be_bytes();
    let begin = [
        &length.to_be_bytes()[..],
        &first_clock.to_be_bytes(),
        &count,
    ]
    .concat();
    write_frame(&mut out, FrameKind::Begin, &begin);
    for item in items {
        write_frame(&mut out, item.kind(), item.bytes());
    }
    write_frame(&mut out, FrameKind::Head, head);
    write_frame(
        &mut out,
        FrameKind::End,
        &[&length.to_be_bytes()[..], &id.0].concat(),
    );
    out
}

/// One place of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The entry.
    Entry(&'a [u8]),
    /// The hash of an entry that is kept elsewhere.
    Leaf(&'a Digest32),
}

impl<'a> Item<'a> {
    fn kind(self) -> FrameKind {
        match self {
            Item::Entry(_) => FrameKind::Entry,
            Item::Leaf(_) => FrameKind::Leaf,
        }
    }

    fn bytes(self) -> &'a [u8] {
        match self {
            Item::Entry(bytes) => bytes,
            Item::Leaf(hash) => hash,
        }
    }

    pub(crate) fn is_leaf(self) -> bool {
        matches!(self, Item::Leaf(_))
    }

    /// The hash of the leaf.
    pub(crate) fn leaf(self, universe: &UniverseId) -> Digest32 {
        match self {
            Item::Entry(bytes) => leaf_hash(universe, bytes),
            Item::Leaf(hash) => *hash,
        }
    }
}

/// A batch whose frames are all intact. What they say is not yet checked.
#[derive(Debug)]
pub(crate) struct RawBatch<'a> {
    pub first_clock: u64,
    /// Each place with its offset.
    pub items: Vec<(usize, Item<'a>)>,
    /// Offset of the head frame.
    pub head_at: usize,
    pub head: &'a [u8],
    pub head_id: [u8; 32],
    /// Offset of the byte behind the batch.
    pub next: usize,
}

/// Why no batch can be read at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are the beginning of a batch that was never written whole.
    Torn,
    /// The bytes are not what was written.
    Damaged { offset: usize, what: &'static str },
}

/// Reads the batch at `at`, which is not the end of `bytes`.
pub(crate) fn read_batch(bytes: &[u8], at: usize) -> Result<RawBatch<'_>, Fault> {
    let damaged = |offset, what| Err(Fault::Damaged { offset, what });
    // A frame does not read: something intact behind it means damage.
    let unreadable = |offset: usize, what| match any_frame_from(bytes, offset + 1) {
        true => Fault::Damaged { offset, what },
        false => Fault::Torn,
    };
    if bytes.len() - at < BEGIN_FRAME_BYTES {
        return Err(Fault::Torn);
    }
    let Some(begin) = frame_at(bytes, at) else {
        return Err(unreadable(at, "the beginning of a batch does not read"));
    };
    let Some((length, first_clock, count)) = begin_fields(begin.kind, begin.payload) else {
        return damaged(at, "a batch does not begin here");
    };
    if length > (bytes.len() - at) as u64 {
        return Err(Fault::Torn);
    }
    // It fits, so it is a usize.
    let next = at + length as usize;
    let mut place = begin.next;
    let mut items = Vec::new();
    for _ in 0..count {
        match frame_at(bytes, place).map(|frame| (frame, item_of(&frame))) {
            Some((frame, Some(item))) => {
                items.push((place, item));
                place = frame.next;
            }
            Some(_) => return damaged(place, "an entry is missing"),
            None => return Err(unreadable(place, "an entry does not read")),
        }
    }
    let (head_at, head) = match frame_at(bytes, place) {
        Some(frame) if frame.kind == FrameKind::Head => (place, frame),
        Some(_) => return damaged(place, "the head of a batch is missing"),
        None => return Err(unreadable(place, "the head of a batch does not read")),
    };
    if head.next + END_FRAME_BYTES != next {
        return damaged(head.next, "the batch has another length than it says");
    }
    let Some(end) = frame_at(bytes, head.next) else {
        // All before it is intact, so this is the last thing that was written:
        // zeros are a page that never arrived, anything else is damage.
        let was_never_written = next == bytes.len() && bytes[head.next..].iter().all(|b| *b == 0);
        return match was_never_written {
            true => Err(Fault::Torn),
            false => damaged(head.next, "the end of a batch does not read"),
        };
    };
    let head_id = match (end.kind, end.payload.split_first_chunk::<8>()) {
        (FrameKind::End, Some((again, id))) if u64::from_be_bytes(*again) == length => {
            id.try_into().ok()
        }
        _ => None,
    };
    let Some(head_id) = head_id else {
        return damaged(head.next, "the end of a batch does not match its beginning");
    };
    Ok(RawBatch {
        first_clock,
        items,
        head_at,
        head: head.payload,
        head_id,
        next,
    })
}

fn item_of<'a>(frame: &Frame<'a>) -> Option<Item<'a>> {
    match frame.kind {
        FrameKind::Entry => Some(Item::Entry(frame.payload)),
        FrameKind::Leaf => frame.payload.try_into().ok().map(Item::Leaf),
        _ => None,
    }
}

fn begin_fields(kind: FrameKind, payload: &[u8]) -> Option<(u64, u64, u32)> {
    let (length, rest) = payload.split_first_chunk::<8>()?;
    let (first_clock, rest) = rest.split_first_chunk::<8>()?;
    let count = u32::from_be_bytes(rest.try_into().ok()?);
    let is_begin = kind == FrameKind::Begin;
    is_begin.then_some((
        u64::from_be_bytes(*length),
        u64::from_be_bytes(*first_clock),
        count,
    ))
}

/// What stands at the beginning of a segment file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    /// The expected header; batches begin at this offset.
    Whole(usize),
    /// A part of it, or zeros: the file was made but not finished.
    Torn,
}

/// Compares the beginning of a file with the header that must stand there.
pub(crate) fn read_header(
    file: &str,
    bytes: &[u8],
    expected: &SegmentHeader,
) -> Result<HeaderFound, LedgerError> {
    let expected = header_frame(expected);
    let differs = expected.iter().zip(bytes).position(|(a, b)| a != b);
    match differs {
        None if bytes.len() >= expected.len() => Ok(HeaderFound::Whole(expected.len())),
        None => Ok(HeaderFound::Torn),
        Some(_) if bytes.iter().all(|b| *b == 0) => Ok(HeaderFound::Torn),
        Some(at) => Err(LedgerError::Corrupt {
            file: file.to_owned(),
            offset: at as u64,
            what: "the header of the segment is not the one that follows".to_owned(),
        }),
    }
}

//! Reading segment files: a second implementation of the format, for doubt.
//!
//! Frame: `len u32 LE | crc32c u32 LE | type u8 | bytes`, the checksum over
//! length, type and bytes. Types: 1 segment, 2 begin, 3 entry, 4 head, 5 end.
//! A file is a segment frame and then batches `begin entry* head end`.

/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD: usize = 9;
/// Whole length of a `begin` frame: two u64 and a u32 behind the frame head.
const BEGIN_FRAME: usize = FRAME_HEAD + 20;

pub(crate) const SEGMENT: u8 = 1;
const BEGIN: u8 = 2;
const ENTRY: u8 = 3;
const HEAD: u8 = 4;
const END: u8 = 5;

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub at: usize,
    pub kind: u8,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    pub(crate) fn end(&self) -> usize {
        self.at + FRAME_HEAD + self.payload.len()
    }
}

/// A finished batch.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub at: usize,
    pub first_clock: u64,
    pub entries: Vec<Frame<'a>>,
    pub head: Frame<'a>,
    pub head_id: &'a [u8],
    pub end: usize,
}

/// What stands at an offset.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Batch(Batch<'a>),
    /// The file ends here, or with a batch that was never finished.
    Tail,
    /// The bytes are not what was written.
    Damage {
        at: usize,
        what: &'static str,
    },
}

pub(crate) fn frame(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let head = bytes.get(at..at.checked_add(FRAME_HEAD)?)?;
    let number = |from: usize| {
        u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
    };
    let (length, crc, kind) = (number(0) as usize, number(4), head[8]);
    if !(SEGMENT..=END).contains(&kind) || length > ledger_core::cbor::ENCODED_BYTES_MAX {
        return None;
    }
    let from = at + FRAME_HEAD;
    let payload = bytes.get(from..from + length)?;
    let found = [&head[..4], &head[8..], payload]
        .into_iter()
        .fold(0, crc32c::crc32c_append);
    (found == crc).then_some(Frame { at, kind, payload })
}

fn be_u64(bytes: &[u8], from: usize) -> Option<u64> {
    bytes
        .get(from..)?
        .first_chunk()
        .map(|b| u64::from_be_bytes(*b))
}

/// What stands at `at`, where a batch should begin.
pub(crate) fn batch(bytes: &[u8], at: usize) -> Found<'_> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut place = at;
    while let Some(next) = frame(bytes, place) {
        place = next.end();
        frames.push(next);
        if next.kind == END {
            return finished(at, &frames, place);
        }
    }
    // The frames stop at `place` before the batch has ended.
    let rest = &bytes[place..];
    let begin = frames.first().filter(|f| f.kind == BEGIN);
    let announced = begin.and_then(|f| be_u64(f.payload, 0));
    let is_cut_off = announced.is_some_and(|length| length > (bytes.len() - at) as u64);
    if bytes.len() - at < BEGIN_FRAME || is_cut_off {
        return Found::Tail;
    }
    let is_followed = (place + 1..bytes.len()).any(|from| frame(bytes, from).is_some());
    let is_headed = frames.last().is_some_and(|f| f.kind == HEAD);
    let is_blank = rest.iter().all(|byte| *byte == 0);
    match (is_followed, is_headed && !is_blank) {
        (true, _) => Found::Damage {
            at: place,
            what: "a frame does not read, and frames follow it",
        },
        (_, true) => Found::Damage {
            at: place,
            what: "the end of a whole batch does not read",
        },
        (false, false) => Found::Tail,
    }
}

/// Checks the shape of a batch that has its `end`.
fn finished<'a>(at: usize, frames: &[Frame<'a>], end: usize) -> Found<'a> {
    let shape = || {
        let (begin, rest) = frames.split_first()?;
        let (last, rest) = rest.split_last()?;
        let (head, entries) = rest.split_last()?;
        let kinds_fit =
            begin.kind == BEGIN && head.kind == HEAD && entries.iter().all(|e| e.kind == ENTRY);
        let length = (end - at) as u64;
        let count = (entries.len() as u32).to_be_bytes();
        let lengths_fit = begin.payload.len() == 20 && last.payload.len() == 40;
        let fits = kinds_fit
            && lengths_fit
            && be_u64(begin.payload, 0)? == length
            && be_u64(last.payload, 0)? == length
            && begin.payload.ends_with(&count);
        let first_clock = be_u64(begin.payload, 8)?;
        let (entries, head_id) = (entries.to_vec(), &last.payload[8..]);
        fits.then_some(Batch {
            at,
            first_clock,
            entries,
            head: *head,
            head_id,
            end,
        })
    };
    match shape() {
        Some(batch) => Found::Batch(batch),
        None => Found::Damage {
            at,
            what: "the frames do not make a batch",
        },
    }
}

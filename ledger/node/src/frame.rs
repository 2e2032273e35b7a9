//! Frames: how bytes stand in a segment file.

/// Bytes before the payload of a frame: length, checksum and type.
pub(crate) const FRAME_HEAD_BYTES: usize = 9;

/// Longest payload of a frame in bytes: one entry, see
/// [`ledger_core::cbor::ENCODED_BYTES_MAX`].
pub(crate) const PAYLOAD_BYTES_MAX: usize = ledger_core::cbor::ENCODED_BYTES_MAX;

/// The type of a frame. Zero is none of them, so that zeros are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Segment = 1,
    Begin = 2,
    Entry = 3,
    Head = 4,
    End = 5,
    /// The hash of an entry that is kept elsewhere; in a copy of another's log.
    Leaf = 6,
}

const KINDS: [FrameKind; 6] = [
    FrameKind::Segment,
    FrameKind::Begin,
    FrameKind::Entry,
    FrameKind::Head,
    FrameKind::End,
    FrameKind::Leaf,
];

/// An intact frame in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub kind: FrameKind,
    pub payload: &'a [u8],
    /// Offset of the byte behind the frame.
    pub next: usize,
}

/// Appends a frame to `out`. The caller keeps payloads within the limit.
pub(crate) fn write_frame(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, kind as u8, payload).to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(payload);
}

fn checksum(length: [u8; 4], kind: u8, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&length);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[kind]), payload)
}

/// The intact frame at `at`, or `None` when there is none: too short, too
/// long, of no known type, or with another checksum.
pub(crate) fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first()?;
    let known = KINDS.into_iter().find(|k| *k as u8 == *kind)?;
    let count = u32::from_le_bytes(*length) as usize;
    if count > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..count)?;
    let is_intact = checksum(*length, *kind, payload) == u32::from_le_bytes(*crc);
    is_intact.then_some(Frame {
        kind: known,
        payload,
        next: at + FRAME_HEAD_BYTES + count,
    })
}

/// Whether any intact frame begins at `from` or behind it.
pub(crate) fn any_frame_from(bytes: &[u8], from: usize) -> bool {
    (from..bytes.len()).any(|at| frame_at(bytes, at).is_some())
}

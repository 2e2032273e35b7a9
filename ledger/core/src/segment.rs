//! The header of a segment file: how the files of one log follow each other.
//!
//! Where frames begin and end is the business of whoever reads and writes the
//! files; this is only what the first frame of each file says.

use crate::hash::{HeadId, UniverseId};
use crate::record::SchemaError;

/// What the header calls itself.
pub const SEGMENT_FORMAT: &str = "gridrig ledger segment";

/// The only version of the segment format there is.
pub const SEGMENT_VERSION: u64 = 1;

record! {
    /// The first frame of a segment file.
    SegmentHeader where is_known {
        /// [`SEGMENT_FORMAT`].
        format: String,
        /// [`SEGMENT_VERSION`].
        version: u64,
        /// Number of the segment, from 1.
        number: u64,
        /// The universe.
        universe: UniverseId,
        /// Logical clock of the first entry that will stand here.
        first_clock: u64,
        /// The last head of the segment before.
        prev_head: HeadId,
    }
}

fn is_known(h: &SegmentHeader) -> Result<(), SchemaError> {
    match h.format == SEGMENT_FORMAT && h.version == SEGMENT_VERSION {
        true => Ok(()),
        false => Err(SchemaError::Rule {
            rule: "The segment is of format version 1.",
        }),
    }
}

impl SegmentHeader {
    /// The header of segment `number` that follows `prev_head`.
    pub fn new(
        number: u64,
        universe: UniverseId,
        first_clock: u64,
        prev_head: HeadId,
    ) -> SegmentHeader {
        let (format, version) = (SEGMENT_FORMAT.to_owned(), SEGMENT_VERSION);
        SegmentHeader {
            format,
            version,
            number,
            universe,
            first_clock,
            prev_head,
        }
    }
}

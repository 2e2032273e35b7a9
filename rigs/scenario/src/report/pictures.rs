//! The pictures of a run, kept beside its result, so that its report can be laid out anew.
//!
//! `result.json` holds what was decided; what the pictures show is too much for it. The file is no
//! interface: another version of gridrig reads its own pictures only, and a report without any is
//! still a report.

use super::plot::Plot;
use super::result::RunResult;

/// Name of the file in the run folder.
pub const PICTURES_FILE: &str = "pictures.bin.zst";

/// Version of the shape of the file; it grows with every change of [`Plot`].
const VERSION: u32 = 1;

/// Level of compression. Chosen: zstd's usual one.
const LEVEL: i32 = 3;

/// Most bytes that are unpacked. Chosen: 256 MiB; the pictures of a thousand scenarios take a tenth.
const BYTES_MAX: usize = 256 << 20;

/// The pictures of each check of each scenario.
type Pictures = Vec<Vec<Option<Plot>>>;

/// The bytes of the file; `None` when they cannot be packed.
#[must_use]
pub fn pack(result: &RunResult) -> Option<Vec<u8>> {
    let of = |scenario: &super::result::ScenarioResult| {
        let checks = scenario.checks.iter();
        checks.map(|check| check.plot.clone()).collect()
    };
    let all: Pictures = result.scenarios.iter().map(of).collect();
    let bytes = postcard::to_stdvec(&(VERSION, all)).ok()?;
    zstd::bulk::compress(&bytes, LEVEL).ok()
}

/// Hangs the pictures of a file on the checks of the result that they were packed with; those of
/// another result or version are left.
pub fn hang(bytes: &[u8], result: &mut RunResult) {
    let Some((VERSION, all)) = unpack(bytes) else {
        return;
    };
    let fits = all.len() == result.scenarios.len()
        && all
            .iter()
            .zip(&result.scenarios)
            .all(|(pictures, s)| pictures.len() == s.checks.len());
    if !fits {
        return;
    }
    for (pictures, scenario) in all.into_iter().zip(&mut result.scenarios) {
        for (picture, check) in pictures.into_iter().zip(&mut scenario.checks) {
            check.plot = picture;
        }
    }
}

fn unpack(bytes: &[u8]) -> Option<(u32, Pictures)> {
    let bytes = zstd::bulk::decompress(bytes, BYTES_MAX).ok()?;
    postcard::from_bytes(&bytes).ok()
}

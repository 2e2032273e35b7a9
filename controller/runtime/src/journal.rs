//! The journal: every input of the control core and a digest of what it answered.
//!
//! A frame per step holds the time, the samples that arrived, the link states that
//! changed and the orders; the image is what the samples make of it. `replay` runs
//! the core on them again: a field failure becomes a test by copying its journal.
//!
//! On disk: the magic line, then frames `length u32 | crc32c u32 | bytes`, the
//! first of which holds the bench. A torn last frame is the end of the journal.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use control::{Bench, Controller, Outcome, Rhythm};
use model::{DeviceIx, Instant, Link, Order, PointSample, ProcessImage};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

/// First bytes of every journal; the number is the format's version.
const MAGIC: &[u8; 16] = b"gridrig-journal4";
/// Frames that may wait for the disk. Chosen: 1024, over a minute of cycles.
const FRAMES_WAITING_MAX: usize = 1024;
/// Bytes that are handed to the disk's thread at once where a step waits for room anyway (virtual time).
/// Chosen: 64 KiB, some hundred cycles; a thread that is woken for each costs more than it writes.
const BYTES_TOGETHER: usize = 64 << 10;
/// Largest frame that is believed when reading. Chosen: 64 MiB, a thousand times a busy cycle.
const FRAME_BYTES_MAX: u32 = 64 << 20;

/// One step as it is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Frame<Samples = Vec<PointSample>, Orders = Vec<Order>> {
    now: Instant,
    rhythm: Rhythm,
    samples: Samples,
    links: Vec<(DeviceIx, Link)>,
    orders: Orders,
    /// SHA3-256 of the outcome.
    digest: [u8; 32],
    /// Steps that were lost before this one because the disk could not follow.
    lost_before: u64,
}

/// The digest of an outcome.
fn digest(outcome: &Outcome) -> [u8; 32] {
    let bytes = postcard::to_stdvec(outcome).expect("an outcome is plain data and always encodes");
    Sha3_256::digest(&bytes).into()
}

/// Writes the journal of a run. The disk is written by a thread: a cycle never waits for it.
#[derive(Debug)]
pub struct Journal {
    frames: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    links: Vec<Link>,
    lost: u64,
    blocking: bool,
    /// Frames that are not handed over yet.
    together: Vec<u8>,
}

impl Journal {
    /// Begins a journal. With `blocking` (virtual time) a step waits for room instead of being lost.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, bench: &Bench, blocking: bool) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        write_frame(&mut file, &encode(bench))?;
        file.flush()?;
        let (frames, waiting) = sync_channel(FRAMES_WAITING_MAX);
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_all(file, &waiting))?;
        Ok(Self {
            frames: Some(frames),
            writer: Some(writer),
            links: vec![Link::Unknown; bench.devices.len()],
            lost: 0,
            blocking,
            together: Vec::new(),
        })
    }

    /// Keeps a step.
    pub fn step(
        &mut self,
        now: Instant,
        rhythm: Rhythm,
        samples: &[PointSample],
        image: &ProcessImage,
        orders: &[Order],
        outcome: &Outcome,
    ) {
        let mut links = Vec::new();
        for (index, device) in image.devices.iter().enumerate() {
            if self.links[index] != device.link {
                self.links[index] = device.link;
                links.push((DeviceIx(index as u16), device.link));
            }
        }
        let frame = encode(&Frame {
            now,
            rhythm,
            samples,
            links,
            orders,
            digest: digest(outcome),
            lost_before: self.lost,
        });
        if write_frame(&mut self.together, &frame).is_err() {
            self.lost += 1;
        } else if !self.blocking || self.together.len() >= BYTES_TOGETHER {
            self.hand_over();
        }
    }

    /// Hands the frames over that are not yet; those that there is no room for are lost.
    fn hand_over(&mut self) {
        let Some(frames) = &self.frames else { return };
        let together = std::mem::take(&mut self.together);
        let sent = if self.blocking {
            frames.send(together).map_err(|_| ())
        } else {
            frames.try_send(together).map_err(|e| match e {
                TrySendError::Full(_) | TrySendError::Disconnected(_) => (),
            })
        };
        if sent.is_err() {
            // Where one step waits for room there are several only when the writer has gone, which `finish` tells.
            self.lost += 1;
        }
    }

    /// Ends the journal; the number of steps that were lost.
    ///
    /// # Errors
    /// When the disk refused a frame at any time of the run.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.together.is_empty() {
            self.hand_over();
        }
        drop(self.frames.take());
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(|()| self.lost),
            Some(Err(_)) => Err(io::Error::other("the journal's writer ended badly")),
            None => Ok(self.lost),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A run that ends badly keeps its last steps, too.
        if !self.together.is_empty() {
            self.hand_over();
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data always encodes")
}

fn write_frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&crc32c::crc32c(bytes).to_le_bytes())?;
    to.write_all(bytes)
}

/// Writes frames until nobody sends any more; flushes whenever nothing waits.
fn write_all(mut file: BufWriter<File>, frames: &Receiver<Vec<u8>>) -> io::Result<()> {
    while let Ok(first) = frames.recv() {
        file.write_all(&first)?;
        while let Ok(next) = frames.try_recv() {
            file.write_all(&next)?;
        }
        file.flush()?;
    }
    file.flush()
}

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a journal, or of another version.
    #[error("{path} is not a journal of this version of gridrig")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A frame in the middle is damaged.
    #[error("{path} is damaged at byte {offset}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: usize,
    },
    /// Steps were lost while it was written.
    #[error(
        "{lost} steps were lost while the journal was written: nothing can be said after step {step}"
    )]
    Incomplete {
        /// The last step before the hole.
        step: u64,
        /// How many were lost.
        lost: u64,
    },
}

/// The outcome of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Every step came out as it was.
    Identical {
        /// Number of steps.
        steps: u64,
        /// Bytes of a last frame that was cut off by a crash.
        torn_bytes: usize,
    },
    /// The first step that came out differently.
    Different {
        /// Number of the step, from 1.
        step: u64,
        /// Its time.
        at: Instant,
        /// What comes out now, for a person to compare with the run's events.
        now_comes: String,
    },
}

/// Runs the control core again on a journal and compares every outcome.
///
/// # Errors
/// When the journal cannot be read or has holes.
pub fn replay(path: &Path) -> Result<Replayed, ReplayError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut f| f.read_to_end(&mut bytes))
        .map_err(|source| ReplayError::Read {
            path: path.into(),
            source,
        })?;
    let not_a_journal = || ReplayError::NotAJournal { path: path.into() };
    if bytes.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
        return Err(not_a_journal());
    }
    let damaged = |offset| ReplayError::Damaged {
        path: path.into(),
        offset,
    };
    let mut offset = MAGIC.len();
    let Found::Frame(head, next) = frame_at(&bytes, offset) else {
        return Err(not_a_journal());
    };
    let bench: Bench = postcard::from_bytes(head).map_err(|_| not_a_journal())?;
    offset = next;
    let mut image = ProcessImage::unread(bench.devices.len());
    let mut controller = Controller::new(bench);
    let mut steps = 0;
    loop {
        let frame = match frame_at(&bytes, offset) {
            Found::Frame(frame, next) => {
                let frame: Frame = postcard::from_bytes(frame).map_err(|_| damaged(offset))?;
                offset = next;
                frame
            }
            Found::End => {
                return Ok(Replayed::Identical {
                    steps,
                    torn_bytes: 0,
                });
            }
            Found::Torn => {
                return Ok(Replayed::Identical {
                    steps,
                    torn_bytes: bytes.len() - offset,
                });
            }
            Found::Damaged => return Err(damaged(offset)),
        };
        if frame.lost_before > 0 {
            return Err(ReplayError::Incomplete {
                step: steps,
                lost: frame.lost_before,
            });
        }
        for sample in &frame.samples {
            image.observe(*sample);
        }
        for (device, link) in &frame.links {
            if let Some(device) = image.devices.get_mut(device.index()) {
                device.link = *link;
            }
        }
        image.taken_at = frame.now;
        let outcome = controller.step(frame.now, frame.rhythm, &image, &frame.orders);
        steps += 1;
        if digest(&outcome) != frame.digest {
            return Ok(Replayed::Different {
                step: steps,
                at: frame.now,
                now_comes: format!(
                    "mode {}, {} dispatches, {} events",
                    outcome.mode,
                    outcome.dispatches.len(),
                    outcome.events.len()
                ),
            });
        }
    }
}

enum Found<'a> {
    Frame(&'a [u8], usize),
    End,
    /// The file ends inside the frame: the process died while it wrote.
    Torn,
    Damaged,
}

fn frame_at(bytes: &[u8], offset: usize) -> Found<'_> {
    let Some(rest) = bytes.get(offset..).filter(|r| !r.is_empty()) else {
        return Found::End;
    };
    let (Some(length), Some(crc)) = (word(rest, 0), word(rest, 4)) else {
        return Found::Torn;
    };
    if length > FRAME_BYTES_MAX {
        return Found::Damaged;
    }
    let end = 8 + length as usize;
    match rest.get(8..end) {
        None => Found::Torn,
        Some(frame) if crc32c::crc32c(frame) == crc => Found::Frame(frame, offset + end),
        Some(_) => Found::Damaged,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(word))
}

#[cfg(test)]
pub(crate) mod tests;

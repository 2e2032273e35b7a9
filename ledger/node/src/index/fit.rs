//! Whether an index is that of the log beside it, as the log is now.

use ledger_core::merkle::Frontier;
use ledger_core::{Authority, Field as _, HeadId, SegmentHeader, Signature, SignedHead};

use super::block::{BatchRow, Body, Chained, block_at, body_hash};
use super::writing::index_name;
use super::{Index, Noted, Recall, State};
use crate::frame::{FRAME_HEAD_BYTES, FrameKind, frame_at};
use crate::segment::{END_FRAME_BYTES, header_frame, read_batch, segment_name};
use crate::storage::Storage;

/// An index that fits its log.
pub(crate) struct Recalled {
    /// Bytes of each file of the index, up to the last whole block.
    files: Vec<(u64, Vec<u8>)>,
    /// Behind the last indexed batch: the segment and the offset in it.
    pub end: (u64, u64),
    /// Every batch: its segment, where it stands, and the clock of its last entry.
    pub batches: Vec<(u64, BatchRow, u64)>,
    state: State,
    frontier: Frontier,
    heads: Vec<SignedHead>,
    chain: Chained,
    is_torn: bool,
}

type Refused = String;

/// A batch with its segment before it and the clock at its end behind it.
type Placed = (u64, BatchRow, u64);

/// What an index that fits leads to: segment and byte of its end, the tree there, and the newest heads.
type Fitting = ((u64, u64), Frontier, Vec<SignedHead>);

fn refused<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(why.into())
}

/// The blocks of the index as they stand: of each its segment, signature and body.
type Blocks<'a> = Vec<(u64, Signature, &'a [u8])>;

impl Index {
    /// Reads the index beside the segments of these numbers; `None` where there is
    /// none.
    pub(crate) fn read(
        &self,
        storage: &mut dyn Storage,
        numbers: &[u64],
        log: &dyn Recall,
    ) -> Result<Option<Recalled>, Refused> {
        let names = storage.names().map_err(|e| e.to_string())?;
        let mut files = Vec::new();
        let mut is_torn = false;
        for name in names.iter().filter(|name| name.starts_with("index-")) {
            let number = numbers.iter().find(|n| index_name(**n) == **name);
            let bytes = storage.read(name).map_err(|e| format!("{name}: {e}"))?;
            match number {
                _ if bytes.is_empty() => {}
                Some(number) => files.push((*number, bytes)),
                None => return refused(format!("{name} has no segment")),
            }
        }
        files.sort_unstable_by_key(|(number, _)| *number);
        let last = files.len().saturating_sub(1);
        for (at, (number, bytes)) in files.iter_mut().enumerate() {
            let whole = whole_blocks(bytes);
            if whole < bytes.len() && at < last {
                return refused(format!("{} is cut off", index_name(*number)));
            }
            is_torn |= whole < bytes.len();
            bytes.truncate(whole);
        }
        let blocks: Blocks<'_> = files
            .iter()
            .flat_map(|(number, bytes)| blocks_of(*number, bytes))
            .collect();
        if blocks.is_empty() {
            return Ok(None);
        }
        let chain = self.chain_of(&blocks);
        let key = self.options.key.public();
        if key.verify(&chain.hash, &chain.signature).is_err() {
            return refused("the index is not what this node has signed");
        }
        let (batches, state) = self.batches_of(&blocks)?;
        let (end, frontier, heads) = self.fits(storage, &batches, &blocks, &state, log)?;
        Ok(Some(Recalled {
            files,
            end,
            batches,
            state,
            frontier,
            heads,
            chain,
            is_torn,
        }))
    }

    /// The hash over all blocks, with all cores: it is most of the work.
    fn chain_of(&self, blocks: &Blocks<'_>) -> Chained {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let each = blocks.len().div_ceil(cores).max(1);
        let hashes = std::thread::scope(|scope| {
            let hands: Vec<_> = blocks
                .chunks(each)
                .map(|part| {
                    let hash =
                        |(_, _, body): &(u64, Signature, &[u8])| body_hash(&self.universe, body);
                    scope.spawn(move || part.iter().map(hash).collect::<Vec<_>>())
                })
                .collect();
            let hashed = hands
                .into_iter()
                .flat_map(|hand| hand.join().unwrap_or_default());
            hashed.collect::<Vec<_>>()
        });
        let links = hashes.iter().zip(blocks);
        links.fold(Chained::NONE, |before, (body, (_, signature, _))| Chained {
            hash: before.with(&self.universe, body),
            signature: *signature,
        })
    }

    fn batches_of(&self, blocks: &Blocks<'_>) -> Result<(Vec<Placed>, State), Refused> {
        let mut batches = Vec::new();
        let mut clock = 0;
        let mut last = None;
        for (segment, _, body) in blocks {
            let Some(body) = Body::read(body).filter(|body| body.node == self.node) else {
                return refused("a block is of another log");
            };
            for batch in &body.batches {
                clock += u64::from(batch.entries);
                batches.push((*segment, *batch, clock));
            }
            last = Some(body);
        }
        let state = last.and_then(|body| {
            let first = clock - body.entries() + 1;
            body.go_through(first, &mut |_| {}, &mut |_, _| {})
        });
        match state {
            Some(state) if state.size == clock => Ok((batches, state)),
            _ => refused("the last block does not add up"),
        }
    }

    /// Compares the index with the segments; what they hold before the last batch
    /// is not read.
    fn fits(
        &self,
        storage: &mut dyn Storage,
        batches: &[Placed],
        blocks: &Blocks<'_>,
        state: &State,
        log: &dyn Recall,
    ) -> Result<Fitting, Refused> {
        let Some(&(last_segment, last, _)) = batches.last() else {
            return refused("the index has no batch");
        };
        let (mut before, mut clock) = (HeadId::NONE, 0);
        for segment in 1..=last_segment {
            let name = segment_name(segment);
            let header = SegmentHeader::new(segment, self.universe, clock + 1, before);
            let expected = header_frame(&header);
            let found = storage.read_at(&name, 0, expected.len());
            if found.ok().as_ref() != Some(&expected) {
                return refused(format!("{name} begins otherwise"));
            }
            let from = batches.partition_point(|(at, _, _)| *at < segment);
            let to = batches.partition_point(|(at, _, _)| *at <= segment);
            let mut end = expected.len() as u64;
            for (_, batch, _) in &batches[from..to] {
                if batch.offset != end {
                    return refused(format!("{name} has a gap in its index"));
                }
                end += batch.length;
            }
            let length = storage.length(&name).map_err(|e| format!("{name}: {e}"))?;
            if length < end || segment < last_segment && length != end {
                return refused(format!("{name} has {length} bytes, its index {end}"));
            }
            let of_segment = blocks.iter().rfind(|(at, _, _)| *at == segment);
            let Some(state) = of_segment.and_then(|(_, _, body)| {
                Body::read(body)?.go_through(1, &mut |_| {}, &mut |_, _| {})
            }) else {
                return refused(format!("{name} has no index"));
            };
            (before, clock) = (state.last_head, state.size);
        }
        let name = segment_name(last_segment);
        let bytes = storage.read_at(&name, last.offset, last.length as usize);
        let bytes = bytes.map_err(|e| format!("{name}: {e}"))?;
        let Ok(batch) = read_batch(&bytes, 0) else {
            return refused(format!("{name} has no batch at byte {}", last.offset));
        };
        let frontier = Frontier::of_peaks(self.universe, state.size, state.peaks.clone());
        let frontier = frontier.ok_or("the tree of the index is none")?;
        let head = SignedHead::from_bytes(batch.head).map_err(|e| e.to_string())?;
        let is_over = head.head.size == state.size
            && head.head.root == frontier.root()
            && batch.head_id == state.last_head.0
            && head.head.id(&self.universe).ok() == Some(state.last_head)
            && head.head.node == self.node;
        if !is_over || head.verify(&self.universe, &log.log_key()).is_err() {
            return refused("the log has another head where the index ends");
        }
        let from = batches.len().saturating_sub(log.heads_wanted());
        let mut heads = Vec::with_capacity(batches.len() - from);
        for (segment, batch, _) in &batches[from..] {
            let name = segment_name(*segment);
            heads.push(head_of(storage, &name, batch).ok_or(format!("{name} lacks a head"))?);
        }
        Ok(((last_segment, last.offset + last.length), frontier, heads))
    }

    /// Goes on behind what was recalled: cuts off what is torn.
    pub(crate) fn go_on(&mut self, storage: &mut dyn Storage, recalled: &Recalled) {
        self.chain = recalled.chain;
        self.segment = recalled.end.0;
        if !recalled.is_torn {
            return;
        }
        // The torn block may be the first of its file, which is then not the last
        // one that has a whole block.
        for name in storage.names().unwrap_or_default() {
            let whole = recalled
                .files
                .iter()
                .find(|(n, _)| index_name(*n) == name)
                .map(|(_, bytes)| bytes.len() as u64);
            if name.starts_with("index-")
                && let Err(e) = crate::segments::cut(storage, &name, whole.unwrap_or(0))
            {
                self.fault = Some(e);
            }
        }
    }
}

impl Recalled {
    /// How many entries it is about.
    pub(crate) fn entries(&self) -> u64 {
        self.state.size
    }

    /// Tells all of it.
    ///
    /// # Errors
    /// What does not follow; nothing that this node has written.
    pub(crate) fn tell(self, log: &mut dyn Recall) -> Result<(), &'static str> {
        let mut clock = 1;
        for (number, bytes) in &self.files {
            for (_, _, body) in blocks_of(*number, bytes) {
                let body = Body::read(body).ok_or("a block of the index is none")?;
                let entries = body.entries();
                let mut devices: Vec<(String, Authority)> = Vec::new();
                let mut told = Ok(());
                let mut noted = |noted: Noted| {
                    if told.is_ok() {
                        told = log.recall(noted);
                    }
                };
                let state = body.go_through(clock, &mut noted, &mut |device, authority| {
                    devices.push((device, authority));
                });
                told?;
                state.ok_or("a block of the index is none")?;
                for (device, authority) in devices {
                    log.recall_device(device, authority);
                }
                clock += entries;
            }
        }
        log.resume(self.frontier, &self.state, self.heads);
        Ok(())
    }
}

/// How many bytes the whole blocks take.
fn whole_blocks(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((_, _, next)) = block_at(bytes, at) {
        at = next;
    }
    at
}

fn blocks_of(number: u64, bytes: &[u8]) -> Blocks<'_> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some((signature, body, next)) = block_at(bytes, at) {
        blocks.push((number, signature, body));
        at = next;
    }
    blocks
}

/// The head of a batch, without the rest of it.
fn head_of(storage: &mut dyn Storage, name: &str, batch: &BatchRow) -> Option<SignedHead> {
    let frame = FRAME_HEAD_BYTES + batch.head_bytes as usize;
    let behind = (frame + END_FRAME_BYTES) as u64;
    let at = batch.offset + batch.length.checked_sub(behind)?;
    let bytes = storage.read_at(name, at, frame).ok()?;
    let found = frame_at(&bytes, 0).filter(|f| f.kind == FrameKind::Head)?;
    SignedHead::from_bytes(found.payload).ok()
}

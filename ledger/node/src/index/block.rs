//! The bytes of a block of an index.
//!
//! `length of the body u64 | signature 64 | body`, all integers little-endian. It
//! is not the ledger's encoding: nobody but this node ever reads it, and a million
//! rows are read at once.

use ledger_core::hash::{Tag, tagged};
use ledger_core::{
    Address, AtomId, Authority, Digest32, Field as _, HeadId, Holder, Kind, Particle, Signature,
    UniverseId,
};

use super::{Noted, Row, State};

/// The only version of a block there is.
const VERSION: u8 = 1;

/// Bytes before the body.
pub(super) const BLOCK_HEAD_BYTES: usize = 8 + 64;

/// In place of the code of a kind: something that is kept elsewhere.
const ELSEWHERE: u8 = 0xff;

/// Where a batch stands in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchRow {
    pub offset: u64,
    pub length: u64,
    pub entries: u32,
    pub head_bytes: u32,
}

/// A block that is being gathered.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    pub count: usize,
    batches: Vec<u8>,
    authors: Vec<Address>,
    rows: Vec<u8>,
    devices: std::collections::BTreeMap<String, Authority>,
}

impl Gathering {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn batch(&mut self, batch: BatchRow) {
        self.batches.extend_from_slice(&batch.offset.to_le_bytes());
        self.batches.extend_from_slice(&batch.length.to_le_bytes());
        self.batches.extend_from_slice(&batch.entries.to_le_bytes());
        self.batches
            .extend_from_slice(&batch.head_bytes.to_le_bytes());
    }

    pub(super) fn device(&mut self, device: String, authority: Authority) {
        self.devices.insert(device, authority);
    }

    pub(super) fn row(&mut self, noted: &Noted) {
        self.count += 1;
        let Noted::Entry(row) = noted else {
            return self.rows.push(ELSEWHERE);
        };
        let author = self.authors.iter().position(|a| *a == row.author);
        let author = author.unwrap_or_else(|| {
            self.authors.push(row.author);
            self.authors.len() - 1
        });
        let out = &mut self.rows;
        out.push(row.kind.code());
        out.extend_from_slice(&row.atom.0);
        out.extend_from_slice(&row.sigs);
        out.extend_from_slice(&(author as u32).to_le_bytes());
        for n in [row.seq, row.config_epoch, row.vertex_epoch] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let particles = match row.particles.is_empty() {
            true => Vec::new(),
            false => row
                .particles
                .to_bytes()
                .expect("they stood within an atom, which has the same limit"),
        };
        bytes_into(out, &particles);
    }

    /// The body of the block, of a node's log.
    pub(super) fn body(self, node: &Address, state: &State) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() + 4096);
        out.push(VERSION);
        out.extend_from_slice(&node.0);
        bytes_into(&mut out, &self.batches);
        out.extend_from_slice(&(self.authors.len() as u32).to_le_bytes());
        for author in &self.authors {
            out.extend_from_slice(&author.0);
        }
        out.extend_from_slice(&(self.count as u32).to_le_bytes());
        out.extend_from_slice(&self.rows);
        out.extend_from_slice(&(self.devices.len() as u32).to_le_bytes());
        for (device, authority) in &self.devices {
            bytes_into(&mut out, device.as_bytes());
            out.extend_from_slice(&authority.epoch.to_le_bytes());
            match authority.holder {
                Holder::Anybody => out.push(0),
                Holder::Issuer(issuer) => {
                    out.push(1);
                    out.extend_from_slice(&issuer.0);
                }
                Holder::Contested => out.push(2),
            }
        }
        out.extend_from_slice(&state.last_head.0);
        for n in [state.epoch, state.hlc, state.size] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.push(state.peaks.len() as u8);
        for peak in &state.peaks {
            out.extend_from_slice(peak);
        }
        out
    }
}

fn bytes_into(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The hash of a body.
pub(super) fn body_hash(universe: &UniverseId, body: &[u8]) -> Digest32 {
    tagged(Tag::Index, universe, &[&[0], body])
}

/// All blocks up to one, as a hash, and the signature over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chained {
    pub hash: Digest32,
    pub signature: Signature,
}

impl Chained {
    /// Before the first block.
    pub(super) const NONE: Chained = Chained {
        hash: [0; 32],
        signature: Signature([0; 64]),
    };

    /// The hash with one more body: what is signed.
    pub(super) fn with(&self, universe: &UniverseId, body: &Digest32) -> Digest32 {
        let parts: [&[u8]; 4] = [&[1], &self.hash, &self.signature.0, body];
        tagged(Tag::Index, universe, &parts)
    }
}

/// The whole block.
pub(super) fn block_bytes(body: &[u8], signature: &Signature) -> Vec<u8> {
    let length = (body.len() as u64).to_le_bytes();
    [&length[..], &signature.0, body].concat()
}

/// The block at `at`, as signature and body, and what follows; `None` where it is
/// not all there.
pub(super) fn block_at(bytes: &[u8], at: usize) -> Option<(Signature, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (signature, rest) = rest.split_first_chunk::<64>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    Some((Signature(*signature), body, at + BLOCK_HEAD_BYTES + length))
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub node: Address,
    pub batches: Vec<BatchRow>,
    authors: Vec<Address>,
    rows: u32,
    rest: Bytes<'a>,
}

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn some(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Body<'a> {
    /// Reads a body up to its rows; `None` where it is none.
    pub(super) fn read(body: &'a [u8]) -> Option<Body<'a>> {
        let mut rest = Bytes(body);
        if rest.byte()? != VERSION {
            return None;
        }
        let node = Address(rest.take()?);
        let mut places = Bytes(rest.some()?);
        let mut batches = Vec::with_capacity(places.0.len() / 24);
        while !places.0.is_empty() {
            batches.push(BatchRow {
                offset: places.u64()?,
                length: places.u64()?,
                entries: places.u32()?,
                head_bytes: places.u32()?,
            });
        }
        let count = rest.u32()?;
        let authors = (0..count).map(|_| rest.take().map(Address));
        let authors = authors.collect::<Option<Vec<_>>>()?;
        let rows = rest.u32()?;
        Some(Body {
            node,
            batches,
            authors,
            rows,
            rest,
        })
    }

    /// How many places the batches have.
    pub(super) fn entries(&self) -> u64 {
        self.batches.iter().map(|b| u64::from(b.entries)).sum()
    }

    /// Gives each place in its order, then the devices, then the state. `clock` is
    /// that of the first; `None` where the body is none.
    pub(super) fn go_through(
        mut self,
        clock: u64,
        noted: &mut dyn FnMut(Noted),
        device: &mut dyn FnMut(String, Authority),
    ) -> Option<State> {
        for clock in (clock..).take(self.rows as usize) {
            noted(match self.rest.byte()? {
                ELSEWHERE => Noted::Elsewhere,
                code => Noted::Entry(Row {
                    clock,
                    kind: *Kind::ALL.iter().find(|kind| kind.code() == code)?,
                    atom: AtomId(self.rest.take()?),
                    sigs: self.rest.take()?,
                    author: *self.authors.get(self.rest.u32()? as usize)?,
                    seq: self.rest.u64()?,
                    config_epoch: self.rest.u64()?,
                    vertex_epoch: self.rest.u64()?,
                    particles: match self.rest.some()? {
                        [] => vec![],
                        bytes => Vec::<Particle>::from_bytes(bytes).ok()?,
                    },
                }),
            });
        }
        for _ in 0..self.rest.u32()? {
            let name = String::from_utf8(self.rest.some()?.to_vec()).ok()?;
            let epoch = self.rest.u64()?;
            let holder = match self.rest.byte()? {
                0 => Holder::Anybody,
                1 => Holder::Issuer(Address(self.rest.take()?)),
                2 => Holder::Contested,
                _ => return None,
            };
            device(name, Authority { epoch, holder });
        }
        let mut state = State {
            last_head: HeadId(self.rest.take()?),
            epoch: self.rest.u64()?,
            hlc: self.rest.u64()?,
            size: self.rest.u64()?,
            peaks: vec![],
        };
        for _ in 0..self.rest.byte()? {
            state.peaks.push(self.rest.take()?);
        }
        self.rest.0.is_empty().then_some(state)
    }
}

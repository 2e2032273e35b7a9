//! A forger: it holds all keys, writes well-formed frames and lies once.

use std::collections::BTreeMap;
use std::path::Path;

use ledger_core::atom::{Body, DESTINATIONS_MAX};
use ledger_core::merkle::{Frontier, leaf_hash};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, AtomId, ClockQuality, Entry, Field as _, Head, HeadId, Hlc, Payload, SecretKey,
    SegmentHeader, SignedHead, Vertex, VertexId,
};

use super::{key, universe};

/// A change to the thing at a clock.
type Lie<'a, T> = Option<&'a dyn Fn(u64, &mut T)>;

/// Where the forger may lie. Each is given the clock of the entry, or the size
/// of the head.
#[derive(Default)]
pub(super) struct Lies<'a> {
    pub author: Option<&'a dyn Fn(u64) -> SecretKey>,
    pub body: Lie<'a, Body>,
    pub vertex: Lie<'a, Vertex>,
    pub vertex_key: Option<SecretKey>,
    pub head: Lie<'a, Head>,
    pub head_key: Option<SecretKey>,
    /// Spoils the author's signature of this entry.
    pub unsigned: Option<u64>,
    /// Writes this entry a second time, with a vertex of its own.
    pub repeat: Option<u64>,
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let crc = crc32c::crc32c(&[&length[..], &[kind], payload].concat());
    out.extend([&length[..], &crc.to_le_bytes(), &[kind], payload].concat());
}

/// Writes one closed batch per payload. `refer` makes a payload from the id of
/// the atom before it.
pub(super) fn write(run: &Path, payloads: &[&dyn Fn(AtomId) -> Payload], lies: &Lies<'_>) {
    let universe = universe();
    let id = universe.id().unwrap();
    let folder = run.join("ledger");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("universe.json"), universe.to_json().unwrap()).unwrap();
    let node_key = key(1);
    let node = Address::of_key(&id, &node_key.public());
    let mut out = vec![];
    frame(
        &mut out,
        1,
        &SegmentHeader::new(1, id, 1, HeadId::NONE)
            .to_bytes()
            .unwrap(),
    );
    let mut frontier = Frontier::new(id);
    let mut committed = Commitment {
        size: 0,
        root: frontier.root(),
    };
    let (mut last_vertex, mut last_head, mut hlc) = (VertexId::NONE, HeadId::NONE, Hlc(1 << 40));
    let mut places: BTreeMap<Address, (u64, AtomId)> = BTreeMap::new();
    let mut last_atom = AtomId([0; 32]);
    let mut repeated: Option<Atom> = None;
    let mut tick = || {
        hlc = Hlc(hlc.0 + 10);
        hlc
    };
    for payload in payloads {
        let clock = frontier.size() + 1;
        let author_key = lies.author.map_or_else(|| key(2), |author| author(clock));
        let author = Address::of_key(&id, &author_key.public());
        let payload = payload(last_atom);
        let place = places.get(&author);
        let mut body = Body {
            universe: id,
            config_epoch: 0,
            author,
            author_seq: place.map_or(0, |(seq, _)| *seq) + 1,
            prev: place.map(|(_, id)| *id),
            destinations: payload.destinations(&id, &author, &[], DESTINATIONS_MAX),
            deps: vec![],
            hlc: tick(),
            clock_quality: ClockQuality::VIRTUAL,
            particles: vec![],
            payload,
            expiry_utc_ns: None,
        };
        if let Some(lie) = lies.body {
            lie(clock, &mut body);
        }
        let mut atom = Atom::sign(body, &author_key).unwrap();
        if lies.repeat == Some(clock) {
            repeated = Some(atom.clone());
        } else if let Some(repeated) = repeated.take() {
            atom = repeated;
        }
        if lies.unsigned == Some(clock) {
            let mut bytes = atom.to_bytes().unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            atom = Atom::from_bytes(&bytes, &id).unwrap();
        }
        places.insert(author, (atom.body().author_seq, atom.id()));
        last_atom = atom.id();
        let mut vertex = Vertex {
            node,
            incarnation: 0,
            l: clock,
            e: atom.id(),
            n: 0,
            c: committed.clone(),
            prev: last_vertex,
            locks: vec![],
            hlc: tick(),
        };
        if let Some(lie) = lies.vertex {
            lie(clock, &mut vertex);
        }
        let vertex_id = vertex.id(&id).unwrap();
        last_vertex = vertex_id;
        let signs = lies.vertex_key.as_ref();
        let signs = signs.filter(|_| Vertex::may_be_signed_for(atom.body().kind()));
        let signature = signs.map(|key| key.sign(&vertex_id.0).unwrap());
        let entry = Entry {
            vertex,
            vertex_id,
            signature,
            atom,
        }
        .to_bytes()
        .unwrap();
        frontier.push(leaf_hash(&id, &entry));
        let mut head = Head {
            node,
            incarnation: 0,
            size: clock,
            root: frontier.root(),
            last_vertex,
            prev: last_head,
            hlc: tick(),
            closed: true,
        };
        if let Some(lie) = lies.head {
            lie(clock, &mut head);
        }
        let signed =
            SignedHead::sign(head, &id, lies.head_key.as_ref().unwrap_or(&node_key)).unwrap();
        last_head = signed.head.id(&id).unwrap();
        committed = Commitment {
            size: signed.head.size,
            root: signed.head.root,
        };
        let head = signed.to_bytes().unwrap();
        let length = (29 + 9 + entry.len() + 9 + head.len() + 49) as u64;
        let begin = [
            &length.to_be_bytes()[..],
            &clock.to_be_bytes(),
            &1u32.to_be_bytes(),
        ]
        .concat();
        frame(&mut out, 2, &begin);
        frame(&mut out, 3, &entry);
        frame(&mut out, 4, &head);
        frame(
            &mut out,
            5,
            &[&length.to_be_bytes()[..], &last_head.0].concat(),
        );
    }
    std::fs::write(folder.join("segment-00000001.log"), out).unwrap();
}

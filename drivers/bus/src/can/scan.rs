//! Listening to a CAN bus without knowing what hangs on it. Nothing is ever sent.
//!
//! Responsible for noting which frames come, and for comparing them with the frames
//! that profiles know. A device that stays silent until an inverter talks to it is not
//! found: to talk to it would be a write.
//!
//! A kernel interface is asked for the identifiers of the known profiles only; a
//! socketcand server passes on everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use profile::can::{CanId, CanProfile};
use profile::{Profile, Protocol};
use tokio::time::{Instant, timeout_at};

use super::codec::Frame;
use super::link::{Link, LinkError, Step};
use crate::BusSpec;

/// Most different identifiers that are noted. Chosen: as many as 11 bits can tell apart.
const IDS_MAX: usize = 2048;

/// A frame that came, once or often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often it came.
    pub count: u64,
    /// Fewest data bytes that it had.
    pub len_min: usize,
    /// Its last data bytes.
    pub last: Vec<u8>,
}

/// What came on a bus, by identifier.
pub type Traffic = BTreeMap<CanId, Seen>;

/// A profile that a device on the bus could have.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The profile.
    pub profile: Arc<Profile>,
    /// How many of its frames came as it says.
    pub seen: usize,
    /// Those that did not come, or not as it says.
    pub missing: Vec<CanId>,
}

/// Listens for some time.
///
/// # Errors
/// When the bus cannot be opened within that time, or is lost.
pub async fn listen(
    spec: BusSpec,
    profiles: &[Arc<Profile>],
    during: Duration,
) -> Result<Traffic, LinkError> {
    let ids = profiles.iter().filter_map(can).flat_map(|can| {
        let frames = can.frames.iter();
        frames
            .map(|frame| (frame.id, frame.id_mask))
            .collect::<Vec<_>>()
    });
    let mut link = Link::new(spec.endpoint, &spec.id, ids.collect(), spec.seed);
    let end = Instant::now() + during;
    let mut traffic = Traffic::new();
    let mut is_up = false;
    while let Ok(step) = timeout_at(end, link.next()).await {
        match step {
            Step::Up => is_up = true,
            Step::Frame(Frame::Data { id, data }) => note(&mut traffic, id, data.as_slice()),
            Step::Frame(_) | Step::Garbage => {}
            Step::Down(error) => return Err(error),
        }
    }
    link.close().await;
    if is_up {
        Ok(traffic)
    } else {
        Err(LinkError::Timeout { after: during })
    }
}

fn can(profile: &Arc<Profile>) -> Option<&CanProfile> {
    match &profile.protocol {
        Protocol::Can(can) => Some(can),
        _ => None,
    }
}

fn note(traffic: &mut Traffic, id: CanId, data: &[u8]) {
    if traffic.len() >= IDS_MAX && !traffic.contains_key(&id) {
        return;
    }
    let seen = traffic.entry(id).or_insert_with(|| Seen {
        count: 0,
        len_min: data.len(),
        last: Vec::new(),
    });
    seen.count += 1;
    seen.len_min = seen.len_min.min(data.len());
    seen.last = data.to_vec();
}

/// The profiles that fit to what came, the best one first: fewest frames missing, most seen.
/// A profile fits when at least half of its frames came.
#[must_use]
pub fn candidates(traffic: &Traffic, profiles: &[Arc<Profile>]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = profiles
        .iter()
        .filter_map(|profile| {
            let can = can(profile)?;
            let mut denied = false;
            let mut missing = Vec::new();
            for frame in &can.frames {
                match traffic.get(&frame.id) {
                    Some(seen) if seen.len_min >= frame.len_min => {
                        denied |= frame
                            .identify
                            .as_ref()
                            .is_some_and(|text| !seen.last.starts_with(text));
                    }
                    _ => missing.push(frame.id),
                }
            }
            let seen = can.frames.len() - missing.len();
            (!denied && seen > 0 && seen * 2 >= can.frames.len()).then(|| Candidate {
                profile: Arc::clone(profile),
                seen,
                missing,
            })
        })
        .collect();
    found.sort_by(|a, b| {
        a.missing
            .len()
            .cmp(&b.missing.len())
            .then(b.seen.cmp(&a.seen))
            .then(a.profile.id.cmp(&b.profile.id))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best fit among the bundled profiles for frames as they were captured.
    fn check(frames: &[(u16, &[u8])], expected: Option<(&str, usize)>) {
        let mut traffic = Traffic::new();
        for (id, data) in frames {
            note(&mut traffic, CanId::Standard(*id), data);
        }
        let profiles: Vec<_> = ["pylontech/lv-can", "victron/lv-can"]
            .iter()
            .filter_map(|id| profile::bundled(id))
            .collect();
        let best = candidates(&traffic, &profiles);
        let best = best.first().map(|c| (&*c.profile.id, c.missing.len()));
        assert_eq!(best, expected, "{frames:x?}");
    }

    const LIMITS: (u16, &[u8]) = (0x351, &[0x14, 2, 0x74, 0xE, 0x74, 0xE, 0xCC, 1]);
    const CURRENT: (u16, &[u8]) = (0x356, &[0x7A, 0x13, 0xF2, 0xFE, 0x6B, 1]);

    #[test]
    fn a_pack_is_known_by_the_frames_that_only_it_sends() {
        let charge: (u16, &[u8]) = (0x355, &[0x58, 0, 0x5E, 0]);
        let alarms: (u16, &[u8]) = (0x359, &[0, 0, 0, 0, 6, 0x50, 0x4E]);
        let enabled: (u16, &[u8]) = (0x35C, &[0xC0, 0]);
        let name: (u16, &[u8]) = (0x35E, b"PYLON   ");
        let whole = [LIMITS, CURRENT, charge, alarms, enabled, name];
        check(&whole, Some(("pylontech/lv-can", 0)));
        let finer: (u16, &[u8]) = (0x355, &[0x58, 0, 0x5E, 0, 0x60, 0x22]);
        let pairs: (u16, &[u8]) = (0x35A, &[0xAA; 8]);
        check(
            &[LIMITS, CURRENT, finer, pairs],
            Some(("victron/lv-can", 0)),
        );
        check(&[LIMITS, CURRENT, finer], Some(("victron/lv-can", 1)));
    }

    #[test]
    fn a_bus_full_of_noise_takes_no_memory_and_a_frame_counts_by_its_shortest() {
        let mut traffic = Traffic::new();
        for id in 0..3000 {
            note(&mut traffic, CanId::Extended(id), &[1]);
            note(&mut traffic, CanId::Extended(0), &[2, 3]);
        }
        assert_eq!(traffic.len(), IDS_MAX);
        let first = &traffic[&CanId::Extended(0)];
        assert_eq!((first.count, first.len_min), (3001, 1));
        assert_eq!(first.last, [2, 3]);
        // A frame that is now and then too short is not the one that the profile means.
        let short: (u16, &[u8]) = (0x356, &[0x7A, 0x13]);
        let finer: (u16, &[u8]) = (0x355, &[0x58, 0, 0x5E, 0, 0x60, 0x22]);
        check(
            &[LIMITS, short, CURRENT, finer],
            Some(("victron/lv-can", 2)),
        );
    }

    /// What listening to a server comes to that does this with its clients.
    async fn listening_to(accepts: bool) -> Result<Traffic, LinkError> {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let held = accepts.then_some(server);
        let spec = BusSpec {
            id: "can0".into(),
            endpoint: crate::Endpoint::Socketcand {
                host: "127.0.0.1".into(),
                port,
                interface: "can0".into(),
            },
            framing: crate::Framing::default(),
            timeout: None,
            min_gap: None,
            seed: 1,
        };
        let outcome = listen(spec, &[], Duration::from_millis(300)).await;
        drop(held);
        outcome
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_nothing_is_no_quiet_bus() {
        let silent = listening_to(true).await;
        assert!(
            matches!(silent, Err(LinkError::Timeout { .. })),
            "{silent:?}"
        );
        let away = listening_to(false).await;
        assert!(
            matches!(&away, Err(error) if !matches!(error, LinkError::Timeout { .. })),
            "{away:?}"
        );
    }

    #[test]
    fn a_pack_of_another_name_and_a_stray_frame_are_no_find() {
        let other: (u16, &[u8]) = (0x35E, b"OTHER   ");
        let alarms: (u16, &[u8]) = (0x359, &[0; 7]);
        let enabled: (u16, &[u8]) = (0x35C, &[0xC0, 0]);
        check(&[LIMITS, other, alarms, enabled], None);
        check(&[LIMITS], None);
        check(&[], None);
    }
}

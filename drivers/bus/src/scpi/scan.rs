//! Asking a line who is there. `*IDN?` is all that is ever sent.
//!
//! Responsible for one identity and for the profiles whose text is in it. What an instrument
//! measures or may be asked for is not looked at: a scan must not move a bench, and there are
//! instruments that go into remote control at the first message of their own set.

use std::sync::Arc;
use std::time::Duration;

use profile::scpi::ScpiProfile;
use profile::{Profile, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::codec::{Cut, Lines};
use crate::BusSpec;
use crate::modbus::DialError;
use crate::modbus::dial::{Opened, dial};

/// Bytes taken from the line at once. Chosen: an identity fits many times.
const CHUNK: usize = 512;

/// An instrument that has said who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its reply to `*IDN?`.
    pub identity: String,
    /// Time from question to answer.
    pub round_trip: Duration,
    /// The profiles whose text is in the identity, the longest text first.
    pub candidates: Vec<Arc<Profile>>,
}

/// Asks who is there; `None` when nobody says anything that is an identity within the time.
///
/// # Errors
/// When the line cannot be opened.
pub async fn identify(
    spec: BusSpec,
    profiles: &[Arc<Profile>],
    timeout: Duration,
) -> Result<Option<Found>, DialError> {
    let found = match dial(spec.endpoint, Duration::ZERO).await? {
        Opened::Tcp(stream) => ask(stream, timeout).await,
        Opened::Serial(stream) => ask(stream, timeout).await,
        Opened::Memory(stream) => ask(stream, timeout).await,
    };
    Ok(found.map(|(identity, round_trip)| Found {
        candidates: candidates(&identity, profiles),
        identity,
        round_trip,
    }))
}

async fn ask<S>(mut stream: S, timeout: Duration) -> Option<(String, Duration)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = Instant::now();
    let end = begin + timeout;
    let sent = async {
        stream.write_all(b"*IDN?\n").await?;
        stream.flush().await
    };
    tokio::time::timeout_at(end, sent).await.ok()?.ok()?;
    let mut lines = Lines::default();
    let mut chunk = [0; CHUNK];
    loop {
        let read = tokio::time::timeout_at(end, stream.read(&mut chunk)).await;
        let count = read.ok()?.ok().filter(|count| *count > 0)?;
        for cut in lines.push(chunk.get(..count).unwrap_or_default()) {
            match cut {
                Cut::Line(line) if is_identity(&line) => return Some((line, begin.elapsed())),
                Cut::Line(_) | Cut::Garbage => {}
            }
        }
    }
}

/// Whether a line can be an identity: maker, model, serial number and version, parted by commas.
//= IEEE 488.2, 10.14.3: four fields, of which the last two may be 0.
// Instruments that leave fields out exist; two are asked for, and letters, so that a late number,
// an echo of the question or the noise of another speed is none.
fn is_identity(line: &str) -> bool {
    line.contains(',')
        && !line.contains('?')
        && line
            .chars()
            .any(|c| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
}

/// The profiles that would take this identity for theirs.
#[must_use]
pub fn candidates(identity: &str, profiles: &[Arc<Profile>]) -> Vec<Arc<Profile>> {
    let identity = identity.to_ascii_lowercase();
    let text = |profile: &Profile| scpi(profile).map(|scpi| scpi.identify.to_ascii_lowercase());
    let mut found: Vec<Arc<Profile>> = profiles
        .iter()
        .filter(|profile| text(profile).is_some_and(|text| identity.contains(&text)))
        .cloned()
        .collect();
    // Of a maker's profiles the one whose number the instrument names, too, comes first.
    let model_fits = |profile: &Profile| {
        let model = profile.id.rsplit('/').next().unwrap_or_default();
        let series = model.trim_end_matches('0');
        series.len() >= 3 && identity.contains(series)
    };
    found.sort_by_key(|profile| {
        let length = text(profile).map_or(0, |text| text.len());
        std::cmp::Reverse((length, model_fits(profile)))
    });
    found
}

fn scpi(profile: &Profile) -> Option<&ScpiProfile> {
    match &profile.protocol {
        Protocol::Scpi(scpi) => Some(scpi),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{Endpoint, Framing};

    fn bundled() -> Vec<Arc<Profile>> {
        let ids = profile::bundled_ids().into_iter();
        ids.filter_map(profile::bundled).collect()
    }

    /// What a line that says `said` when it is asked is taken for, and what was sent on it.
    async fn check(said: &'static [u8], expected: Option<&[&str]>) {
        let (dial, mut dialled) = mpsc::unbounded_channel();
        let line = tokio::spawn(async move {
            let mut stream: tokio::io::DuplexStream = dialled.recv().await.expect("it dials");
            let mut heard = vec![0; 6];
            stream.read_exact(&mut heard).await.expect("it asks");
            stream.write_all(said).await.expect("it listens");
            stream.read_to_end(&mut heard).await.ok();
            heard
        });
        let spec = BusSpec {
            id: "line".into(),
            endpoint: Endpoint::Memory(dial),
            framing: Framing::Tcp,
            timeout: None,
            min_gap: None,
            seed: 1,
        };
        let found = identify(spec, &bundled(), Duration::from_secs(1)).await;
        let found = found.expect("it is opened").map(|found| {
            let ids = found
                .candidates
                .iter()
                .map(|profile| profile.id.to_string());
            ids.collect::<Vec<_>>()
        });
        let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(said));
        let heard = line.await.expect("it ended");
        assert_eq!(
            heard, b"*IDN?\n",
            "a scan asks who is there and nothing else"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_instrument_is_known_by_what_it_calls_itself_and_noise_is_no_instrument() {
        let rows: [(&'static [u8], Option<&[&str]>); 9] = [
            (b"GRIDSIM,X,1,1\n", Some(&["generic/grid-simulator"])),
            (b"49.5\r\nPacific,UPC32,1,1\r\n", Some(&["pacific/upc"])),
            (
                b"CHROMA,63804,1,1\n",
                Some(&["chroma/63800", "chroma/61600"]),
            ),
            (
                b"Chroma,61605,1,1\n",
                Some(&["chroma/61600", "chroma/63800"]),
            ),
            (b"Unknown,Thing,1,1\n", Some(&[])),
            (b"+4.95E+01,+2.30E+02\n", None),
            (b"*IDN?\n", None),
            (b"SYST:ERR?,*IDN?\n", None),
            (b"\xff\xfe\n", None),
        ];
        for (said, expected) in rows {
            check(said, expected).await;
        }
    }

    #[test]
    fn the_profile_that_says_more_of_the_identity_comes_first() {
        let maker = profile::bundled("chroma/61600").expect("bundled");
        let mut model = (*maker).clone();
        model.id = "chroma/other".into();
        if let Protocol::Scpi(scpi) = &mut model.protocol {
            scpi.identify = format!("{},61605", scpi.identify);
        }
        let both = [maker, Arc::new(model)];
        let found = candidates("CHROMA,61605,1,1", &both);
        let names: Vec<&str> = found.iter().map(|profile| &*profile.id).collect();
        assert_eq!(names, ["chroma/other", "chroma/61600"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_closes_is_nobody_at_once() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let begin = Instant::now();
        assert_eq!(ask(near, Duration::from_secs(1)).await, None);
        let (near, mut far) = tokio::io::duplex(64);
        let asked = tokio::spawn(ask(near, Duration::from_secs(1)));
        far.read_exact(&mut [0; 6]).await.expect("it asks");
        drop(far);
        assert_eq!(asked.await.expect("it ended"), None);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

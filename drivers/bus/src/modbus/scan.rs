//! Looking for devices on a Modbus link without knowing what hangs on it. Only reads.
//!
//! Responsible for asking every unit once whether it is there, for walking its SunSpec
//! chain, and for trying the profiles on it: identity first, one request each, and all
//! points of those that pass. It is not responsible for choosing units and links, nor
//! for what is made of the finds.
//!
//! One connection, one request at a time: devices that take a single client are scanned
//! like all others. An exception is an answer, so a device is there; only 0x0A and 0x0B
//! come from a gateway in place of a device that is not. Unit 0 is never asked: on a
//! serial line it is the broadcast.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, DeviceIx, Flaw, Instant, Point, PointSample, Reading};
use profile::modbus::{Layout, ModbusProfile, Table};
use profile::{Profile, Protocol};

use super::device::{Device, Progress, ask, is_answer};
use super::link::{Ask, LinkError, ModbusLink, Timing};
use super::sunspec::{Chain, Step, Walk};
use super::{Bus, DialError};
use crate::plan::Plan;
use crate::{BusDevice, BusSpec, BusStats, KeepAlives, LinkEvent, PollPeriods, Sink};

/// Attempts to open a link that was closed after a time-out.
/// Chosen: 5; a device that takes one client needs a moment to let go of the last one.
const CONNECTS_MAX: usize = 5;

/// Questions that setting a device up may take.
/// Chosen: twice the longest chain that is walked, and some.
const QUESTIONS_MAX: usize = 200;

/// Requests in a row without an answer after which a unit that was there is left.
/// Chosen: 3, as the driver takes a device for offline.
const SILENCES_MAX: usize = 3;

/// Values that speak for themselves: mains frequency in hertz and voltage to neutral in volts.
/// Chosen: beyond what any grid that can be connected to a laboratory has.
const FREQUENCIES: std::ops::RangeInclusive<f64> = 45.0..=65.0;
const VOLTAGES: std::ops::RangeInclusive<f64> = 80.0..=500.0;

/// How units are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time that a unit has to answer.
    pub timeout: Duration,
    /// Silence before each request.
    pub min_gap: Duration,
}

/// A profile that a device could have.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The profile.
    pub profile: Arc<Profile>,
    /// What its points read, each point once, in canonical order.
    pub readings: Vec<(Point, Reading<f64>)>,
}

impl Candidate {
    /// The value of a point, if it was read.
    #[must_use]
    pub fn value(&self, point: Point) -> Option<f64> {
        self.readings
            .iter()
            .find(|(p, _)| *p == point)
            .and_then(|(_, reading)| reading.good())
    }

    /// Points that were read.
    #[must_use]
    pub fn good(&self) -> usize {
        let good = |(_, reading): &&(Point, Reading<f64>)| reading.good().is_some();
        self.readings.iter().filter(good).count()
    }

    /// Whether at least half of the points were read: fewer are what any map has in common.
    fn is_likely(&self) -> bool {
        self.good() > 0 && self.good() * 2 >= self.readings.len()
    }

    /// Points that speak against the profile: refused, outside their range, or absurd. A point
    /// that the device says it does not have speaks neither for nor against.
    #[must_use]
    pub fn against(&self) -> usize {
        let speaks_against = |(point, reading): &&(Point, Reading<f64>)| match reading {
            Reading::Bad(flaw) => *flaw != Flaw::NotImplemented,
            Reading::Good(value) => match point {
                Point::Frequency => !FREQUENCIES.contains(value),
                Point::VoltageL1 => !VOLTAGES.contains(value),
                _ => false,
            },
        };
        self.readings.iter().filter(speaks_against).count()
    }
}

/// What a SunSpec device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Maker, model and serial number, as the device writes them.
    pub maker: String,
    /// See [`Self::maker`].
    pub model: String,
    /// See [`Self::maker`].
    pub serial: String,
    /// The numbers of its models, in order.
    pub models: Vec<u16>,
}

/// A unit that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its unit.
    pub unit: u8,
    /// What it says of itself, if it speaks SunSpec.
    pub identity: Option<Identity>,
    /// The profiles that fit, the best one first; none when no profile does.
    pub candidates: Vec<Candidate>,
    /// Longest time from a request to its answer.
    pub round_trip_max: Duration,
    /// Requests that it left without an answer after the first one that it answered.
    pub silences: usize,
}

/// Looks for devices at some units of a link; what is found is also told one by one.
///
/// # Errors
/// When the link cannot be opened, at the beginning or after a time-out.
pub async fn scan(
    spec: BusSpec,
    units: &[u8],
    profiles: &[Arc<Profile>],
    patience: Patience,
    clock: Arc<dyn Clock>,
    mut tell: impl FnMut(&Found),
) -> Result<Vec<Found>, DialError> {
    let spec = BusSpec {
        timeout: Some(patience.timeout),
        min_gap: Some(patience.min_gap),
        ..spec
    };
    // A bus without devices has the link as the driver would open it.
    let link = Bus::new(
        spec.clone(),
        Vec::new(),
        Arc::clone(&clock),
        Arc::new(Nowhere),
        Arc::new(BusStats::default()),
    )
    .link;
    let mut scanner = Scanner {
        spec,
        link,
        timing: Timing {
            timeout: patience.timeout,
            min_gap: patience.min_gap,
            late_window: patience.timeout,
        },
        round_trip_max: Duration::ZERO,
        silences: 0,
    };
    scanner.connect().await?;
    let mut found = Vec::new();
    for unit in units.iter().copied().filter(|unit| *unit != 0) {
        scanner.round_trip_max = Duration::ZERO;
        if !scanner.is_there(unit).await? {
            continue;
        }
        scanner.silences = 0;
        let one = scanner.look_at(unit, profiles).await?;
        tell(&one);
        found.push(one);
    }
    Ok(found)
}

struct Scanner {
    spec: BusSpec,
    link: ModbusLink,
    timing: Timing,
    round_trip_max: Duration,
    silences: usize,
}

impl Scanner {
    async fn connect(&mut self) -> Result<(), DialError> {
        let mut attempts = 1;
        while let Err(error) = self.link.connect().await {
            if attempts == CONNECTS_MAX {
                return Err(error);
            }
            attempts += 1;
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        unit: u8,
        ask: Ask<'_>,
    ) -> Result<Result<Vec<u16>, LinkError>, DialError> {
        if !self.link.is_up() {
            self.connect().await?;
        }
        let result = self.link.transact(unit, ask, self.timing).await;
        Ok(match result {
            Ok(answer) => {
                self.round_trip_max = self.round_trip_max.max(answer.round_trip);
                Ok(answer.words)
            }
            Err(error) => {
                if !matches!(error, LinkError::Exception(_)) {
                    self.silences += 1;
                }
                Err(error)
            }
        })
    }

    /// Whether anything answers at a unit; two questions, as some devices leave one table out.
    async fn is_there(&mut self, unit: u8) -> Result<bool, DialError> {
        for (table, address) in [
            (Table::Holding, super::sunspec::BASES[0]),
            (Table::Input, 0),
        ] {
            let question = Ask::Read {
                table,
                address,
                count: 2,
            };
            match self.ask(unit, question).await? {
                Ok(_) => return Ok(true),
                Err(error) if is_answer(&error) => return Ok(true),
                // The gateway knows that nobody is there.
                Err(LinkError::Exception(_)) => return Ok(false),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    async fn look_at(&mut self, unit: u8, profiles: &[Arc<Profile>]) -> Result<Found, DialError> {
        let chain = self.walk(unit).await?;
        let identity = match &chain {
            Some(chain) => Some(self.identity(unit, chain).await?),
            None => None,
        };
        let mut candidates = Vec::new();
        for profile in profiles {
            let Protocol::Modbus(modbus) = &profile.protocol else {
                continue;
            };
            let could_be = match (&modbus.layout, &chain) {
                (
                    Layout::SunSpec {
                        required, one_of, ..
                    },
                    Some(chain),
                ) => {
                    let has_one = chain.missing(one_of).len() < one_of.len();
                    chain.missing(required).is_empty() && (one_of.is_empty() || has_one)
                }
                (Layout::Fixed, None) => true,
                _ => false,
            };
            if could_be && let Some(candidate) = self.try_on(unit, profile, modbus).await? {
                candidates.push(candidate);
            }
            if self.silences > SILENCES_MAX {
                break;
            }
        }
        candidates.retain(Candidate::is_likely);
        let maker = identity.as_ref().map_or("", |i| i.maker.as_str());
        rank(&mut candidates, maker);
        Ok(Found {
            unit,
            identity,
            candidates,
            round_trip_max: self.round_trip_max,
            silences: self.silences,
        })
    }

    async fn walk(&mut self, unit: u8) -> Result<Option<Chain>, DialError> {
        let mut walk = Walk::start();
        loop {
            let wanted = walk.ask();
            let question = Ask::Read {
                table: Table::Holding,
                address: wanted.address,
                count: wanted.count,
            };
            let words = self.ask(unit, question).await?.ok();
            match walk.take(words.and_then(|w| <[u16; 2]>::try_from(w).ok())) {
                Step::Ask if self.silences > SILENCES_MAX => return Ok(None),
                Step::Ask => {}
                Step::Found(chain, _) => return Ok(Some(chain)),
                Step::NotFound => return Ok(None),
            }
        }
    }

    /// Offsets and lengths in registers of model 1. Source: SunSpec model 1, "common".
    async fn identity(&mut self, unit: u8, chain: &Chain) -> Result<Identity, DialError> {
        let mut texts = [String::new(), String::new(), String::new()];
        for (text, offset) in texts.iter_mut().zip([2, 18, 50]) {
            if let Some(address) = chain.resolve(1, offset, 16) {
                let question = Ask::Read {
                    table: Table::Holding,
                    address,
                    count: 16,
                };
                let words = self.ask(unit, question).await?.unwrap_or_default();
                *text = printable(&words);
            }
        }
        let [maker, model, serial] = texts;
        Ok(Identity {
            maker,
            model,
            serial,
            models: chain.models.iter().map(|m| m.id).collect(),
        })
    }

    /// Sets the device up as the driver would, and reads every point once.
    async fn try_on(
        &mut self,
        unit: u8,
        profile: &Arc<Profile>,
        modbus: &ModbusProfile,
    ) -> Result<Option<Candidate>, DialError> {
        let spec = BusDevice {
            ix: DeviceIx(0),
            id: Arc::clone(&profile.id),
            profile: Arc::clone(profile),
            unit: Some(unit),
            topic: None,
            revert: None,
            poll: PollPeriods {
                fast: Duration::MAX,
                normal: Duration::MAX,
                slow: Duration::MAX,
            },
            limits: Vec::new(),
            keep_alives: KeepAlives::default(),
        };
        let mut device = Device::new(spec, modbus.clone(), &self.spec);
        for _ in 0..QUESTIONS_MAX {
            let Some(question) = device.question() else {
                if device.identity_is_nowhere() {
                    return Ok(None);
                }
                return Ok(Some(self.read_all(unit, profile, device).await?));
            };
            let words = match self.ask(unit, question).await? {
                Ok(words) => Some(words),
                Err(LinkError::Exception(1..=4)) => None,
                Err(_) => return Ok(None),
            };
            if let Progress::Wrong(_) = device.take_setup(words.as_deref(), &mut Vec::new()) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn read_all(
        &mut self,
        unit: u8,
        profile: &Arc<Profile>,
        mut device: Device,
    ) -> Result<Candidate, DialError> {
        let page = Page::default();
        let now = Instant::START;
        // The plan is only borrowed for the grouping of reads; nothing is scheduled.
        device.arm(0, &mut Plan::new(1), now, now, &page);
        let mut blocks: Vec<_> = device.reads.iter().map(|r| r.block.clone()).collect();
        while let Some(block) = blocks.pop() {
            match self.ask(unit, ask(&block)).await? {
                Ok(words) => {
                    // Remarks are about counters that went back: there is no earlier reading.
                    drop(device.publish(&block, &words, now, &page));
                }
                Err(error) => match block.halves() {
                    Some((low, high)) if matches!(error, LinkError::Exception(1..=4)) => {
                        blocks.extend([low, high]);
                    }
                    _ => device.flaw_block(&block, error.flaw(), now, &page),
                },
            }
            if self.silences > SILENCES_MAX {
                break;
            }
        }
        Ok(Candidate {
            profile: Arc::clone(profile),
            readings: page.readings(),
        })
    }
}

/// The best one first: what nothing speaks against, then what was made for this maker rather than
/// for nobody or another one, then what says most; the names decide the rest.
fn rank(candidates: &mut [Candidate], maker: &str) {
    candidates.sort_by(|a, b| {
        a.against()
            .cmp(&b.against())
            .then(kinship(&a.profile.id, maker).cmp(&kinship(&b.profile.id, maker)))
            .then(b.good().cmp(&a.good()))
            .then(a.profile.id.cmp(&b.profile.id))
    });
}

/// How near a profile is to a device of this maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kinship {
    /// It was made for devices of this maker.
    Maker,
    /// It was made for devices of a standard, whoever makes them; or the device tells no maker.
    Anybody,
    /// It was made for another maker's devices.
    Stranger,
}

fn kinship(profile: &str, maker: &str) -> Kinship {
    match profile.split_once('/') {
        Some(("sunspec" | "generic", _)) | None => Kinship::Anybody,
        _ if maker.is_empty() => Kinship::Anybody,
        Some((vendor, _)) if maker.to_ascii_lowercase().contains(vendor) => Kinship::Maker,
        Some(_) => Kinship::Stranger,
    }
}

/// Characters of a string register, two per word, up to the first NUL.
pub(super) fn printable(words: &[u16]) -> String {
    words
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .take_while(|byte| *byte != 0)
        .map(char::from)
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Takes the samples of one look; what comes last at a point stands.
#[derive(Default)]
struct Page(std::sync::Mutex<std::collections::BTreeMap<Point, Reading<f64>>>);

impl Page {
    fn readings(&self) -> Vec<(Point, Reading<f64>)> {
        let kept = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.iter().map(|(p, r)| (*p, *r)).collect()
    }
}

impl Sink for Page {
    fn sample(&self, sample: PointSample) {
        let mut kept = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.insert(sample.point, sample.sample.reading);
    }

    fn event(&self, _: LinkEvent) {}
}

/// A sink for a bus that says nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn sample(&self, _: PointSample) {}
    fn event(&self, _: LinkEvent) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_the_devices_maker_is_nearer_than_a_standard_one_and_that_than_a_strangers() {
        for (profile, maker, expected) in [
            ("fronius/sunspec", "Fronius International", Kinship::Maker),
            ("sunspec/inverter", "Fronius", Kinship::Anybody),
            ("fronius/sunspec", "SolarEdge", Kinship::Stranger),
            ("generic/meter", "SolarEdge", Kinship::Anybody),
            ("eastron/sdm630", "", Kinship::Anybody),
        ] {
            assert_eq!(kinship(profile, maker), expected, "{profile} of {maker}");
        }
        assert!(Kinship::Maker < Kinship::Anybody && Kinship::Anybody < Kinship::Stranger);
    }

    /// A point and what it read.
    type Told = (Point, Result<f64, Flaw>);

    fn candidate(id: &str, readings: &[Told]) -> Candidate {
        let readings = readings.iter().map(|(point, told)| match told {
            Ok(value) => (*point, Reading::Good(*value)),
            Err(flaw) => (*point, Reading::Bad(*flaw)),
        });
        Candidate {
            profile: profile::bundled(id).expect("bundled"),
            readings: readings.collect(),
        }
    }

    #[test]
    fn a_profile_is_likely_and_spoken_against_by_what_its_points_read() {
        use Flaw::{Exception, NotImplemented, OutOfRange};
        use Point::{ActivePower, CurrentL1, Frequency, VoltageL1};
        // (readings, whether it is likely, how much speaks against it)
        let rows: [(&[Told], bool, usize); 8] = [
            (&[], false, 0),
            (&[(ActivePower, Ok(3.0)), (CurrentL1, Ok(1.0))], true, 0),
            (
                &[(ActivePower, Ok(3.0)), (CurrentL1, Err(NotImplemented))],
                true,
                0,
            ),
            (
                &[
                    (ActivePower, Ok(3.0)),
                    (CurrentL1, Err(Exception(2))),
                    (VoltageL1, Err(Exception(2))),
                ],
                false,
                2,
            ),
            (
                &[(ActivePower, Ok(3.0)), (CurrentL1, Err(OutOfRange))],
                true,
                1,
            ),
            (&[(Frequency, Ok(50.0)), (VoltageL1, Ok(230.0))], true, 0),
            // Tenths taken for units, and the other way round.
            (&[(Frequency, Ok(500.0)), (VoltageL1, Ok(23.0))], true, 2),
            (&[(Frequency, Ok(44.9)), (VoltageL1, Ok(501.0))], true, 2),
        ];
        for (readings, is_likely, against) in rows {
            let candidate = candidate("eastron/sdm630", readings);
            assert_eq!(candidate.is_likely(), is_likely, "{readings:?}");
            assert_eq!(candidate.against(), against, "{readings:?}");
        }
    }

    #[test]
    fn the_best_profile_is_the_one_nothing_speaks_against_then_the_makers_then_the_richest() {
        use Point::{ActivePower, CurrentL1};
        let good = [(ActivePower, Ok(3.0)), (CurrentL1, Ok(1.0))];
        let doubtful = [(ActivePower, Ok(3.0)), (CurrentL1, Err(Flaw::OutOfRange))];
        // (maker, candidates, the order of their names)
        for (maker, mut candidates, expected) in [
            (
                "Eastron",
                vec![
                    candidate("eastron/sdm630", &doubtful),
                    candidate("sunspec/inverter", &good),
                ],
                ["sunspec/inverter", "eastron/sdm630"],
            ),
            (
                "Eastron",
                vec![
                    candidate("sunspec/inverter", &good),
                    candidate("eastron/sdm630", &good[..1]),
                ],
                ["eastron/sdm630", "sunspec/inverter"],
            ),
            (
                "",
                vec![
                    candidate("eastron/sdm120", &good[..1]),
                    candidate("eastron/sdm630", &good),
                ],
                ["eastron/sdm630", "eastron/sdm120"],
            ),
        ] {
            rank(&mut candidates, maker);
            let names: Vec<&str> = candidates.iter().map(|c| &*c.profile.id).collect();
            assert_eq!(names, expected, "{maker:?}");
        }
    }

    #[test]
    fn a_text_in_registers_ends_at_its_first_nul() {
        for (words, expected) in [
            (&[0x4142, 0x4300, 0x4445][..], "ABC"),
            (&[0x2041, 0x4220], "AB"),
            (&[0x41FF, 0x0742], "AB"),
            (&[0, 0x4142], ""),
        ] {
            assert_eq!(printable(words), expected, "{words:x?}");
        }
    }
}

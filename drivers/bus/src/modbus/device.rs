//! One Modbus device: how it is recognised, which reads it needs, what its answers mean. No I/O.
//!
//! Responsible for the steps of setting a device up (SunSpec chain, identity), for its
//! read blocks, and for turning answers into samples. It is not responsible for sending
//! (see `link`), for the order of work (see `plan`), nor for writes (see `write`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Flaw, Instant, Point, PointSample, Reading, Sample};
use profile::modbus::{Address, Encoding, Layout, ModbusProfile, Poll, Table};

use super::blocks::{Block, Place, group};
use super::chores::Chores;
use super::codec;
use super::counter::{Count, Counter};
use super::link::{Ask, LinkError, Timing};
use super::patience::Patience;
use super::scan::printable;
use super::sunspec::{self, Chain, Walk};
use super::write::Recipe;
use crate::plan::{Class, Plan, ReadKey};
use crate::{BusDevice, BusSpec, Sink};

/// How long a register that the device refuses is left alone.
/// Chosen: a firmware update or a changed setting is noticed within a coffee break, at no cost.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(600);

/// How long a device that is not the one it should be is left alone at first; then twice as long each
/// time, up to [`REFUSED_RETRY`].
/// Chosen: 5 s. One that starts, or a meter on a dead bus, is itself within seconds, and a wrong one costs
/// a request or two each time.
const STRANGER_RETRY: Duration = Duration::from_secs(5);

/// Model and offset of the version of the firmware (`Vr`), and its registers.
/// Source: SunSpec model 1, "common".
const FIRMWARE: (u16, u16) = (1, 42);
const FIRMWARE_REGISTERS: u16 = 8;

/// Where a device stands on its way to being read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// SunSpec: is the known chain still where it was?
    CheckBase,
    /// SunSpec: does it still end where it did?
    CheckEnd,
    /// SunSpec: walking the chain.
    Walk(Walk),
    /// SunSpec: what does it call its firmware? Asked once in a run.
    Firmware,
    /// Is it the right device at all, by the proof of this number?
    Identify(usize),
    /// It can be read and written.
    Ready,
}

/// What an answer during set-up has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is another question.
    More,
    /// The device is ready.
    Ready,
    /// This is not the device it should be.
    Wrong(String),
}

/// A read block with its place in the plan.
#[derive(Clone, Debug)]
pub(super) struct DeviceRead {
    pub(super) key: ReadKey,
    pub(super) block: Block,
    pub(super) poll: Poll,
    /// The device refuses this register; it is asked again at long intervals.
    pub(super) refused: bool,
    /// How often the device was too busy for it.
    pub(super) busy: u8,
}

/// A device on a Modbus bus.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) spec: BusDevice,
    /// How often in a row it was not the one it should be.
    doubts: u32,
    pub(super) unit: u8,
    pub(super) timing: Timing,
    pub(super) patience: Patience,
    pub(super) profile: ModbusProfile,
    pub(super) reads: Vec<DeviceRead>,
    /// What it has to be taught besides setpoints.
    pub(super) chores: Chores,
    /// Recipes by the index of the control; `None` when an address is not there.
    pub(super) recipes: Vec<Option<Recipe>>,
    /// Last good value of each point that a control refers to.
    pub(super) references: BTreeMap<Point, f64>,
    /// Setpoints that were written in this run, in base units.
    pub(super) held: BTreeMap<Point, f64>,
    /// Setpoints that were written since the device was set up: it still has them.
    pub(super) kept: BTreeSet<Point>,
    /// Counters by the number of their point.
    counters: BTreeMap<usize, Counter>,
    /// Reads of controls while the bench only looks, each with the number of its control.
    pub(super) looks: Vec<(ReadKey, usize)>,
    phase: Phase,
    chain: Option<Chain>,
    /// What it calls its firmware; empty when it does not say.
    firmware: Option<String>,
    /// Texts that were said already: each is said once.
    said: Vec<String>,
}

impl Device {
    pub(super) fn new(spec: BusDevice, profile: ModbusProfile, bus: &BusSpec) -> Self {
        let timing = Timing {
            timeout: bus.timeout.unwrap_or(profile.timeout),
            min_gap: bus.min_gap.unwrap_or(profile.min_gap),
            late_window: profile.late_window,
        };
        let mut device = Self {
            unit: spec.unit.unwrap_or(profile.unit),
            timing,
            patience: Patience::default(),
            spec,
            doubts: 0,
            profile,
            reads: Vec::new(),
            chores: Chores::default(),
            recipes: Vec::new(),
            references: BTreeMap::new(),
            held: BTreeMap::new(),
            kept: BTreeSet::new(),
            counters: BTreeMap::new(),
            looks: Vec::new(),
            phase: Phase::Ready,
            chain: None,
            firmware: None,
            said: Vec::new(),
        };
        device.restart();
        device
    }

    /// Begins setting up anew: the device may have been exchanged or updated.
    pub(super) fn restart(&mut self) {
        self.references.clear();
        self.kept.clear();
        let known = self.chain.as_ref().and_then(|c| c.end);
        self.phase = match (&self.profile.layout, known) {
            (Layout::Fixed, _) => Phase::Identify(0),
            (Layout::SunSpec { .. }, Some(_)) => Phase::CheckBase,
            (Layout::SunSpec { .. }, None) => Phase::Walk(Walk::start()),
        };
        self.skip_identify();
    }

    /// After the last proof the device is ready.
    fn skip_identify(&mut self) {
        if let Phase::Identify(proof) = self.phase
            && proof >= self.profile.identify.len()
        {
            self.phase = Phase::Ready;
        }
    }

    /// It is not the device it should be: how long until it is asked again who it is.
    pub(super) fn doubt(&mut self) -> Duration {
        let wait = STRANGER_RETRY * 2_u32.saturating_pow(self.doubts.min(16));
        self.doubts += 1;
        wait.min(REFUSED_RETRY)
    }

    /// It is the device it should be.
    pub(super) fn believe(&mut self) {
        self.doubts = 0;
    }

    /// Whether `text` is said for the first time.
    pub(super) fn says_new(&mut self, text: &str) -> bool {
        let new = !self.said.iter().any(|s| s == text);
        if new {
            self.said.push(text.to_owned());
        }
        new
    }

    /// The next question of setting up; `None` when the device is ready.
    pub(super) fn question(&self) -> Option<Ask<'static>> {
        let holding = |address, count| {
            Some(Ask::Read {
                table: Table::Holding,
                address,
                count,
            })
        };
        match &self.phase {
            Phase::CheckBase => holding(self.chain.as_ref().map_or(0, |c| c.base), 2),
            Phase::CheckEnd => holding(self.chain.as_ref().and_then(|c| c.end).unwrap_or(0), 2),
            Phase::Walk(walk) => holding(walk.ask().address, walk.ask().count),
            Phase::Firmware => holding(self.firmware_at().unwrap_or(0), FIRMWARE_REGISTERS),
            Phase::Identify(proof) => self.identify_block(*proof).map(|block| ask(&block)),
            Phase::Ready => None,
        }
    }

    fn identify_block(&self, proof: usize) -> Option<Block> {
        let identify = self.profile.identify.get(proof)?;
        let place = self.place(0, identify.address, &identify.encoding)?;
        group(vec![place], self.profile.max_regs, 0).0.pop()
    }

    /// Whether the set-up ends with nothing to ask although the identity cannot be checked.
    pub(super) fn identity_is_nowhere(&self) -> bool {
        matches!(self.phase, Phase::Identify(proof) if self.identify_block(proof).is_none())
    }

    /// Takes the answer to [`Self::question`]; `None` when the device has refused the address.
    pub(super) fn take_setup(
        &mut self,
        words: Option<&[u16]>,
        remarks: &mut Vec<String>,
    ) -> Progress {
        let pair = words.and_then(|w| <[u16; 2]>::try_from(w).ok());
        match &mut self.phase {
            Phase::CheckBase => {
                self.phase = if pair == Some(sunspec::MARKER) {
                    Phase::CheckEnd
                } else {
                    Phase::Walk(Walk::start())
                };
                Progress::More
            }
            Phase::CheckEnd => {
                if pair.is_some_and(|p| p[0] == 0xFFFF) {
                    return self.after_chain();
                }
                self.phase = Phase::Walk(Walk::start());
                Progress::More
            }
            Phase::Walk(walk) => match walk.take(pair) {
                sunspec::Step::Ask => Progress::More,
                sunspec::Step::NotFound => {
                    self.chain = None;
                    self.phase = Phase::Walk(Walk::start());
                    Progress::Wrong(format!(
                        "{}: no SunSpec marker at 40000, 0 or 50000; check the unit ({}) and that SunSpec is enabled in the device",
                        self.spec.id, self.unit
                    ))
                }
                sunspec::Step::Found(chain, remark) => {
                    remarks.extend(remark.map(|r| format!("{}: {r}", self.spec.id)));
                    if let Layout::SunSpec {
                        required, one_of, ..
                    } = &self.profile.layout
                    {
                        if !one_of.is_empty() && chain.missing(one_of).len() == one_of.len() {
                            remarks.push(format!(
                                "{}: one of the SunSpec models {one_of:?} is required by {} and none is there; their points stay unread; choose another profile or enable one in the device",
                                self.spec.id, self.spec.profile.id
                            ));
                        }
                        let missing = chain.missing(required);
                        if !missing.is_empty() {
                            remarks.push(format!(
                                "{}: SunSpec models {missing:?} are required by {} and not there; their points stay unread; choose another profile or enable them in the device",
                                self.spec.id, self.spec.profile.id
                            ));
                        }
                    }
                    self.chain = Some(chain);
                    self.after_chain()
                }
            },
            Phase::Firmware => {
                self.firmware = Some(words.map(printable).unwrap_or_default());
                self.after_chain()
            }
            Phase::Identify(proof) => {
                let proof = *proof;
                self.take_identity(proof, words)
            }
            Phase::Ready => Progress::Ready,
        }
    }

    /// Where its firmware stands, if its chain has the common model.
    fn firmware_at(&self) -> Option<u16> {
        let (model, offset) = FIRMWARE;
        self.chain
            .as_ref()?
            .resolve(model, offset, FIRMWARE_REGISTERS)
    }

    /// What it calls its firmware, if it was asked and says so.
    pub(super) fn firmware(&self) -> Option<&str> {
        self.firmware.as_deref().filter(|text| !text.is_empty())
    }

    fn after_chain(&mut self) -> Progress {
        if self.firmware.is_none() && self.firmware_at().is_some() {
            self.phase = Phase::Firmware;
            return Progress::More;
        }
        self.phase = Phase::Identify(0);
        self.skip_identify();
        if self.phase == Phase::Ready {
            Progress::Ready
        } else {
            Progress::More
        }
    }

    fn take_identity(&mut self, proof: usize, words: Option<&[u16]>) -> Progress {
        let (Some(identify), Some(block)) =
            (self.profile.identify.get(proof), self.identify_block(proof))
        else {
            return self.wrong("its identification register is not there");
        };
        let Some(words) = words else {
            return self.wrong("it refuses its identification register");
        };
        let read = block.places.first().map_or(Err(Flaw::Config), |place| {
            let (raw, scale) = cut(&block, place, words);
            codec::decode(&identify.encoding, raw, scale)
        });
        match read {
            Ok(value) if identify.range.0 <= value && value <= identify.range.1 => {
                self.phase = Phase::Identify(proof + 1);
                self.skip_identify();
                if self.phase == Phase::Ready {
                    Progress::Ready
                } else {
                    Progress::More
                }
            }
            Ok(value) => {
                let text = format!(
                    "its identification register ({:?}) holds {value}, not {} to {}",
                    identify.address, identify.range.0, identify.range.1
                );
                self.wrong(&text)
            }
            Err(flaw) => self.wrong(&format!("its identification register is {}", flaw.word())),
        }
    }

    fn wrong(&self, what: &str) -> Progress {
        Progress::Wrong(format!(
            "{}: this is not a {}: {what}; check unit {} and profile in the rig",
            self.spec.id, self.spec.profile.id, self.unit
        ))
    }

    /// Table and absolute address of `registers` registers.
    pub(super) fn resolve(&self, address: Address, registers: u16) -> Option<(Table, u16)> {
        match address {
            Address::Fixed { table, address } => Some((table, address)),
            Address::Model { model, offset } => {
                let address = self.chain.as_ref()?.resolve(model, offset, registers)?;
                Some((Table::Holding, address))
            }
        }
    }

    /// The absolute place of a value with its scale register.
    pub(super) fn place(
        &self,
        point: usize,
        address: Address,
        encoding: &Encoding,
    ) -> Option<Place> {
        let registers = encoding.data.registers();
        let (table, address) = self.resolve(address, registers)?;
        let scale = match encoding.scale {
            Some(scale) => {
                let (scale_table, scale) = self.resolve(scale, 1)?;
                // One request reads one table.
                if scale_table != table {
                    return None;
                }
                Some(scale)
            }
            None => None,
        };
        Some(Place {
            point,
            table,
            address,
            registers,
            scale,
        })
    }

    /// Plans all reads anew; points without a place get a flaw, and a remark says which.
    pub(super) fn arm(
        &mut self,
        index: usize,
        plan: &mut Plan,
        now: Instant,
        at: Instant,
        sink: &dyn Sink,
    ) -> Option<String> {
        plan.clear_reads(index);
        self.reads.clear();
        self.looks.clear();
        let (here, missing) = self.profile.places(&|model| self.has(model));
        let mut nowhere: Vec<usize> = Vec::new();
        for (number, point) in self.profile.points.iter().enumerate() {
            let first = self
                .profile
                .points
                .iter()
                .position(|p| p.point == point.point);
            let has_place = here
                .iter()
                .any(|n| self.profile.points[*n].point == point.point);
            if first != Some(number) || has_place {
                continue;
            }
            if missing.contains(&point.point) {
                nowhere.push(number);
            } else {
                // Its model is one that a device may be without.
                self.flaw(number, Flaw::NotImplemented, at, sink);
            }
        }
        for poll in [Poll::Once, Poll::Fast, Poll::Normal, Poll::Slow] {
            let mut places = Vec::new();
            for number in here.iter().copied() {
                let point = &self.profile.points[number];
                if point.poll != poll {
                    continue;
                }
                match self.place(number, point.address, &point.encoding) {
                    Some(place) => places.push(place),
                    None => nowhere.push(number),
                }
            }
            let (blocks, misfits) = group(places, self.profile.max_regs, self.profile.max_gap);
            nowhere.extend(misfits);
            for block in blocks {
                self.add_read(index, plan, block, poll, now);
            }
        }
        self.recipes = self
            .profile
            .controls
            .iter()
            .map(|c| Recipe::resolve(self, c))
            .collect();
        let mut names: Vec<String> = Vec::new();
        for number in nowhere {
            self.flaw(number, Flaw::Config, at, sink);
            names.push(self.profile.points[number].point.to_string());
        }
        for control in &self.profile.controls {
            let name = control.point.to_string();
            if self.recipe_of(control.point).is_none() && !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| {
            format!(
                "{}: {} cannot be reached: the registers of {} are not in this device or too far from their scale register",
                self.spec.id,
                names.join(", "),
                self.spec.profile.id
            )
        })
    }

    /// The control that sets a point in this device, by its number: the first whose registers are there.
    pub(super) fn recipe_of(&self, point: Point) -> Option<usize> {
        let controls = self.profile.controls.iter().zip(&self.recipes);
        controls
            .enumerate()
            .find(|(_, (control, recipe))| control.point == point && recipe.is_some())
            .map(|(number, _)| number)
    }

    /// Whether the device has this SunSpec model.
    fn has(&self, model: u16) -> bool {
        let chain = self.chain.as_ref();
        chain.is_some_and(|c| c.models.iter().any(|m| m.id == model))
    }

    /// The chain of SunSpec models, once it is known.
    pub(super) fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Adds a block to the plan, due at once.
    pub(super) fn add_read(
        &mut self,
        index: usize,
        plan: &mut Plan,
        block: Block,
        poll: Poll,
        now: Instant,
    ) {
        let (class, period) = match poll {
            Poll::Fast => (Class::Fast, Some(self.spec.poll.fast)),
            Poll::Normal => (Class::Normal, Some(self.spec.poll.normal)),
            Poll::Slow => (Class::Slow, Some(self.spec.poll.slow)),
            Poll::Once => (Class::Fast, None),
        };
        let key = plan.add_read(index, class, period, now);
        self.reads.push(DeviceRead {
            key,
            block,
            poll,
            refused: false,
            busy: 0,
        });
    }

    /// Takes the words of a block: one sample for each of its points; gives back what a person
    /// should know of them.
    pub(super) fn publish(
        &mut self,
        block: &Block,
        words: &[u16],
        at: Instant,
        sink: &dyn Sink,
    ) -> Vec<String> {
        let mut remarks = Vec::new();
        for place in &block.places {
            let point = &self.profile.points[place.point];
            let (raw, scale) = cut(block, place, words);
            let mut reading = match codec::decode_in_range(&point.encoding, raw, scale, point.range)
            {
                Ok(value) => Reading::Good(value),
                Err(flaw) => Reading::Bad(flaw),
            };
            let name = point.point;
            if point.monotonic
                && let Reading::Good(value) = reading
            {
                match self.counters.entry(place.point).or_default().take(value) {
                    Count::Good => {}
                    Count::Doubtful => reading = Reading::Bad(Flaw::OutOfRange),
                    Count::Reset { from } => remarks.push(format!(
                        "{}: counter {name} was reset, from {from} to {value} {}; the device was exchanged or cleared, or is wired to another one",
                        self.spec.id,
                        name.unit()
                    )),
                }
            }
            if let Reading::Good(value) = reading
                && self.is_reference(name)
            {
                self.references.insert(name, value);
            }
            sink.sample(PointSample {
                device: self.spec.ix,
                point: name,
                sample: Sample {
                    measured_at: at,
                    reading,
                },
            });
        }
        remarks
    }

    fn is_reference(&self, point: Point) -> bool {
        matches!(point, Point::RatedActivePower | Point::RatedApparentPower)
            || self.recipes.iter().flatten().any(|r| r.refers_to(point))
    }

    /// All points of a block could not be read.
    pub(super) fn flaw_block(&self, block: &Block, flaw: Flaw, at: Instant, sink: &dyn Sink) {
        for place in &block.places {
            self.flaw(place.point, flaw, at, sink);
        }
    }

    /// No point of the device can be read.
    pub(super) fn flaw_all(&self, flaw: Flaw, at: Instant, sink: &dyn Sink) {
        let points = &self.profile.points;
        for number in 0..points.len() {
            // A point that has a place in several models is one point.
            if points.iter().position(|p| p.point == points[number].point) == Some(number) {
                self.flaw(number, flaw, at, sink);
            }
        }
    }

    fn flaw(&self, number: usize, flaw: Flaw, at: Instant, sink: &dyn Sink) {
        sink.sample(PointSample {
            device: self.spec.ix,
            point: self.profile.points[number].point,
            sample: Sample {
                measured_at: at,
                reading: Reading::Bad(flaw),
            },
        });
    }

    /// Names the registers of a block and its points, for a person.
    pub(super) fn describe(&self, block: &Block) -> String {
        let points: Vec<_> = block
            .places
            .iter()
            .map(|p| self.profile.points[p.point].point.name())
            .collect();
        format!(
            "{}: {:?} register {} ({})",
            self.spec.id,
            block.table,
            block.address,
            points.join(", ")
        )
    }
}

/// The request that reads a block.
pub(super) fn ask(block: &Block) -> Ask<'static> {
    Ask::Read {
        table: block.table,
        address: block.address,
        count: block.count,
    }
}

/// The words of a place and its scale in those of its block.
pub(super) fn cut<'a>(block: &Block, place: &Place, words: &'a [u16]) -> (&'a [u16], Option<u16>) {
    let start = usize::from(place.address.saturating_sub(block.address));
    let raw = words
        .get(start..start + usize::from(place.registers))
        .unwrap_or(&[]);
    let scale = place.scale.and_then(|s| {
        words
            .get(usize::from(s.saturating_sub(block.address)))
            .copied()
    });
    (raw, scale)
}

/// Whether a device that answers like this is there at all.
pub(super) fn is_answer(error: &LinkError) -> bool {
    // 0x0A and 0x0B come from a gateway in place of the device.
    matches!(error, LinkError::Exception(code) if !matches!(code, 0x0A | 0x0B))
}

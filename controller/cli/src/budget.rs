//! What the devices of a bus ask of it, and what it can carry.
//!
//! Reads are grouped exactly as the driver groups them ([`bus::modbus::blocks`]); times
//! are those of the wire. It is an estimate made from files alone: the addresses of
//! SunSpec models are taken as if the required ones stood one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::PollPeriods;
use bus::modbus::blocks::{Block, Place, group};
use document::{Actor, Diagnostic, Severity};
use profile::Protocol;
use profile::can::{CanId, CanProfile};
use profile::modbus::{Address, ModbusProfile, Parity, Poll, SerialSettings, Table};
use profile::scpi::ScpiProfile;
use runtime::rig::Rig;
use serde::Serialize;

/// Time that a request over TCP takes in a laboratory network, device included.
/// Chosen: 5 ms, what the slower of the usual gateways need.
const TCP_ROUND_TRIP: Duration = Duration::from_millis(5);
/// Time that a serial device takes before it answers.
/// Chosen: 10 ms, between the fastest meters and the 50 ms that some manuals state.
const SERIAL_TURNAROUND: Duration = Duration::from_millis(10);
/// Bytes of a read request and, without the registers, of its answer in RTU framing.
/// Source: Modbus over Serial Line V1.02, 2.5.1, and Application Protocol V1.1b3, 6.3.
const RTU_REQUEST_BYTES: u32 = 8;
const RTU_ANSWER_BYTES: u32 = 5;
/// Silent characters around a frame. Source: Modbus over Serial Line V1.02, 2.5.1.1 (3.5 each).
const RTU_SILENT_CHARACTERS: u32 = 7;
/// Longest frame of eight data bytes with stuffing and interframe space, in bits, for 11 and
/// 29 bit identifiers. Source: ISO 11898-1 frame layout with the worst case of bit stuffing.
const CAN_FRAME_BITS: (f64, f64) = (135.0, 160.0);
/// Bit rate of a CAN bus whose devices state none, in bits per second; it is what LV batteries use.
const CAN_BITRATE: u32 = 500_000;

/// What a bus or a device asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Budget {
    /// Reads in a cycle of the fast class.
    pub reads_fast: usize,
    /// Reads in a cycle of the normal class.
    pub reads_normal: usize,
    /// Reads in a cycle of the slow class.
    pub reads_slow: usize,
    /// Share of the time during which the bus is busy, in percent; `None` where there is no limit
    /// that could be known (MQTT).
    pub busy_percent: Option<f64>,
    /// Time that all reads of one cycle of every class take on a healthy bus, in seconds.
    pub usual_s: f64,
    /// The same when every one of them runs into its time-out, in seconds.
    pub worst_s: f64,
}

impl Budget {
    fn add(&mut self, other: &Self) {
        self.reads_fast += other.reads_fast;
        self.reads_normal += other.reads_normal;
        self.reads_slow += other.reads_slow;
        self.busy_percent = match (self.busy_percent, other.busy_percent) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.usual_s += other.usual_s;
        self.worst_s += other.worst_s;
    }
}

/// How a Modbus bus is driven.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Serial settings; `None` = TCP.
    pub serial: Option<SerialSettings>,
    /// Time-out that overrides the profile's.
    pub timeout: Option<Duration>,
    /// Silence that overrides the profile's.
    pub min_gap: Option<Duration>,
}

impl Line {
    /// The line that a maker's settings suggest, without overrides.
    pub fn of(profile: &ModbusProfile) -> Self {
        Self {
            serial: profile.serial,
            timeout: None,
            min_gap: None,
        }
    }

    /// Time of one read on a healthy bus.
    fn usual(&self, profile: &ModbusProfile, block: &Block) -> Duration {
        let gap = self.min_gap.unwrap_or(profile.min_gap);
        let Some(serial) = self.serial else {
            return gap + TCP_ROUND_TRIP;
        };
        let registers = match block.table {
            Table::Holding | Table::Input => u32::from(block.count) * 2,
            Table::Coil | Table::Discrete => u32::from(block.count).div_ceil(8),
        };
        let characters = RTU_REQUEST_BYTES + RTU_ANSWER_BYTES + registers + RTU_SILENT_CHARACTERS;
        let parity = u32::from(serial.parity != Parity::None);
        let bits = characters * (1 + 8 + parity + u32::from(serial.stop_bits));
        let wire = Duration::from_secs_f64(f64::from(bits) / f64::from(serial.baud.max(1)));
        gap + wire + SERIAL_TURNAROUND
    }

    /// Time of one read that nobody answers.
    fn worst(&self, profile: &ModbusProfile) -> Duration {
        self.min_gap.unwrap_or(profile.min_gap) + self.timeout.unwrap_or(profile.timeout)
    }
}

/// The reads of a class, as the driver groups them.
fn blocks(profile: &ModbusProfile, poll: Poll) -> Vec<Block> {
    let bases = model_bases(profile);
    let resolve = |address: Address| match address {
        Address::Fixed { table, address } => Some((table, address)),
        Address::Model { model, offset } => bases
            .get(&model)
            .map(|base| (Table::Holding, base.saturating_add(offset))),
    };
    let (usual, _) = profile.places(&|model| bases.contains_key(&model));
    let places = usual
        .into_iter()
        .filter_map(|number| Some((number, profile.points.get(number)?)))
        .filter(|(_, point)| point.poll == poll)
        .filter_map(|(number, point)| {
            let (table, address) = resolve(point.address)?;
            Some(Place {
                point: number,
                table,
                address,
                registers: point.encoding.data.registers(),
                scale: point.encoding.scale.and_then(resolve).map(|(_, a)| a),
            })
        })
        .collect();
    group(places, profile.max_regs, profile.max_gap).0
}

/// Where the models of a SunSpec device would stand: one after the other behind the common model.
fn model_bases(profile: &ModbusProfile) -> BTreeMap<u16, u16> {
    /// Registers of the common model with its header. Source: SunSpec model 1, length 66.
    const COMMON: u16 = 68;
    /// How often what repeats in a model is there. Chosen: two, as the bundled profiles read two
    /// strings of modules at most.
    const REPEATS: u16 = 2;
    let used = profile.layout.usual_models();
    if used.is_empty() {
        return BTreeMap::new();
    }
    let mut base = profile::sunspec::BASES[0].saturating_add(2);
    let mut bases = BTreeMap::from([(1, base)]);
    base = base.saturating_add(COMMON);
    for model in used.into_iter().filter(|m| *m != 1) {
        bases.insert(model, base);
        let registers = profile::sunspec::model(model)
            .map_or(0, |m| m.length_with(&|_| Some(REPEATS)).unwrap_or(m.length));
        // Two registers of header come before the model's own.
        base = base.saturating_add(registers).saturating_add(2);
    }
    bases
}

/// What a Modbus device asks of its line.
pub fn of_modbus(profile: &ModbusProfile, line: Line, periods: PollPeriods) -> Budget {
    let classes = [
        (Poll::Fast, periods.fast),
        (Poll::Normal, periods.normal),
        (Poll::Slow, periods.slow),
    ];
    let mut counts = [0; 3];
    let mut budget = Budget::default();
    let mut busy = 0.0;
    for ((poll, period), count) in classes.into_iter().zip(&mut counts) {
        let blocks = blocks(profile, poll);
        *count = blocks.len();
        for block in &blocks {
            let usual = line.usual(profile, block).as_secs_f64();
            budget.usual_s += usual;
            budget.worst_s += line.worst(profile).as_secs_f64();
            busy += usual / period.as_secs_f64().max(1e-3);
        }
    }
    [budget.reads_fast, budget.reads_normal, budget.reads_slow] = counts;
    budget.busy_percent = Some(busy * 100.0);
    budget
}

/// What a CAN device asks of its bus: nothing is read, but its frames take their time.
pub fn of_can(profile: &CanProfile) -> Budget {
    let bitrate = f64::from(if profile.bitrate == 0 {
        CAN_BITRATE
    } else {
        profile.bitrate
    });
    let seconds = |id: CanId| match id {
        CanId::Standard(_) => CAN_FRAME_BITS.0 / bitrate,
        CanId::Extended(_) => CAN_FRAME_BITS.1 / bitrate,
    };
    let heard = profile.frames.iter().map(|f| (f.id, f.period));
    let sent = profile.keep_alive.iter().map(|k| (k.id, k.every));
    let mut budget = Budget::default();
    let mut busy = 0.0;
    for (id, period) in heard.chain(sent) {
        budget.usual_s += seconds(id);
        busy += seconds(id) / period.as_secs_f64().max(1e-3);
    }
    budget.worst_s = budget.usual_s;
    budget.busy_percent = Some(busy * 100.0);
    budget
}

/// What a device of a profile asks for, on the maker's own line settings.
pub fn of_profile(profile: &profile::Profile, periods: PollPeriods) -> Budget {
    match &profile.protocol {
        Protocol::Modbus(modbus) => of_modbus(modbus, Line::of(modbus), periods),
        Protocol::Can(can) => of_can(can),
        Protocol::Scpi(scpi) => of_scpi(scpi, None, None, None, periods),
        Protocol::Mqtt(_) => Budget::default(),
    }
}

/// Bytes of a usual reply of an instrument, with its terminator. Chosen: a number with an exponent.
const SCPI_REPLY_BYTES: usize = 16;

/// What an instrument asks for: one round trip for each query, as the driver groups them.
fn of_scpi(
    profile: &ScpiProfile,
    serial: Option<SerialSettings>,
    timeout: Option<Duration>,
    min_gap: Option<Duration>,
    periods: PollPeriods,
) -> Budget {
    let gap = min_gap.unwrap_or(profile.min_gap);
    let usual = |query: &str| match serial {
        None => gap + TCP_ROUND_TRIP,
        Some(line) => {
            let parity = usize::from(line.parity != Parity::None);
            let bits = (query.len() + 2 + SCPI_REPLY_BYTES)
                * (1 + 8 + parity + usize::from(line.stop_bits));
            let wire = Duration::from_secs_f64(bits as f64 / f64::from(line.baud.max(1)));
            gap + wire + SERIAL_TURNAROUND
        }
    };
    let worst = gap + timeout.unwrap_or(profile.timeout);
    let mut budget = Budget::default();
    let mut busy = 0.0;
    for (poll, period) in [
        (Poll::Fast, periods.fast),
        (Poll::Normal, periods.normal),
        (Poll::Slow, periods.slow),
    ] {
        let asked: BTreeSet<&str> = profile
            .points
            .iter()
            .filter(|p| p.poll == poll)
            .map(|p| p.query.as_str())
            .collect();
        match poll {
            Poll::Fast => budget.reads_fast = asked.len(),
            Poll::Normal => budget.reads_normal = asked.len(),
            Poll::Slow | Poll::Once => budget.reads_slow = asked.len(),
        }
        for query in asked {
            let time = usual(query).as_secs_f64();
            budget.usual_s += time;
            budget.worst_s += worst.as_secs_f64();
            busy += time / period.as_secs_f64().max(1e-3);
        }
    }
    budget.busy_percent = Some(busy * 100.0);
    budget
}

/// What the devices of a bus ask for together.
pub fn of_bus(rig: &Rig, bus: usize) -> Budget {
    let rig_bus = &rig.buses[bus];
    let line = Line {
        serial: rig_bus.kind.serial(),
        timeout: rig_bus.timeout,
        min_gap: rig_bus.min_gap,
    };
    let mut total = Budget::default();
    for device in rig.devices.iter().filter(|d| d.bus == bus) {
        total.add(&match &device.profile.protocol {
            Protocol::Modbus(modbus) => of_modbus(modbus, line, device.poll),
            Protocol::Can(can) => of_can(can),
            Protocol::Scpi(scpi) => {
                of_scpi(scpi, line.serial, line.timeout, line.min_gap, device.poll)
            }
            Protocol::Mqtt(_) => Budget::default(),
        });
    }
    total
}

/// R010 for every bus that is asked for more than it can carry. It is a warning: this is an
/// estimate, and on such a bus values come late, which shows in their age; none is lost.
pub fn overloads(rig: &Rig) -> Vec<Diagnostic> {
    rig.buses
        .iter()
        .enumerate()
        .filter_map(|(index, rig_bus)| {
            let busy = of_bus(rig, index).busy_percent?;
            let mut diagnostic = Diagnostic::error(
                "R010",
                Actor::Author,
                format!(
                    "bus `{}` is asked for {busy:.0} % of what it can carry: values will come less \
                     often than `poll` says",
                    rig_bus.id
                ),
            )
            .help("raise the baud rate, lengthen `poll` of its devices, or spread them over two buses");
            diagnostic.severity = Severity::Warning;
            (busy > 100.0).then_some(diagnostic)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: PollPeriods = PollPeriods {
        fast: Duration::from_millis(200),
        normal: Duration::from_secs(1),
        slow: Duration::from_secs(60),
    };

    fn modbus(id: &str) -> ModbusProfile {
        match &profile::bundled(id).expect("a bundled profile").protocol {
            Protocol::Modbus(modbus) => modbus.clone(),
            _ => panic!("{id} does not speak Modbus"),
        }
    }

    fn serial(baud: u32) -> Line {
        Line {
            serial: Some(SerialSettings {
                baud,
                parity: Parity::Even,
                stop_bits: 1,
            }),
            timeout: Some(Duration::from_millis(100)),
            min_gap: Some(Duration::ZERO),
        }
    }

    #[test]
    fn a_read_takes_the_time_of_its_characters() {
        let profile = modbus("eastron/sdm630");
        let block = Block {
            table: Table::Input,
            address: 0,
            count: 10,
            places: Vec::new(),
        };
        // 8 + 5 + 20 + 7 = 40 characters of 11 bits at 9600 baud, and 10 ms for the device.
        let expected = 40.0 * 11.0 / 9600.0 + 0.010;
        let usual = serial(9600).usual(&profile, &block).as_secs_f64();
        assert!((usual - expected).abs() < 1e-9, "{usual}");
    }

    #[test]
    fn a_slow_line_is_overloaded_where_a_fast_one_is_not() {
        let profile = modbus("eastron/sdm630");
        let busy = |baud| {
            of_modbus(&profile, serial(baud), PERIODS)
                .busy_percent
                .expect("a serial line has a limit")
        };
        assert!(busy(1200) > 100.0, "{}", busy(1200));
        assert!(busy(115_200) < 50.0, "{}", busy(115_200));
        assert!(busy(115_200) > 0.0);
    }

    #[test]
    fn the_worst_case_is_a_time_out_per_read() {
        let profile = modbus("eastron/sdm630");
        let budget = of_modbus(&profile, serial(9600), PERIODS);
        let reads = budget.reads_fast + budget.reads_normal + budget.reads_slow;
        assert!(reads > 0);
        assert!((budget.worst_s - reads as f64 * 0.1).abs() < 1e-9);
    }

    #[test]
    fn every_bundled_device_is_read_in_groups_and_fits_a_fast_line() {
        for id in profile::bundled_ids() {
            let profile = profile::bundled(id).expect("it is bundled");
            let Protocol::Modbus(modbus) = &profile.protocol else {
                let budget = of_profile(&profile, PERIODS);
                // An instrument has its line to itself, and no query carries two of its values.
                let most = match &profile.protocol {
                    Protocol::Scpi(_) => 100.0,
                    _ => 10.0,
                };
                assert!(
                    budget.busy_percent.is_none_or(|b| b < most),
                    "{id}: {budget:?}"
                );
                continue;
            };
            let budget = of_modbus(modbus, serial(115_200), PERIODS);
            let points = |poll| modbus.points.iter().filter(|p| p.poll == poll).count();
            assert!(
                budget.busy_percent.is_some_and(|b| b < 100.0),
                "{id}: {budget:?}"
            );
            assert_eq!(budget.reads_fast > 0, points(Poll::Fast) > 0, "{id}");
            assert!(budget.reads_fast <= points(Poll::Fast), "{id}");
        }
    }
}

//! Layouts of SunSpec models, as data: where each point stands, its type and its scale factor.
//!
//! The facts are in `sunspec/models.toml`; this module reads them once. It is not
//! responsible for the walk along a device's chain of models (see the bus driver)
//! nor for what a point means to control (see the profiles).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use document::{Document, Source, Table};

use crate::modbus::DataType;

mod layout;

/// The text of the layouts.
const MODELS: &str = include_str!("../sunspec/models.toml");

/// The words "SunS" that begin a chain of models.
///
/// SunSpec Device Information Model Specification: the well-known value at the base address.
pub const MARKER: [u16; 2] = [0x5375, 0x6e53];

/// Base addresses at which a chain may begin, in the order in which they are tried.
///
/// SunSpec Device Information Model Specification: 40000, 0 and 50000, zero-based.
pub const BASES: [u16; 3] = [40_000, 0, 50_000];

/// The model number that ends a chain.
pub const END_MODEL: u16 = 0xffff;

/// The value of a scale factor that is not implemented; the point that it scales is then unknown.
pub const SCALE_NOT_IMPLEMENTED: i16 = i16::MIN;

/// The layout of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Number in the ID register.
    pub number: u16,
    /// Name in the specification.
    pub name: String,
    /// Registers of `points` after the length register; where nothing repeats, what that register says.
    pub length: u16,
    /// The points that stand there once, in address order, the ID (offset 0) and length
    /// (offset 1) registers included.
    pub points: Vec<ModelPoint>,
    /// What repeats behind them, in order.
    pub groups: Vec<Group>,
}

/// A group of points that stands in a model several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name in the specification.
    pub name: String,
    /// How often it stands there.
    pub count: Count,
    /// Registers of `points`.
    pub length: u16,
    /// Its points; offsets count from where one of the groups begins.
    pub points: Vec<ModelPoint>,
    /// Groups inside each of the groups, behind its points.
    pub groups: Vec<Group>,
}

/// How often a group stands in a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// As often as this point of the model says.
    Point(String),
    /// As often as the length register leaves room for.
    Rest,
    /// Once, inside a group that repeats.
    Once,
}

/// One point of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPoint {
    /// Name in the specification.
    pub name: String,
    /// Offset in registers from the ID register.
    pub offset: u16,
    /// Type in the specification.
    pub kind: PointType,
    /// Number of registers.
    pub size: u16,
    /// Name of the scale factor point in the same model.
    pub sf: Option<String>,
    /// Unit as the specification writes it.
    pub unit: Option<String>,
    /// Whether it may be written.
    pub writable: bool,
}

/// Type of a SunSpec point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointType {
    /// Signed 16 bit.
    Int16,
    /// Unsigned 16 bit.
    Uint16,
    /// Number of repetitions, in 16 bit.
    Count,
    /// Enumeration in 16 bit.
    Enum16,
    /// Bits in 16 bit.
    Bitfield16,
    /// Signed 32 bit.
    Int32,
    /// Unsigned 32 bit.
    Uint32,
    /// Accumulator in 32 bit: it only grows, until it rolls over.
    Acc32,
    /// Bits in 32 bit.
    Bitfield32,
    /// IEEE 754 single.
    Float32,
    /// Unsigned 64 bit.
    Uint64,
    /// Accumulator in 64 bit.
    Acc64,
    /// Scale factor: signed power of ten.
    Sunssf,
    /// Text, two characters in a register.
    String,
    /// Filler.
    Pad,
}

/// All types with their names in the specification.
const TYPE_NAMES: &[(&str, PointType)] = &[
    ("int16", PointType::Int16),
    ("uint16", PointType::Uint16),
    ("count", PointType::Count),
    ("enum16", PointType::Enum16),
    ("bitfield16", PointType::Bitfield16),
    ("int32", PointType::Int32),
    ("uint32", PointType::Uint32),
    ("acc32", PointType::Acc32),
    ("bitfield32", PointType::Bitfield32),
    ("float32", PointType::Float32),
    ("uint64", PointType::Uint64),
    ("acc64", PointType::Acc64),
    ("sunssf", PointType::Sunssf),
    ("string", PointType::String),
    ("pad", PointType::Pad),
];

impl PointType {
    /// How the registers are decoded as a number; `None` for texts and fillers.
    #[must_use]
    pub fn data(self) -> Option<DataType> {
        match self {
            Self::Int16 | Self::Sunssf => Some(DataType::I16),
            Self::Uint16 | Self::Count | Self::Enum16 | Self::Bitfield16 => Some(DataType::U16),
            Self::Int32 => Some(DataType::I32),
            Self::Uint32 | Self::Acc32 | Self::Bitfield32 => Some(DataType::U32),
            Self::Uint64 | Self::Acc64 => Some(DataType::U64),
            Self::Float32 => Some(DataType::F32),
            Self::String | Self::Pad => None,
        }
    }

    /// The raw bit pattern that means "not implemented"; `None` for texts and fillers.
    ///
    /// SunSpec Device Information Model Specification, point types. For a float any
    /// not-a-number counts; this is the pattern that a device sends.
    #[must_use]
    pub fn not_implemented(self) -> Option<u64> {
        match self {
            Self::Int16 | Self::Sunssf => Some(0x8000),
            Self::Uint16 | Self::Count | Self::Enum16 | Self::Bitfield16 => Some(0xffff),
            Self::Int32 => Some(0x8000_0000),
            Self::Uint32 | Self::Bitfield32 => Some(0xffff_ffff),
            Self::Uint64 => Some(u64::MAX),
            Self::Acc32 | Self::Acc64 => Some(0),
            Self::Float32 => Some(0x7fc0_0000),
            Self::String | Self::Pad => None,
        }
    }

    /// The name in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        TYPE_NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| *name)
    }
}

static TABLE: LazyLock<BTreeMap<u16, Model>> = LazyLock::new(|| read(MODELS).unwrap_or_default());

/// The layout of a model; `None` when it is not among the bundled ones.
#[must_use]
pub fn model(number: u16) -> Option<&'static Model> {
    TABLE.get(&number)
}

/// Numbers of all bundled models, ascending.
pub fn numbers() -> impl Iterator<Item = u16> {
    TABLE.keys().copied()
}

/// Reads the layouts; `None` when any line is not understood, which a test rules out.
fn read(text: &str) -> Option<BTreeMap<u16, Model>> {
    let document = Document::parse(Source::new("sunspec/models.toml", text)).ok()?;
    let root = document.root();
    let models = root.tables("model").iter().map(read_model).collect();
    root.finish();
    if document.has_errors() { None } else { models }
}

fn read_model(table: &Table<'_>) -> Option<(u16, Model)> {
    let number = u16::try_from(table.integer("number", 1..=0xfffe)?.value).ok()?;
    let model = Model {
        number,
        name: table.text("name")?.value,
        length: read_length(table)?,
        points: read_points(table)?,
        groups: read_groups(table)?,
    };
    Some((number, model))
}

fn read_length(table: &Table<'_>) -> Option<u16> {
    u16::try_from(table.integer("length", 1..=0xffff)?.value).ok()
}

fn read_points(table: &Table<'_>) -> Option<Vec<ModelPoint>> {
    let lines = table.texts("points");
    lines.iter().map(|line| read_point(&line.value)).collect()
}

fn read_groups(table: &Table<'_>) -> Option<Vec<Group>> {
    let groups = table.tables("group");
    groups.iter().map(read_group).collect()
}

fn read_group(table: &Table<'_>) -> Option<Group> {
    Some(Group {
        name: table.text("name")?.value,
        count: match table.text("count")?.value {
            rest if rest == "*" => Count::Rest,
            once if once == "1" => Count::Once,
            point => Count::Point(point),
        },
        length: read_length(table)?,
        points: read_points(table)?,
        groups: read_groups(table)?,
    })
}

/// Reads `offset name type size scale access unit`.
fn read_point(line: &str) -> Option<ModelPoint> {
    let some = |word: &str| (word != "-").then(|| word.to_owned());
    let mut words = line.splitn(7, ' ');
    let offset = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    let kind = words.next()?;
    let (_, kind) = TYPE_NAMES.iter().find(|(known, _)| *known == kind)?;
    Some(ModelPoint {
        offset,
        name,
        kind: *kind,
        size: words.next()?.parse().ok()?,
        sf: some(words.next()?),
        writable: match words.next()? {
            "rw" => true,
            "r" => false,
            _ => return None,
        },
        unit: some(words.next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_layout_is_read_and_has_no_hole_and_no_loose_end() {
        let all: Vec<u16> = numbers().collect();
        assert_eq!(
            all,
            [
                1, 101, 102, 103, 111, 112, 113, 120, 121, 122, 123, 124, 160, 201, 202, 203, 204,
                211, 212, 213, 214, 701, 702, 703, 704, 705, 706, 707, 708, 709, 710, 711, 712,
                713, 714, 715, 802
            ]
        );
        for number in all {
            let model = model(number).expect("listed");
            check(model, &model.points, model.length + 2);
            check_groups(model, &model.groups);
        }
    }

    fn check_groups(model: &Model, groups: &[Group]) {
        for group in groups {
            check(model, &group.points, group.length);
            if let Count::Point(count) = &group.count {
                let count = model.point(count).expect("the count is in the model");
                assert!(matches!(count.kind, PointType::Uint16 | PointType::Count));
            }
            check_groups(model, &group.groups);
        }
    }

    fn check(model: &Model, points: &[ModelPoint], registers: u16) {
        let number = model.number;
        let mut next = 0;
        for point in points {
            assert_eq!(point.offset, next, "{number} {}", point.name);
            next += point.size;
            if let Some(data) = point.kind.data() {
                assert_eq!(data.registers(), point.size, "{number} {}", point.name);
            }
            if let Some(sf) = &point.sf {
                let sf = model.point(sf).expect("the scale factor is in the model");
                assert_eq!(sf.kind, PointType::Sunssf, "{number} {}", point.name);
            }
        }
        assert_eq!(next, registers, "{number}");
        let mut names: Vec<&str> = points.iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), points.len(), "{number}: a name twice");
    }

    #[test]
    fn known_addresses_stand_where_the_specification_puts_them() {
        // (model, point, offset, type, scale factor's offset, writable)
        let rows = [
            (1, "SN", 50, PointType::String, None, false),
            (103, "W", 14, PointType::Int16, Some(15), false),
            (103, "WH", 24, PointType::Acc32, Some(26), false),
            (103, "St", 38, PointType::Enum16, None, false),
            (113, "W", 22, PointType::Float32, None, false),
            (120, "WRtg", 3, PointType::Uint16, Some(4), false),
            (121, "WMax", 2, PointType::Uint16, Some(22), true),
            (122, "ActWh", 5, PointType::Acc64, None, false),
            (123, "WMaxLimPct", 5, PointType::Uint16, Some(23), true),
            (123, "WMaxLimPct_RvrtTms", 7, PointType::Uint16, None, true),
            (123, "WMaxLim_Ena", 9, PointType::Enum16, None, true),
            (124, "ChaState", 8, PointType::Uint16, Some(22), false),
            (203, "TotWhImp", 46, PointType::Acc32, Some(54), false),
            (160, "module[2].DCW", 41, PointType::Uint16, Some(4), false),
            (203, "TotWhExp", 38, PointType::Acc32, Some(54), false),
            (213, "W", 28, PointType::Float32, None, false),
            (714, "Prt[1].DCA", 30, PointType::Int16, Some(15), false),
            (701, "W", 10, PointType::Int16, Some(116), false),
            (701, "Hz", 17, PointType::Uint32, Some(115), false),
            (704, "WSetEna", 22, PointType::Enum16, None, true),
            (704, "WSet", 24, PointType::Int32, Some(55), true),
            (704, "WSetRvrtTms", 31, PointType::Uint32, None, true),
            (704, "VarSet", 38, PointType::Int32, Some(57), true),
            (704, "PFWInj.PF", 59, PointType::Uint16, Some(53), true),
            (713, "SoC", 4, PointType::Uint16, Some(8), false),
            (802, "A", 44, PointType::Int16, Some(61), false),
        ];
        for (number, name, offset, kind, sf, writable) in rows {
            let model = model(number).expect("bundled");
            let point = model.locate(name).expect(name);
            let found = point.sf.as_deref().and_then(|sf| model.point(sf));
            assert_eq!(
                (
                    point.offset,
                    point.kind,
                    found.map(|p| p.offset),
                    point.writable
                ),
                (offset, kind, sf, writable),
                "{number}.{name}"
            );
        }
    }

    #[test]
    fn the_inverter_models_of_one_two_and_three_phases_have_one_layout() {
        let points = |number| model(number).map(|m| &m.points);
        for (one, others) in [(101, [102, 103]), (111, [112, 113])] {
            assert!(points(one).is_some());
            for other in others {
                assert_eq!(points(one), points(other));
            }
        }
    }

    #[test]
    fn a_layout_that_is_not_understood_gives_no_models_at_all() {
        let group = "[[model]]\nnumber = 9\nname = \"x\"\nlength = 1\npoints = []\n[[model.group]]\nname = \"g\"\nlength = 1\npoints = []";
        let rows = [
            group,
            "[[model]]\nnumber = 9\nname = \"x\"\nlength = 1\npoints = [\"0 ID u16 1 - r -\"]",
            "[[model]]\nnumber = 9\nname = \"x\"\npoints = []",
            "[[model]]\nnumber = 9\nname = \"x\"\nlength = 1\npoints = [\"0 ID uint16 1 - x -\"]",
        ];
        for text in rows {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

//! Where a register stands and how it is decoded: fixed addresses, or points of SunSpec models.

use std::ops::Range;

use document::{Spanned, Table};

use super::units;
use crate::modbus::{
    Address, DataType, Encoding, Layout, Patterns, Table as RegisterTable, WordOrder,
};
use crate::sunspec::{self, PointType};
use crate::{codes, near};

/// Names of the tables.
pub(super) const TABLES: &[(&str, RegisterTable)] = &[
    ("holding", RegisterTable::Holding),
    ("input", RegisterTable::Input),
    ("coil", RegisterTable::Coil),
    ("discrete", RegisterTable::Discrete),
];

/// Names of the word orders.
pub(super) const ORDERS: &[(&str, WordOrder)] = &[
    ("ABCD", WordOrder::BigFirst),
    ("CDAB", WordOrder::LittleFirst),
];

/// Names of the data types.
pub(super) const TYPES: &[(&str, DataType)] = &[
    ("bit", DataType::Bit),
    ("u16", DataType::U16),
    ("i16", DataType::I16),
    ("u32", DataType::U32),
    ("i32", DataType::I32),
    ("u64", DataType::U64),
    ("i64", DataType::I64),
    ("f32", DataType::F32),
];

/// What holds for all registers of a profile unless one says otherwise.
pub(super) struct Defaults {
    pub(super) layout: Layout,
    pub(super) table: Option<RegisterTable>,
    pub(super) order: Option<WordOrder>,
    pub(super) max_regs: u16,
}

/// A register with everything that its place tells; the factor is still 1.
pub(super) struct Register {
    pub(super) address: Address,
    pub(super) encoding: Encoding,
    /// The unit that the layout tells.
    pub(super) unit: Option<String>,
    pub(super) writable: bool,
    /// Where in the file.
    pub(super) span: Range<usize>,
}

impl Register {
    /// Table or model, and the registers taken in it.
    pub(super) fn extent(&self) -> (Option<RegisterTable>, u16, Range<u32>) {
        let (table, model, start) = match self.address {
            Address::Fixed { table, address } => (Some(table), 0, address),
            Address::Model { model, offset } => (None, model, offset),
        };
        let start = u32::from(start);
        (
            table,
            model,
            start..start + u32::from(self.encoding.data.registers()),
        )
    }
}

/// Reads where a register stands.
pub(super) fn read(table: &Table<'_>, defaults: &Defaults) -> Option<Register> {
    match &defaults.layout {
        Layout::Fixed => fixed(table, defaults),
        layout @ Layout::SunSpec { .. } => {
            let number = match table.integer("model", 1..=0xfffe) {
                None if !table.has("model") => table.missing("model", "103"),
                number => number,
            };
            let name = table.required_text("point", "W");
            let number = number?.map(|n| n as u16);
            of_model(table, layout, &number, &name?, defaults.max_regs)
        }
    }
}

/// Reads where a register stands; of SunSpec models that can stand for one another, in each.
pub(super) fn read_all(table: &Table<'_>, defaults: &Defaults) -> Vec<Register> {
    let layout = &defaults.layout;
    if !matches!(layout, Layout::SunSpec { .. }) || !table.is_list("model") {
        return read(table, defaults).into_iter().collect();
    }
    let numbers = table.numbers("model");
    let Some(name) = table.required_text("point", "W") else {
        return Vec::new();
    };
    numbers
        .iter()
        .filter_map(|number| {
            let model = Spanned {
                value: model_number(table, number),
                span: number.span.clone(),
            };
            of_model(table, layout, &model, &name, defaults.max_regs)
        })
        .collect()
}

/// The number of a model, told when its layout is not bundled.
pub(super) fn model_number(table: &Table<'_>, number: &Spanned<f64>) -> u16 {
    let whole = number.value.fract() == 0.0 && (0.0..65535.0).contains(&number.value);
    let model = if whole { number.value as u16 } else { 0 };
    if sunspec::model(model).is_none() {
        unknown_model(table, number.span.clone(), model);
    }
    model
}

fn fixed(table: &Table<'_>, defaults: &Defaults) -> Option<Register> {
    let address = match table.integer("addr", 0..=0xffff) {
        None if !table.has("addr") => table.missing("addr", "0x00"),
        address => address,
    };
    let registers = match (table.has("table"), defaults.table) {
        (true, _) => table.choice("table", TABLES).map(|t| t.value),
        (false, Some(default)) => Some(default),
        (false, None) => table.missing("table", "\"holding\""),
    };
    let data = if table.has("type") {
        table.choice("type", TYPES).map(|t| t.value)
    } else {
        table.missing("type", "\"f32\"")
    };
    let not_implemented = patterns(table, data);
    let scale = table
        .integer("scale_addr", 0..=0xffff)
        .and_then(|a| u16::try_from(a.value).ok());
    let order = match (table.has("order"), defaults.order, data) {
        (true, _, _) => table.choice("order", ORDERS).map(|o| o.value),
        (false, Some(default), _) => Some(default),
        // A single register has no word order.
        (false, None, Some(data)) if data.registers() == 1 => Some(WordOrder::BigFirst),
        (false, None, None) => None,
        (false, None, Some(_)) => table.missing("order", "\"ABCD\""),
    };
    let (address, registers, data, order) = (address?, registers?, data?, order?);
    let bits = matches!(registers, RegisterTable::Coil | RegisterTable::Discrete);
    if bits != (data == DataType::Bit) {
        table.document().error(
            codes::TYPE_AND_TABLE,
            table.span_of("type"),
            "the type does not fit the table",
            "",
            "`bit` goes with the tables `coil` and `discrete`, other types with `holding` and `input`",
        );
    }
    if address.value + i64::from(data.registers()) > 0x1_0000 {
        table.document().error(
            codes::PAST_THE_END,
            address.span.clone(),
            "the value reaches past address 65535",
            format!("takes {} registers", data.registers()),
            "",
        );
    }
    let start = u16::try_from(address.value).ok()?;
    if let Some(scale) = scale {
        check_scale_distance(table, start, data, scale, defaults.max_regs);
    }
    Some(Register {
        address: Address::Fixed {
            table: registers,
            address: start,
        },
        encoding: Encoding {
            data,
            order,
            factor: 1.0,
            scale: scale.map(|address| Address::Fixed {
                table: registers,
                address,
            }),
            not_implemented,
        },
        unit: None,
        writable: matches!(registers, RegisterTable::Holding | RegisterTable::Coil),
        span: address.span,
    })
}

/// The raw numbers that mean "not implemented": one, or a list; a negative one of a signed type
/// stands for its two's complement.
fn patterns(table: &Table<'_>, data: Option<DataType>) -> Patterns {
    const KEY: &str = "not_implemented";
    let numbers: Vec<Spanned<i64>> = if table.is_list(KEY) {
        table.integers(KEY)
    } else {
        table
            .integer(KEY, i64::MIN..=i64::MAX)
            .into_iter()
            .collect()
    };
    let Some(data) = data else {
        return Patterns::default();
    };
    let bits = 16 * u32::from(data.registers());
    let mask = u64::MAX >> (64 - bits);
    let mut list = Vec::new();
    for number in &numbers {
        let lowest = -(1_i128 << (bits - 1));
        if i128::from(number.value) < lowest || i128::from(number.value) > i128::from(mask) {
            table.document().error(
                codes::PATTERN_TOO_BIG,
                number.span.clone(),
                format!("{:#x} does not fit the value's type", number.value),
                "",
                format!("the type has {bits} bits"),
            );
        }
        list.push(number.value.cast_unsigned() & mask);
    }
    Patterns::of(&list).unwrap_or_else(|| {
        table.document().error(
            codes::PATTERN_TOO_BIG,
            table.span_of(KEY),
            format!("{} patterns are too many", list.len()),
            format!("at most {}", Patterns::MAX),
            "keep those that the maker's table names",
        );
        Patterns::default()
    })
}

fn of_model(
    table: &Table<'_>,
    layout: &Layout,
    number: &Spanned<u16>,
    name: &Spanned<String>,
    max_regs: u16,
) -> Option<Register> {
    let model_number = number.value;
    let Some(model) = sunspec::model(model_number) else {
        unknown_model(table, number.span.clone(), model_number);
        return None;
    };
    if !layout.names(model_number) {
        table.document().error(
            codes::MODEL_NOT_REQUIRED,
            number.span.clone(),
            format!("model {model_number} is not in the list of models"),
            "",
            format!("add {model_number} to `modbus.models`, `one_of` or `optional`"),
        );
    }
    let Some(point) = model.locate(&name.value) else {
        let known: Vec<&str> = model.points.iter().map(|p| p.name.as_str()).collect();
        table.document().error(
            codes::UNKNOWN_MODEL_POINT,
            name.span.clone(),
            format!("model {model_number} has no point `{}`", name.value),
            "",
            near::help(&name.value, &known),
        );
        return None;
    };
    let Some(data) = point.kind.data() else {
        table.document().error(
            codes::NOT_A_NUMBER,
            name.span.clone(),
            format!("`{}` is a {}", name.value, point.kind.name()),
            "",
            "take a point that is a number",
        );
        return None;
    };
    let scale = point.sf.as_deref().and_then(|sf| model.point(sf));
    if let Some(scale) = scale {
        check_scale_distance(table, point.offset, data, scale.offset, max_regs);
    }
    let bits = matches!(point.kind, PointType::Bitfield16 | PointType::Bitfield32);
    Some(Register {
        address: Address::Model {
            model: model_number,
            offset: point.offset,
        },
        encoding: Encoding {
            data,
            order: WordOrder::BigFirst,
            factor: 1.0,
            scale: scale.map(|s| Address::Model {
                model: model_number,
                offset: s.offset,
            }),
            not_implemented: point.kind.not_implemented().into(),
        },
        unit: match &point.unit {
            Some(unit) => Some(units::from_sunspec(unit).to_owned()),
            None if bits || point.kind == PointType::Enum16 => Some("1".to_owned()),
            None => None,
        },
        writable: point.writable,
        span: name.span.clone(),
    })
}

/// Tells that a model's layout is not bundled.
pub(super) fn unknown_model(table: &Table<'_>, span: Range<usize>, number: u16) {
    let known: Vec<String> = sunspec::numbers().map(|n| n.to_string()).collect();
    table.document().error(
        codes::UNKNOWN_MODEL,
        span,
        format!("the layout of SunSpec model {number} is not known"),
        "",
        format!("use one of: {}", known.join(", ")),
    );
}

/// A value and its scale factor come in one answer.
fn check_scale_distance(table: &Table<'_>, start: u16, data: DataType, scale: u16, max_regs: u16) {
    let (start, scale) = (u32::from(start), u32::from(scale));
    let end = (start + u32::from(data.registers())).max(scale + 1);
    let span = end - start.min(scale);
    if span > u32::from(max_regs) {
        table.document().error(
            codes::SCALE_TOO_FAR,
            table.span(),
            format!("value and scale factor span {span} registers, a read takes {max_regs}"),
            "",
            "raise `max_regs` if the device takes it, or take another point",
        );
    }
}

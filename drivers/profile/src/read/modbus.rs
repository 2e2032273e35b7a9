//! Reads the Modbus part of a profile.

use std::ops::Range;
use std::time::Duration;

use document::Table;
use model::Point;

use super::registers::{self, Defaults, Register};
use super::{control, pass_over, required_time, time_or, twice, value};
use crate::codes;
use crate::modbus::{
    Address, Encoding, Heartbeat, Identify, Layout, ModbusProfile, Parity, Poll, RegisterPoint,
    SerialSettings, Table as RegisterTable, WriteFunction,
};

/// Most registers in one answer: MODBUS Application Protocol Specification V1.1b3, 6.3 and 6.4.
const READ_REGISTERS_MAX: i64 = 125;

/// Default of `min_gap`. Chosen: the silence after which the meters of `drivers.md` answered reliably.
const MIN_GAP: Duration = Duration::from_millis(20);

/// Names of the poll classes.
pub(super) const POLLS: &[(&str, Poll)] = &[
    ("fast", Poll::Fast),
    ("normal", Poll::Normal),
    ("slow", Poll::Slow),
    ("once", Poll::Once),
];

/// Names of the parities.
const PARITIES: &[(&str, Parity)] = &[
    ("none", Parity::None),
    ("even", Parity::Even),
    ("odd", Parity::Odd),
];

/// Names of the functions that write holding registers.
const WRITE_FUNCTIONS: &[(&str, WriteFunction)] = &[
    ("single", WriteFunction::Single),
    ("multiple", WriteFunction::Multiple),
];

/// Names of the layouts.
const LAYOUTS: &[(&str, bool)] = &[("fixed", false), ("sunspec", true)];

/// Registers that a point takes, to find overlaps.
struct Taken {
    point: Point,
    table: Option<RegisterTable>,
    model: u16,
    registers: Range<u32>,
    span: Range<usize>,
}

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<ModbusProfile> {
    let Some(head) = root.table("modbus") else {
        pass_over(root);
        return root.missing("modbus", "{ layout = \"fixed\", … }");
    };
    let unit = match head.integer("unit", 0..=247) {
        None if !head.has("unit") => head.missing("unit", "1"),
        unit => unit,
    };
    let timeout = required_time(&head, "timeout", "500ms");
    let Some(layout) = layout(&head) else {
        pass_over(root);
        return None;
    };
    let defaults = Defaults {
        layout,
        table: head.choice("table", registers::TABLES).map(|t| t.value),
        order: head.choice("order", registers::ORDERS).map(|o| o.value),
        max_regs: max_regs(&head),
    };
    let max_gap = head.integer("max_gap", 0..=124).map_or(0, |gap| gap.value);
    let min_gap = time_or(&head, "min_gap", MIN_GAP);
    let late_window = head.duration("late_window").map(|w| w.value);
    let connect_delay = time_or(&head, "connect_delay", Duration::ZERO);
    let serial = head.table("serial").map(serial);
    let write_function = head
        .choice("write_function", WRITE_FUNCTIONS)
        .map_or(WriteFunction::Multiple, |f| f.value);
    head.finish();

    let proofs = if root.is_list("identify") {
        root.tables("identify")
    } else {
        root.table("identify").into_iter().collect()
    };
    let identify: Vec<Option<Identify>> =
        proofs.into_iter().map(|t| identify(t, &defaults)).collect();
    let points = points(root, &defaults, sign, &identify);
    let known: Vec<Point> = points.iter().map(|p| p.point).collect();
    let controls = control::read(root, &defaults, sign, &known, write_function);
    let heartbeats = heartbeats(root, &defaults);
    let timeout = timeout?.value;
    Some(ModbusProfile {
        unit: u8::try_from(unit?.value).ok()?,
        timeout,
        min_gap,
        late_window: late_window.unwrap_or(timeout),
        connect_delay,
        max_regs: defaults.max_regs,
        max_gap: u16::try_from(max_gap).ok()?,
        serial: match serial {
            Some(serial) => Some(serial?),
            None => None,
        },
        write_function,
        layout: defaults.layout,
        identify: identify.into_iter().collect::<Option<_>>()?,
        points,
        controls,
        heartbeats,
    })
}

fn layout(head: &Table<'_>) -> Option<Layout> {
    let sunspec = if head.has("layout") {
        head.choice("layout", LAYOUTS)?.value
    } else {
        head.missing("layout", "\"fixed\"")?
    };
    if !sunspec {
        return Some(Layout::Fixed);
    }
    if !head.has("models") {
        head.missing::<()>("models", "[1, 103]");
    }
    let models = |key: &str| -> Vec<u16> {
        let numbers = head.numbers(key);
        numbers
            .into_iter()
            .map(|number| registers::model_number(head, &number))
            .collect()
    };
    Some(Layout::SunSpec {
        required: models("models"),
        one_of: models("one_of"),
        optional: models("optional"),
    })
}

fn max_regs(head: &Table<'_>) -> u16 {
    let Some(number) = head.integer("max_regs", i64::MIN..=i64::MAX) else {
        return READ_REGISTERS_MAX as u16;
    };
    if !(1..=READ_REGISTERS_MAX).contains(&number.value) {
        head.document().error(
            codes::READ_TOO_WIDE,
            number.span,
            "`max_regs` is not what Modbus can carry",
            format!("must lie in 1..={READ_REGISTERS_MAX}"),
            "",
        );
        return READ_REGISTERS_MAX as u16;
    }
    number.value as u16
}

pub(super) fn serial(table: Table<'_>) -> Option<SerialSettings> {
    let baud = match table.integer("baud", 300..=4_000_000) {
        None if !table.has("baud") => table.missing("baud", "9600"),
        baud => baud,
    };
    let parity = if table.has("parity") {
        table.choice("parity", PARITIES)
    } else {
        table.missing("parity", "\"none\"")
    };
    let stop = match table.integer("stop", 1..=2) {
        None if !table.has("stop") => table.missing("stop", "1"),
        stop => stop,
    };
    table.finish();
    Some(SerialSettings {
        baud: u32::try_from(baud?.value).ok()?,
        parity: parity?.value,
        stop_bits: u8::try_from(stop?.value).ok()?,
    })
}

fn identify(table: Table<'_>, defaults: &Defaults) -> Option<Identify> {
    let register = registers::read(&table, defaults);
    let factor = value::scale(&table);
    let range = if table.has("range") {
        value::plain_range(&table)
    } else {
        table.missing("range", "[45, 65]")
    };
    table.finish();
    let register = register?;
    Some(Identify {
        address: register.address,
        encoding: Encoding {
            factor: factor?,
            ..register.encoding
        },
        range: range?,
    })
}

fn points(
    root: &Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    proofs: &[Option<Identify>],
) -> Vec<RegisterPoint> {
    let tables = root.tables("point");
    if tables.is_empty() {
        root.document().error(
            codes::NOTHING_READ,
            root.span(),
            "the profile maps no point",
            "",
            "add `[[point]]` tables",
        );
    }
    let mut taken = Vec::new();
    let points = tables
        .into_iter()
        .flat_map(|table| point(table, defaults, sign, &mut taken).unwrap_or_default())
        .collect();
    // A register that identifies the device is proved right each time it is set up.
    taken.retain(|t| {
        let (table, start) = (t.table, t.registers.start);
        !proofs.iter().flatten().any(|proof| {
            matches!(proof.address, Address::Fixed { table: of, address }
                if Some(of) == table && u32::from(address) == start)
        })
    });
    check_parity(root, &taken);
    points
}

fn point(
    table: Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    taken: &mut Vec<Taken>,
) -> Option<Vec<RegisterPoint>> {
    let point = value::point(&table, "name");
    let registers = registers::read_all(&table, defaults);
    for register in &registers {
        let Some(point) = &point else { break };
        // The same point in another model is another device's place for it.
        let (kind, model, _) = register.extent();
        let same = |t: &Taken| t.point == point.value && (kind.is_some() || t.model == model);
        if taken.iter().any(same) {
            let what = format!("`{}`", point.value);
            twice(&table, codes::POINT_TWICE, point.span.clone(), &what);
        }
        check_overlap(&table, point.value, register, taken);
    }
    // Without its register nobody knows which unit the layout tells; models that can stand for
    // one another may tell different ones.
    let mut factors: Vec<Option<f64>> = Vec::new();
    for register in &registers {
        let known = registers.iter().position(|r| r.unit == register.unit);
        let factor = match (&point, known.and_then(|at| factors.get(at))) {
            (_, Some(factor)) => *factor,
            (Some(point), None) => {
                value::factor(&table, point.value, register.unit.as_deref(), sign)
            }
            (None, None) => value::pass_over(&table),
        };
        factors.push(factor);
    }
    if registers.is_empty() {
        value::pass_over::<()>(&table);
    }
    let range = match &point {
        Some(point) => value::range(&table, point.value),
        None => value::pass_over(&table),
    };
    let poll = table
        .choice("poll", POLLS)
        .map_or(Poll::Normal, |p| p.value);
    let monotonic = table.boolean("monotonic");
    if let (Some(monotonic), Some(point)) = (&monotonic, &point)
        && monotonic.value
        && point.value.unit() != "Wh"
    {
        table.document().error(
            codes::NOT_A_COUNTER,
            monotonic.span.clone(),
            format!("`{}` is no counter", point.value),
            "",
            "only `ac.e_imp` and `ac.e_exp` grow for ever",
        );
    }
    table.finish();
    let is_counter = monotonic.is_some_and(|m| m.value);
    let (point, range) = (point?.value, range?);
    let place = |(register, factor): (Register, Option<f64>)| {
        Some(RegisterPoint {
            point,
            address: register.address,
            encoding: Encoding {
                factor: factor?,
                ..register.encoding
            },
            range,
            poll,
            monotonic: is_counter,
        })
    };
    registers.into_iter().zip(factors).map(place).collect()
}

fn heartbeats(root: &Table<'_>, defaults: &Defaults) -> Vec<Heartbeat> {
    let tables = root.tables("heartbeat");
    tables
        .into_iter()
        .filter_map(|table| {
            let register = registers::read(&table, defaults);
            let every = required_time(&table, "every", "1s");
            table.finish();
            let (register, every) = (register?, every?);
            if !register.writable {
                root.document().error(
                    codes::NOT_WRITABLE,
                    register.span,
                    "nothing can be written here",
                    "",
                    "take the counter that the controller moves on",
                );
                return None;
            }
            Some(Heartbeat {
                address: register.address,
                encoding: register.encoding,
                every: every.value,
            })
        })
        .collect()
}

fn check_overlap(table: &Table<'_>, point: Point, register: &Register, taken: &mut Vec<Taken>) {
    let (kind, model, registers) = register.extent();
    let clash = taken.iter().find(|t| {
        (t.table, t.model) == (kind, model)
            && t.registers.start < registers.end
            && registers.start < t.registers.end
            && t.registers != registers
    });
    if let Some(clash) = clash {
        table.document().error(
            codes::OVERLAP,
            register.span.clone(),
            format!("`{point}` shares a register with `{}`", clash.point),
            format!(
                "takes {}..={}, the other {}..={}",
                registers.start,
                registers.end - 1,
                clash.registers.start,
                clash.registers.end - 1
            ),
            "check address and type of both",
        );
    }
    taken.push(Taken {
        point,
        table: kind,
        model,
        registers,
        span: register.span.clone(),
    });
}

/// Warns of the one value of several registers that begins at another parity than all others.
fn check_parity(root: &Table<'_>, taken: &[Taken]) {
    // Chosen: with three others of one parity, the fourth is a slip rather than a habit.
    const OTHERS_MIN: usize = 3;
    for (_, kind) in registers::TABLES {
        let wide: Vec<&Taken> = taken
            .iter()
            .filter(|t| t.table == Some(*kind) && t.registers.len() > 1)
            .collect();
        for parity in [0, 1] {
            let (same, others): (Vec<&&Taken>, Vec<&&Taken>) =
                wide.iter().partition(|t| t.registers.start % 2 == parity);
            if let ([odd_one], true) = (same.as_slice(), others.len() >= OTHERS_MIN) {
                root.document().warning(
                    codes::ODD_ONE_OUT,
                    odd_one.span.clone(),
                    format!(
                        "`{}` begins at address {}, all others at {} ones",
                        odd_one.point,
                        odd_one.registers.start,
                        if parity == 0 { "odd" } else { "even" }
                    ),
                    "check whether the address comes from a one-based table",
                );
            }
        }
    }
}

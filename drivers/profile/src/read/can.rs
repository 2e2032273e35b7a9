//! Reads the CAN part of a profile: the bus, its DBC file, and the frames that the device sends.
//!
//! Where a number stands is the business of [`place`]; frames that the device hears are
//! read in [`sent`].

mod place;
mod sent;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use document::{Source, Spanned, Table};
use model::Point;

use self::place::{Numbers, Taken};
use super::{pass_over, required_time, twice, value};
use crate::can::{CLASSIC_BYTES_MAX, CanId, CanProfile, DATA_BYTES_MAX, Frame, Selector, Signal};
use crate::codes;
use crate::dbc::{self, Database, Message};

/// What holds for the whole profile.
struct Bus {
    /// The vendor's sign.
    sign: Option<f64>,
    /// Most data bytes of a frame on this bus.
    bytes_max: usize,
    /// The DBC file that messages and signals are named in, with its path.
    dbc: Option<(String, Database)>,
}

pub(super) fn read(root: &Table<'_>, sign: Option<f64>) -> Option<CanProfile> {
    let Some(head) = root.table("can") else {
        pass_over(root);
        return root.missing("can", "{ bitrate = 500000 }");
    };
    let bitrate = match head.integer("bitrate", 10_000..=1_000_000) {
        None if !head.has("bitrate") => head.missing("bitrate", "500000"),
        bitrate => bitrate,
    };
    let fd = head.boolean("fd").is_some_and(|fd| fd.value);
    let dbc = match head.text("dbc") {
        Some(file) => match database(&head, &file) {
            Some(database) => Some((file.value, database)),
            None => {
                // All names would be told as unknown; the file is what is wrong.
                head.finish();
                pass_over(root);
                return None;
            }
        },
        None => None,
    };
    head.finish();
    let bus = Bus {
        sign,
        bytes_max: if fd {
            DATA_BYTES_MAX
        } else {
            CLASSIC_BYTES_MAX
        },
        dbc,
    };
    let mut frames: Vec<Frame> = Vec::new();
    let mut points = Vec::new();
    for table in root.tables("frame") {
        let span = table.span_of(if table.has("message") {
            "message"
        } else {
            "id"
        });
        for frame in bus.frame(&table, &mut points).unwrap_or_default() {
            let same =
                |f: &Frame| (f.id, f.id_mask, &f.page) == (frame.id, frame.id_mask, &frame.page);
            if frames.iter().any(same) {
                twice(&table, codes::FRAME_TWICE, span.clone(), "this frame");
            }
            frames.push(frame);
        }
        table.finish();
    }
    if points.is_empty() {
        root.document().error(
            codes::NOTHING_READ,
            root.span(),
            "the profile maps no point",
            "",
            "add `[[frame]]` tables with `signals`",
        );
    }
    let keep_alive = sent::keep_alives(root, &bus, &points);
    let controls = sent::controls(root, &bus, &points);
    Some(CanProfile {
        bitrate: u32::try_from(bitrate?.value).ok()?,
        frames,
        keep_alive,
        controls,
    })
}

/// Reads the DBC file that lies beside the profile.
fn database(head: &Table<'_>, file: &Spanned<String>) -> Option<Database> {
    let document = head.document();
    let beside = Path::new(&document.source().path)
        .parent()
        .unwrap_or(Path::new(""))
        .join(&file.value);
    let shown = beside.display().to_string();
    let unusable = |message: String, help: &str| {
        document.error(codes::BAD_DBC, file.span.clone(), message, "", help);
    };
    // The size is asked first: a file without end must not fill the memory.
    let bytes = match std::fs::metadata(&beside) {
        Ok(about) if about.len() > dbc::FILE_BYTES_MAX as u64 => {
            unusable(
                format!("{shown} has more than {} bytes", dbc::FILE_BYTES_MAX),
                "keep the messages that are mapped",
            );
            return None;
        }
        Ok(about) if !about.is_file() => Err(std::io::Error::other("not a file")),
        _ => std::fs::read(&beside),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(why) => {
            unusable(
                format!("{shown} cannot be read: {why}"),
                "the path is relative to the profile's own folder",
            );
            return None;
        }
    };
    let source: Arc<Source> = Source::new(shown.clone(), dbc::text_of(bytes));
    match Database::parse(&source) {
        Ok(database) => Some(database),
        Err(fault) => {
            unusable(
                format!("{shown}:{}: {}", fault.line, fault.why),
                "mend it with the tool that wrote it, or leave out what no message needs",
            );
            None
        }
    }
}

impl Bus {
    /// The DBC message that a table names under `message`; `Err` when it names one that is not there.
    fn message(&self, table: &Table<'_>) -> Result<Option<&Message>, ()> {
        let Some(name) = table.text("message") else {
            return if table.has("message") {
                Err(())
            } else {
                Ok(None)
            };
        };
        let Some((file, database)) = &self.dbc else {
            table.document().error(
                codes::DBC_NAME,
                name.span,
                "the profile names no DBC file",
                "",
                "add `dbc = \"file.dbc\"` to `[can]`, or give `id`, `start` and `bits` here",
            );
            return Err(());
        };
        if let Some(message) = database.message(&name.value) {
            return Ok(Some(message));
        }
        let known = database.messages.iter().map(|m| m.name.as_str());
        table.document().error(
            codes::DBC_NAME,
            name.span,
            format!("{file} has no message `{}`", name.value),
            "",
            place::suggestion(&name.value, known),
        );
        Err(())
    }

    /// The identifier: the message's, or the table's own.
    fn id(table: &Table<'_>, message: Option<&Message>) -> Option<CanId> {
        match message {
            Some(message) => Some(message.id),
            None => id(table),
        }
    }

    /// The frames of a table: one, or one for each page of a DBC message.
    fn frame(&self, table: &Table<'_>, points: &mut Vec<Point>) -> Option<Vec<Frame>> {
        let message = self.message(table);
        let known = message.unwrap_or_default();
        let id = message.ok().and_then(|m| Self::id(table, m));
        let id_mask = id_mask(table, id);
        let len_min = if message.is_ok() {
            self.len_min(table, known)
        } else {
            // What the message would have told is not missing: the message is.
            table.has("len_min");
            None
        };
        let period = match known.and_then(|m| m.cycle) {
            _ if message.is_err() && !table.has("period") => None,
            Some(cycle) if !table.has("period") => Some(Spanned {
                value: cycle,
                span: table.span(),
            }),
            _ => required_time(table, "period", "1s"),
        };
        let timeout = required_time(table, "timeout", "3s");
        if let (Some(period), Some(timeout)) = (&period, &timeout) {
            check_timeout(table, period.value, timeout);
        }
        let identify = table.text("identify").map(|t| t.value.into_bytes());
        let numbers = Numbers {
            bytes_max: known.map_or(self.bytes_max, |m| m.len.min(self.bytes_max)),
            message: known,
            named: message.is_err(),
        };
        let page: Vec<Selector> = table
            .table("page")
            .map(|page| numbers.page(page))
            .unwrap_or_default();
        let mut pages: Vec<(Vec<Selector>, Vec<Signal>, Taken)> = Vec::new();
        for t in table.tables("signals") {
            let span = t.span_of(if t.has("signal") { "signal" } else { "start" });
            let read = self.signal(&t, &numbers, points);
            t.finish();
            let Some((signal, mut own_page)) = read else {
                continue;
            };
            own_page.extend(page.iter().cloned());
            let known = pages.iter().position(|(page, ..)| *page == own_page);
            let place = known.unwrap_or_else(|| {
                let mut taken = Taken::default();
                for selector in &own_page {
                    taken.take(selector.at);
                }
                pages.push((own_page, Vec::new(), taken));
                pages.len() - 1
            });
            if let Some((_, signals, taken)) = pages.get_mut(place) {
                if !taken.take(signal.field.at) {
                    table.document().error(
                        codes::SIGNALS_OVERLAP,
                        span,
                        format!("`{}` shares a bit with another signal", signal.point),
                        "",
                        "check start and number of bits",
                    );
                }
                signals.push(signal);
            }
        }
        if pages.is_empty() {
            pages.push((page, Vec::new(), Taken::default()));
        }
        let (id, id_mask, len_min) = (id?, id_mask?, len_min?);
        let (period, timeout) = (period?.value, timeout?.value);
        let frames = pages.into_iter().map(|(page, signals, _)| Frame {
            id,
            id_mask,
            page,
            len_min,
            period,
            timeout,
            identify: identify.clone(),
            signals,
        });
        Some(frames.collect())
    }

    fn len_min(&self, table: &Table<'_>, message: Option<&Message>) -> Option<usize> {
        let most = i64::try_from(self.bytes_max).unwrap_or(i64::MAX);
        match table.integer("len_min", 0..=most) {
            None if !table.has("len_min") => match message {
                Some(message) if message.len <= self.bytes_max => Some(message.len),
                Some(message) => {
                    table.document().error(
                        codes::SIGNAL_OUTSIDE,
                        table.span_of("message"),
                        format!("`{}` has {} bytes", message.name, message.len),
                        format!("a frame of this bus has at most {}", self.bytes_max),
                        "add `fd = true` to `[can]` if the bus is CAN FD",
                    );
                    None
                }
                None => table.missing("len_min", "8"),
            },
            len => len.and_then(|len| usize::try_from(len.value).ok()),
        }
    }

    /// A signal, and the page on which DBC puts it.
    fn signal(
        &self,
        t: &Table<'_>,
        numbers: &Numbers<'_>,
        points: &mut Vec<Point>,
    ) -> Option<(Signal, Vec<Selector>)> {
        let point = value::point(t, "name");
        let placed = numbers.read(t);
        let mask = t.integer("mask", 1..=i64::MAX);
        let not_implemented = t.integer("not_implemented", 0..=i64::MAX);
        let Some(point) = point else {
            return value::pass_over(t);
        };
        if points.contains(&point.value) {
            let what = format!("`{}`", point.value);
            twice(t, codes::POINT_TWICE, point.span.clone(), &what);
        }
        points.push(point.value);
        let point = point.value;
        let field = numbers.field(t, point, self.sign, placed.as_ref());
        let range = value::range(t, point);
        Some((
            Signal {
                point,
                field: field?,
                mask: mask.map_or(u64::MAX, |m| m.value.unsigned_abs()),
                not_implemented: not_implemented.map(|n| n.value.unsigned_abs()),
                range: range?,
            },
            placed?.page,
        ))
    }
}

fn id(table: &Table<'_>) -> Option<CanId> {
    let extended = table.boolean("extended").is_some_and(|e| e.value);
    let number = match table.integer("id", i64::MIN..=i64::MAX) {
        None if !table.has("id") => table.missing("id", "0x351"),
        number => number,
    }?;
    let max = if extended {
        i64::from(CanId::EXTENDED_MAX)
    } else {
        i64::from(CanId::STANDARD_MAX)
    };
    if !(0..=max).contains(&number.value) {
        table.document().error(
            codes::CAN_ID,
            number.span,
            format!("{:#x} is not an identifier of this kind", number.value),
            format!("must lie in 0..={max:#x}"),
            "an identifier of 29 bits needs `extended = true`",
        );
        return None;
    }
    if extended {
        u32::try_from(number.value).ok().map(CanId::Extended)
    } else {
        u16::try_from(number.value).ok().map(CanId::Standard)
    }
}

/// The bits of the identifier that must fit; all of them unless the table says otherwise.
fn id_mask(table: &Table<'_>, id: Option<CanId>) -> Option<u32> {
    let all = match id {
        Some(CanId::Standard(_)) => u32::from(CanId::STANDARD_MAX),
        _ => CanId::EXTENDED_MAX,
    };
    if !table.has("id_mask") {
        return Some(all);
    }
    let mask = table.integer("id_mask", 1..=i64::from(all))?;
    u32::try_from(mask.value).ok()
}

/// Points are believed for at least two periods of what brings them.
pub(super) fn check_timeout(table: &Table<'_>, period: Duration, timeout: &Spanned<Duration>) {
    if timeout.value < period * 2 {
        table.document().error(
            codes::TIMEOUT_TOO_SHORT,
            timeout.span.clone(),
            format!("a timeout of {:?} is too short", timeout.value),
            format!("it comes every {period:?}"),
            format!("take at least \"{}s\"", (period * 2).as_secs_f64()),
        );
    }
}

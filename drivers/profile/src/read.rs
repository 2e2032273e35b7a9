//! Reads a profile from its TOML text and tells every fault in it.
//!
//! What all protocols share is here and in [`value`]; each protocol has its own
//! module. The schema is told by example in the bundled files.

mod can;
mod control;
mod field;
mod modbus;
mod mqtt;
mod registers;
mod scpi;
#[cfg(test)]
mod tests;
mod units;
mod value;

use std::ops::Range;
use std::sync::Arc;

use document::{Diagnostic, Document, Source, Spanned, Table};

use crate::{Profile, Protocol, codes};

/// The schema version that this program reads.
const SCHEMA: i64 = 1;

/// Names of the protocols in a profile.
const PROTOCOLS: &[(&str, Kind)] = &[
    ("modbus", Kind::Modbus),
    ("can", Kind::Can),
    ("mqtt", Kind::Mqtt),
    ("scpi", Kind::Scpi),
];

/// All sections below the head.
const SECTIONS: &[&str] = &[
    "modbus",
    "identify",
    "point",
    "control",
    "can",
    "frame",
    "keep_alive",
    "mqtt",
    "topic",
    "request",
    "command",
    "scpi",
];

#[derive(Clone, Copy)]
enum Kind {
    Modbus,
    Can,
    Mqtt,
    Scpi,
}

impl Profile {
    /// Reads a profile; on success the second part holds the warnings.
    ///
    /// # Errors
    /// All faults of the file in the order of their places, warnings among them: codes
    /// `D0xx` where the text is not of the right form and `P0xx` (see
    /// [`crate::EXPLANATIONS`]) where it does not make sense.
    pub fn parse(source: Arc<Source>) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let document = Document::parse(source).map_err(|fault| vec![*fault])?;
        let root = document.root();
        let profile = read(&root);
        root.finish();
        let failed = document.has_errors();
        let faults = document.into_faults();
        match profile {
            Some(profile) if !failed => Ok((profile, faults)),
            _ => Err(faults),
        }
    }
}

fn read(root: &Table<'_>) -> Option<Profile> {
    if !root.has("schema") {
        root.missing::<()>("schema", "1");
    }
    root.integer("schema", SCHEMA..=SCHEMA);
    let Some(head) = root.table("profile") else {
        return root.missing("profile", "{ id = \"vendor/model\", … }");
    };
    let id = head.required_text("id", "vendor/model");
    if let Some(id) = &id {
        check_id(root.document(), id);
    }
    let title = head.required_text("title", "Vendor Model, three-phase meter");
    let version = match head.integer("version", 1..=i64::from(u32::MAX)) {
        None if !head.has("version") => head.missing("version", "1"),
        version => version,
    };
    let source = head.texts("source");
    if source.iter().all(|s| s.value.trim().is_empty()) {
        root.document().error(
            codes::NO_SOURCE,
            head.span_of("source"),
            "the profile does not say what it was made from",
            "no document named",
            "add `source = [\"title and revision of the maker's document\"]`",
        );
    }
    let sign = value::read_sign(&head);
    let opt_in = head.boolean("opt_in").is_some_and(|o| o.value);
    let protocol = if head.has("protocol") {
        head.choice("protocol", PROTOCOLS)
    } else {
        head.missing("protocol", "\"modbus\"")
    };
    head.finish();
    let Some(protocol) = protocol else {
        // Nobody knows which sections belong here, so none is told as unknown.
        pass_over(root);
        return None;
    };
    let protocol = match protocol.value {
        Kind::Modbus => Protocol::Modbus(modbus::read(root, sign)?),
        Kind::Can => Protocol::Can(can::read(root, sign)?),
        Kind::Mqtt => Protocol::Mqtt(mqtt::read(root, sign)?),
        Kind::Scpi => Protocol::Scpi(scpi::read(root, sign)?),
    };
    Some(Profile {
        id: id?.value.into(),
        title: title?.value,
        version: u32::try_from(version?.value).ok()?,
        source: source.into_iter().map(|s| s.value).collect(),
        opt_in,
        protocol,
    })
}

/// Marks all sections as asked for: what is wrong with them follows from an earlier fault.
fn pass_over(root: &Table<'_>) {
    for section in SECTIONS {
        root.has(section);
    }
}

fn check_id(document: &Document, id: &Spanned<String>) {
    let word = |w: &str| {
        !w.is_empty()
            && w.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let fits = id
        .value
        .split_once('/')
        .is_some_and(|(vendor, model)| word(vendor) && word(model));
    if !fits {
        document.error(
            codes::BAD_ID,
            id.span.clone(),
            format!("`{}` is not an identity", id.value),
            "must be `vendor/model`",
            "use lower-case letters, digits and hyphens around one slash",
        );
    }
}

/// A time that must be there and be longer than nothing.
fn required_time(
    table: &Table<'_>,
    key: &str,
    example: &str,
) -> Option<Spanned<std::time::Duration>> {
    if !table.has(key) {
        return table.missing(key, &format!("\"{example}\""));
    }
    let time = table.duration(key)?;
    if time.value.is_zero() {
        table.document().error(
            codes::BAD_TIME,
            time.span.clone(),
            format!("`{key}` must be longer than nothing"),
            "",
            format!("for example `{key} = \"{example}\"`"),
        );
    }
    Some(time)
}

/// A time that may be left out, for the default then.
fn time_or(table: &Table<'_>, key: &str, default: std::time::Duration) -> std::time::Duration {
    table.duration(key).map_or(default, |time| time.value)
}

/// Tells that something stands in the profile twice.
fn twice(table: &Table<'_>, code: &'static str, span: Range<usize>, what: &str) {
    table.document().error(
        code,
        span,
        format!("{what} stands here twice"),
        "the second time",
        "keep one of them",
    );
}

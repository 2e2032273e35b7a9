//! What a server says of a line that it refuses, and the line without the field that it has named.
//!
//! A field has one type on a server. Where it has another one than ours (somebody else wrote it first), each of our
//! values of it is refused, and with it the line; the other values of the line are none the worse for it.

use std::fmt;

use serde_json::Value;

/// A field that a server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedField {
    /// The measurement, where the server names it: then no line of it will be taken with that field.
    pub(super) measurement: Option<String>,
    pub(super) field: String,
}

/// The words before the name of a field, and the sign that ends it: as versions 1 and 2 say it, and as version 3 does
/// (`influxdata/influxdb`, `tsdb/shard.go` and `influxdb3_write`'s error for a column of another type).
const BEFORE_FIELD: [(&str, char); 2] = [
    ("input field \"", '"'),
    ("invalid column type for column '", '\''),
];
/// The words before the name of the measurement.
const BEFORE_MEASUREMENT: (&str, char) = ("on measurement \"", '"');

fn between<'a>(text: &'a str, (before, after): (&str, char)) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (name, _) = rest.split_once(after)?;
    (!name.is_empty()).then_some(name)
}

/// All texts of a JSON document.
fn texts_of(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| texts_of(field, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl RefusedField {
    /// The field that an answer names, which is JSON or plain text.
    pub(super) fn named_in(answer: &str) -> Option<Self> {
        let mut texts = Vec::new();
        match serde_json::from_str(answer) {
            Ok(value) => texts_of(&value, &mut texts),
            Err(_) => texts.push(answer.to_owned()),
        }
        texts.iter().find_map(|text| {
            let mut names = BEFORE_FIELD
                .iter()
                .filter_map(|words| between(text, *words));
            Some(Self {
                field: names.next()?.to_owned(),
                measurement: between(text, BEFORE_MEASUREMENT).map(str::to_owned),
            })
        })
    }

    /// The line without the field, with its line feed, and how many values that takes from it; empty where no field
    /// is left. `None` where the line does not have it, or is of another measurement.
    pub(super) fn taken_from(&self, line: &str) -> Option<(String, u64)> {
        let ends = spaces(line);
        let (Some(head), Some(fields)) = (ends.first(), ends.get(1)) else {
            return None;
        };
        let (head, fields, rest) = (&line[..*head], &line[head + 1..*fields], &line[*fields..]);
        let of_another = |wanted: &String| unescaped(until(head, b',')) != *wanted;
        if self.measurement.as_ref().is_some_and(of_another) {
            return None;
        }
        let (mut kept, mut taken) = (Vec::new(), 0);
        let mut left = fields;
        while !left.is_empty() {
            let field = until(left, b',');
            left = left.get(field.len() + 1..).unwrap_or("");
            match unescaped(until(field, b'=')) == self.field {
                true => taken += 1,
                false => kept.push(field),
            }
        }
        match (taken, kept.is_empty()) {
            (0, _) => None,
            (taken, true) => Some((String::new(), taken)),
            (taken, false) => Some((format!("{head} {}{rest}", kept.join(",")), taken)),
        }
    }
}

impl fmt::Display for RefusedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.measurement {
            Some(measurement) => write!(f, "{measurement}.{}", self.field),
            None => f.write_str(&self.field),
        }
    }
}

/// Where the spaces are that end the tags and the fields: neither escaped nor in a text.
fn spaces(line: &str) -> Vec<usize> {
    let mut at = Vec::new();
    let mut from = 0;
    while let Some(rest) = line.get(from..)
        && at.len() < 2
    {
        let part = until(rest, b' ');
        if part.len() == rest.len() {
            break;
        }
        at.push(from + part.len());
        from += part.len() + 1;
    }
    at
}

/// The text up to a sign that is neither escaped nor in quotes; all of it where there is none.
fn until(text: &str, sign: u8) -> &str {
    let (mut escaped, mut quoted) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            // Only a value is quoted, and it begins after its equals sign.
            b'"' if quoted || text[..at].ends_with('=') => quoted = !quoted,
            _ if quoted => {}
            byte if byte == sign => return &text[..at],
            _ => {}
        }
    }
    text
}

/// A name without the backslashes that kept it in one piece.
fn unescaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut signs = name.chars().peekable();
    while let Some(sign) = signs.next() {
        let escapes = sign == '\\' && matches!(signs.peek(), Some(',' | '=' | ' '));
        if !escapes {
            out.push(sign);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(measurement: Option<&str>, field: &str) -> RefusedField {
        RefusedField {
            measurement: measurement.map(str::to_owned),
            field: field.into(),
        }
    }

    #[test]
    fn the_field_is_read_out_of_what_each_version_says() {
        let rows = [
            (
                r#"{"error":"partial write: field type conflict: input field \"ac_p\" on measurement \"ess\" is type float, already exists as type integer dropped=1"}"#,
                Some(refused(Some("ess"), "ac_p")),
            ),
            (
                r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"soc\" on measurement \"battery\" is type float, already exists as type string dropped=2"}"#,
                Some(refused(Some("battery"), "soc")),
            ),
            (
                r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"ess ac_p=1 7","line_number":1,"error_message":"invalid column type for column 'ac_p', expected iox::column_type::field::integer, got iox::column_type::field::float"}]}"#,
                Some(refused(None, "ac_p")),
            ),
            (
                r#"partial write: input field "ac_f" on measurement "ess" is type float"#,
                Some(refused(Some("ess"), "ac_f")),
            ),
            (r#"{"error":"unable to parse 'x': missing fields"}"#, None),
            (r#"{"error":"input field \"\" on measurement"}"#, None),
            ("<html>input field", None),
            ("", None),
        ];
        for (answer, expected) in rows {
            assert_eq!(RefusedField::named_in(answer), expected, "{answer}");
        }
    }

    #[test]
    fn a_line_goes_on_without_the_field_and_is_gone_with_its_last_one() {
        let ac_p = refused(Some("ess"), "ac_p");
        let rows = [
            (
                &ac_p,
                "ess,bus=a ac_p=1,ac_q=2 7\n",
                Some(("ess,bus=a ac_q=2 7\n", 1)),
            ),
            (
                &ac_p,
                "ess,bus=a ac_q=2,ac_p=1 7\n",
                Some(("ess,bus=a ac_q=2 7\n", 1)),
            ),
            (&ac_p, "ess ac_p=1 7\n", Some(("", 1))),
            // Another measurement, another field, and what only looks like the field.
            (&ac_p, "pv,bus=a ac_p=1 7\n", None),
            (&ac_p, "ess,ac_p=x ac_q=2 7\n", None),
            (&ac_p, "ess ac_p_bad=1 7\n", None),
            (&ac_p, "ess text=\"a ac_p=1,ac_p=2\" 7\n", None),
            (
                &ac_p,
                "ess text=\"a,ac_p=2\",ac_p=1 7\n",
                Some(("ess text=\"a,ac_p=2\" 7\n", 1)),
            ),
            // Names with spaces, commas and equals signs, and a text with quotes in it.
            (
                &ac_p,
                "ess,device=plug\\,\\ \\=3 ac_p=1,text=\"a \\\" ,b\" 7\n",
                Some(("ess,device=plug\\,\\ \\=3 text=\"a \\\" ,b\" 7\n", 1)),
            ),
            (
                &refused(None, "ac_p"),
                "pv ac_p=1,ac_q=2 7\n",
                Some(("pv ac_q=2 7\n", 1)),
            ),
            (
                &refused(Some("my ess"), "a"),
                "my\\ ess,bus=a a=1,b=2 7\n",
                Some(("my\\ ess,bus=a b=2 7\n", 1)),
            ),
            // What is no line is left alone.
            (&ac_p, "ess", None),
            (&ac_p, "ess ac_p=1", None),
            (&ac_p, "", None),
        ];
        for (field, line, expected) in rows {
            let expected = expected.map(|(text, n)| (text.to_owned(), n));
            assert_eq!(field.taken_from(line), expected, "{line}");
        }
    }
}

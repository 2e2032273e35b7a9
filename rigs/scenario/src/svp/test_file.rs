//! A test of SVP: `<scriptConfig name script><params><param name type [index_start index_count]>value</param>…`.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A test: a name, the script that it is for, and the script's parameters in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct SvpTest {
    /// Its name.
    pub name: String,
    /// Name of the script, without its ending.
    pub script: String,
    /// What the script is told.
    pub parameters: Vec<Parameter>,
}

/// A parameter of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, groups divided by dots: `eut.v_nom`.
    pub name: String,
    /// Whether its values are numbers, as its type says.
    pub is_number: bool,
    /// Its value, or those of a list, such as the points of a curve. Numbers are written as a person would.
    pub values: Vec<String>,
    /// Number of the first value of a list; `None` = it is no list.
    pub first: Option<i64>,
}

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of mistake it is.
    pub kind: FaultKind,
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is no test of SVP.
    Foreign,
    /// A parameter cannot be read.
    Parameter,
}

/// A parameter whose value is being read.
struct Open {
    name: String,
    kind: String,
    list: Option<(i64, usize)>,
    text: String,
    from: usize,
}

/// Reads a test.
///
/// # Errors
/// All that is wrong with it, in the order of the file.
pub fn read(text: &str) -> Result<SvpTest, Vec<Fault>> {
    let mut reading = Reading {
        text,
        reader: Reader::from_str(text),
        head: None,
        parameters: Vec::new(),
        faults: Vec::new(),
    };
    reading.all();
    let Reading {
        head,
        parameters,
        mut faults,
        ..
    } = reading;
    match head {
        Some((name, script)) if faults.is_empty() => Ok(SvpTest {
            name,
            script,
            parameters,
        }),
        None if faults.is_empty() => {
            faults.push(Fault {
                kind: FaultKind::Foreign,
                message: "there is no `scriptConfig` in it".to_owned(),
                span: 0..text.len().min(1),
            });
            Err(faults)
        }
        _ => Err(faults),
    }
}

struct Reading<'t> {
    text: &'t str,
    reader: Reader<&'t [u8]>,
    head: Option<(String, String)>,
    parameters: Vec<Parameter>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    /// Bytes that were read.
    fn at(&self) -> usize {
        usize::try_from(self.reader.buffer_position())
            .map_or(self.text.len(), |at| at.min(self.text.len()))
    }

    fn fault(&mut self, kind: FaultKind, from: usize, message: String) {
        let span = from..self.at().max(from);
        self.faults.push(Fault {
            kind,
            message,
            span,
        });
    }

    fn all(&mut self) {
        let mut open: Option<Open> = None;
        loop {
            let from = self.at();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(e) => {
                    return self.fault(FaultKind::Foreign, from, format!("this is no XML: {e}"));
                }
            };
            match event {
                Event::Start(tag) if tag.name().as_ref() == b"param" => {
                    open = self.begin(&tag, from)
                }
                Event::Empty(tag) if tag.name().as_ref() == b"param" => {
                    if let Some(of) = self.begin(&tag, from) {
                        self.end(of);
                    }
                }
                Event::Start(tag) | Event::Empty(tag) if self.head.is_none() => {
                    self.root(&tag, from)
                }
                Event::End(tag) if tag.name().as_ref() == b"param" => {
                    if let Some(of) = open.take() {
                        self.end(of);
                    }
                }
                Event::Text(text) => self.add(&mut open, from, text.decode().map(Into::into).ok()),
                Event::CData(text) => self.add(&mut open, from, text.decode().map(Into::into).ok()),
                Event::GeneralRef(reference) => {
                    let char_of = reference.resolve_char_ref().ok().flatten();
                    let named = reference.decode().ok();
                    let named =
                        named.and_then(|n| quick_xml::escape::resolve_predefined_entity(&n));
                    let text = char_of.map(String::from).or(named.map(str::to_owned));
                    self.add(&mut open, from, text);
                }
                Event::Eof => return,
                _ => {}
            }
            let is_foreign = |fault: &Fault| fault.kind == FaultKind::Foreign;
            if self.faults.iter().any(is_foreign) {
                return;
            }
        }
    }

    /// The first element says what the file is.
    fn root(&mut self, tag: &BytesStart<'_>, from: usize) {
        if tag.name().as_ref() != b"scriptConfig" {
            let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
            let message = format!("it begins with `{name}`, and a test begins with `scriptConfig`");
            return self.fault(FaultKind::Foreign, from, message);
        }
        match (attribute(tag, "name"), attribute(tag, "script")) {
            (Some(name), Some(script)) => self.head = Some((name, script)),
            (name, _) => {
                let missing = if name.is_none() { "name" } else { "script" };
                let message = format!("`scriptConfig` has no `{missing}`");
                self.fault(FaultKind::Foreign, from, message);
            }
        }
    }

    fn begin(&mut self, tag: &BytesStart<'_>, from: usize) -> Option<Open> {
        let Some(name) = attribute(tag, "name").filter(|name| !name.is_empty()) else {
            self.fault(
                FaultKind::Parameter,
                from,
                "a parameter has no name".to_owned(),
            );
            return None;
        };
        let index = |of: &str| attribute(tag, of).map(|text| text.trim().parse::<i64>());
        let list = match (index("index_start"), index("index_count")) {
            (None, None) => None,
            (Some(Ok(start)), Some(Ok(count))) if count >= 0 => {
                Some((start, usize::try_from(count).unwrap_or(usize::MAX)))
            }
            _ => {
                let message = format!(
                    "`{name}` is a list, and `index_start` and `index_count` do not say which"
                );
                self.fault(FaultKind::Parameter, from, message);
                return None;
            }
        };
        Some(Open {
            name,
            kind: attribute(tag, "type").unwrap_or_default(),
            list,
            text: String::new(),
            from,
        })
    }

    fn add(&mut self, open: &mut Option<Open>, from: usize, text: Option<String>) {
        let Some(of) = open else { return };
        match text {
            Some(text) => of.text.push_str(&text),
            None => {
                let message = format!("the value of `{}` has a character that is unknown", of.name);
                self.fault(FaultKind::Parameter, from, message);
            }
        }
    }

    fn end(&mut self, of: Open) {
        let (name, from) = (of.name, of.from);
        if self.parameters.iter().any(|known| known.name == name) {
            let message = format!("`{name}` is there twice");
            return self.fault(FaultKind::Parameter, from, message);
        }
        let texts = match of.list {
            None => vec![of.text.trim().to_owned()],
            Some((_, count)) => {
                let texts = words(&of.text);
                if texts.len() != count {
                    let message = format!(
                        "`{name}` has {} values, and `index_count` says {count}",
                        texts.len()
                    );
                    return self.fault(FaultKind::Parameter, from, message);
                }
                texts
            }
        };
        let is_number = matches!(of.kind.as_str(), "int" | "float");
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            let value = match of.kind.as_str() {
                "int" => text.parse::<i64>().ok().map(|n| n.to_string()),
                "float" => text
                    .parse::<f64>()
                    .ok()
                    .filter(|n| n.is_finite())
                    .map(|n| n.to_string()),
                // Whatever is neither is a text there, too.
                _ => Some(text.clone()),
            };
            match value {
                Some(value) => values.push(value),
                None => {
                    let message = format!("`{name}` is {text:?}, which is no {}", of.kind);
                    return self.fault(FaultKind::Parameter, from, message);
                }
            }
        }
        self.parameters.push(Parameter {
            name,
            is_number,
            values,
            first: of.list.map(|(start, _)| start),
        });
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.try_get_attribute(name).ok().flatten()?;
    found
        .unescape_value()
        .ok()
        .map(|value| value.trim().to_owned())
}

/// The values of a list: words, in quotes where they have spaces.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut in_quotes) = (Vec::new(), None::<String>, false);
    for c in text.chars() {
        match c {
            '"' => {
                in_quotes = !in_quotes;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !in_quotes => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

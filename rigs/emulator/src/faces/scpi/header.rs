//! Headers of SCPI: what a client may write for one, and where a message is in the tree.

/// A header as a client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    nodes: Vec<String>,
    /// Whether it ends with a question mark.
    pub(super) asks: bool,
}

impl Header {
    /// Whether it is one of the commands of IEEE 488.2, which begin with a star.
    pub(super) fn is_common(&self) -> bool {
        self.nodes.first().is_some_and(|n| n.starts_with('*'))
    }

    /// Its name without the star, in capitals.
    pub(super) fn common_name(&self) -> String {
        let name = self.nodes.first().map_or("", String::as_str);
        name.trim_start_matches('*').to_ascii_uppercase()
    }
}

/// Where in the tree a message stands: what follows a semicolon begins there.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    /// The header of a unit with its place in the tree, and its parameters; `None` when there is none.
    //= SCPI-1999 volume 1, 6.2.4: the path is the last header without its last node; a colon goes
    //= to the root; common commands leave it alone.
    pub(super) fn resolve<'u>(&mut self, unit: &'u str) -> Option<(Header, Vec<&'u str>)> {
        let unit = unit.trim();
        let (written, rest) = unit
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((unit, ""));
        let asks = written.ends_with('?');
        let name = written.trim_end_matches('?');
        if name.is_empty() {
            return None;
        }
        let parameters = match rest.trim() {
            "" => Vec::new(),
            rest => rest.split(',').map(str::trim).collect(),
        };
        if name.starts_with('*') {
            let nodes = vec![name.to_owned()];
            return Some((Header { nodes, asks }, parameters));
        }
        let (from_root, name) = match name.strip_prefix(':') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let own = name.split(':').map(str::to_owned);
        let nodes: Vec<String> = if from_root {
            own.collect()
        } else {
            self.0.iter().cloned().chain(own).collect()
        };
        if nodes.iter().any(String::is_empty) {
            return None;
        }
        self.0 = nodes.split_last().map(|(_, path)| path.to_vec())?;
        Some((Header { nodes, asks }, parameters))
    }
}

/// The units of a message; a semicolon inside quotes parts nothing.
pub(super) fn units(message: &str) -> Vec<&str> {
    let (mut units, mut quoted, mut start) = (Vec::new(), false, 0);
    for (at, byte) in message.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                units.extend(message.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    units.extend(message.get(start..));
    units.retain(|unit| !unit.trim().is_empty());
    units
}

/// A header as a manual writes it, capitals for the short form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    pub(super) fn of(header: &Header) -> Self {
        Self(header.nodes.clone())
    }

    /// Whether a client's header is this one, in its short or long form.
    pub(super) fn fits(&self, header: &Header) -> bool {
        let (own, theirs) = (essential(&self.0), essential(&header.nodes));
        own.len() == theirs.len() && own.iter().zip(theirs).all(|(p, given)| node_fits(p, given))
    }
}

/// The nodes that must be there: default ones may be left out.
//= SCPI-1999 volume 2, 19 and 15: SOURce is the optional root of an instrument that is a source,
//= STATe the optional end of what is switched, such as OUTPut.
fn essential(nodes: &[String]) -> &[String] {
    let nodes = match nodes.split_first() {
        Some((first, rest)) if !rest.is_empty() && node_fits("SOURce", first) => rest,
        _ => nodes,
    };
    match nodes.split_last() {
        Some((last, rest)) if !rest.is_empty() && node_fits("STATe", last) => rest,
        _ => nodes,
    }
}

/// Whether a node is written in its short or its long form; the suffix 1 may be left out.
fn node_fits(pattern: &str, given: &str) -> bool {
    let (name, suffix) = parted(pattern);
    let (given, number) = parted(given);
    let short: String = name.chars().filter(|c| !c.is_ascii_lowercase()).collect();
    let named = given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(&short);
    let or_one = |text: &str| {
        if text.is_empty() {
            "1".to_owned()
        } else {
            text.to_owned()
        }
    };
    named && or_one(suffix) == or_one(number)
}

/// A node and its numeric suffix.
fn parted(node: &str) -> (&str, &str) {
    let name = node.trim_end_matches(|c: char| c.is_ascii_digit());
    (name, node.get(name.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        Path::default().resolve(text).expect("a header").0
    }

    #[test]
    fn a_node_is_written_short_or_long_and_no_other_way() {
        let rows = [
            ("SOURce:FREQuency", "SOUR:FREQ", true),
            ("SOURce:FREQuency", "source:frequency", true),
            ("SOURce:FREQuency", ":FREQ", true),
            ("FREQuency", "SOUR:FREQ", true),
            ("SOURce:FREQuency", "SOURC:FREQ", false),
            ("SOURce:FREQuency", "FREQU", false),
            ("SOURce:FREQuency", "SOUR", false),
            ("MEASure:VOLTage1", "MEAS:VOLT", true),
            ("MEASure:VOLTage1", "MEAS:VOLT1", true),
            ("MEASure:VOLTage2", "MEAS:VOLT", false),
            ("OUTPut", "OUTP", true),
            ("OUTPut", "OUT", false),
            ("OUTPut:STATe", "OUTP", true),
            ("OUTPut", "OUTP:STAT", true),
            ("OUTPut:STATe", "STAT", false),
        ];
        for (pattern, given, fits) in rows {
            let pattern = Pattern::of(&header(pattern));
            assert_eq!(pattern.fits(&header(given)), fits, "{pattern:?} {given}");
        }
    }

    #[test]
    fn what_follows_a_semicolon_begins_where_the_last_header_ended() {
        let message = "SOUR:VOLT1 230;VOLT2 231;*OPC?;VOLT3?;:OUTP ON,\"a;b\"";
        let mut path = Path::default();
        let found: Vec<(String, bool, usize)> = units(message)
            .into_iter()
            .map(|unit| {
                let (header, parameters) = path.resolve(unit).expect("a header");
                (header.nodes.join(":"), header.asks, parameters.len())
            })
            .collect();
        let expected = [
            ("SOUR:VOLT1", false, 1),
            ("SOUR:VOLT2", false, 1),
            ("*OPC", true, 0),
            ("SOUR:VOLT3", true, 0),
            ("OUTP", false, 2),
        ];
        let expected = expected.map(|(name, asks, n)| (name.to_owned(), asks, n));
        assert_eq!(found, expected);
    }
}

//! The ledger explorer: a page of entries, and one entry with all that hangs together with it.
//!
//! It holds what the daemon has answered; the daemon reads the ledger and verifies nothing.

use ratatui::text::Line;
use serde::Deserialize;
use serde_json::Value;

use super::paint::{Palette, Tone, time_of};
use super::row::{Goal, Row};

/// Entries of a page. Source: the page in the browser.
const LIMIT: usize = 50;

/// Kinds of relatives with their titles, in the order in which an energy goes through them.
/// Source: the page in the browser; what is not named here comes last.
const KINDS: &[(&str, &str)] = &[
    ("terms", "Terms"),
    ("order", "Orders"),
    ("withdrawal", "Withdrawals"),
    ("clearing", "Clearing"),
    ("trade", "Trades"),
    ("dispatch", "Dispatches"),
    ("dispatch-ack", "Acknowledgements"),
    ("meter-reading", "Meter readings"),
    ("activation", "Reserve called"),
    ("settlement", "Settlement"),
    ("mint", "Credits minted"),
    ("transfer", "Credits moved"),
];

/// Which entries are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<String>,
    /// A device or participant.
    pub who: Option<String>,
    pub interval: Option<u64>,
    /// Those before this clock; without it the newest.
    pub before: Option<u64>,
}

impl Filter {
    /// The path that answers it.
    pub fn path(&self) -> String {
        let mut path = format!("/api/v1/ledger?limit={LIMIT}");
        let interval = self.interval.map(|n| n.to_string());
        let before = self.before.map(|n| n.to_string());
        for (key, value) in [
            ("kind", &self.kind),
            ("who", &self.who),
            ("interval", &interval),
            ("before", &before),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", escaped(value)));
            }
        }
        path
    }

    fn words(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("all");
        let who = self.who.as_ref().map(|who| format!(" about {who}"));
        let interval = self.interval.map(|n| format!(" of interval {n}"));
        let before = self.before.map(|clock| format!(", before {clock}"));
        [Some(kind.to_owned()), who, interval, before]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A text as part of a query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') => {
            char::from(b).to_string()
        }
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// An entry in a line.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    pub clock: u64,
    pub atom: String,
    pub kind: String,
    pub who: Option<String>,
    pub interval: Option<u64>,
    pub utc: String,
    pub text: String,
}

/// A page of entries, the newest first.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The `before` of the next page.
    pub next: Option<u64>,
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub balances: Vec<Owned>,
}

/// What somebody owns.
#[derive(Clone, Debug, Deserialize)]
pub struct Owned {
    pub owner: String,
    pub asset: String,
    pub milliwatt_hours: String,
}

/// A relative of an entry.
#[derive(Clone, Debug, Deserialize)]
pub struct Related {
    pub relation: String,
    #[serde(flatten)]
    pub line: Entry,
}

/// One entry with its relatives.
#[derive(Clone, Debug, Deserialize)]
pub struct Found {
    pub run: String,
    pub line: Entry,
    pub entry: Value,
    pub related: Vec<Related>,
    pub left_off: usize,
}

/// What is known of the ledger.
#[derive(Clone, Debug, Default)]
pub struct Explorer {
    pub filter: Filter,
    page: Option<Page>,
    /// Entries that were opened one after the other; the last one is shown.
    opened: Vec<Found>,
}

impl Explorer {
    /// Takes a page, if it is the one that is wanted.
    pub fn turn(&mut self, filter: &Filter, page: Page) {
        if *filter == self.filter {
            self.page = Some(page);
        }
    }

    /// Lists other entries.
    pub fn list(&mut self, filter: Filter) {
        self.filter = filter;
        self.page = None;
        self.opened.clear();
    }

    /// Shows an entry.
    pub fn open(&mut self, found: Found) {
        // An entry that comes again is gone back to.
        let known = self
            .opened
            .iter()
            .position(|of| of.line.atom == found.line.atom);
        self.opened.truncate(known.unwrap_or(self.opened.len()));
        self.opened.push(found);
    }

    /// Goes back by one entry, in the end to the list; whether there was anything to leave.
    pub fn back(&mut self) -> bool {
        self.opened.pop().is_some()
    }

    /// Whether the newest entries are shown, which change by themselves.
    pub fn is_live(&self) -> bool {
        self.opened.is_empty() && self.filter.before.is_none()
    }

    /// The pane.
    pub(super) fn rows(&self, palette: Palette) -> Vec<Row> {
        match (self.opened.last(), &self.page) {
            (Some(found), _) => found.rows(palette),
            (None, Some(page)) => self.list_rows(page, palette),
            (None, None) => Vec::new(),
        }
    }

    fn list_rows(&self, page: &Page, palette: Palette) -> Vec<Row> {
        let held = match (page.first, page.last) {
            (Some(first), Some(last)) => format!(
                "entries {first} to {last} can be looked at here; shown: {}",
                self.filter.words()
            ),
            _ => "the ledger has no entry yet".to_owned(),
        };
        let mut rows = vec![Row::plain(palette.word(Tone::Dim, held))];
        if !page.balances.is_empty() {
            let owned = page.balances.iter().map(|of| {
                let asset = match of.asset.as_str() {
                    "energy" => String::new(),
                    asset => format!(" ({asset})"),
                };
                format!("{}{asset} {} mWh", of.owner, of.milliwatt_hours)
            });
            let owned: Vec<String> = owned.collect();
            let text = format!("credits: {}", owned.join(", "));
            rows.push(Row::plain(palette.word(Tone::Dim, text)));
        }
        if self.filter.before.is_some() {
            let to = palette.word(Tone::Accent, "the newest");
            rows.push(Row::to(to.into(), Goal::Newest));
        }
        let interval = |of: &Entry| of.interval.map(|n| format!("interval {n}"));
        rows.extend(
            page.entries
                .iter()
                .map(|of| row(of, interval(of).as_deref().unwrap_or_default(), palette)),
        );
        if page.entries.is_empty() {
            rows.push(Row::plain(
                palette.word(Tone::Dim, "No entry is like this."),
            ));
        }
        if let Some(next) = page.next {
            let to = palette.word(Tone::Accent, "older ones");
            rows.push(Row::to(to.into(), Goal::Older(next)));
        }
        rows
    }
}

fn row(of: &Entry, mark: &str, palette: Palette) -> Row {
    let line = Line::from(vec![
        palette.word(Tone::Dim, format!("{:>7}  ", of.clock)),
        palette.word(Tone::Strong, format!("{:<14}", of.kind)),
        palette.word(Tone::Plain, of.text.clone()),
        palette.word(Tone::Dim, format!("  {mark}")),
    ]);
    Row::to(line, Goal::Entry(of.atom.clone()))
}

impl Found {
    fn rows(&self, palette: Palette) -> Vec<Row> {
        let line = &self.line;
        let title = format!("{} {}: {}", line.kind, line.clock, line.text);
        let author = self.entry["author"].as_str().unwrap_or_default();
        let interval = line.interval.map(|n| format!(", interval {n}"));
        let said = format!(
            "said by {author} at {} UTC{}",
            time_of(&line.utc),
            interval.unwrap_or_default()
        );
        let dim = |text: String| Row::plain(palette.word(Tone::Dim, text));
        let mut rows = vec![
            Row::plain(palette.word(Tone::Strong, title)),
            dim(said),
            dim(format!("identity {}", line.atom)),
        ];
        let mut kinds: Vec<(&str, &str)> = KINDS.to_vec();
        for related in &self.related {
            let kind = related.line.kind.as_str();
            if !kinds.iter().any(|(known, _)| *known == kind) {
                kinds.push((kind, kind));
            }
        }
        for (kind, title) in kinds {
            let mut of: Vec<&Related> = self
                .related
                .iter()
                .filter(|related| related.line.kind == kind)
                .collect();
            if of.is_empty() {
                continue;
            }
            // What is about the same participant or device comes first.
            of.sort_by_key(|r| (line.who.is_none() || r.line.who != line.who, r.line.clock));
            let title = format!("{title} ({})", of.len());
            rows.push(Row::plain(palette.word(Tone::Strong, title)));
            rows.extend(of.iter().map(|related| {
                let mark = match related.relation.as_str() {
                    "interval" => "",
                    relation => relation,
                };
                row(&related.line, mark, palette)
            }));
        }
        if self.left_off > 0 {
            rows.push(dim(format!("{} more are not listed.", self.left_off)));
        }
        rows.push(dim(format!(
            "a proof that stands alone: gridrig ledger prove out/{} clock:{} --with-dependencies --out {1}.tproof",
            self.run, line.clock
        )));
        let whole = serde_json::to_string_pretty(&self.entry).unwrap_or_default();
        rows.extend(whole.lines().map(|text| dim(text.to_owned())));
        rows
    }
}

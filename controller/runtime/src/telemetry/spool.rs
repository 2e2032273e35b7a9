//! Batches that wait on disk for the server, oldest first, up to a size.
//!
//! One file per batch, named by its number; each line is the number of field values, a tab, and the
//! line protocol. A batch that a former run left is found again. When the spool is full, the oldest
//! batch gives way: of a long outage the latest is kept.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::line::Line;

/// Ending of the files.
const ENDING: &str = "lp";

#[derive(Debug)]
struct Batch {
    number: u64,
    bytes: u64,
    values: u64,
}

/// The spool of one server.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    batches: VecDeque<Batch>,
}

/// How many field values lines hold.
pub(super) fn values_of(lines: &[Line]) -> u64 {
    lines.iter().map(|l| u64::from(l.values)).sum()
}

fn encode(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.values.to_string());
        text.push('\t');
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

/// The lines of a file; what makes no sense, such as a torn end, is left out.
fn decode(text: &str) -> Vec<Line> {
    text.split_inclusive('\n')
        .filter_map(|line| {
            let (values, text) = line.strip_suffix('\n')?.split_once('\t')?;
            Some(Line {
                values: values.parse().ok()?,
                text: text.to_owned(),
            })
        })
        .collect()
}

impl Spool {
    /// The spool in a folder, with the batches that a former run left there. The folder is made with
    /// the first batch.
    pub(super) fn open(dir: PathBuf, bytes_max: u64) -> Self {
        let mut batches: Vec<Batch> = Vec::new();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok())
                .filter(|_| path.extension().is_some_and(|e| e == ENDING));
            let (Some(number), Ok(text)) = (number, fs::read_to_string(&path)) else {
                continue;
            };
            batches.push(Batch {
                number,
                bytes: text.len() as u64,
                values: values_of(&decode(&text)),
            });
        }
        batches.sort_by_key(|b| b.number);
        Self {
            dir,
            bytes_max,
            batches: batches.into(),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.{ENDING}"))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Number of values that wait.
    pub(super) fn values(&self) -> u64 {
        self.batches.iter().map(|b| b.values).sum()
    }

    /// Puts a batch at the end, and gives the number of values that had to give way.
    ///
    /// # Errors
    /// When the disk does not take it; nothing of the batch is then kept.
    pub(super) fn push(&mut self, lines: &[Line]) -> io::Result<u64> {
        let text = encode(lines);
        let bytes = text.len() as u64;
        if bytes > self.bytes_max {
            return Ok(values_of(lines));
        }
        let mut lost = 0;
        while self.batches.iter().map(|b| b.bytes).sum::<u64>() + bytes > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            lost += oldest.values;
            fs::remove_file(self.path(oldest.number))?;
        }
        let number = self.batches.back().map_or(1, |b| b.number + 1);
        self.write(number, &text)?;
        self.batches.push_back(Batch {
            number,
            bytes,
            values: values_of(lines),
        });
        Ok(lost)
    }

    /// The oldest batch, left in its place; `None` when nothing waits. One that cannot be read is
    /// given up: its values are the second part.
    pub(super) fn oldest(&mut self) -> Option<Result<Vec<Line>, u64>> {
        let batch = self.batches.front()?;
        match fs::read_to_string(self.path(batch.number)) {
            Ok(text) => Some(Ok(decode(&text))),
            Err(error) => {
                tracing::error!(%error, batch = batch.number, "A spooled batch could not be read.");
                let values = batch.values;
                self.batches.pop_front();
                Some(Err(values))
            }
        }
    }

    /// Replaces the oldest batch by what is left of it; nothing left removes it.
    ///
    /// # Errors
    /// When the disk refuses; the server may then get some lines twice, which does it no harm.
    pub(super) fn settle_oldest(&mut self, left: &[Line]) -> io::Result<()> {
        let Some(number) = self.batches.front().map(|b| b.number) else {
            return Ok(());
        };
        if left.is_empty() {
            self.batches.pop_front();
            return fs::remove_file(self.path(number));
        }
        let text = encode(left);
        if let Some(batch) = self.batches.front_mut() {
            batch.bytes = text.len() as u64;
            batch.values = values_of(left);
        }
        self.write(number, &text)
    }

    /// Writes beside and renames, so that no half batch ever bears a number.
    fn write(&self, number: u64, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let beside = self.dir.join("writing");
        fs::write(&beside, text)?;
        fs::rename(beside, self.path(number))
    }
}

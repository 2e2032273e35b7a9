//! Batches that wait on disk for the server, oldest first, up to a size.
//!
//! One file per batch, named by its number; each line is the number of field values, a tab, and the
//! line protocol. When the spool is full, the oldest batch gives way: of a long outage the latest is kept.
//!
//! A spool lies in the folder of its run and says for which server it waits. What a run left, because it
//! ended or was killed before the server was back, is adopted by the next run beside it that writes to the
//! same server. Whoever has a spool holds a lock on it, so that nothing is taken from a run that goes on.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::line::Line;

/// Ending of the files.
const ENDING: &str = "lp";
/// Name of a spool in its run folder.
pub(crate) const SPOOL: &str = "spool";
/// The file of a spool that says for which server it waits; its lock is that of the spool.
const TARGET: &str = "target";

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
    /// For which server it waits.
    target: String,
    /// Held while the spool is ours; there with its first batch.
    lock: Option<File>,
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
    /// The spool in a folder, for a server, with the batches that are there. The folder is made with the
    /// first batch.
    pub(super) fn open(dir: PathBuf, bytes_max: u64, target: &str) -> Self {
        let batches = found_in(&dir);
        let mut spool = Self {
            dir,
            bytes_max,
            batches: batches.into(),
            target: target.to_owned(),
            lock: None,
        };
        if !spool.is_empty()
            && let Err(error) = spool.claim()
        {
            tracing::error!(%error, "The spool of telemetry could not be claimed.");
        }
        spool
    }

    /// Takes over what the runs beside this one have left for the same server, in the order of their names,
    /// before anything of this run. Gives the number of values that had no room.
    pub(super) fn adopt(&mut self) -> u64 {
        let Some(run) = self.dir.parent() else {
            return 0;
        };
        let Some(out) = run.parent() else {
            return 0;
        };
        let mut others: Vec<PathBuf> = fs::read_dir(if out.as_os_str().is_empty() {
            Path::new(".")
        } else {
            out
        })
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join(SPOOL))
        .filter(|spool| spool.join(TARGET).is_file() && *spool != self.dir)
        .collect();
        others.sort();
        others
            .into_iter()
            .map(|other| {
                self.take_over(&other).unwrap_or_else(|error| {
                    let spool = other.display();
                    tracing::warn!(%error, "The spool {spool} of a former run stays where it is.");
                    0
                })
            })
            .sum()
    }

    fn take_over(&mut self, other: &Path) -> io::Result<u64> {
        let target = File::open(other.join(TARGET))?;
        if fs::read_to_string(other.join(TARGET))? != self.target
            || flock(&target, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            // Another server's, or of a run that goes on.
            return Ok(0);
        }
        let mut lost = 0;
        for batch in found_in(other) {
            let from = other.join(name_of(batch.number));
            if batch.bytes > self.bytes_max {
                lost += batch.values;
                fs::remove_file(from)?;
                continue;
            }
            lost += self.make_room(batch.bytes)?;
            self.claim()?;
            let number = self.batches.back().map_or(1, |b| b.number + 1);
            fs::rename(from, self.path(number))?;
            self.batches.push_back(Batch { number, ..batch });
        }
        fs::remove_file(other.join(TARGET))?;
        // What is not ours stays, and the folder with it.
        let _ = fs::remove_dir(other);
        Ok(lost)
    }

    /// Leaves nothing behind where nothing waits.
    fn release(&mut self) {
        self.lock = None;
        let _ = fs::remove_file(self.dir.join(TARGET));
        // What is not ours stays, and the folder with it.
        let _ = fs::remove_dir(&self.dir);
    }

    /// Makes the folder, and says whose it is.
    fn claim(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(TARGET);
        fs::write(&path, &self.target)?;
        let lock = File::open(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        self.lock = Some(lock);
        Ok(())
    }
}

fn name_of(number: u64) -> String {
    format!("{number:012}.{ENDING}")
}

/// The batches of a folder, oldest first.
fn found_in(dir: &Path) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
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
    batches
}

impl Spool {
    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name_of(number))
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
        let lost = self.make_room(bytes)?;
        let number = self.batches.back().map_or(1, |b| b.number + 1);
        self.write(number, &text)?;
        self.batches.push_back(Batch {
            number,
            bytes,
            values: values_of(lines),
        });
        Ok(lost)
    }

    /// Lets the oldest go until so many bytes fit, and gives the number of their values.
    fn make_room(&mut self, bytes: u64) -> io::Result<u64> {
        let mut lost = 0;
        while self.batches.iter().map(|b| b.bytes).sum::<u64>() + bytes > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            lost += oldest.values;
            fs::remove_file(self.path(oldest.number))?;
        }
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
            fs::remove_file(self.path(number))?;
            if self.is_empty() {
                self.release();
            }
            return Ok(());
        }
        let text = encode(left);
        if let Some(batch) = self.batches.front_mut() {
            batch.bytes = text.len() as u64;
            batch.values = values_of(left);
        }
        self.write(number, &text)
    }

    /// Writes beside and renames, so that no half batch ever bears a number.
    fn write(&mut self, number: u64, text: &str) -> io::Result<()> {
        self.claim()?;
        let beside = self.dir.join("writing");
        fs::write(&beside, text)?;
        fs::rename(beside, self.path(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        vec![Line {
            values: 2,
            text: text.to_owned(),
        }]
    }

    fn told(spool: &mut Spool) -> Vec<String> {
        std::iter::from_fn(|| {
            let batch = spool.oldest()?.expect("it can be read");
            spool.settle_oldest(&[]).expect("it can be removed");
            Some(batch[0].text.clone())
        })
        .collect()
    }

    #[test]
    fn what_former_runs_left_for_the_same_server_is_taken_over_in_order_and_once() {
        let out = tempfile::tempdir().unwrap();
        let spool = |run: &str, target: &str| {
            Spool::open(out.path().join(run).join(SPOOL), 1_000_000, target)
        };
        for (run, batches, target) in [
            ("2-run", &["c"][..], "here"),
            ("1-run", &["a", "b"], "here"),
            ("3-run", &["elsewhere"], "there"),
        ] {
            let mut left = spool(run, target);
            for batch in batches {
                assert_eq!(left.push(&lines(batch)).unwrap(), 0);
            }
        }
        let mut goes_on = spool("4-run", "here");
        goes_on.push(&lines("of a run that goes on")).unwrap();

        let mut next = spool("5-run", "here");
        assert_eq!(next.adopt(), 0);
        assert_eq!(next.values(), 6);
        next.push(&lines("d")).unwrap();
        // The run that goes on has lost nothing, and neither has the other server.
        assert_eq!(told(&mut goes_on), ["of a run that goes on"]);
        assert_eq!(spool("3-run", "there").values(), 2);
        assert!(!out.path().join("1-run").join(SPOOL).exists());
        // Killed before it was done: the one after it gets all of that, once.
        drop(next);
        let mut last = spool("6-run", "here");
        assert_eq!(last.adopt(), 0);
        assert_eq!(told(&mut last), ["a", "b", "c", "d"]);
        let mut none = spool("7-run", "here");
        assert_eq!((none.adopt(), told(&mut none).len()), (0, 0));
    }

    #[test]
    fn what_has_no_room_is_counted_when_it_is_taken_over() {
        let out = tempfile::tempdir().unwrap();
        let dir = |run: &str| out.path().join(run).join(SPOOL);
        let mut left = Spool::open(dir("1-run"), 1_000_000, "here");
        for batch in ["a".repeat(200), "b".repeat(40), "c".repeat(40)] {
            left.push(&lines(&batch)).unwrap();
        }
        drop(left);
        let mut next = Spool::open(dir("2-run"), 60, "here");
        assert_eq!(next.adopt(), 4, "one too large, and one that gave way");
        assert_eq!(told(&mut next), ["c".repeat(40)]);
    }
}

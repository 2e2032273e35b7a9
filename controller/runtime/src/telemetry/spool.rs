//! Line protocol on its way to the server: on disk before it is sent, oldest first, up to a size.
//!
//! One file per batch, named by its number, with lines of the protocol and nothing else: `curl --data-binary`
//! could send it. Lines are written as they come, so a process that is killed leaves all that it had put here; a
//! torn last line is left out. When the spool is full, the oldest batch gives way: of a long outage the latest is
//! kept. A disk that takes no more stops nothing that a server takes: a few batches may stay in memory alone.
//!
//! What the server has acknowledged stays for some seconds, as a receipt. A server that is killed may lose what it
//! said it had (VictoriaMetrics writes to disk five seconds later), and then gets it again: the same series, time and
//! value, which is the same point.
//!
//! A batch that waits is synced to the disk once the server has refused it or is known to be away; one that leaves
//! within a moment is not worth a sync, for `samples.db` has the values, synced every second.
//!
//! A spool lies in the folder of its run and says for which server it waits. What a run left, because it
//! ended or was killed before the server had it, is adopted by the next run beside it that writes to the
//! same server. Whoever has a spool holds a lock on it, so that nothing is taken from a run that goes on.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Instant;
use rustix::fs::{FlockOperation, flock};

use super::line::{Lines, values_of};

/// Ending of the files that wait.
const ENDING: &str = "lines";
/// Ending of the files that the server has acknowledged.
const RECEIPT: &str = "sent";
/// Name of a spool in its run folder.
pub(crate) const SPOOL: &str = "spool";
/// The file of a spool that says for which server it waits; its lock is that of the spool.
const TARGET: &str = "target";
/// Batches whose text stays in memory, too, or alone where the disk takes no more.
/// Chosen: 8, some ten megabytes at most, eight seconds of a small bench.
const IN_MEMORY_MAX: usize = 8;
/// How long what was acknowledged can be sent again, in control time.
/// Chosen: 10 s, twice the time after which VictoriaMetrics writes to disk (`-inmemoryDataFlushInterval`).
const RECEIPT_KEPT: Duration = Duration::from_secs(10);

/// Some lines under one number.
#[derive(Debug)]
struct Batch {
    number: u64,
    bytes: u64,
    values: u64,
    /// In memory while it is young, and where the disk did not take it.
    text: Option<Arc<str>>,
    on_disk: bool,
    synced: bool,
    /// The server has acknowledged it before: it was counted then.
    again: bool,
}

impl Batch {
    /// What is lost with it.
    fn loss(&self) -> u64 {
        match self.again {
            true => 0,
            false => self.values,
        }
    }
}

/// The batch that fills.
#[derive(Debug)]
struct Filling {
    number: u64,
    text: String,
    lines: usize,
    values: u64,
    since: Instant,
    /// `None` where the disk takes no more.
    file: Option<File>,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Its lines, each with its line feed.
    pub(super) text: Arc<str>,
    /// Whether the server had acknowledged it before.
    pub(super) again: bool,
}

/// The spool of one server.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    /// Number of the next batch.
    next: u64,
    filling: Option<Filling>,
    /// What waits, oldest first.
    waiting: VecDeque<Batch>,
    /// The oldest one, while it is on its way.
    under_way: Option<Batch>,
    /// What was acknowledged not long ago, with the control time of that.
    receipts: VecDeque<(Instant, Batch)>,
    /// For which server it waits.
    target: String,
    /// Held while the spool is ours; there with its first batch.
    lock: Option<File>,
    /// Whether it was told that the disk takes no more.
    told: bool,
}

/// The text up to its last line feed: what follows is torn.
fn whole_lines(mut text: String) -> String {
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

/// The lines of a file.
fn read(path: &Path) -> io::Result<String> {
    // A cut may go through a character: then it is in the torn line.
    let text = fs::read(path)?;
    Ok(whole_lines(String::from_utf8_lossy(&text).into_owned()))
}

impl Spool {
    /// The spool in a folder, for a server, with the batches that are there. The folder is made with the
    /// first batch.
    pub(super) fn open(dir: PathBuf, bytes_max: u64, target: &str) -> Self {
        let waiting: VecDeque<Batch> = found_in(&dir).into();
        let mut spool = Self {
            dir,
            bytes_max,
            next: waiting.back().map_or(1, |last| last.number + 1),
            filling: None,
            waiting,
            under_way: None,
            receipts: VecDeque::new(),
            target: target.to_owned(),
            lock: None,
            told: false,
        };
        if spool.has_waiting()
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
            let from = other.join(name_of(batch.number, ENDING));
            if batch.bytes > self.bytes_max {
                lost += batch.values;
                fs::remove_file(from)?;
                continue;
            }
            lost += self.make_room(batch.bytes);
            self.claim()?;
            let number = self.next;
            fs::rename(from, self.path(number))?;
            self.next += 1;
            self.waiting.push_back(Batch { number, ..batch });
        }
        remove_receipts(other);
        fs::remove_file(other.join(TARGET))?;
        // What is not ours stays, and the folder with it.
        let _ = fs::remove_dir(other);
        Ok(lost)
    }

    /// Leaves nothing behind where nothing waits.
    fn release(&mut self) {
        if self.lock.take().is_some() {
            let _ = fs::remove_file(self.dir.join(TARGET));
            // What is not ours stays, and the folder with it.
            let _ = fs::remove_dir(&self.dir);
        }
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

fn name_of(number: u64, ending: &str) -> String {
    format!("{number:012}.{ending}")
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
        let (Some(number), Ok(text)) = (number, read(&path)) else {
            continue;
        };
        batches.push(Batch {
            number,
            bytes: text.len() as u64,
            values: values_of(&text),
            text: None,
            on_disk: true,
            synced: true,
            again: false,
        });
    }
    batches.sort_by_key(|b| b.number);
    batches
}

/// Receipts of a run that was killed: the server has them.
fn remove_receipts(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == RECEIPT) {
            let _ = fs::remove_file(path);
        }
    }
}

// Filling.
impl Spool {
    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name_of(number, ENDING))
    }

    fn receipt(&self, number: u64) -> PathBuf {
        self.dir.join(name_of(number, RECEIPT))
    }

    /// Lines of the batch that fills, and the control time of its first.
    pub(super) fn filling(&self) -> Option<(usize, Instant)> {
        self.filling.as_ref().map(|f| (f.lines, f.since))
    }

    /// Puts lines, each with its line feed, at the end; gives the number of values that were lost by it.
    pub(super) fn append(&mut self, told: &Lines, now: Instant) -> u64 {
        let (text, values) = (told.text.as_str(), told.values);
        let mut lost = self.make_room(text.len() as u64);
        if self.bytes() + text.len() as u64 > self.bytes_max {
            return lost + values;
        }
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => self.begin(now),
        };
        if let Some(mut file) = filling.file.take() {
            match file.write_all(text.as_bytes()) {
                Ok(()) => {
                    filling.file = Some(file);
                    self.told = false;
                }
                Err(error) => {
                    // What was whole before stays on the disk, under its number.
                    let _ = file.set_len(filling.text.len() as u64);
                    let is_empty = filling.text.is_empty();
                    filling.file = Some(file);
                    self.tell(&error);
                    if is_empty {
                        let _ = fs::remove_file(self.path(filling.number));
                        filling.file = None;
                    } else {
                        self.filling = Some(filling);
                        lost += self.close();
                        filling = self.numbered(now, None);
                    }
                }
            }
        }
        filling.text.push_str(text);
        filling.lines += told.lines;
        filling.values += values;
        self.filling = Some(filling);
        lost
    }

    fn begin(&mut self, now: Instant) -> Filling {
        let path = self.path(self.next);
        let made = self.claim().and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
        });
        let file = match made {
            Ok(file) => Some(file),
            Err(error) => {
                self.tell(&error);
                None
            }
        };
        self.numbered(now, file)
    }

    fn numbered(&mut self, since: Instant, file: Option<File>) -> Filling {
        let number = self.next;
        self.next += 1;
        Filling {
            number,
            text: String::new(),
            lines: 0,
            values: 0,
            since,
            file,
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(%error, "The disk takes no more telemetry; it waits in memory, and what does not fit is lost.");
        }
    }

    /// Ends the batch that fills, so that it can be sent; gives the number of values that had no room in
    /// memory where the disk took none.
    pub(super) fn close(&mut self) -> u64 {
        let Some(filling) = self.filling.take() else {
            return 0;
        };
        self.waiting.push_back(Batch {
            number: filling.number,
            bytes: filling.text.len() as u64,
            values: filling.values,
            text: Some(filling.text.into()),
            on_disk: filling.file.is_some(),
            synced: false,
            again: false,
        });
        let mut lost = 0;
        let in_memory = |batch: &Batch| batch.text.is_some();
        while self.waiting.iter().filter(|b| in_memory(b)).count() > IN_MEMORY_MAX {
            let Some(oldest) = self.waiting.iter().position(in_memory) else {
                break;
            };
            if self.waiting[oldest].on_disk {
                self.waiting[oldest].text = None;
            } else {
                lost += self.waiting.remove(oldest).map_or(0, |b| b.loss());
            }
        }
        lost
    }

    /// Bytes of all that is here.
    fn bytes(&self) -> u64 {
        let waiting = self.waiting.iter().chain(&self.under_way);
        let batches = waiting.chain(self.receipts.iter().map(|(_, batch)| batch));
        let filling = self.filling.as_ref().map_or(0, |f| f.text.len() as u64);
        batches.map(|b| b.bytes).sum::<u64>() + filling
    }

    /// Lets receipts go, then the oldest that waits, until so many bytes fit; gives the number of their values.
    fn make_room(&mut self, bytes: u64) -> u64 {
        let mut lost = 0;
        let mut here = self.bytes();
        while here + bytes > self.bytes_max {
            if let Some((_, batch)) = self.receipts.pop_front() {
                here -= batch.bytes;
                let _ = fs::remove_file(self.receipt(batch.number));
            } else if let Some(batch) = self.waiting.pop_front() {
                here -= batch.bytes;
                lost += batch.loss();
                let _ = fs::remove_file(self.path(batch.number));
            } else if self.filling.is_some() {
                lost += self.close();
            } else {
                break;
            }
        }
        lost
    }
}

// Sending.
impl Spool {
    /// Whether a batch can be sent.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Number of batches that can be sent.
    pub(super) fn batches(&self) -> usize {
        self.waiting.len()
    }

    /// Number of values that wait, whether they can be sent or their batch still fills.
    pub(super) fn values(&self) -> u64 {
        let batches = self.waiting.iter().chain(&self.under_way);
        batches.map(Batch::loss).sum::<u64>() + self.filling.as_ref().map_or(0, |f| f.values)
    }

    /// Sends the oldest batch on its way; `None` when nothing can be sent. One that cannot be read is given
    /// up: its values are the second part.
    pub(super) fn take(&mut self) -> Option<Result<UnderWay, u64>> {
        loop {
            let mut batch = self.waiting.pop_front()?;
            let text = match batch.text.take() {
                Some(text) => text,
                None => match read(&self.path(batch.number)) {
                    Ok(text) => text.into(),
                    Err(error) => {
                        tracing::error!(%error, batch = batch.number, "A spooled batch could not be read.");
                        return Some(Err(batch.loss()));
                    }
                },
            };
            if text.is_empty() {
                // Its first line was torn.
                let _ = fs::remove_file(self.path(batch.number));
                continue;
            }
            let again = batch.again;
            batch.text = Some(Arc::clone(&text));
            self.under_way = Some(batch);
            return Some(Ok(UnderWay { text, again }));
        }
    }

    /// The batch on its way was dealt with: nothing of it is left to send.
    pub(super) fn given(&mut self, now: Instant) {
        let Some(mut batch) = self.under_way.take() else {
            return;
        };
        if !batch.on_disk {
            return;
        }
        batch.text = None;
        batch.again = true;
        let (path, receipt) = (self.path(batch.number), self.receipt(batch.number));
        match fs::rename(&path, receipt) {
            Ok(()) => self.receipts.push_back((now, batch)),
            Err(error) => {
                tracing::warn!(%error, "A batch of telemetry could not be marked as sent.");
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The batch on its way was not taken, or not all of it: what is left goes back to the front.
    pub(super) fn put_back(&mut self, left: Option<String>) {
        let Some(mut batch) = self.under_way.take() else {
            return;
        };
        if let Some(left) = left {
            batch.bytes = left.len() as u64;
            batch.values = values_of(&left);
            // Not changed on disk, the server may get some lines twice, which does it no harm.
            if batch.on_disk
                && let Err(error) = self.rewrite(batch.number, &left)
            {
                tracing::warn!(%error, "A spooled batch of telemetry could not be shortened.");
            }
            batch.text = Some(left.into());
        }
        self.waiting.push_front(batch);
    }

    /// Writes beside and renames, so that a number never bears half of what it held.
    fn rewrite(&self, number: u64, text: &str) -> io::Result<()> {
        let beside = self.dir.join("writing");
        fs::write(&beside, text)?;
        fs::rename(beside, self.path(number))
    }

    /// Lets go of receipts that are old.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((given_at, batch)) = self.receipts.front()
            && now.since(*given_at) > RECEIPT_KEPT
        {
            let _ = fs::remove_file(self.receipt(batch.number));
            self.receipts.pop_front();
        }
    }

    /// The server is gone: what it has acknowledged last is to be sent again, before all else.
    pub(super) fn recall(&mut self) {
        while let Some((_, mut batch)) = self.receipts.pop_back() {
            let path = self.path(batch.number);
            if fs::rename(self.receipt(batch.number), path).is_ok() {
                batch.synced = false;
                self.waiting.push_front(batch);
            }
        }
    }

    /// Makes what waits safe from a lost machine.
    pub(super) fn sync(&mut self) {
        let mut any = false;
        for batch in &mut self.waiting {
            if batch.synced || !batch.on_disk {
                continue;
            }
            batch.synced = true;
            any = true;
            let path = self.dir.join(name_of(batch.number, ENDING));
            if let Err(error) = File::open(path).and_then(|file| file.sync_data()) {
                tracing::warn!(%error, "A spooled batch of telemetry could not be synced.");
            }
        }
        if any {
            // The names of the files, too; where that fails, so has the file's own sync.
            let _ = File::open(&self.dir).and_then(|dir| dir.sync_all());
        }
    }

    /// The end of the run: what waits stays for the next one, what is in memory alone cannot. Gives the
    /// number of its values.
    pub(super) fn end(&mut self) -> u64 {
        let mut lost = self.close();
        self.put_back(None);
        self.waiting.retain(|batch| {
            lost += if batch.on_disk { 0 } else { batch.loss() };
            batch.on_disk
        });
        self.sync();
        self.receipts.clear();
        remove_receipts(&self.dir);
        if self.waiting.is_empty() {
            self.release();
        }
        lost
    }
}

#[cfg(test)]
mod tests;

//! The write path of a run: it exists while the bench is armed, and not before or after.
//!
//! The engine holds it. The heartbeat guard holds a [`Spare`]: the same path for the case that the
//! engine stalls, and nothing once the engine has given it up. Both know which devices were told
//! something since the path was made: what was never told anything needs no rest. It is not responsible for
//! what is written (see [`crate::engine`]) nor for what each bus does when its writer is dropped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bus::{AdoptJob, BusHandle, Rejected, WriteJob, Writer};
use model::DeviceIx;

/// The way to every bus.
#[derive(Debug)]
struct Writers {
    /// One writer for each bus, in the order of the rig; none for a bus whose plug is out.
    each: Vec<Mutex<Option<Writer>>>,
    /// The devices that were told something over them.
    told: Mutex<BTreeSet<DeviceIx>>,
}

/// The running buses and, while the bench is armed, the way to write to them.
#[derive(Debug)]
pub struct WritePath {
    buses: Vec<BusHandle>,
    open: Option<Arc<Writers>>,
    spare: Spare,
}

/// The write path as somebody else may use it while it is there.
#[derive(Clone, Debug, Default)]
pub struct Spare(Arc<Mutex<Weak<Writers>>>);

impl WritePath {
    /// Buses that only look.
    #[must_use]
    pub fn new(buses: Vec<BusHandle>) -> Self {
        Self {
            buses,
            open: None,
            spare: Spare::default(),
        }
    }

    /// The buses.
    #[must_use]
    pub fn buses(&self) -> &[BusHandle] {
        &self.buses
    }

    /// Whether there is a path.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Makes the path, unless it is there.
    pub fn open(&mut self) {
        if self.open.is_none() {
            let writers = Arc::new(Writers {
                each: self
                    .buses
                    .iter()
                    .map(|bus| Mutex::new(Some(bus.arm())))
                    .collect(),
                told: Mutex::default(),
            });
            self.spare.set(Arc::downgrade(&writers));
            self.open = Some(writers);
        }
    }

    /// Gives the path up: the buses still send what is urgent and miss the rest.
    pub fn close(&mut self) {
        self.spare.set(Weak::new());
        self.open = None;
    }

    /// Gives up the path to one bus: its devices hear nothing any more, and are read as before.
    pub fn pull(&self, bus: usize) {
        if let Some(writer) = self.open.as_ref().and_then(|writers| writers.each.get(bus)) {
            *writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Makes the path to one bus again, if the bench is armed.
    pub fn put_back(&self, bus: usize) {
        let writer = self.open.as_ref().and_then(|writers| writers.each.get(bus));
        if let (Some(writer), Some(handle)) = (writer, self.buses.get(bus)) {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            if writer.is_none() {
                *writer = Some(handle.arm());
            }
        }
    }

    /// Hands a setpoint to a bus; never waits.
    ///
    /// # Errors
    /// When there is no path, or the bus does not take it.
    pub fn write(&self, bus: usize, job: WriteJob) -> Result<(), Rejected> {
        write(self.open.as_deref(), bus, job)
    }

    /// Hands a characteristic to a bus; never waits. A setting is nothing that a safe end takes back, so
    /// its device does not count as one that was told something.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn adopt(&self, bus: usize, job: AdoptJob) -> Result<(), Rejected> {
        let writers = self.open.as_deref().ok_or(Rejected::NotArmed)?;
        let writer = writers.each.get(bus).ok_or(Rejected::Ended)?;
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().ok_or(Rejected::NotArmed)?.adopt(job)
    }

    /// Whether a device was told something since the path was made.
    #[must_use]
    pub fn has_told(&self, device: DeviceIx) -> bool {
        has_told(self.open.as_deref(), device)
    }

    /// The same path, for the heartbeat guard.
    #[must_use]
    pub fn spare(&self) -> Spare {
        self.spare.clone()
    }
}

impl Spare {
    fn set(&self, writers: Weak<Writers>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = writers;
    }

    /// Hands a setpoint to a bus, if there is a path now; never waits.
    ///
    /// # Errors
    /// As [`WritePath::write`].
    pub fn write(&self, bus: usize, job: WriteJob) -> Result<(), Rejected> {
        write(self.now().as_deref(), bus, job)
    }

    /// As [`WritePath::has_told`].
    #[must_use]
    pub fn has_told(&self, device: DeviceIx) -> bool {
        has_told(self.now().as_deref(), device)
    }

    fn now(&self) -> Option<Arc<Writers>> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.upgrade()
    }

    /// Whether there is a path now: a bench that only looks is never touched.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.strong_count() > 0
    }
}

fn write(writers: Option<&Writers>, bus: usize, job: WriteJob) -> Result<(), Rejected> {
    let writers = writers.ok_or(Rejected::NotArmed)?;
    let device = job.device;
    {
        let writer = writers.each.get(bus).ok_or(Rejected::Ended)?;
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().ok_or(Rejected::NotArmed)?.write(job)?;
    }
    let mut told = writers.told.lock().unwrap_or_else(PoisonError::into_inner);
    told.insert(device);
    Ok(())
}

fn has_told(writers: Option<&Writers>, device: DeviceIx) -> bool {
    writers.is_some_and(|writers| {
        let told = writers.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.contains(&device)
    })
}

//! A run from its first file to its safe end, in real and in virtual time.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::BusSpec;
use control::Rhythm;
use document::{Actor, Diagnostic};
use model::Clock;
use quantities::{Bounds, Frequency, Quantity};
use tokio::sync::Notify;

use crate::alarm::Alarms;
use crate::awake::Awake;
use crate::clock::{SimClock, SystemClock};
use crate::desk::{BidQueue, Desk};
use crate::engine::{Engine, Finished, Listener, OrderQueue, Parts, Pulse, job_of};
use crate::evidence::{self, CONTROLLER, CreateError, Evidence, KeySource};
use crate::field::Field;
use crate::heartbeat;
use crate::image::{Alarm, ImageStore};
use crate::journal::Journal;
use crate::lease::Lease;
use crate::notify;
use crate::rig::{OnLost, Processors, Rig};
use crate::rights::Rights;
use crate::telemetry::{NamedDevice, Origin, Pace, RunAbout, Servers, Telemetry};
use crate::thread::{ControlThread, Waker, stepped};
use crate::view::{DeviceLabel, LiveView, RigView, ServiceLabel};
use crate::write_path::WritePath;

/// Name of the journal in the run folder.
pub const JOURNAL_FILE: &str = "journal";

/// What a run is told.
pub struct Options {
    /// The rig.
    pub rig: Arc<Rig>,
    /// How each bus is reached, in the order of the rig.
    pub buses: Vec<BusSpec>,
    /// The run folder; it must exist and be empty.
    pub run_dir: PathBuf,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Whether devices may be written to from the start.
    pub armed: bool,
    /// Others who listen.
    pub listeners: Vec<Box<dyn Listener>>,
}

/// Which time the run lives in.
#[derive(Clone)]
pub enum Time {
    /// The machine's time, with the waker of the control thread.
    Real(SystemClock, Waker),
    /// Virtual time, with what wakes its loop.
    Virtual(SimClock, Arc<Notify>),
}

impl Time {
    fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Self::Real(clock, _) => Arc::new(*clock),
            Self::Virtual(clock, _) => Arc::new(clock.clone()),
        }
    }

    fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(..))
    }
}

/// An open run, ready to go.
pub struct Session {
    engine: Engine,
    time: Time,
    rig: Arc<Rig>,
    run_dir: PathBuf,
    pulse: Arc<Pulse>,
    store: Arc<ImageStore>,
    /// The thread of the buses; in virtual time they run on that of the engine.
    field: Option<Field>,
    /// Where orders are given.
    pub orders: OrderQueue,
    /// Who has the bench.
    pub lease: Lease,
    /// What a person shall look at.
    pub alarms: Alarms,
    /// What the page shows.
    pub view: Arc<LiveView>,
    /// Where orders of the market from outside are given; `None` without a market.
    pub bids: Option<BidQueue>,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Counters, ledger and accounts.
    pub finished: Finished,
    /// Why it ended early, if it did.
    pub fault: Option<String>,
    /// What the control thread was allowed to do; `None` in virtual time.
    pub rights: Option<Rights>,
}

fn folder_fault(run_dir: &Path, what: &dyn std::fmt::Display) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error(
            "R025",
            Actor::Operator,
            format!(
                "the run folder {} cannot be written: {what}",
                run_dir.display()
            ),
        )
        .help("give another folder with `--out`, or make room"),
    )
}

fn no_thread(which: &str, what: &dyn std::fmt::Display) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(
        "R026",
        Actor::Operator,
        format!("the {which} cannot be started: {what}"),
    ))
}

impl Session {
    /// Opens a run: starts the buses and makes ledger, journal and telemetry.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A diagnostic when the run folder cannot be written or the market cannot work.
    pub fn open(options: Options, time: Time) -> Result<Self, Box<Diagnostic>> {
        let Options {
            rig,
            buses,
            run_dir,
            seed,
            armed,
            listeners,
        } = options;
        let clock = time.clock();
        let fault = |e: &dyn std::fmt::Display| folder_fault(&run_dir, e);
        let bench = rig.bench();
        let (now, utc) = (clock.now(), clock.utc());

        let keys = if time.is_virtual() {
            KeySource::Seed(seed)
        } else {
            KeySource::Entropy
        };
        let participants = Desk::participants(&rig);
        // Virtual time has no other nodes: they live in real time.
        let mut evidence = match rig.ledger.as_ref().filter(|_| !time.is_virtual()) {
            Some(ledger) => Evidence::join(&run_dir, ledger, Arc::clone(&clock)),
            None => Evidence::create(&run_dir, &rig.title, &participants, keys, &*clock),
        }
        .map_err(|e| match e {
            CreateError::Node(diagnostic) => diagnostic,
            e => fault(&e),
        })?;
        let bind = evidence::document("rig", rig.source.text.as_bytes(), &rig.title);
        evidence
            .note(utc, vec![evidence.draft(CONTROLLER, bind)])
            .map_err(|e| fault(&e))?;
        let desk = match &rig.market {
            Some(market) => {
                let mut desk = Desk::open(&rig, market, &run_dir, &mut evidence, now, utc)
                    .map_err(|e| fault(&e))?;
                desk.timed_by(Arc::clone(&clock));
                if !time.is_virtual() {
                    let began = clock.now();
                    evidence.wait_for_notes(utc).map_err(|e| fault(&e))?;
                    let took = clock.now().since(began);
                    desk.rehearse(&rig, market, took);
                }
                Some(desk)
            }
            None => None,
        };
        let journal = Journal::create(&run_dir.join(JOURNAL_FILE), &bench, time.is_virtual())
            .map_err(|e| fault(&e))?;
        let telemetry = Telemetry::start(
            &run_dir,
            rig.devices
                .iter()
                .map(|d| NamedDevice {
                    name: d.id.to_string(),
                    role: d.role,
                    bus: rig.buses[d.bus].id.to_string(),
                })
                .collect(),
            Servers {
                influx: rig.telemetry_server(&run_dir)?,
                home_assistant: rig.home()?,
            },
            if time.is_virtual() {
                Pace::Virtual
            } else {
                Pace::Real
            },
            &RunAbout {
                origin: Origin {
                    site: rig.site.name.clone(),
                    bench: rig.title.clone(),
                    run: run_dir
                        .file_name()
                        .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
                },
                rig: rig.source.path.clone(),
                started_utc: utc.to_string(),
            },
        )
        .map_err(|e| fault(&e))?;

        let view = Arc::new(LiveView::new(rig_view(&rig, utc, time.is_virtual())));
        let store = ImageStore::new(
            rig.devices.iter().map(|d| d.invert).collect(),
            Alarm {
                calm: calm(&rig),
                estop: rig.safety.estop.map(|index| model::DeviceIx(index as u16)),
            },
            match &time {
                Time::Real(_, waker) => {
                    let waker = waker.clone();
                    Box::new(move || waker.wake())
                }
                Time::Virtual(_, notify) => {
                    let notify = Arc::clone(notify);
                    Box::new(move || notify.notify_one())
                }
            },
        );
        let sink: Arc<dyn bus::Sink> = Arc::clone(&store) as Arc<dyn bus::Sink>;
        let start = |(index, spec)| {
            bus::start(
                spec,
                rig.devices_on(index),
                Arc::clone(&clock),
                Arc::clone(&sink),
            )
        };
        let start_all = || buses.into_iter().enumerate().map(start).collect();
        let (field, handles) = if time.is_virtual() {
            (None, start_all())
        } else {
            let field = Field::start().map_err(|e| no_thread("thread of the buses", &e))?;
            let handles = field.inside(start_all);
            (Some(field), handles)
        };
        let orders = OrderQueue::default();
        let pulse = Arc::new(Pulse::default());
        let lease = Lease::new(Arc::clone(&clock));
        let alarms = Alarms::of(&rig.alarms, now);
        let bids = desk.as_ref().map(Desk::bids);
        let engine = Engine::new(Parts {
            rig: Arc::clone(&rig),
            clock,
            store: Arc::clone(&store),
            path: WritePath::new(handles),
            evidence,
            desk,
            journal,
            telemetry,
            view: Arc::clone(&view),
            orders: orders.clone(),
            lease: lease.clone(),
            alarms: alarms.clone(),
            listeners,
            pulse: Arc::clone(&pulse),
            arms: armed,
        });
        Ok(Self {
            engine,
            time,
            rig,
            run_dir,
            pulse,
            store,
            field,
            orders,
            lease,
            alarms,
            view,
            bids,
        })
    }

    /// As [`Engine::spoil`].
    pub fn spoil(&mut self, defect: control::Defect) {
        self.engine.spoil(defect);
    }

    /// Runs until `stop` says why, then brings the bench to its safe end.
    ///
    /// # Errors
    /// A diagnostic when the control thread cannot be started or ends badly.
    pub async fn run(self, stop: impl Future<Output = String>) -> Result<Ended, Box<Diagnostic>> {
        match self.time.clone() {
            Time::Real(clock, waker) => self.run_real(clock, waker, stop).await,
            Time::Virtual(clock, notify) => Ok(self.run_virtual(clock, &notify, stop).await),
        }
    }

    async fn run_virtual(
        self,
        clock: SimClock,
        notify: &Notify,
        stop: impl Future<Output = String>,
    ) -> Ended {
        let Self {
            mut engine,
            run_dir,
            ..
        } = self;
        let period = engine.period();
        let mut due = clock.now() + period;
        let mut stop = std::pin::pin!(stop);
        let mut why = None;
        let hand = engine.rest_in_hand();
        let mut panicked = false;
        while why.is_none() && !engine.must_end() && !panicked {
            tokio::select! {
                biased;
                reason = &mut stop => why = Some(reason),
                () = tokio::time::sleep(due.since(clock.now())) => {
                    panicked = !stepped(&mut engine, Rhythm::Supervisory, due, &hand);
                    due = due + period;
                }
                () = notify.notified() => {
                    panicked = !stepped(&mut engine, Rhythm::Fast, clock.now(), &hand);
                }
            }
        }
        wind_down(&mut engine, &clock, why.as_deref(), panicked).await;
        let fault = fault_of(&engine, panicked);
        Ended {
            finished: engine.finish(&run_dir),
            fault,
            rights: None,
        }
    }

    async fn run_real(
        self,
        clock: SystemClock,
        waker: Waker,
        stop: impl Future<Output = String>,
    ) -> Result<Ended, Box<Diagnostic>> {
        let Self {
            engine,
            rig,
            run_dir,
            pulse,
            store,
            field,
            orders,
            ..
        } = self;
        let rest = rest_by_the_buses(&engine, &rig, clock);
        let guard = tokio::spawn(heartbeat::guard(
            rig.safety.heartbeat,
            Arc::new(clock),
            Arc::clone(&pulse),
            orders.clone(),
            rest,
        ));
        let manager = notify::Manager::from_environment();
        let fed = manager.is_some();
        let feeding =
            manager.map(|manager| tokio::spawn(notify::feed(manager, counts(pulse, store))));
        let awake = match rig.processors {
            Processors::MayIdle => None,
            Processors::StayAwake => {
                Some(Awake::prepare().map_err(|e| no_thread("threads that stay awake", &e))?)
            }
        };
        if let Some(awake) = &awake {
            tracing::info!(
                target: "start",
                message = "Processors are kept awake while the bench is armed.",
                how = awake.way.line()
            );
        }
        let thread = ControlThread::start(engine, clock, waker, awake)
            .map_err(|e| no_thread("control thread", &e))?;
        let rights = thread.rights.clone();
        // Told at every start, whatever is filtered: it decides how good the timing can be.
        tracing::info!(
            target: "start",
            message = "The control thread runs.",
            timing = rights.line()
        );
        let ended_by_itself = async {
            // Chosen: 50 ms; only a failed ledger ends the thread from inside.
            while !thread.has_ended() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let why = tokio::select! {
            biased;
            why = stop => Some(why),
            () = ended_by_itself => None,
        };
        guard.abort();
        if let Some(feeding) = feeding {
            feeding.abort();
        }
        if let Some(manager) = notify::Manager::from_environment().filter(|_| fed) {
            manager.say("STOPPING=1");
        }
        let (mut engine, panicked) = thread
            .stop()
            .map_err(|why| Box::new(Diagnostic::error("R026", Actor::Us, why)))?;
        wind_down(&mut engine, &clock, why.as_deref(), panicked).await;
        let fault = fault_of(&engine, panicked);
        // The engine hands back the buses as it finishes, and their thread has nothing left to do then.
        let finish = move || {
            let finished = engine.finish(&run_dir);
            drop(field);
            finished
        };
        let finished = tokio::task::spawn_blocking(finish)
            .await
            .map_err(|e| Box::new(Diagnostic::error("R026", Actor::Us, e.to_string())))?;
        Ok(Ended {
            finished,
            fault,
            rights: Some(rights),
        })
    }
}

/// What goes on while all is well: the steps of control, by the time of the last one, and the words of
/// the buses. Where no device answers there are no words, and none are waited for.
fn counts(pulse: Arc<Pulse>, store: Arc<ImageStore>) -> impl Fn() -> (u64, u64) + Send {
    let looks = std::sync::atomic::AtomicU64::new(0);
    move || {
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (pulse.last().as_nanos(), store.words().unwrap_or(look))
    }
}

fn fault_of(engine: &Engine, panicked: bool) -> Option<String> {
    if panicked {
        return Some("a step of the control panicked; devices were brought to rest".to_owned());
    }
    engine
        .must_end()
        .then(|| "the ledger stopped: without evidence nothing is dispatched".to_owned())
}

/// How long rest may still be on its way after a panic. Chosen: 1.5 s, three time-outs of the slowest
/// bundled profile.
const WIND_DOWN: Duration = Duration::from_millis(1500);

/// The safe end: devices come to rest step by step, and the buses are listened to until they are.
async fn wind_down(engine: &mut Engine, clock: &dyn Clock, why: Option<&str>, panicked: bool) {
    if panicked {
        // Rest has left already; the buses need their time for it.
        tokio::time::sleep(WIND_DOWN).await;
        return;
    }
    engine.come_to_rest(why.unwrap_or("the ledger stopped"));
    let period = engine.period();
    let end = clock.now() + engine.rests_within();
    let mut last = false;
    // Once more after the last step, to hear what the buses still say of it.
    while !last && clock.now() < end {
        last = engine.is_at_rest();
        tokio::time::sleep(period).await;
        engine.listen();
    }
}

/// What the heartbeat guard does: hands every bus the rest of its devices that were told something, approved
/// beforehand, so that it needs neither the core nor a new decision.
fn rest_by_the_buses(engine: &Engine, rig: &Rig, clock: SystemClock) -> impl Fn() + Send + use<> {
    let rests = match rig.safety.on_lost {
        OnLost::Safe => engine.rest_in_hand(),
        OnLost::Hold => Vec::new(),
    };
    let path = engine.spare_path();
    move || {
        // A bench that only looks is never touched.
        if !path.is_open() {
            return;
        }
        let told = rests.iter().filter(|(_, device, _)| path.has_told(*device));
        for (bus, device, setpoint) in told {
            let job = job_of(*device, *setpoint, clock.now());
            if let Err(e) = path.write(*bus, job) {
                tracing::error!(message = "A device could not be brought to rest.", %e);
            }
        }
    }
}

/// Distance from nominal that is not worth a step of its own, whatever a service asks for.
/// Chosen: 10 mHz, the accuracy that (EU) 2017/1485 asks of a measured frequency.
const NOT_WORTH_A_STEP: Frequency = Frequency::from_hertz(0.01);

/// Frequencies at which the fast path has nothing to do: inside the deadband of the droop and of every fast
/// service.
fn calm(rig: &Rig) -> Bounds<Frequency> {
    let (nominal, band) = (rig.control.nominal_f, rig.control.deadband);
    let fast = rig.control.services.iter().filter(|s| s.definition.fast);
    let (under, over) = fast.fold((band, band), |(under, over), service| {
        let quiet = service.definition.quiet();
        (
            Quantity::min(under, Quantity::max(quiet.0, NOT_WORTH_A_STEP)),
            Quantity::min(over, Quantity::max(quiet.1, NOT_WORTH_A_STEP)),
        )
    });
    Bounds::between(nominal - under, nominal + over)
}

fn rig_view(rig: &Rig, started_utc: model::UtcTime, virtual_time: bool) -> RigView {
    let bench = rig.bench();
    RigView {
        title: rig.title.clone(),
        rig_path: rig.source.path.clone(),
        site: format!(
            "{} V, {} Hz, {} phase{}",
            rig.site.v.as_volts(),
            rig.site.f.as_hertz(),
            rig.site.phases,
            if rig.site.phases == 1 { "" } else { "s" }
        ),
        devices: rig
            .devices
            .iter()
            .zip(&bench.devices)
            .map(|(device, spec)| DeviceLabel {
                name: device.id.to_string(),
                role: device.role,
                profile: device.profile.id.to_string(),
                bus: rig.buses[device.bus].id.to_string(),
                sample_age_max: spec.sample_age_max,
            })
            .collect(),
        services: rig
            .control
            .services
            .iter()
            .map(|sold| ServiceLabel {
                name: sold.name.clone(),
                service: sold.definition.name.clone(),
                up: sold.up,
                down: sold.down,
                devices: sold.devices.clone(),
            })
            .collect(),
        buses: rig.buses.iter().map(|b| b.id.to_string()).collect(),
        started_utc,
        virtual_time,
    }
}

//! The SCPI bus: one task that owns the line to one instrument.
//!
//! Responsible for carrying out what the plan says: connect, learn who is there, ask, set,
//! prove, and tell what came of it. It is not responsible for the order of work (see
//! [`crate::plan`]), for which reply belongs to which query (see `link`), or for what a
//! text means (see [`codec`]).
//!
//! **A setting** goes out as: the messages that give control to the line and the rig's limits
//! (once per connection, before the first setting), the setting itself, `*OPC?`, the error
//! queue to its end, and the query that reads it back. While nothing is set, nothing but
//! queries leaves: an instrument under somebody's hands stays under them.

pub mod codec;
mod link;
pub mod scan;
mod setting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::arming::{Door, Passed, Permit};
use crate::asking::{Asking, drive};
use crate::modbus::DialError;
use crate::plan::{Change, Class, Plan, ReadKey, Task, Write};
use crate::port::{Job, Order};
use crate::{AdoptJob, BusDevice, BusSpec, BusStats, DispatchId, LinkEvent, Sink};
use link::{LinkError, Manners, ScpiLink};
use model::{Clock, DeviceIx, Flaw, Instant, Point, PointSample, Reading, Sample, Stage};
use profile::Protocol;
use profile::modbus::Poll;
use profile::scpi::ScpiProfile;

/// Wait before an instrument that is not the one it should be is asked again.
/// Chosen: somebody has to change cable or rig first.
const STRANGER_RETRY: Duration = Duration::from_secs(30);

/// Wait before a query that is done once per connection is tried again. Chosen: as the normal class.
const ONCE_RETRY: Duration = Duration::from_secs(1);

/// The only device of the plan.
const ONLY: usize = 0;

/// Points that one query answers.
#[derive(Clone, Debug)]
struct Question {
    key: ReadKey,
    query: String,
    poll: Poll,
    /// Places in the profile's points.
    points: Vec<usize>,
}

struct Bus {
    id: Arc<str>,
    device: BusDevice,
    profile: ScpiProfile,
    plan: Plan,
    link: ScpiLink,
    questions: Vec<Question>,
    /// What was set and proved on this instrument, in base units.
    held: BTreeMap<Point, f64>,
    /// Whether this connection has been given control and limits.
    remote: bool,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    stats: Arc<BusStats>,
    /// Zero of the plan's time, which runs with the timers.
    epoch: tokio::time::Instant,
    said: Vec<String>,
    /// The setting that is being carried out, and the stage that it has to reach next.
    writing: Option<(Write, Stage)>,
    /// There while the bench is armed: without it nothing but queries can be sent.
    permit: Option<Permit>,
}

/// Runs the bus until all handles are dropped.
pub(crate) async fn run(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
    door: Door<Job>,
    stats: Arc<BusStats>,
) {
    if let Some(bus) = Bus::new(spec, devices, clock, sink, stats) {
        drive(bus, door).await;
    }
}

impl Asking<Job> for Bus {
    fn pass(&mut self, passed: Passed<Job>) {
        match passed {
            Passed::Opened(permit) => self.permit = Some(permit),
            Passed::Order(Job::Write(job)) => self.take_in(job.into()),
            Passed::Order(Job::Adopt(job)) => self.refuse_characteristic(&job),
            Passed::Closing => {
                self.plan.clear_refreshes();
                // What is not kept alive any more is not held: a bench that is armed again before the
                // door was shut has to set it anew.
                self.held.clear();
                let idle = self.plan.take_writes(|w| !w.urgent);
                self.told_missed(idle.into_iter().map(|w| (w, Stage::Written)));
            }
            Passed::Ending => {}
        }
    }

    fn expire(&mut self) {
        if self.plan.next_expiry().is_none() {
            return;
        }
        let now = self.now();
        for write in self.plan.expire(now) {
            BusStats::add(&self.stats.expired, 1);
            self.stats.add_to(self.device.ix, |d| &d.expired, 1);
            let cause = if !self.link.is_up() {
                "the link is down"
            } else if self.plan.is_offline(ONLY) {
                "the instrument is offline"
            } else {
                "the instrument was not ready yet"
            };
            let why = format!(
                "{}: expired before it could be set: {cause}",
                self.device.id
            );
            self.missed(write.dispatch, self.device.ix, Stage::Written, why);
        }
    }

    fn shut(&mut self) {
        let writing = self.writing.take();
        let waiting = self.plan.take_writes(|_| true);
        let waiting = waiting.into_iter().map(|w| (w, Stage::Written));
        self.told_missed(writing.into_iter().chain(waiting));
        self.plan.clear_refreshes();
        self.held.clear();
        self.remote = false;
        self.permit = None;
    }

    fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    fn epoch(&self) -> tokio::time::Instant {
        self.epoch
    }

    fn is_up(&self) -> bool {
        self.link.is_up()
    }

    async fn connect(&mut self) {
        let connected = self.link.connect().await;
        self.connected(connected);
    }

    async fn perform(&mut self, task: Task) {
        match task {
            Task::Write(write) => self.write(write).await,
            Task::Refresh { point, .. } => self.refresh(point).await,
            Task::Setup(_) => self.set_up().await,
            Task::Read { key, .. } => self.read(key).await,
            Task::Probe(_) => {
                let begin = self.now();
                self.set_up().await;
                if self.plan.is_offline(ONLY) {
                    let now = self.now();
                    self.plan.probe_failed(ONLY, now, now.since(begin));
                }
            }
            // A chore is the slow part of teaching a characteristic, which no instrument is given.
            Task::Wait(_) | Task::Chore(_) => {}
        }
    }
}

impl Bus {
    fn new(
        spec: BusSpec,
        devices: Vec<BusDevice>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn Sink>,
        stats: Arc<BusStats>,
    ) -> Option<Self> {
        let mut fitting = devices
            .into_iter()
            .filter_map(|device| match &device.profile.protocol {
                Protocol::Scpi(profile) => {
                    let profile = profile.clone();
                    Some((device, profile))
                }
                _ => {
                    let text = format!(
                        "{}: profile {} does not speak SCPI, and bus {} does; move the device to another bus in the rig",
                        device.id, device.profile.id, spec.id
                    );
                    sink.event(LinkEvent::Notice { device: Some(device.ix), text });
                    None
                }
            });
        let (device, profile) = fitting.next()?;
        for (other, _) in fitting {
            let text = format!(
                "{}: bus {} belongs to {}; a line of SCPI reaches one instrument, so give this one its own bus",
                other.id, spec.id, device.id
            );
            sink.event(LinkEvent::Notice {
                device: Some(other.ix),
                text,
            });
        }
        let manners = Manners::of(&profile, &spec);
        let ix = device.ix;
        Some(Self {
            id: spec.id,
            device,
            profile,
            plan: Plan::new(1),
            link: ScpiLink::new(
                spec.endpoint,
                manners,
                ix,
                Arc::clone(&stats),
                Arc::clone(&sink),
            ),
            questions: Vec::new(),
            held: BTreeMap::new(),
            remote: false,
            clock,
            sink,
            stats,
            epoch: tokio::time::Instant::now(),
            said: Vec::new(),
            writing: None,
            permit: None,
        })
    }

    /// The plan's time.
    fn now(&self) -> Instant {
        Instant::START + self.epoch.elapsed()
    }

    /// Tells a person something, once until the device is set up again.
    fn notice(&mut self, device: Option<DeviceIx>, text: String) {
        if !self.said.contains(&text) {
            self.sink.event(LinkEvent::Notice {
                device,
                text: text.clone(),
            });
            self.said.push(text);
        }
    }

    fn missed(&self, dispatch: DispatchId, device: DeviceIx, stage: Stage, why: String) {
        self.sink.event(LinkEvent::Missed {
            dispatch,
            device,
            stage,
            why,
        });
    }

    /// Instruments follow no characteristic by themselves.
    fn refuse_characteristic(&self, job: &AdoptJob) {
        let why = format!(
            "{}: an instrument has no SunSpec models and can adopt no characteristic",
            self.device.id
        );
        self.missed(job.dispatch, job.device, Stage::Written, why);
    }

    fn take_in(&mut self, order: Order) {
        if order.device != self.device.ix {
            let why = format!("bus {} has no such device", self.id);
            self.missed(order.dispatch, order.device, Stage::Written, why);
            return;
        }
        // The clock of the run and the timers run alike; the plan uses the timers' zero.
        let now = self.now();
        let at = self.clock.now();
        let valid_until = if order.valid_until < at {
            now - at.since(order.valid_until)
        } else {
            now + order.valid_until.since(at)
        };
        let write = Write {
            dispatch: order.dispatch,
            device: ONLY,
            setpoint: order.setpoint,
            valid_until,
            urgent: order.urgent,
            not_before: Instant::START,
            refusals: 0,
        };
        if let Some(old) = self.plan.push_write(write) {
            let why = format!("superseded by dispatch {}", write.dispatch.0);
            self.missed(old.dispatch, order.device, Stage::Written, why);
        }
    }

    fn told_missed(&self, writes: impl Iterator<Item = (Write, Stage)>) {
        for (write, stage) in writes {
            let why = format!(
                "{}: the bench was disarmed or the run ended before it was done",
                self.device.id
            );
            self.missed(write.dispatch, self.device.ix, stage, why);
        }
    }

    fn connected(&mut self, result: Result<(), DialError>) {
        let now = self.now();
        match result {
            Ok(()) => {
                self.plan.probe_all(now);
                self.begin_setup();
            }
            Err(error) => {
                let text = format!("{}: {error}", self.id);
                self.notice(None, text);
                self.flaw_all(Flaw::Offline);
                if self.plan.failed(ONLY, now) == Some(Change::Offline) {
                    self.went_offline(Flaw::Offline);
                }
            }
        }
    }

    fn begin_setup(&mut self) {
        self.remote = false;
        self.plan.begin_setup(ONLY, self.now());
    }

    fn went_offline(&mut self, flaw: Flaw) {
        self.flaw_all(Flaw::Offline);
        self.sink.event(LinkEvent::Offline(self.device.ix, flaw));
        self.begin_setup();
    }

    /// Takes note of whether the instrument has answered.
    fn heard<T>(&mut self, result: Result<T, LinkError>) -> Result<T, LinkError> {
        let change = match &result {
            Ok(_) => self.plan.answered(ONLY),
            Err(_) => self.plan.failed(ONLY, self.now()),
        };
        match (change, &result) {
            (Some(Change::Online), _) => self.sink.event(LinkEvent::Online(self.device.ix)),
            (Some(Change::Offline), Err(error)) => self.went_offline(error.flaw()),
            _ => {}
        }
        result
    }

    async fn ask(&mut self, query: &str) -> Result<String, LinkError> {
        let result = self.link.ask(query).await;
        self.heard(result)
    }

    /// Learns who is there; if it is the right one, asks what the profile asks for.
    async fn set_up(&mut self) {
        let who = self.link.fall_into_step().await;
        if let Err(LinkError::Stranger { reply, expected }) = &who {
            let text = format!(
                "{}: the instrument calls itself `{reply}`, and profile {} expects `{expected}` in it; \
                 check address and profile, or put the text into `identify` of a copy of the profile",
                self.device.id, self.device.profile.id
            );
            self.notice(Some(self.device.ix), text);
            self.flaw_all(Flaw::Config);
            self.plan.setup_after(ONLY, self.now(), STRANGER_RETRY);
            return;
        }
        if let Some(version) = who.as_deref().ok().and_then(firmware_of) {
            self.stats.note_firmware(self.device.ix, version);
        }
        if let Err(error) = self.heard(who) {
            if !self.plan.is_offline(ONLY) {
                self.flaw_all(error.flaw());
            }
            self.plan.setup_failed(ONLY, self.now());
            return;
        }
        self.said.clear();
        self.plan.clear_reads(ONLY);
        self.questions.clear();
        let points = std::mem::take(&mut self.profile.points);
        for (index, point) in points.iter().enumerate() {
            let same = |q: &&mut Question| q.query == point.query && q.poll == point.poll;
            if let Some(question) = self.questions.iter_mut().find(same) {
                question.points.push(index);
                continue;
            }
            let poll = self.device.poll;
            let (class, period) = match point.poll {
                Poll::Fast => (Class::Fast, Some(poll.fast)),
                Poll::Normal => (Class::Normal, Some(poll.normal)),
                Poll::Slow => (Class::Slow, Some(poll.slow)),
                Poll::Once => (Class::Fast, None),
            };
            let now = self.now();
            let key = self.plan.add_read(ONLY, class, period, now);
            self.questions.push(Question {
                key,
                query: point.query.clone(),
                poll: point.poll,
                points: vec![index],
            });
        }
        self.profile.points = points;
        self.plan.setup_done(ONLY);
        self.look_after_held().await;
    }

    async fn read(&mut self, key: ReadKey) {
        let found = self.questions.iter().find(|q| q.key == key).cloned();
        let Some(question) = found else {
            self.plan.remove_read(key);
            return;
        };
        let begin = self.clock.now();
        let result = self.ask(&question.query).await;
        let end = self.clock.now();
        // The instrument held the value in the middle of question and answer.
        let at = end - end.since(begin) / 2;
        let now = self.now();
        match result {
            Ok(reply) => {
                for index in question.points {
                    let Some(point) = self.profile.points.get(index) else {
                        continue;
                    };
                    let reading = match codec::decode(point, &reply) {
                        Ok(value) => Reading::Good(value),
                        Err(flaw) => {
                            if flaw == Flaw::Corrupt {
                                BusStats::add(&self.stats.corrupt, 1);
                                self.stats.add_to(self.device.ix, |d| &d.corrupt, 1);
                                self.link.doubt();
                            }
                            Reading::Bad(flaw)
                        }
                    };
                    self.sample(point.point, reading, at);
                }
                self.plan.read_done(key, now);
            }
            Err(error) => {
                let flaw = if self.plan.is_offline(ONLY) {
                    Flaw::Offline
                } else {
                    error.flaw()
                };
                for index in question.points {
                    if let Some(point) = self.profile.points.get(index) {
                        self.sample(point.point, Reading::Bad(flaw), at);
                    }
                }
                if question.poll == Poll::Once {
                    self.plan.read_again(key, now, ONCE_RETRY);
                } else {
                    self.plan.read_done(key, now);
                }
            }
        }
    }

    fn sample(&self, point: Point, reading: Reading<f64>, at: Instant) {
        self.sink.sample(PointSample {
            device: self.device.ix,
            point,
            sample: Sample {
                measured_at: at,
                reading,
            },
        });
    }

    /// No point of the instrument is known.
    fn flaw_all(&self, flaw: Flaw) {
        let at = self.clock.now();
        for point in &self.profile.points {
            self.sample(point.point, Reading::Bad(flaw), at);
        }
    }
}

/// The version in an identity: its fourth field. Source: SCPI-1999 after IEEE 488.2, maker, model, serial number
/// and version, parted by commas; `0` stands for one that is not known.
fn firmware_of(identity: &str) -> Option<&str> {
    let version = identity.splitn(4, ',').nth(3)?.trim();
    (!version.is_empty() && version != "0").then_some(version)
}

#[cfg(test)]
mod tests;

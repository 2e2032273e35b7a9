//! Alarms: a value of the bench that a person shall look at. Raised, acknowledged, cleared; told, never obeyed.
//!
//! An alarm watches one value against one limit, both from the rig. It is raised when the value has been
//! beyond its limit for a time without a break, and cleared when it is back by a distance, so that one value at the limit is
//! one alarm. A value that is not known neither raises nor clears; where the rig says `silent`, not to know
//! for that long raises it as well. Nothing in control follows an alarm: limits belong into the limiter.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::Estimate;
use model::{DeviceIx, Event, Instant, ProcessImage};

/// How much an alarm matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should know.
    Warning,
    /// Somebody should come.
    Error,
}

impl Severity {
    /// Its word, as in the rig.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A value that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Active power in watts, positive = into the bus.
    P,
    /// Reactive power in vars.
    Q,
    /// Voltage in volts, line to neutral.
    V,
    /// Frequency in hertz.
    F,
    /// State of charge as a share.
    Soc,
    /// Temperature of a battery in degrees Celsius.
    Temperature,
    /// Rate of change of frequency in hertz per second; of the bench only.
    Rocof,
}

impl Quantity {
    /// Words of the rig.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("p", Self::P),
        ("q", Self::Q),
        ("v", Self::V),
        ("f", Self::F),
        ("soc", Self::Soc),
        ("t", Self::Temperature),
        ("rocof", Self::Rocof),
    ];

    /// Value and unit for a person, such as `21.3 %`.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        match self {
            Self::P => format!("{value:.0} W"),
            Self::Q => format!("{value:.0} var"),
            Self::V => format!("{value:.1} V"),
            Self::F => format!("{value:.3} Hz"),
            Self::Soc => format!("{:.1} %", value * 100.0),
            Self::Temperature => format!("{value:.1} °C"),
            Self::Rocof => format!("{value:.2} Hz/s"),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What control believes of the bench's own bus: `p` is the exchange at the coupling, positive = import.
    Bench,
    /// A device.
    Device(DeviceIx),
}

/// From which side a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Too high.
    Above,
    /// Too low.
    Below,
}

impl Side {
    /// Whether a value is beyond a limit.
    fn beyond(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::Below => value < limit,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
        }
    }
}

/// An alarm of the rig.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmSpec {
    /// Name in the rig.
    pub name: String,
    /// Whose value.
    pub source: Source,
    /// The value as the rig writes it, such as `bat1.soc`.
    pub signal: String,
    /// Which value.
    pub quantity: Quantity,
    /// From which side the limit is reached.
    pub side: Side,
    /// The limit, in the unit of the quantity.
    pub limit: f64,
    /// Where it is cleared again, not beyond the limit.
    pub clears: f64,
    /// How long the value has to be beyond without a break.
    pub lasting: Duration,
    /// How long the value may not be known; `None` = any time.
    pub silent: Option<Duration>,
    /// How much it matters.
    pub severity: Severity,
}

/// How an alarm stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// All is well, or not known.
    #[default]
    Calm,
    /// It was raised and is not over.
    Raised {
        /// Since when.
        since: Instant,
        /// Why, with numbers.
        why: String,
        /// Who has seen it.
        acknowledged_by: Option<String>,
    },
}

/// An alarm as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmView {
    /// What the rig says of it.
    pub spec: AlarmSpec,
    /// How it stands.
    pub standing: Standing,
    /// How often it was raised in this run.
    pub times: u64,
}

#[derive(Debug)]
struct Watched {
    spec: AlarmSpec,
    standing: Standing,
    times: u64,
    /// Since when the value has been beyond its limit.
    beyond_since: Option<Instant>,
    /// When the value was known last.
    known_at: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    watched: Vec<Watched>,
    news: Vec<Event>,
}

/// All alarms of a bench, shared by the engine, which watches, and the API, which acknowledges.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    inner: Arc<Mutex<Inner>>,
}

/// Why an alarm cannot be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcknowledged {
    /// The rig has none of this name.
    Unknown,
    /// It is not raised.
    Calm,
}

impl Alarms {
    /// The alarms of a rig, none of them raised; `now` is when the run begins.
    #[must_use]
    pub fn of(specs: &[AlarmSpec], now: Instant) -> Self {
        let watched = specs.iter().map(|spec| Watched {
            spec: spec.clone(),
            standing: Standing::Calm,
            times: 0,
            beyond_since: None,
            known_at: now,
        });
        let inner = Inner {
            watched: watched.collect(),
            news: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the bench once. What is too old counts as not known.
    pub fn observe(
        &self,
        now: Instant,
        estimate: &Estimate,
        image: &ProcessImage,
        age_max: impl Fn(DeviceIx) -> Duration,
    ) {
        self.with(|inner| {
            for watched in &mut inner.watched {
                let value = match watched.spec.source {
                    Source::Bench => of_bench(watched.spec.quantity, estimate),
                    Source::Device(device) => {
                        let old = age_max(device);
                        of_device(watched.spec.quantity, device, image, now, old)
                    }
                };
                inner.news.extend(watched.observe(now, value));
            }
        });
    }

    /// Says that a person has seen an alarm.
    ///
    /// # Errors
    /// When there is nothing to see.
    pub fn acknowledge(&self, name: &str, by: &str) -> Result<(), NotAcknowledged> {
        self.with(|inner| {
            let mut all = inner.watched.iter_mut();
            let watched = all
                .find(|w| w.spec.name == name)
                .ok_or(NotAcknowledged::Unknown)?;
            match &mut watched.standing {
                Standing::Calm => Err(NotAcknowledged::Calm),
                // Who saw it first is kept.
                Standing::Raised {
                    acknowledged_by: Some(_),
                    ..
                } => Ok(()),
                Standing::Raised {
                    acknowledged_by, ..
                } => {
                    *acknowledged_by = Some(by.to_owned());
                    inner.news.push(Event::AlarmAcknowledged {
                        alarm: name.to_owned(),
                        by: by.to_owned(),
                    });
                    Ok(())
                }
            }
        })
    }

    /// What happened since the last call.
    #[must_use]
    pub fn news(&self) -> Vec<Event> {
        self.with(|inner| std::mem::take(&mut inner.news))
    }

    /// All alarms, in the order of the rig.
    #[must_use]
    pub fn view(&self) -> Vec<AlarmView> {
        self.with(|inner| {
            let watched = inner.watched.iter().map(|w| AlarmView {
                spec: w.spec.clone(),
                standing: w.standing.clone(),
                times: w.times,
            });
            watched.collect()
        })
    }
}

impl Watched {
    fn observe(&mut self, now: Instant, value: Option<f64>) -> Option<Event> {
        let spec = &self.spec;
        let Some(value) = value else {
            self.beyond_since = None;
            let silent = spec.silent.filter(|s| now.since(self.known_at) >= *s)?;
            return match self.standing {
                Standing::Raised { .. } => None,
                Standing::Calm => {
                    let silent = silent.as_secs_f64();
                    let why = format!("{} has not been known for {silent} s", spec.signal);
                    Some(self.raise(now, why))
                }
            };
        };
        self.known_at = now;
        if spec.side.beyond(value, spec.limit) {
            let since = *self.beyond_since.get_or_insert(now);
            if self.standing != Standing::Calm || now.since(since) < spec.lasting {
                return None;
            }
            let (is, limit) = (spec.quantity.text(value), spec.quantity.text(spec.limit));
            let why = format!("{} is {is}, {} {limit}", spec.signal, spec.side.word());
            return Some(self.raise(now, why));
        }
        self.beyond_since = None;
        let back = !spec.side.beyond(value, spec.clears);
        match std::mem::take(&mut self.standing) {
            Standing::Raised { since, .. } if back => Some(Event::AlarmCleared {
                alarm: spec.name.clone(),
                after_s: now.since(since).as_secs_f64(),
                why: format!("{} is {}", spec.signal, spec.quantity.text(value)),
            }),
            standing => {
                self.standing = standing;
                None
            }
        }
    }

    fn raise(&mut self, now: Instant, why: String) -> Event {
        self.times += 1;
        self.standing = Standing::Raised {
            since: now,
            why: why.clone(),
            acknowledged_by: None,
        };
        Event::AlarmRaised {
            alarm: self.spec.name.clone(),
            severe: self.spec.severity == Severity::Error,
            why,
        }
    }
}

fn of_bench(quantity: Quantity, estimate: &Estimate) -> Option<f64> {
    match quantity {
        Quantity::P => estimate.pcc.map(|p| p.as_watts()),
        Quantity::Q => estimate.pcc_q.map(|q| q.as_vars()),
        Quantity::V => estimate.v.map(|v| v.as_volts()),
        Quantity::F => estimate.f.map(|f| f.as_hertz()),
        Quantity::Soc => estimate.soc.map(|soc| soc.as_fraction()),
        Quantity::Temperature => None,
        Quantity::Rocof => estimate.rocof.map(|r| r.as_hertz_per_second()),
    }
}

fn of_device(
    quantity: Quantity,
    device: DeviceIx,
    image: &ProcessImage,
    now: Instant,
    age_max: Duration,
) -> Option<f64> {
    let said = image.devices.get(device.index())?;
    match quantity {
        Quantity::P => said.p.fresh(now, age_max).map(|p| p.as_watts()),
        Quantity::Q => said.q.fresh(now, age_max).map(|q| q.as_vars()),
        Quantity::V => said.v.fresh(now, age_max).map(|v| v.as_volts()),
        Quantity::F => said.f.fresh(now, age_max).map(|f| f.as_hertz()),
        Quantity::Soc => said.soc.fresh(now, age_max).map(|soc| soc.as_fraction()),
        Quantity::Temperature => {
            let t = said.battery_t.fresh(now, age_max);
            t.map(|t| t.as_celsius())
        }
        Quantity::Rocof => None,
    }
}

#[cfg(test)]
mod tests;

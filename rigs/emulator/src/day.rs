//! The course of a day, compressed: sun with clouds, loads with a morning and an
//! evening, and events at given times.
//!
//! It is data in a TOML file; the clouds come from a seed. It moves signals of the
//! bench as a script would and has no part in the plant.
//!
//! ```toml
//! schema = 1
//! day    = "4min"            # 24 hours pass in this time, again and again
//! start  = 0.40              # where in the day it begins, as a fraction (0.5 = noon)
//! [sun]
//! devices = ["pv1"]
//! peak    = "3kW"
//! clouds  = 0.6              # deepest shade as a fraction of the clear sky
//! [[load]]
//! device = "load1"
//! at_h   = [0, 7, 24]        # hours of the day
//! p_w    = [300, 900, 300]   # watts, consumption positive
//! [[event]]
//! at    = "20s"              # time of the run; with `every`, again and again
//! every = "60s"
//! set   = "grid.f"
//! value = 49.85
//! ```

use std::f64::consts::PI;
use std::sync::Arc;
use std::time::Duration;

use document::{Diagnostic, Document, Source, Table};
use quantities::ActivePower;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use services::Curve;

use crate::world::World;

/// Sunrise and sunset as fractions of the day.
/// Chosen: 6 and 18 hours, the equinox everywhere.
const DAYLIGHT: (f64, f64) = (0.25, 0.75);

/// How often sun and loads move, in the plant's time.
/// Chosen: fast enough to look continuous, rare enough to cost nothing.
const MOVE_EVERY: Duration = Duration::from_millis(100);

/// Clouds in a day.
/// Chosen: one every ten minutes of the uncompressed day.
const CLOUDS: usize = 144;

/// The course of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct DayCurve {
    /// Time in which 24 hours pass.
    pub day: Duration,
    /// Where in the day it begins, as a fraction.
    pub start: f64,
    /// The sun, if there is one.
    pub sun: Option<Sun>,
    /// Loads with their curves.
    pub loads: Vec<LoadCurve>,
    /// Things that happen at given times.
    pub events: Vec<DayEvent>,
    clouds: Vec<f64>,
}

/// The sun over photovoltaic inverters.
#[derive(Clone, Debug, PartialEq)]
pub struct Sun {
    /// Inverters under it.
    pub devices: Vec<String>,
    /// Power of each at noon under a clear sky.
    pub peak: ActivePower,
    /// Deepest shade of a cloud, as a fraction of the clear sky.
    pub clouds: f64,
}

/// A load over the day.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadCurve {
    /// The load.
    pub device: String,
    /// Watts over the fraction of the day.
    pub curve: Curve,
}

/// Something that happens at a given time.
#[derive(Clone, Debug, PartialEq)]
pub struct DayEvent {
    /// Time of the run.
    pub at: Duration,
    /// Time after which it happens again.
    pub every: Option<Duration>,
    /// The signal that is set.
    pub signal: String,
    /// Its value in the signal's base unit.
    pub value: f64,
}

impl DayCurve {
    /// Reads a day from a TOML text; the seed makes its clouds.
    ///
    /// # Errors
    /// All faults of the text, each with its place.
    pub fn parse(source: Arc<Source>, seed: u64) -> Result<Self, Vec<Diagnostic>> {
        let document = Document::parse(source).map_err(|fault| vec![*fault])?;
        let day = read(&document, seed);
        let wrong = document.has_errors();
        let faults = document.into_faults();
        match day {
            Some(day) if !wrong => Ok(day),
            _ => Err(faults),
        }
    }

    /// A day without sun, loads and events; fill its fields.
    #[must_use]
    pub fn empty(day: Duration, start: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            day,
            start,
            sun: None,
            loads: Vec::new(),
            events: Vec::new(),
            clouds: (0..CLOUDS)
                .map(|_| (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64)
                .collect(),
        }
    }

    /// Puts sun and loads where they are at the beginning.
    pub fn begin(&self, world: &mut World) {
        self.apply(world);
    }

    /// Moves sun and loads, and lets happen what is due in the step that follows.
    pub fn move_on(&self, world: &mut World) {
        let now = world.plant.now();
        let step = crate::bench::STEP;
        for event in &self.events {
            if event.is_due(now, step)
                && let Err(error) = world.set(&event.signal, event.value)
            {
                tracing::warn!(%error, "An event of the day could not happen.");
            }
        }
        if now.as_nanos().is_multiple_of(MOVE_EVERY.as_nanos()) {
            self.apply(world);
        }
    }

    /// Fraction of the day at a time of the run, 0 to below 1.
    #[must_use]
    pub fn fraction(&self, now: Duration) -> f64 {
        let days = now.as_secs_f64() / self.day.as_secs_f64().max(1e-3);
        (self.start + days).rem_euclid(1.0)
    }

    /// The sun at a fraction of the day as a fraction of its peak: a bell, with clouds before it.
    #[must_use]
    pub fn sunlight(&self, fraction: f64) -> f64 {
        let Some(sun) = &self.sun else { return 0.0 };
        if !(DAYLIGHT.0..=DAYLIGHT.1).contains(&fraction) {
            return 0.0;
        }
        let height = ((fraction - DAYLIGHT.0) / (DAYLIGHT.1 - DAYLIGHT.0) * PI).sin();
        // Low sun shines through more air: the bell is slimmer than a sine.
        let clear = height.powf(1.3);
        clear * (1.0 - sun.clouds * self.cover(fraction))
    }

    /// How much of the sky a cloud covers, 0 to 1, moving smoothly from cloud to cloud.
    fn cover(&self, fraction: f64) -> f64 {
        let count = self.clouds.len().max(1);
        let place = fraction * count as f64;
        let (index, part) = (place.floor() as usize, place.fract());
        let cloud = |n: usize| self.clouds.get(n % count).copied().unwrap_or(0.0);
        let smooth = part * part * (3.0 - 2.0 * part);
        let cover = cloud(index) * (1.0 - smooth) + cloud(index + 1) * smooth;
        // Clear spells between clouds: only the thicker half counts.
        (2.0 * cover - 1.0).clamp(0.0, 1.0)
    }

    fn apply(&self, world: &mut World) {
        let fraction = self.fraction(world.plant.now());
        let sun = self.sun.iter().flat_map(|sun| {
            let p = sun.peak.as_watts() * self.sunlight(fraction);
            sun.devices
                .iter()
                .map(move |device| (format!("{device}.available"), p))
        });
        let loads = self.loads.iter().map(|load| {
            let p = load.curve.value(fraction);
            (format!("{}.p", load.device), p)
        });
        for (signal, value) in sun.chain(loads) {
            // `Bench::new` has refused names that the rig does not have.
            world.set(&signal, value).ok();
        }
    }

    /// Signals that the day moves, to be compared with what the bench has.
    #[must_use]
    pub fn signals(&self) -> Vec<String> {
        let sun = self.sun.iter().flat_map(|sun| &sun.devices);
        sun.map(|device| format!("{device}.available"))
            .chain(self.loads.iter().map(|load| format!("{}.p", load.device)))
            .chain(self.events.iter().map(|event| event.signal.clone()))
            .collect()
    }
}

impl DayEvent {
    fn is_due(&self, now: Duration, step: Duration) -> bool {
        let Some(since) = now.checked_sub(self.at) else {
            return false;
        };
        match self.every.filter(|every| !every.is_zero()) {
            Some(every) => since.as_nanos() % every.as_nanos() < step.as_nanos(),
            None => since < step,
        }
    }
}

fn read(document: &Document, seed: u64) -> Option<DayCurve> {
    let root = document.root();
    root.integer("schema", 1..=1);
    let length = root.duration("day");
    if !root.has("day") {
        root.missing::<()>("day", "\"4min\"");
    }
    let start = root.number("start").map_or(0.0, |start| start.value);
    let length = length?.value;
    if length.is_zero() {
        document.error(
            "E101",
            root.span_of("day"),
            "a day cannot pass in no time",
            "must be longer than zero",
            "write for instance `day = \"4min\"`",
        );
    }
    let mut day = DayCurve::empty(length, start, seed);
    day.sun = root.table("sun").and_then(read_sun);
    day.loads = root
        .tables("load")
        .into_iter()
        .filter_map(|table| read_load(document, table))
        .collect();
    day.events = root
        .tables("event")
        .into_iter()
        .filter_map(read_event)
        .collect();
    root.finish();
    Some(day)
}

fn read_sun(table: Table<'_>) -> Option<Sun> {
    let devices = table.texts("devices").into_iter().map(|d| d.value);
    let devices = devices.collect();
    let peak = table.quantity::<ActivePower>("peak");
    let clouds = table.number("clouds").map_or(0.0, |clouds| clouds.value);
    if !table.has("peak") {
        return table.missing("peak", "\"3kW\"");
    }
    table.finish();
    Some(Sun {
        devices,
        peak: peak?.value,
        clouds: clouds.clamp(0.0, 1.0),
    })
}

fn read_load(document: &Document, table: Table<'_>) -> Option<LoadCurve> {
    let device = table.required_text("device", "load1");
    let hours = table.numbers("at_h");
    let watts = table.numbers("p_w");
    let place = table.span_of("p_w");
    table.finish();
    let refuse = |message: String| {
        document.error(
            "E102",
            place.clone(),
            message,
            "in this curve",
            "give as many hours (0 to 24, ascending) in `at_h` as watts in `p_w`",
        );
        None
    };
    if hours.len() != watts.len() {
        return refuse(format!(
            "{} hours do not go with {} watts",
            hours.len(),
            watts.len()
        ));
    }
    let points = hours.iter().zip(&watts);
    let points = points.map(|(h, w)| (h.value / 24.0, w.value)).collect();
    match Curve::new(points) {
        Ok(curve) => Some(LoadCurve {
            device: device?.value,
            curve,
        }),
        Err(error) => refuse(error.to_string()),
    }
}

fn read_event(table: Table<'_>) -> Option<DayEvent> {
    let at = table.duration("at");
    let every = table.duration("every").map(|every| every.value);
    let signal = table.required_text("set", "grid.f");
    let value = table.number("value");
    if !table.has("value") {
        table.missing::<()>("value", "49.9");
    }
    if !table.has("at") {
        table.missing::<()>("at", "\"20s\"");
    }
    table.finish();
    Some(DayEvent {
        at: at?.value,
        every,
        signal: signal?.value,
        value: value?.value,
    })
}

#[cfg(test)]
mod tests;

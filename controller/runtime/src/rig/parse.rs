//! From rig files to a checked [`Rig`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use document::{Actor, Diagnostic, Document, Severity, Source, Table};

use super::{
    Rig, alarms, bench, buses, checks, devices, hardware, interlocks, ledger, network, sections,
    services, telemetry, trade,
};

/// Most files in a chain of `inherit`. Chosen: 8, deeper nobody can follow.
const INHERIT_MAX: usize = 8;
/// Most devices of a rig. Chosen: 1000, ten times the largest bench that the benches measure.
pub(super) const DEVICES_MAX: usize = 1000;

/// Loads and checks a rig file.
///
/// # Errors
/// All faults of the rig and of the files it inherits from.
pub fn load(path: &Path) -> Result<Rig, Vec<Diagnostic>> {
    check(path, layers(path).map_err(|d| vec![*d])?)
}

/// Loads and checks a rig that is not on disk; `path` is where it would be.
///
/// # Errors
/// As [`load`].
pub fn load_text(path: &Path, text: &str) -> Result<Rig, Vec<Diagnostic>> {
    let source = Source::new(path.display().to_string(), text);
    let layer = Document::parse(source).map_err(|d| vec![*d])?;
    if let Some(base) = layer.root().text("inherit") {
        let fault = Diagnostic::error(
            "R016",
            Actor::Author,
            "a rig that is not on disk cannot inherit from a file",
        );
        return Err(vec![fault.at(layer.place(base.span), "")]);
    }
    check(path, vec![layer])
}

/// Loads and checks a rig file in which one emulated device is another one: what `over` says is laid
/// over a part of its entry in `[emulate]`, such as `der`, or over the entry itself.
///
/// # Errors
/// As [`load`], and where the rig has no such device or that part of it is no table.
pub fn load_mutant(
    path: &Path,
    device: &str,
    part: Option<&str>,
    over: &str,
) -> Result<Rig, Vec<Diagnostic>> {
    let mut layers = layers(path).map_err(|d| vec![*d])?;
    let entry = layers
        .iter()
        .rev()
        .find_map(|layer| document::merged(&layer.source().text, "emulate", device, part, over));
    let Some(entry) = entry else {
        let message = format!(
            "{} has no `{device}` in [emulate] over which this could be laid",
            path.display()
        );
        return Err(vec![Diagnostic::error("R067", Actor::Author, message)]);
    };
    let source = Source::new(format!("{} with another {device}", path.display()), entry);
    layers.push(Document::parse(source).map_err(|d| vec![*d])?);
    check(path, layers)
}

fn check(path: &Path, layers: Vec<Document>) -> Result<Rig, Vec<Diagnostic>> {
    let rig = Reader {
        layers: &layers,
        dir: path.parent().unwrap_or(Path::new(".")),
    }
    .read();
    for layer in &layers {
        finish_root(layer);
    }
    let mut faults: Vec<Diagnostic> = Vec::new();
    for layer in layers {
        faults.extend(layer.into_faults());
    }
    let broken = faults.iter().any(|d| d.severity == Severity::Error);
    match rig {
        Some(mut rig) if !broken => {
            rig.warnings = faults;
            Ok(rig)
        }
        _ => Err(faults),
    }
}

/// The rig's own document last, the one it inherits from before it.
fn layers(path: &Path) -> Result<Vec<Document>, Box<Diagnostic>> {
    let mut layers: Vec<Document> = Vec::new();
    let mut next = Some((path.to_path_buf(), None));
    while let Some((path, named_at)) = next.take() {
        let fail = |code, message: String| {
            let diagnostic = Diagnostic::error(code, Actor::Author, message);
            Box::new(match &named_at {
                Some(place) => diagnostic.at(document::Place::clone(place), "named here"),
                None => diagnostic,
            })
        };
        if layers.len() == INHERIT_MAX {
            return Err(fail(
                "R016",
                format!("more than {INHERIT_MAX} files inherit from each other"),
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| {
            let code = if named_at.is_some() { "R016" } else { "R000" };
            fail(code, format!("{} cannot be read: {e}", path.display()))
        })?;
        let document = Document::parse(Source::new(path.display().to_string(), text))?;
        let base = document.root().text("inherit");
        if let Some(base) = base {
            let place = document.place(base.span);
            let file = path.parent().unwrap_or(Path::new(".")).join(base.value);
            next = Some((file, Some(place)));
        }
        layers.push(document);
    }
    layers.reverse();
    Ok(layers)
}

/// Every section that some room reads; the rest is unknown.
const SECTIONS: &[&str] = &[
    "schema",
    "inherit",
    "title",
    "site",
    "safety",
    "control",
    "service",
    "alarm",
    "bus",
    "device",
    "telemetry",
    "ledger",
    "market",
    "regulation",
    "emulate",
    "plant",
    "network",
    "bench",
];

fn finish_root(document: &Document) {
    let root = document.root();
    for key in SECTIONS {
        root.has(key);
    }
    root.finish();
}

/// Reads sections out of the layers.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a [Document],
    pub(super) dir: &'a Path,
}

impl<'a> Reader<'a> {
    /// A section as a whole: the last layer that has it wins.
    pub(super) fn section(&self, key: &str) -> Option<Table<'a>> {
        self.layers.iter().rev().find_map(|layer| {
            layer
                .root()
                .has(key)
                .then(|| layer.root().table(key))
                .flatten()
        })
    }

    /// Named entries of a section: layers are merged by name, the last one wins whole entries.
    pub(super) fn entries(&self, key: &str) -> Vec<(String, Table<'a>)> {
        let mut entries: Vec<(String, Table<'a>)> = Vec::new();
        for layer in self.layers {
            let Some(section) = layer
                .root()
                .has(key)
                .then(|| layer.root().table(key))
                .flatten()
            else {
                continue;
            };
            for name in section.keys() {
                let Some(entry) = section.table(&name.value) else {
                    continue;
                };
                match entries.iter_mut().find(|(n, _)| *n == name.value) {
                    Some(known) => known.1 = entry,
                    None => entries.push((name.value, entry)),
                }
            }
        }
        entries
    }

    /// The document at the end of the chain: the rig itself.
    pub(super) fn own(&self) -> &'a Document {
        self.layers
            .last()
            .expect("a rig has at least its own layer")
    }

    /// A path that a table gives, relative to the folder of the file that the table stands in.
    pub(super) fn path(&self, table: &Table<'_>, text: &str) -> PathBuf {
        Path::new(&table.document().source().path)
            .parent()
            .unwrap_or(self.dir)
            .join(text)
    }

    fn read(&self) -> Option<Rig> {
        let own = self.own().root();
        if let Some(schema) = own.integer("schema", 0..=i64::MAX)
            && schema.value != 1
        {
            self.own().error(
                "D005",
                schema.span,
                format!("schema {} is not known", schema.value),
                "this gridrig reads schema 1",
                "write `schema = 1`, and see rigs/README.md for its keys",
            );
        }
        let title = self
            .layers
            .iter()
            .rev()
            .find_map(|l| l.root().text("title"))
            .map_or_else(|| "microgrid bench".to_owned(), |t| t.value);
        let site = sections::site(self);
        let mut buses = buses::buses(self);
        let devices = devices::devices(self, &buses);
        buses::settle_serial(&mut buses, &devices);
        let mut emulate = sections::emulation(self, &devices, site.as_ref().map(|site| site.f));
        checks::check_devices(&buses, &devices, &emulate);
        let site = site?;
        emulate.network = network::network(self, &devices, &site);
        let hardware = hardware::hardware(self, &buses, &devices, &emulate);
        let sinks = telemetry::sinks(self);
        let (safety, safe_opens_breaker) = sections::safety(self, &devices);
        let sold = services::services(self, &devices, &site);
        let mut control = control::Settings {
            // The limit of the meter at the point of common coupling is that of the exchange.
            exchange: devices
                .iter()
                .find(|(d, _)| d.role == model::Role::Pcc)
                .and_then(|(d, _)| d.p),
            safe_opens_breaker,
            safe_order: safety.order.clone(),
            safe_step: safety.step,
            services: sold.services,
            pcc_voltage: sold.pcc_voltage,
            ..sections::control(self, &site)
        };
        interlocks::check(self, &devices, &control, &safety);
        let mut market = trade::market(self, &devices);
        let specs: Vec<_> = devices.iter().map(|(d, _)| bench::spec(d, &site)).collect();
        services::check_market(self, market.as_ref(), &control.services, &specs);
        trade::check_reserve(self, market.as_ref(), &mut control.services, &specs);
        let parts = (buses.as_slice(), devices.as_slice(), specs.as_slice());
        trade::check_pace(self, market.as_mut(), parts, &control);
        let rig = Rig {
            source: Arc::clone(self.own().source()),
            title,
            site,
            safety,
            control,
            processors: sections::processors(self),
            ledger: ledger::ledger(self),
            market,
            alarms: alarms::alarms(self, &devices),
            influx: sinks.influx,
            home_assistant: sinks.home_assistant,
            buses,
            devices: devices.into_iter().map(|(d, _)| d).collect(),
            emulate,
            hardware,
            warnings: Vec::new(),
        };
        ledger::check(self, &rig);
        Some(rig)
    }
}

#[cfg(test)]
mod tests;

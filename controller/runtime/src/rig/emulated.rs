//! What an emulated device is made of: droop, inertia and governor, dependence of loads, inrush.
//!
//! Read here, understood by the emulator. A key that its role does not have is read by nobody, and
//! so told as a misspelt one (`D002`).

use std::path::PathBuf;
use std::time::Duration;

use der_model::settings::{Emulated, Kind, Settings, read_emulated};
use document::{Document, Source, Table};
use model::Role;
use quantities::Frequency;

/// What an emulated device is made of; what is `None` is the emulator's choice. Shares in per unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Physics {
    /// Frequency droop at rated power, of a storage or a set.
    pub droop: Option<f64>,
    /// Inertia constant.
    pub inertia: Option<Duration>,
    /// Voltage droop of a storage at rated reactive power.
    pub droop_q: Option<f64>,
    /// Virtual resistance of a storage.
    pub virtual_r: Option<f64>,
    /// Virtual reactance of a storage.
    pub virtual_x: Option<f64>,
    /// Largest current of a storage.
    pub current_max: Option<f64>,
    /// Whether a storage can form an island.
    pub forms: Option<bool>,
    /// Time constant of a set's governor and engine.
    pub lag: Option<Duration>,
    /// Time from a start command until a set can take load.
    pub starts_in: Option<Duration>,
    /// Whether a set's governor brings the frequency back to nominal.
    pub isochronous: bool,
    /// Whether a set runs on load from the beginning.
    pub running: bool,
    /// Share of a load with constant impedance, and with constant current; the rest is constant power.
    pub zip: Option<(f64, f64)>,
    /// Change of a load's power per change of frequency, both in per unit.
    pub damping: Option<f64>,
    /// Quality factor with which a load resonates at nominal frequency.
    pub quality: Option<f64>,
    /// Current of a motor that starts, in units of its rated one, and for how long.
    pub inrush: Option<(f64, Duration)>,
    /// Settings of an inverter that is a DER to IEEE 1547-2018.
    pub der: Option<Settings>,
}

/// Reads the keys that a device of this role has.
pub(super) fn physics(table: &Table<'_>, role: Option<Role>) -> Physics {
    let mut physics = Physics::default();
    // Above nothing: a droop of nothing shares by chance, and nothing turns without inertia.
    let share = |key: &str, least: f64, most: f64| {
        let number = table.number(key)?;
        if (least..=most).contains(&number.value) {
            return Some(number.value / 100.0);
        }
        table.document().error(
            "D005",
            number.span,
            format!("`{key}` cannot be {}", number.value),
            format!("between {least} and {most} per cent"),
            "",
        );
        None
    };
    let time = |key: &str| {
        let time = table.duration(key)?;
        if !time.value.is_zero() {
            return Some(time.value);
        }
        table.document().error(
            "D005",
            time.span,
            format!("`{key}` is no time at all"),
            "must be longer than nothing",
            "",
        );
        None
    };
    match role {
        Some(Role::Ess) => {
            physics.droop = share("droop_percent", 0.1, 50.0);
            physics.droop_q = share("droop_q_percent", 0.0, 50.0);
            physics.virtual_r = share("virtual_r_percent", 0.0, 100.0);
            physics.virtual_x = share("virtual_x_percent", 0.0, 100.0);
            physics.current_max = share("current_max_percent", 10.0, 1000.0);
            physics.inertia = time("inertia");
            physics.forms = table.boolean("forms").map(|x| x.value);
        }
        Some(Role::Genset) => {
            physics.droop = share("droop_percent", 0.1, 50.0);
            physics.inertia = time("inertia");
            physics.lag = time("lag");
            physics.starts_in = time("starts_in");
            let governors = [("droop", false), ("isochronous", true)];
            let governor = table.choice("governor", &governors);
            physics.isochronous = governor.is_some_and(|x| x.value);
            physics.running = table.boolean("running").is_some_and(|x| x.value);
        }
        Some(Role::Load | Role::Meter) => {
            let z = share("constant_z_percent", 0.0, 100.0);
            let i = share("constant_i_percent", 0.0, 100.0);
            let (z, i) = match (z, i) {
                (None, None) => (None, None),
                (z, i) => (Some(z.unwrap_or(0.0)), Some(i.unwrap_or(0.0))),
            };
            physics.zip = z.zip(i);
            if physics.zip.is_some_and(|(z, i)| z + i > 1.0) {
                table.document().error(
                    "D005",
                    table.span_of("constant_z_percent"),
                    "the two constant shares are more than the whole",
                    "",
                    "what is left of 100 is constant power",
                );
            }
            physics.damping = share("damping_percent", 0.0, 1000.0);
            physics.quality = share("quality_percent", 0.0, 1000.0);
            let (inrush, length) = (share("inrush_percent", 100.0, 2000.0), time("inrush_for"));
            physics.inrush = inrush.zip(length);
            if table.has("inrush_percent") != table.has("inrush_for") {
                table.document().error(
                    "D004",
                    table.span(),
                    "an inrush has a size and a time",
                    "",
                    "write `inrush_percent = 600, inrush_for = \"2s\"`",
                );
            }
        }
        _ => {}
    }
    physics
}

/// Reads what a photovoltaic or storage inverter does as a DER: a table of settings, or the name of
/// a file with them. `found` makes the path that is meant of the one that is written.
pub(super) fn der(
    table: &Table<'_>,
    role: Option<Role>,
    nominal: Option<Frequency>,
    found: impl Fn(&str) -> PathBuf,
) -> Option<Settings> {
    let kind = match role {
        Some(Role::Pv) => Kind::Pv,
        Some(Role::Ess) => Kind::Storage,
        _ => return None,
    };
    if !table.has("der") {
        return None;
    }
    // Without a site, which is told elsewhere, nothing can be judged.
    let emulated = Emulated {
        kind,
        nominal: nominal?,
    };
    if table.is_table("der") {
        return read_emulated(table.table("der")?, emulated);
    }
    let named = table.text("der")?;
    let path = found(&named.value);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        let what = format!("the settings {} cannot be read: {e}", path.display());
        let help = "name a TOML file beside the rig, or write a table";
        table
            .document()
            .error("R028", named.span.clone(), what, "", help);
    });
    let source = Source::new(path.display().to_string(), text.ok()?);
    let document = match Document::parse(source) {
        Ok(document) => document,
        Err(fault) => {
            table.document().adopt(vec![*fault]);
            return None;
        }
    };
    let settings = read_emulated(document.root(), emulated);
    table.document().adopt(document.into_faults());
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use document::{Document, Source};

    fn read(role: Role, text: &str) -> (Physics, Vec<String>) {
        let document = Document::parse(Source::new("rig.toml", text)).expect("TOML");
        let root = document.root();
        let physics = physics(&root, Some(role));
        root.finish();
        let faults = document.into_faults();
        (physics, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_role_has_its_own_keys_with_their_ranges() {
        // Role, keys, what is told; nothing where they are right.
        let rows = [
            (
                Role::Ess,
                "droop_percent = 2\ninertia = \"1s\"\nforms = false",
                "",
            ),
            (Role::Ess, "droop_percent = 0", "D005"),
            (Role::Ess, "governor = \"droop\"", "D002"),
            (
                Role::Genset,
                "governor = \"isochronous\"\nlag = \"300ms\"",
                "",
            ),
            (Role::Genset, "governor = \"fast\"", "D006"),
            (Role::Genset, "inertia = \"0s\"", "D005"),
            (
                Role::Load,
                "constant_z_percent = 60\nconstant_i_percent = 40",
                "",
            ),
            (
                Role::Load,
                "constant_z_percent = 60\nconstant_i_percent = 41",
                "D005",
            ),
            (Role::Load, "inrush_percent = 600\ninrush_for = \"2s\"", ""),
            (Role::Load, "inrush_percent = 600", "D004"),
            (Role::Load, "droop_percent = 2", "D002"),
            (Role::Pv, "damping_percent = 2", "D002"),
        ];
        for (role, text, code) in rows {
            let (_, faults) = read(role, text);
            let told = faults.iter().any(|fault| fault.contains(code));
            assert_eq!(faults.is_empty(), code.is_empty(), "{text}: {faults:?}");
            assert!(code.is_empty() || told, "{text}: {faults:?}");
        }
        let (physics, _) = read(Role::Load, "constant_z_percent = 60\ndamping_percent = 150");
        assert_eq!(physics.zip, Some((0.6, 0.0)));
        assert_eq!(physics.damping, Some(1.5));
    }

    #[test]
    fn a_storage_that_is_a_der_forms_an_island_only_where_it_is_said() {
        for (text, forms) in [
            ("der = {}", None),
            ("der = {}\nforms = false", Some(false)),
            ("der = {}\nforms = true", Some(true)),
        ] {
            let document = Document::parse(Source::new("rig.toml", text)).expect("TOML");
            let root = document.root();
            let found = physics(&root, Some(Role::Ess));
            let nominal = Some(Frequency::from_hertz(50.0));
            let settings = der(&root, Some(Role::Ess), nominal, |path| path.into());
            root.finish();
            assert_eq!(settings.map(|s| s.kind), Some(Kind::Storage), "{text}");
            assert_eq!(found.forms, forms, "{text}");
            assert_eq!(document.into_faults(), [], "{text}");
        }
    }
}

//! The smaller sections of a rig, one function each.

use std::ops::Range;
use std::time::Duration;

use document::{Document, Table};
use model::RestStep;
use quantities::{Frequency, Voltage};

use super::parse::Reader;
use super::{EmulatedDevice, Emulation, OnLost, Processors, RigDevice, Safety, Site};

/// Where a device stands: which layer, which bytes.
pub(super) type Place<'a> = (&'a Document, Range<usize>);

pub(super) fn site(reader: &Reader<'_>) -> Option<Site> {
    let Some(table) = reader.section("site") else {
        reader.own().error(
            "D004",
            0..0,
            "`site` is missing",
            "",
            "add `site = { v = \"230V\", f = \"50Hz\", phases = 3 }`",
        );
        return None;
    };
    let v = table.quantity::<Voltage>("v");
    let f = table.quantity::<Frequency>("f");
    let phases = table.integer("phases", 1..=3).map_or(3, |p| p.value);
    let name = table.text("name").map_or_else(String::new, |x| x.value);
    for key in ["v", "f"] {
        if !table.has(key) {
            table.missing::<()>(key, if key == "v" { "\"230V\"" } else { "\"50Hz\"" });
        }
    }
    let document = table.document();
    let span = table.span();
    table.finish();
    let (v, f) = (v?, f?);
    let fits = (100.0..=500.0).contains(&v.value.as_volts())
        && (45.0..=65.0).contains(&f.value.as_hertz());
    if !fits {
        document.error(
            "R020",
            span,
            "the site's nominal values are outside what gridrig controls",
            "100 to 500 V line to neutral, 45 to 65 Hz",
            "`v` is line to neutral: 230V for a 400 V network",
        );
        return None;
    }
    Some(Site {
        name,
        v: v.value,
        f: f.value,
        phases: phases as u8,
    })
}

/// The section `safety`, and whether a safe end opens the coupling breaker.
pub(super) fn safety(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> (Safety, bool) {
    let mut safety = Safety {
        heartbeat: Duration::from_secs(1),
        on_lost: OnLost::Safe,
        estop: None,
        order: RestStep::NAMES.iter().map(|(_, step)| *step).collect(),
        step: REST_STEP,
    };
    let mut opens_breaker = false;
    let Some(table) = reader.section("safety") else {
        return (safety, opens_breaker);
    };
    if let Some(step) = table.duration("step") {
        safety.step = step.value;
    }
    let words = [("leave", false), ("open", true)];
    if let Some(breaker) = table.choice("breaker", &words) {
        opens_breaker = breaker.value;
    }
    if table.has("order") {
        safety.order = rest_order(&table);
    }
    if let Some(heartbeat) = table.duration("heartbeat") {
        safety.heartbeat = heartbeat.value;
    }
    let words = [("safe", OnLost::Safe), ("hold", OnLost::Hold)];
    if let Some(on_lost) = table.choice("on_lost", &words) {
        safety.on_lost = on_lost.value;
    }
    if let Some(estop) = table.text("estop") {
        let (name, contact) = estop
            .value
            .split_once('.')
            .unwrap_or((&estop.value, "switch.on"));
        // A profile has one contact; these are its names.
        let known = ["switch.on", "switch", "di0"].contains(&contact);
        safety.estop = named(devices, name).filter(|_| known);
        if safety.estop.is_none() {
            table.document().error(
                "R009",
                estop.span,
                format!("`{}` is no contact of this rig", estop.value),
                "",
                "name the device whose switch is the emergency stop circuit, such as `io1.switch.on`",
            );
        }
    }
    table.finish();
    (safety, opens_breaker)
}

/// Longest time of one step of the safe end.
/// Chosen: 1.5 s, three time-outs of the slowest bundled profile.
const REST_STEP: Duration = Duration::from_millis(1500);

/// The steps of the safe end as the rig orders them. One that is left out would leave its devices as
/// they are, so none may be.
fn rest_order(table: &Table<'_>) -> Vec<RestStep> {
    let mut order = Vec::new();
    for word in table.texts("order") {
        let known = RestStep::NAMES.iter().find(|(name, _)| *name == word.value);
        match known {
            Some((_, step)) if !order.contains(step) => order.push(*step),
            _ => table.document().error(
                "D006",
                word.span,
                format!("`{}` is no step, or stands here twice", word.value),
                "",
                "the steps are sources, loads, storages, pv, plugs and breaker",
            ),
        }
    }
    if let Some((name, _)) = RestStep::NAMES
        .iter()
        .find(|(_, step)| !order.contains(step))
    {
        table.document().error(
            "R063",
            table.span_of("order"),
            format!("the safe end leaves out `{name}`"),
            "",
            "name all six steps, in the order that you want",
        );
    }
    order
}

pub(super) fn control(reader: &Reader<'_>, site: &Site) -> control::Settings {
    let mut settings = control::Settings::nominal(site.f, site.v);
    let Some(table) = reader.section("control") else {
        return settings;
    };
    macro_rules! take {
        ($($field:ident: $read:ident as $key:literal),+ $(,)?) => {$(
            if let Some(found) = table.$read($key) { settings.$field = found.value; }
        )+};
    }
    take!(
        period: duration as "period",
        deadband: quantity as "deadband",
        auto_reconnect: boolean as "auto_reconnect",
        reconnect_delay: duration as "reconnect_delay",
        sync_timeout: duration as "sync_timeout",
        settle_time: duration as "settle_time",
        setpoint_validity: duration as "setpoint_validity",
        pcc_gain_per_s: number as "pcc_gain_per_s",
        island_v_gain_per_s: number as "island_v_gain_per_s",
        island_f_gain_per_s: number as "island_f_gain_per_s",
    );
    if let Some(droop) = table.quantity::<quantities::StateOfCharge>("droop") {
        settings.droop = droop.value.as_fraction();
    }
    settings.mains_rocof_max = table.quantity("mains_rocof_max").map(|r| r.value);
    settings.agreement = model::Agreement {
        target: table.quantity("pcc_target").map(|p| p.value),
        limits: table.range("pcc_limits").map(|p| p.value),
        pf_min: table.number("pcc_pf_min").map(|pf| pf.value),
        q: table.quantity("pcc_q").map(|q| q.value),
    };
    settings.reserve_soc = table.quantity("reserve_soc").map(|soc| soc.value);
    settings.reserve_p = table.quantity("reserve_p").map(|p| p.value);
    settings.delay_margin = delay_margin(&table, settings.droop);
    // Not for the core: see [`processors`].
    table.has("processors");
    let checks: [(&str, bool, &str); 8] = [
        (
            "period",
            (Duration::from_millis(10)..=Duration::from_secs(5)).contains(&settings.period),
            "the period must lie between 10 ms and 5 s",
        ),
        (
            "droop",
            (0.005..=0.5).contains(&settings.droop),
            "the droop must lie between 0.5 % and 50 %",
        ),
        (
            "deadband",
            settings.deadband.as_hertz() >= 0.0 && settings.deadband < site.f * 0.1,
            "the deadband must lie between 0 and a tenth of nominal",
        ),
        (
            "pcc_gain_per_s",
            (0.0..=10.0).contains(&settings.pcc_gain_per_s),
            "the gain must lie between 0 and 10 per second",
        ),
        (
            "island_v_gain_per_s",
            (0.0..=100.0).contains(&settings.island_v_gain_per_s),
            "the gain must lie between 0 and 100 per second",
        ),
        (
            "island_f_gain_per_s",
            (0.0..=20.0).contains(&settings.island_f_gain_per_s),
            "the gain must lie between 0 and 20 per second",
        ),
        (
            "reserve_soc",
            settings
                .reserve_soc
                .is_none_or(|soc| (0.0..1.0).contains(&soc.as_fraction())),
            "the charge in reserve must lie between 0 % and 100 %, and leave some to use",
        ),
        (
            "reserve_p",
            settings.reserve_p.is_none_or(|p| p.as_watts() >= 0.0),
            "the power in reserve cannot be negative",
        ),
    ];
    if let Some(message) = settings.agreement.fault() {
        let keys = ["pcc_pf_min", "pcc_target", "pcc_q"];
        let key = keys.into_iter().find(|key| table.has(key));
        let span = key.map_or_else(|| table.span(), |key| table.span_of(key));
        table.document().error("D005", span, message, "", "");
    }
    for (key, fits, message) in checks {
        if !fits {
            table
                .document()
                .error("D005", table.span_of(key), message, "", "");
        }
    }
    table.finish();
    settings
}

/// What the processors do while the bench is armed and there is nothing to do.
pub(super) fn processors(reader: &Reader<'_>) -> Processors {
    let words = [
        ("idle", Processors::MayIdle),
        ("awake", Processors::StayAwake),
    ];
    let table = reader.section("control");
    let told = table.and_then(|table| table.choice("processors", &words));
    told.map(|told| told.value).unwrap_or_default()
}

/// The delay that the island's droop bears: as the rig states it, or of the island that it states.
fn delay_margin(table: &Table<'_>, droop: f64) -> Option<Duration> {
    let stated = table.duration("delay_margin").map(|d| d.value);
    let inertia = table.duration("inertia");
    let lag = table.duration("lag");
    match (stated, inertia, lag) {
        (Some(margin), None, None) => Some(margin),
        (None, Some(inertia), Some(lag)) => limiter::loop_delay::Loop {
            inertia: inertia.value,
            droop,
            lag: lag.value,
        }
        .delay_margin(),
        (None, None, None) => None,
        _ => {
            let key = ["delay_margin", "inertia", "lag"]
                .into_iter()
                .find(|key| table.has(key))
                .unwrap_or("delay_margin");
            table.document().error(
                "D005",
                table.span_of(key),
                "an island is stated by `inertia` and `lag` together, or by `delay_margin` alone",
                "",
                "such as `inertia = \"5s\", lag = \"200ms\"`",
            );
            None
        }
    }
}

pub(super) fn emulation(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    f_nominal: Option<Frequency>,
) -> Emulation {
    let mut emulation = Emulation::default();
    for (name, table) in reader.entries("emulate") {
        let role = named(devices, &name).map(|index| devices[index].0.role);
        let mut physics = super::emulated::physics(&table, role);
        let found = |path: &str| reader.path(&table, path);
        physics.der = super::emulated::der(&table, role, f_nominal, found);
        let options = EmulatedDevice {
            rated: table.quantity("rated").map(|x| x.value),
            soc: table.quantity("soc").map(|x| x.value),
            capacity: table.quantity("capacity").map(|x| x.value),
            ramp: table.quantity("ramp").map(|x| x.value),
            p: table.quantity("p").map(|x| x.value),
            port: table.integer("port", 0..=65_535).map(|x| x.value as u16),
            faults: table.texts("faults").into_iter().map(|x| x.value).collect(),
            measures: table.text("measures").map(|x| x.value),
            physics,
        };
        match named(devices, &name) {
            Some(index) => emulation.devices.push((index, options)),
            None => table.document().error(
                "R009",
                table.span(),
                format!("`emulate` speaks of `{name}`, which the rig does not have"),
                "",
                "use the same names as in `[device]`",
            ),
        }
        table.finish();
    }
    if let Some(plant) = reader.section("plant") {
        emulation.feeder_r_ohm = plant.number("feeder_r_ohm").map(|x| x.value);
        emulation.feeder_x_ohm = plant.number("feeder_x_ohm").map(|x| x.value);
        emulation.relay = plant.boolean("relay").map(|x| x.value);
        emulation.day = plant.text("day").map(|x| reader.path(&plant, &x.value));
        emulation.course = plant.text("course").map(|x| reader.path(&plant, &x.value));
        plant.finish();
    }
    emulation
}

/// The place of a device in the rig, by name.
pub(super) fn named(devices: &[(RigDevice, Place<'_>)], name: &str) -> Option<usize> {
    devices.iter().position(|(d, _)| *d.id == *name)
}

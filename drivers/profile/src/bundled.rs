//! The profiles that come with the program.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use document::Source;

use crate::{Profile, near};

macro_rules! bundled {
    ($($path:literal),+ $(,)?) => {
        /// Path in this crate and text of every bundled profile.
        pub(crate) const FILES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../devices/", $path))),)+];
    };
}

bundled![
    "inverter/sunspec-inverter.toml",
    "inverter/sunspec-der-inverter.toml",
    "storage/sunspec-storage-inverter.toml",
    "storage/sunspec-der-storage.toml",
    "storage/sunspec-legacy-storage.toml",
    "battery/sunspec-battery.toml",
    "meter/sunspec-meter.toml",
    "storage/victron-gx-mqtt.toml",
    "battery/pylontech-lv-can.toml",
    "battery/pylontech-lv-can-v13.toml",
    "battery/pylontech-hv-can.toml",
    "battery/victron-lv-can.toml",
    "battery/sma-lv-can.toml",
    "battery/byd-hvs-can.toml",
    "meter/eastron-sdm120.toml",
    "meter/eastron-sdm630.toml",
    "meter/carlo-gavazzi-em340.toml",
    "meter/schneider-iem3000.toml",
    "meter/carlo-gavazzi-em24.toml",
    "meter/carlo-gavazzi-em24-e1.toml",
    "meter/janitza-umg.toml",
    "meter/huawei-smart-meter.toml",
    "meter/sungrow-sh-meter.toml",
    "inverter/fronius-sunspec.toml",
    "storage/deye-sg-hv.toml",
    "storage/deye-sg-lv.toml",
    "storage/huawei-sun2000.toml",
    "storage/sma-sunny-island.toml",
    "storage/sungrow-sh.toml",
    "storage/victron-gx-vebus.toml",
    "battery/victron-gx-battery.toml",
    "breaker/generic-sync-breaker.toml",
    "plug/shelly-gen1-plug.toml",
    "plug/shelly-gen2-plug.toml",
    "plug/tasmota-plug.toml",
    "plug/zigbee2mqtt-plug.toml",
    "plug/zigbee2mqtt-timed-plug.toml",
    "instrument/generic-grid-simulator.toml",
    "instrument/ametek-mx.toml",
    "instrument/pacific-upc.toml",
    "instrument/nhr-9410.toml",
    "instrument/chroma-61600.toml",
    "instrument/chroma-63800.toml",
];

struct Bundled {
    profile: Arc<Profile>,
    class: &'static str,
    text: &'static str,
}

static TABLE: LazyLock<BTreeMap<String, Bundled>> = LazyLock::new(|| {
    FILES
        .iter()
        .filter_map(|(path, text)| {
            // A test proves that every bundled file is a profile without faults.
            let (profile, _) = Profile::parse(Source::new(*path, *text)).ok()?;
            let id = profile.id.to_string();
            let profile = Arc::new(profile);
            // The folder is the class of device.
            let (class, _) = path.split_once('/')?;
            let bundled = Bundled {
                profile,
                class,
                text,
            };
            Some((id, bundled))
        })
        .collect()
});

/// The bundled profile of an identity such as `eastron/sdm630`.
#[must_use]
pub fn bundled(id: &str) -> Option<Arc<Profile>> {
    TABLE.get(id).map(|b| Arc::clone(&b.profile))
}

/// The TOML text of a bundled profile, to begin an own one with.
#[must_use]
pub fn bundled_text(id: &str) -> Option<&'static str> {
    TABLE.get(id).map(|b| b.text)
}

/// The class of device that a bundled profile stands under, such as `meter`.
#[must_use]
pub fn bundled_class(id: &str) -> Option<&'static str> {
    TABLE.get(id).map(|b| b.class)
}

/// Identities of all bundled profiles, in alphabetical order.
#[must_use]
pub fn bundled_ids() -> Vec<&'static str> {
    TABLE.keys().map(String::as_str).collect()
}

/// The bundled identity most similar to one that is not bundled, if one is near enough.
#[must_use]
pub fn similar(id: &str) -> Option<&'static str> {
    let ids = bundled_ids();
    // A forgotten or wrong vendor is as frequent as a slip of the pen.
    let model = id.rsplit('/').next().unwrap_or(id);
    near::nearest(id, ids.iter().copied()).or_else(|| {
        ids.iter()
            .copied()
            .find(|known| known.rsplit('/').next() == Some(model))
    })
}

#[cfg(test)]
mod tests;

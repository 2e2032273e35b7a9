//! Exponents of a model's scale factors.
//!
//! As fine as the unit allows, as coarse as the nameplate makes necessary; and moved by what
//! the world says, since some inverters change them while they run.

use std::collections::BTreeMap;

use profile::sunspec::{Group, Model, ModelPoint, PointType};

use crate::device::Nameplate;
use crate::plant::Site;

/// Finest exponents by unit: what real inverters resolve.
const FINEST: &[(&str, i16)] = &[
    ("A", -2),
    ("V", -1),
    ("Hz", -2),
    ("W", 0),
    ("VA", 0),
    ("var", 0),
    ("Var", 0),
    ("Wh", 0),
    ("WH", 0),
    ("Pct", -2),
    ("cos()", -3),
    ("-", -3),
    ("C", -1),
    ("Secs", -1),
    ("DeptRef", -2),
    ("VNomPct", -2),
    ("WMaxPct", -2),
    ("VarPct", -2),
];

/// The exponents of a model by the names of its scale factors.
#[derive(Clone, Debug)]
pub(super) struct Scales(BTreeMap<String, i16>);

impl Scales {
    /// The exponent of a scale factor; `None` when nothing is scaled by it.
    pub(super) fn of(&self, name: &str) -> Option<i16> {
        self.0.get(name).copied()
    }
}

/// The points of a model and of its groups.
fn all<'m>(points: &'m [ModelPoint], groups: &'m [Group]) -> Vec<&'m ModelPoint> {
    let inner = groups.iter().flat_map(|g| all(&g.points, &g.groups));
    points.iter().chain(inner).collect()
}

/// The exponents of a model's scale factors: as fine as its unit allows, as coarse as
/// the nameplate makes necessary.
pub(super) fn scales(model: &Model, nameplate: &Nameplate, site: Site) -> Scales {
    let mut scales: BTreeMap<String, i16> = BTreeMap::new();
    for point in all(&model.points, &model.groups) {
        let Some(sf) = point.sf.as_deref() else {
            continue;
        };
        let unit = point.unit.as_deref().unwrap_or("-");
        let finest = FINEST
            .iter()
            .find(|(known, _)| *known == unit)
            .map_or(-2, |(_, scale)| *scale);
        // Clearing times are told in hundredths: the shortest is 0.16 s.
        let finest = if sf == "Tms_SF" { -2 } else { finest };
        let finest = if unit == "Hz" && point.kind == PointType::Uint32 {
            -3
        } else {
            finest
        };
        // Half as much again as the rating: transients must not wrap or stop short.
        let most = match unit {
            "W" | "VA" | "var" | "Var" => 1.5 * nameplate.s.max(nameplate.p),
            "WH" | "Wh" if point.size == 1 => nameplate.capacity_wh,
            "A" => 1.5 * nameplate.s / site.v_nominal.as_volts(),
            _ => 0.0,
        };
        let room = match point.kind {
            PointType::Int16 => 32_000.0,
            PointType::Uint16 => 65_000.0,
            _ => f64::INFINITY,
        };
        let mut scale = finest;
        while most / 10_f64.powi(scale.into()) > room && scale < 10 {
            scale += 1;
        }
        let entry = scales.entry(sf.to_owned()).or_insert(scale);
        *entry = scale.max(*entry);
    }
    Scales(scales)
}

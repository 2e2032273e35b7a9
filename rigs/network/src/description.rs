//! What a network is made of.
//!
//! Places are indices into [`Network::buses`]; impedances are in ohms, as on data sheets.
//! **Zero sequence.** A low-voltage network has a fourth conductor, grounded along its way.
//! As in pandapower's `runpp_3ph` and in OpenDSS's lines by sequence, it is not carried
//! explicitly but contained in the zero-sequence impedance of the other three (Kron's
//! reduction): voltages are against the neutral at their bus.

use std::sync::Arc;

/// A radial network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// Nominal frequency in hertz.
    pub f_nominal: f64,
    /// Whether its phases are loaded differently.
    pub unbalanced: bool,
    /// Places with one voltage.
    pub buses: Vec<Bus>,
    /// What holds the voltage.
    pub sources: Vec<Source>,
    /// Cables and overhead lines.
    pub lines: Vec<Line>,
    /// Transformers.
    pub transformers: Vec<Transformer>,
    /// Breakers and switches.
    pub switches: Vec<Switch>,
    /// Loads (and, with negative power, sources that follow).
    pub loads: Vec<Load>,
    /// Where the devices of the rig hang.
    pub connections: Vec<Connection>,
}

/// A place with one voltage.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// Its name.
    pub name: Arc<str>,
    /// Nominal voltage in volts, line to line.
    pub v_ll: f64,
}

/// Resistance and reactance, per sequence where phases differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impedance {
    /// Resistance.
    pub r: f64,
    /// Reactance.
    pub x: f64,
}

/// An ideal voltage behind an impedance.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its bus.
    pub bus: usize,
    /// Voltage in per unit of the bus.
    pub v_pu: f64,
    /// Angle in degrees.
    pub angle: f64,
    /// Positive-sequence impedance in ohms.
    pub z: Impedance,
    /// Negative-sequence impedance in ohms.
    pub z2: Impedance,
    /// Zero-sequence impedance in ohms.
    pub z0: Impedance,
}

/// A cable or overhead line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: Arc<str>,
    /// One end.
    pub from: usize,
    /// The other end.
    pub to: usize,
    /// Length in metres.
    pub length_m: f64,
    /// Positive-sequence impedance in ohms per kilometre.
    pub z_per_km: Impedance,
    /// Zero-sequence impedance in ohms per kilometre.
    pub z0_per_km: Impedance,
    /// Positive-sequence capacitance in nanofarads per kilometre.
    pub c_nf_per_km: f64,
    /// Zero-sequence capacitance in nanofarads per kilometre.
    pub c0_nf_per_km: f64,
    /// Current that it carries for ever, in amperes; `None` where nobody says.
    pub i_max: Option<f64>,
}

/// How a transformer's two sides meet in the zero sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeutralPath {
    /// Grounded stars on both sides (`YNyn`): it passes through.
    Through,
    /// The low side is a grounded star or zigzag, the high side has no neutral (`Dyn`, `Yzn`,
    /// `Dzn`): the low side is grounded through the transformer, the high side sees nothing.
    LowGrounded,
}

/// A transformer of two windings.
#[derive(Clone, Debug, PartialEq)]
pub struct Transformer {
    /// Its name.
    pub name: Arc<str>,
    /// Bus of the high side.
    pub high: usize,
    /// Bus of the low side.
    pub low: usize,
    /// Rated power in volt-amperes.
    pub s_va: f64,
    /// Rated voltage of the high side in volts, line to line.
    pub v_high: f64,
    /// Rated voltage of the low side in volts, line to line.
    pub v_low: f64,
    /// Short-circuit voltage in per cent.
    pub vk_percent: f64,
    /// Its resistive part in per cent.
    pub vkr_percent: f64,
    /// Short-circuit voltage of the zero sequence in per cent.
    pub vk0_percent: f64,
    /// Its resistive part in per cent.
    pub vkr0_percent: f64,
    /// Iron losses in watts.
    pub iron_loss_w: f64,
    /// No-load current in per cent of the rated one.
    pub no_load_current_percent: f64,
    /// Position of the tap changer: how many per cent more turns the high side has.
    pub tap_percent: f64,
    /// Hours of the vector group: the low side lags by 30 degrees for each.
    pub clock: u8,
    /// Path of the zero sequence.
    pub neutral: NeutralPath,
}

/// A breaker or switch without impedance.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// Its name.
    pub name: Arc<str>,
    /// One side.
    pub from: usize,
    /// The other side.
    pub to: usize,
    /// Whether it is closed at the start.
    pub closed: bool,
    /// The device of the rig that it is, if any.
    pub device: Option<Arc<str>>,
}

/// Phases that something hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// All three, alike.
    All,
    /// One, counted from zero, against the neutral.
    One(usize),
}

/// Shares of a load's power by their dependence on voltage; the rest is constant power.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Zip {
    /// Share with constant impedance.
    pub z: f64,
    /// Share with constant current.
    pub i: f64,
}

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Its bus.
    pub bus: usize,
    /// Its phases.
    pub on: On,
    /// Active power at nominal voltage in watts, positive = consumption.
    pub p: f64,
    /// Reactive power at nominal voltage in var, positive = lagging.
    pub q: f64,
    /// Dependence on voltage.
    pub zip: Zip,
}

/// Where a device hangs.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Name of the device in the rig.
    pub device: Arc<str>,
    /// Its bus.
    pub bus: usize,
    /// Its phases.
    pub on: On,
}

/// A branch of the network: what can open is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Index into [`Network::lines`].
    Line(usize),
    /// Index into [`Network::transformers`].
    Transformer(usize),
    /// Index into [`Network::switches`].
    Switch(usize),
}

/// A branch with its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Which branch.
    pub branch: Branch,
    /// One end; of a transformer the high side.
    pub from: usize,
    /// The other end.
    pub to: usize,
    /// Whether it conducts at the start.
    pub closed: bool,
}

impl Network {
    /// All branches: lines, transformers, switches, in this order.
    pub fn edges(&self) -> impl Iterator<Item = Edge> {
        let edge = |branch, from, to, closed| Edge {
            branch,
            from,
            to,
            closed,
        };
        let lines = self.lines.iter().enumerate();
        let transformers = self.transformers.iter().enumerate();
        let switches = self.switches.iter().enumerate();
        lines
            .map(move |(n, l)| edge(Branch::Line(n), l.from, l.to, true))
            .chain(
                transformers.map(move |(n, t)| edge(Branch::Transformer(n), t.high, t.low, true)),
            )
            .chain(switches.map(move |(n, s)| edge(Branch::Switch(n), s.from, s.to, s.closed)))
    }

    /// Place of a bus by its name.
    #[must_use]
    pub fn bus(&self, name: &str) -> Option<usize> {
        self.buses.iter().position(|bus| &*bus.name == name)
    }
}

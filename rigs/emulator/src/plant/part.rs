//! A part of the plant: what hangs together at the moment, and who holds its voltage.
//!
//! Connected, voltage and frequency are the utility's. Islanded, the frequency is that of
//! [`network::island`], and the voltage is where the forming units' droops meet: each wants
//! `V = 1 - nq (Q - Q_set) / S - (r P + x Q) / S`, with the drop over its virtual impedance, and
//! together they give the reactive power that is drawn. What they cannot carry pulls the voltage
//! down: a current that is limited is a current source, `V = V_before * I_max / I`.

use network::island::{Island, Machine};

use super::wires::Unit;
use super::{Forming, FormingLaw};

/// Who holds voltage and frequency of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Supply {
    /// The grid.
    Grid,
    /// Storage inverters and diesel sets.
    Island,
    /// Nobody on purpose: followers that were left alone with their loads.
    Drifting,
    /// Nobody, but it is still joined to a dead grid.
    Lost,
    /// Nobody: black until the grid comes back or somebody starts.
    Dead,
}

/// A part as it was at the end of the last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bus {
    /// Who holds it.
    pub supply: Supply,
    /// Voltage, line to neutral, in volts.
    pub v: f64,
    /// Frequency in hertz; the last one while the bus is dead.
    pub f: f64,
    /// Angle against the grid in degrees, -180 to 180.
    pub angle: f64,
    pub(super) tripping_s: f64,
}

impl Bus {
    /// Whether voltage stands on it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(
            self.supply,
            Supply::Grid | Supply::Island | Supply::Drifting
        )
    }
}

/// A unit that can hold an island, and its rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    Storage(usize),
    Genset(usize),
}

impl Former {
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Storage(n) => Unit::Storage(n),
            Self::Genset(n) => Unit::Genset(n),
        }
    }
}

/// Power drawn from those who hold a part, positive = consumption.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Drawn {
    pub(super) p: f64,
    pub(super) q: f64,
    /// Change of it in watts for a change of frequency by one per unit.
    pub(super) damping_w: f64,
}

/// What hangs together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bus: Bus,
    /// Whether the utility is joined.
    pub(super) joined: bool,
    /// Time since it began to be brought up, in seconds; `None` when nobody does.
    pub(super) starting_s: Option<f64>,
    /// Units that could hold it, in the order of the island's machines.
    pub(super) formers: Vec<Former>,
    pub(super) island: Island,
    /// Voltage in per unit above which the current of its units does not let it rise.
    pub(super) ceiling_pu: f64,
    /// What was drawn in this step.
    pub(super) drawn: Drawn,
}

/// Stages of voltage in which a forming unit brings up a dead bus: per unit of nominal, until so
/// many seconds after the start. Then it stands at nominal.
//= MathWorks, Simscape microgrid black start example: 0.3 per unit for 2 s, 0.7 for 3 s, then 1.0.
const START_STAGES: [(f64, f64); 2] = [(2.0, 0.3), (5.0, 0.7)];

/// Ceiling of the voltage of an island whose units are far from their largest current, in per unit.
/// Chosen: above every droop, and near enough that a short circuit shows within two cycles.
const CEILING_PU: f64 = 1.1;

/// Time constant with which a limited current moves the voltage, in seconds.
/// Chosen: the current control of an inverter takes a few cycles; loads answer a step later, and
/// a faster limit would swing with them.
const LIMIT_LAG_S: f64 = 0.05;

/// Least slope of voltage over reactive power that a unit is given, in per unit.
/// Chosen: below, two units would hold two voltages on one bus, and share by rounding.
const LEAST_SLOPE: f64 = 0.005;

/// What a forming unit brings into the voltage of its island.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) s_va: f64,
    pub(super) law: FormingLaw,
    /// Active power that it gives, in watts.
    pub(super) p: f64,
    /// Reactive power at nominal voltage, in var.
    pub(super) q_set: f64,
}

impl Share {
    /// Slope of voltage over reactive power, and voltage without any.
    fn line(&self) -> (f64, f64) {
        let law = &self.law;
        let slope = (law.droop_q + law.virtual_x).max(LEAST_SLOPE);
        let at_rest = 1.0 + (law.droop_q * self.q_set - law.virtual_r * self.p) / self.s_va;
        (slope, at_rest)
    }

    /// Reactive power that it gives at a voltage.
    pub(super) fn q(&self, v_pu: f64) -> f64 {
        let (slope, at_rest) = self.line();
        self.s_va / slope * (at_rest - v_pu)
    }
}

/// Voltage in per unit where the units' droops meet, drawing so much together.
pub(super) fn meeting(shares: impl Iterator<Item = Share>, q: f64) -> Option<f64> {
    let (mut stiffness, mut weighted) = (0.0, 0.0);
    for share in shares {
        let (slope, at_rest) = share.line();
        stiffness += share.s_va / slope;
        weighted += share.s_va / slope * at_rest;
    }
    (stiffness > 0.0).then(|| (weighted - q) / stiffness)
}

impl Part {
    /// A part that the grid holds.
    pub(super) fn new(v: f64, f: f64) -> Self {
        Self {
            bus: Bus {
                supply: Supply::Grid,
                v,
                f,
                angle: 0.0,
                tripping_s: 0.0,
            },
            joined: true,
            starting_s: None,
            formers: Vec::new(),
            island: Island::new(f, Vec::new()),
            ceiling_pu: CEILING_PU,
            drawn: Drawn::default(),
        }
    }

    /// Gives its island the units that could hold it.
    pub(super) fn man(&mut self, formers: Vec<Former>, machine: impl Fn(&Former) -> Machine) {
        self.island.machines = formers.iter().map(machine).collect();
        self.formers = formers;
    }

    /// Lets it turn against the grid for a step in which the grid's phase jumps.
    pub(super) fn turn(&mut self, f_grid: f64, jump: f64, dt_s: f64) {
        self.bus.angle = if matches!(self.bus.supply, Supply::Island | Supply::Drifting) {
            let slip = self.bus.f - f_grid;
            wrap(self.bus.angle + 360.0 * slip * dt_s - jump)
        } else {
            0.0
        };
    }

    /// Begins an island at a frequency.
    pub(super) fn begin_island(&mut self, f: f64) {
        self.bus.supply = Supply::Island;
        self.bus.f = f;
        self.bus.tripping_s = 0.0;
        self.ceiling_pu = CEILING_PU;
        self.island.begin(f);
    }

    /// Moves the ceiling of its voltage on: units that give their largest current at `v_pu` while
    /// `s_va` is drawn hold `v_pu * I_max / I`, what the impedance of the load makes of it.
    pub(super) fn limit(&mut self, v_pu: f64, s_va: f64, current_max: f64, dt_s: f64) -> f64 {
        let held = if s_va > 0.0 {
            v_pu * v_pu * current_max / s_va
        } else {
            CEILING_PU
        };
        let moved = 1.0 - (-dt_s / LIMIT_LAG_S).exp();
        let ceiling = self.ceiling_pu + moved * (held - self.ceiling_pu);
        self.ceiling_pu = ceiling.min(CEILING_PU);
        self.ceiling_pu
    }

    /// The stage of voltage of a part that is being brought up, per unit of nominal.
    pub(super) fn stage(&mut self, dt_s: f64) -> f64 {
        let Some(since_s) = self.starting_s else {
            return 1.0;
        };
        self.starting_s = Some(since_s + dt_s);
        let stage = START_STAGES.iter().find(|(until_s, _)| since_s < *until_s);
        match stage {
            Some((_, v_pu)) => *v_pu,
            None => {
                self.starting_s = None;
                1.0
            }
        }
    }

    /// Whether it has been outside of what its units bear for long enough to go down.
    pub(super) fn gives_up(&mut self, forming: &Forming, f_pu: f64, v_pu: f64, dt_s: f64) -> bool {
        let held = (forming.trip_low..=forming.trip_high).contains(&f_pu);
        let stands = self.starting_s.is_some() || v_pu >= forming.trip_v_low;
        self.bus.tripping_s = if held && stands {
            0.0
        } else {
            self.bus.tripping_s + dt_s
        };
        self.bus.tripping_s >= forming.trip_after.as_secs_f64()
    }
}

/// An angle in degrees brought to -180..=180.
pub(super) fn wrap(degrees: f64) -> f64 {
    let turned = (degrees + 180.0).rem_euclid(360.0) - 180.0;
    if turned.is_nan() { 0.0 } else { turned }
}

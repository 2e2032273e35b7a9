//! How a sweep passes a branch, whichever end it comes from.
//!
//! **Theory.** Every branch is `V_far = A V_near - Z I_far` and `I_near = A^H I_far` with
//! shunt admittances at both ends. A line has `A = 1` and half of its capacitance at each end
//! (nominal pi). A transformer has its ideal part on the high side: `A` turns the positive
//! sequence by `-30 k` degrees and the negative one by `+30 k` for clock number `k`, divides
//! by the ratio and, where the high side has no neutral, stops the zero sequence, which the low
//! side then sees as a shunt `1 / Z0` when it is fed from there. Impedances are those of the
//! short-circuit test on the low side, iron losses a shunt with half at either end (IEC
//! 60076-8; the same as pandapower's `trafo_model = "pi"`). Passed the other way, with `+` the
//! pseudo-inverse: `A' = A+`, `Z' = A+ Z (A+)^H`.

use crate::base;
use crate::description::{Branch, Impedance, Line, Network, NeutralPath, Source, Transformer};
use crate::matrix::{Matrix, Phasor, Sequences, ZERO, turned};

/// One way through a branch.
#[derive(Clone, Debug)]
pub struct Pass<const N: usize> {
    /// What it does to voltage, `None` where it does nothing (lines, switches).
    pub a: Option<Box<(Matrix<N>, Matrix<N>)>>,
    /// Series impedance, `None` where there is none (switches).
    pub z: Option<Box<Matrix<N>>>,
    /// Shunt admittance at the near end.
    pub y_near: Sequences,
    /// Shunt admittance at the far end.
    pub y_far: Sequences,
}

/// Both ways through a branch.
#[derive(Clone, Debug)]
pub struct BothWays<const N: usize> {
    /// From `from` to `to`.
    pub forward: Pass<N>,
    /// From `to` to `from`.
    pub reverse: Pass<N>,
}

/// A series element of sequences between two shunts.
struct Series {
    a: Sequences,
    z: Sequences,
    y_from: Sequences,
    y_to: Sequences,
    /// Shunt at the `to` end when it is the one that feeds.
    y_to_feeding: Sequences,
}

impl<const N: usize> BothWays<N> {
    /// One of the two.
    #[must_use]
    pub fn way(&self, reversed: bool) -> &Pass<N> {
        if reversed {
            &self.reverse
        } else {
            &self.forward
        }
    }

    /// The two ways through a branch of a network.
    #[must_use]
    pub fn of(network: &Network, branch: Branch) -> Self {
        let f = network.f_nominal;
        let v_ll = |bus: usize| network.buses[bus].v_ll;
        match branch {
            Branch::Line(n) => {
                let line = &network.lines[n];
                series(&of_line(line, v_ll(line.from), f))
            }
            Branch::Transformer(n) => {
                let t = &network.transformers[n];
                series(&of_transformer(t, v_ll(t.high), v_ll(t.low)))
            }
            Branch::Switch(_) => {
                let through = || Pass {
                    a: None,
                    z: None,
                    y_near: Sequences::default(),
                    y_far: Sequences::default(),
                };
                Self {
                    forward: through(),
                    reverse: through(),
                }
            }
        }
    }
}

/// Impedance behind a source, `None` when it is an ideal one.
#[must_use]
pub fn behind<const N: usize>(source: &Source, v_ll: f64) -> Option<Matrix<N>> {
    let base = base::impedance(v_ll);
    let z = Sequences {
        zero: phasor(source.z0) / base,
        positive: phasor(source.z) / base,
        negative: phasor(source.z2) / base,
    };
    (z != Sequences::default()).then(|| z.matrix())
}

fn phasor(z: Impedance) -> Phasor {
    Phasor::new(z.r, z.x)
}

fn of_line(line: &Line, v_ll: f64, f: f64) -> Series {
    let base = base::impedance(v_ll);
    let km = line.length_m / 1e3;
    let z1 = phasor(line.z_per_km) * km / base;
    let z0 = phasor(line.z0_per_km) * km / base;
    let half = |c_nf_per_km: f64| {
        let siemens = std::f64::consts::TAU * f * c_nf_per_km * 1e-9 * km;
        Phasor::new(0.0, siemens * base / 2.0)
    };
    let y = Sequences {
        zero: half(line.c0_nf_per_km),
        positive: half(line.c_nf_per_km),
        negative: half(line.c_nf_per_km),
    };
    Series {
        a: Sequences::all(Phasor::new(1.0, 0.0)),
        z: Sequences {
            zero: z0,
            positive: z1,
            negative: z1,
        },
        y_from: y,
        y_to: y,
        y_to_feeding: y,
    }
}

fn of_transformer(t: &Transformer, v_high: f64, v_low: f64) -> Series {
    // Impedance of the low side, from the rating into the base.
    let scale = base::S_BASE_VA / t.s_va * (t.v_low / v_low).powi(2);
    let short = |vk: f64, vkr: f64| {
        let (z, r) = (vk / 100.0, vkr / 100.0);
        Phasor::new(r, (z * z - r * r).max(0.0).sqrt()) * scale
    };
    let z1 = short(t.vk_percent, t.vkr_percent);
    let z0 = short(t.vk0_percent, t.vkr0_percent);
    let ratio = (t.v_high * (1.0 + t.tap_percent / 100.0) / v_high) / (t.v_low / v_low);
    let turn = turned(-30.0 * f64::from(t.clock)) / ratio;
    let g = t.iron_loss_w / t.s_va;
    let s = t.no_load_current_percent / 100.0;
    let magnetising = Phasor::new(g, -(s * s - g * g).max(0.0).sqrt()) / scale / 2.0;
    let no_zero = |zero: Phasor, y: Phasor| Sequences {
        zero,
        positive: y,
        negative: y,
    };
    let through = Phasor::new(1.0, 0.0) / ratio;
    let (zero, grounding) = match t.neutral {
        NeutralPath::Through => (through, ZERO),
        NeutralPath::LowGrounded => (ZERO, z0.inv()),
    };
    Series {
        a: Sequences {
            zero,
            positive: turn,
            negative: turn.conj(),
        },
        z: Sequences {
            zero: z0,
            positive: z1,
            negative: z1,
        },
        y_from: no_zero(ZERO, magnetising / (ratio * ratio)),
        y_to: no_zero(ZERO, magnetising),
        y_to_feeding: no_zero(grounding, magnetising),
    }
}

fn series<const N: usize>(s: &Series) -> BothWays<N> {
    let one = Phasor::new(1.0, 0.0);
    let invert = |x: Phasor| if x == ZERO { ZERO } else { x.inv() };
    let inverse = s.a.map(invert);
    let z_reverse = Sequences {
        zero: s.z.zero * inverse.zero.norm_sqr(),
        positive: s.z.positive * inverse.positive.norm_sqr(),
        negative: s.z.negative * inverse.negative.norm_sqr(),
    };
    let turning = |a: Sequences| {
        (a != Sequences::all(one)).then(|| Box::new((a.matrix(), a.map(|x| x.conj()).matrix())))
    };
    BothWays {
        forward: Pass {
            a: turning(s.a),
            z: Some(Box::new(s.z.matrix())),
            y_near: s.y_from,
            y_far: s.y_to,
        },
        reverse: Pass {
            a: turning(inverse),
            z: Some(Box::new(z_reverse.matrix())),
            y_near: s.y_to_feeding,
            y_far: s.y_from,
        },
    }
}

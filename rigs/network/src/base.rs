//! Per unit: the base of power, and what follows from it.

/// Base of power of three phases together, in volt-amperes.
/// Chosen: the size of a low-voltage feeder, so that powers and impedances are near one.
pub const S_BASE_VA: f64 = 100e3;

/// Base of impedance in ohms where the nominal voltage, line to line, is `v_ll` volts.
#[must_use]
pub fn impedance(v_ll: f64) -> f64 {
    v_ll * v_ll / S_BASE_VA
}

/// Power in per unit that `va` is, in a solution of `phases` conductors: one stands for all
/// three in a balanced solution, three have a third of the base each.
#[must_use]
pub fn power(va: f64, phases: usize) -> f64 {
    va / (S_BASE_VA / phases as f64)
}

/// The way back from [`power`].
#[must_use]
pub fn volt_amperes(per_unit: f64, phases: usize) -> f64 {
    per_unit * S_BASE_VA / phases as f64
}

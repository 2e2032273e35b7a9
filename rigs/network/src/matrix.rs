//! Small matrices of phasors: one conductor in a balanced solution, three otherwise.
//!
//! **Theory.** A circulant matrix `T diag(z0, z1, z2) T^-1` of symmetrical components
//! (Fortescue 1918) is how three phases see an element that is built alike in each of them:
//! `M[i][j] = (z0 + z1 a^(j-i) + z2 a^(i-j)) / 3` with `a = 1 at 120 degrees`.

pub use num_complex::Complex64 as Phasor;

/// A value per phase.
pub type Phases<const N: usize> = [Phasor; N];
/// How phases act on each other.
pub type Matrix<const N: usize> = [[Phasor; N]; N];

/// Nothing.
pub const ZERO: Phasor = Phasor::new(0.0, 0.0);

/// Zero, positive and negative sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sequences {
    /// Zero sequence.
    pub zero: Phasor,
    /// Positive sequence, the only one of a balanced solution.
    pub positive: Phasor,
    /// Negative sequence.
    pub negative: Phasor,
}

impl Sequences {
    /// The same in all three.
    #[must_use]
    pub fn all(value: Phasor) -> Self {
        Self {
            zero: value,
            positive: value,
            negative: value,
        }
    }

    /// Each of the three by a function.
    #[must_use]
    pub fn map(self, f: impl Fn(Phasor) -> Phasor) -> Self {
        Self {
            zero: f(self.zero),
            positive: f(self.positive),
            negative: f(self.negative),
        }
    }

    /// The matrix by which phases see it.
    #[must_use]
    pub fn matrix<const N: usize>(self) -> Matrix<N> {
        let mut matrix = [[ZERO; N]; N];
        for (i, row) in matrix.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell = if N == 1 {
                    self.positive
                } else {
                    let turn = turned(120.0 * (j as f64 - i as f64));
                    (self.zero + self.positive * turn + self.negative * turn.conj()) / 3.0
                };
            }
        }
        matrix
    }
}

/// One at an angle in degrees.
#[must_use]
pub fn turned(degrees: f64) -> Phasor {
    Phasor::from_polar(1.0, degrees.to_radians())
}

/// A symmetrical set of phases `a, b, c` with this phasor as `a`.
#[must_use]
pub fn symmetrical<const N: usize>(a: Phasor) -> Phases<N> {
    std::array::from_fn(|phase| a * turned(-120.0 * phase as f64))
}

/// `matrix * vector`.
#[inline]
#[must_use]
pub fn times<const N: usize>(matrix: &Matrix<N>, vector: &Phases<N>) -> Phases<N> {
    let mut product = [ZERO; N];
    for (row, out) in matrix.iter().zip(&mut product) {
        for (m, v) in row.iter().zip(vector) {
            *out += m * v;
        }
    }
    product
}

/// The conjugate transpose.
#[must_use]
pub fn adjoint<const N: usize>(matrix: &Matrix<N>) -> Matrix<N> {
    std::array::from_fn(|i| std::array::from_fn(|j| matrix[j][i].conj()))
}

/// Adds one matrix to another.
pub fn add<const N: usize>(to: &mut Matrix<N>, what: &Matrix<N>) {
    for (row, other) in to.iter_mut().zip(what) {
        for (cell, value) in row.iter_mut().zip(other) {
            *cell += value;
        }
    }
}

//! Linear programs in whole numbers, solved exactly, with a certificate.
//!
//! A replica that recomputes a market must come to the same numbers, and floating
//! point does not promise that across machines. The programs of this market are small
//! and have coefficients of −1, 0 and 1, so a simplex that pivots in integers (Edmonds;
//! Bareiss, 1968: every entry is a determinant of the program, so divisions leave no
//! rest) is quick enough and needs no other library. HiGHS would need a C++ compiler and
//! CMake, and the solvers in Rust compute in doubles.
//!
//! The result carries both the solution and the prices of the rows. Whether it is best
//! is then checked without solving anything: [`Program::verify`].
//!
//! Not responsible for large programs: the time grows with rows times columns per pivot.

use crate::fault::Coded;

/// How a row is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// At most.
    Most,
    /// Exactly.
    Exact,
    /// At least.
    Least,
}

/// One row: coefficients by column, and its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Coefficients by column; a column that is not listed has none.
    pub terms: Vec<(usize, i64)>,
    /// How it is bounded.
    pub bound: Bound,
    /// By what.
    pub limit: i128,
}

/// Minimise the cost of columns that are not negative, within the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// Cost of one unit of each column.
    pub costs: Vec<i128>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A solution with its proof, all in parts of `whole`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// One unit, positive.
    pub whole: i128,
    /// The columns.
    pub columns: Vec<i128>,
    /// The price of each row: what its limit costs at the margin.
    pub prices: Vec<i128>,
}

/// What a certificate does not keep of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It has other columns and rows.
    Shape,
    /// A column is negative.
    Negative(usize),
    /// A row is not kept, or its price has the wrong sign.
    Row(usize),
    /// A column could be had for less than it is worth.
    Worth(usize),
    /// What the columns cost is not what the limits are worth.
    Gap {
        /// The one.
        cost: i128,
        /// The other.
        worth: i128,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shape => f.write_str("it is of another program"),
            Self::Negative(column) => write!(f, "column {column} is negative"),
            Self::Row(row) => {
                write!(f, "row {row} is not kept, or its price has the wrong sign")
            }
            Self::Worth(column) => write!(f, "column {column} is worth more than it costs"),
            Self::Gap { cost, worth } => {
                write!(f, "it costs {cost} and the limits are worth {worth}")
            }
        }
    }
}

/// Why there is no solution, or a certificate is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LpError {
    /// No columns keep all rows.
    #[error("no solution keeps all limits")]
    Infeasible,
    /// The cost has no least value.
    #[error("the cost has no least value")]
    Unbounded,
    /// A determinant leaves 128 bits.
    #[error("a number exceeds 128 bits")]
    Overflow,
    /// The certificate proves nothing.
    #[error("the certificate is none: {0}")]
    Certificate(String),
}

impl Coded for LpError {
    fn code(&self) -> &'static str {
        match self {
            Self::Infeasible => "M140",
            Self::Unbounded => "M141",
            Self::Overflow => "M142",
            Self::Certificate(_) => "M143",
        }
    }
    fn place(&self) -> String {
        "program".into()
    }
    fn help(&self) -> String {
        match self {
            Self::Infeasible => "ask for less, or offer more".into(),
            Self::Unbounded => "bound what has a negative cost".into(),
            Self::Overflow => "check the units".into(),
            Self::Certificate(_) => "do not use it; recompute it from the program".into(),
        }
    }
}

/// Pivots after which the first improving column is taken instead of the best one, so
/// that a degenerate program cannot go in circles.
/// Chosen: far more than programs of this market need.
const PIVOTS_BEST: usize = 2_000;

/// The tableau: rows of limits, below them the costs of both phases; the last column is
/// the right side. All in parts of `whole`.
struct Tableau {
    rows: Vec<Vec<i128>>,
    /// Which column each row solves for.
    basis: Vec<usize>,
    whole: i128,
    columns: usize,
    /// Columns from here on only help to begin.
    artificial: usize,
}

impl Program {
    /// The solution and its proof.
    ///
    /// # Errors
    /// [`LpError`].
    pub fn solve(&self) -> Result<Certificate, LpError> {
        let (mut tableau, units) = self.tableau();
        let rows = self.rows.len();
        tableau.minimise(rows, tableau.columns)?;
        if tableau.rows[rows][tableau.columns] != 0 {
            return Err(LpError::Infeasible);
        }
        tableau.leave_artificial()?;
        tableau.minimise(rows + 1, tableau.artificial)?;
        let mut columns = vec![0; self.costs.len()];
        for (row, &column) in tableau.basis.iter().enumerate() {
            if let Some(value) = columns.get_mut(column) {
                *value = tableau.rows[row][tableau.columns];
            }
        }
        // The cost that a row's own unit column has left is minus its price.
        let costs = &tableau.rows[rows + 1];
        let prices = units.iter().map(|&(column, sign)| -costs[column] * sign);
        let certificate = Certificate {
            whole: tableau.whole,
            columns,
            prices: prices.collect(),
        };
        self.verify(&certificate)?;
        Ok(certificate)
    }

    /// The first tableau, and for each row its unit column with the sign of the row.
    fn tableau(&self) -> (Tableau, Vec<(usize, i128)>) {
        let given = self.costs.len();
        let slacks = self
            .rows
            .iter()
            .filter(|row| row.bound != Bound::Exact)
            .count();
        // A row whose slack cannot begin at its limit needs a column that only helps.
        let flipped = |row: &Row| row.limit < 0;
        let own_slack = |row: &Row| match row.bound {
            Bound::Most => !flipped(row),
            Bound::Least => flipped(row),
            Bound::Exact => false,
        };
        let helped = self.rows.iter().filter(|row| !own_slack(row)).count();
        let (artificial, columns) = (given + slacks, given + slacks + helped);
        let mut rows = Vec::with_capacity(self.rows.len() + 2);
        let (mut basis, mut units) = (Vec::new(), Vec::new());
        let (mut slack, mut help) = (given, artificial);
        let mut first = vec![0_i128; columns + 1];
        for row in &self.rows {
            let sign = if flipped(row) { -1 } else { 1 };
            let mut cells = vec![0_i128; columns + 1];
            for &(column, coefficient) in &row.terms {
                cells[column] += sign * i128::from(coefficient);
            }
            cells[columns] = sign * row.limit;
            if row.bound != Bound::Exact {
                cells[slack] = if row.bound == Bound::Most {
                    sign
                } else {
                    -sign
                };
                slack += 1;
            }
            let unit = if own_slack(row) {
                slack - 1
            } else {
                cells[help] = 1;
                // Phase one minimises the helping columns, whose cost the basis pays.
                let others = (0..artificial).chain([columns]);
                others.for_each(|column| first[column] -= cells[column]);
                help += 1;
                help - 1
            };
            basis.push(unit);
            units.push((unit, sign));
            rows.push(cells);
        }
        let mut second = self.costs.clone();
        second.resize(columns + 1, 0);
        rows.extend([first, second]);
        let tableau = Tableau {
            rows,
            basis,
            whole: 1,
            columns,
            artificial,
        };
        (tableau, units)
    }

    /// Whether a certificate belongs to this program: the columns keep every limit, the
    /// prices have the right sign and no column could be had for less than they say, and
    /// what the columns cost is what the limits are worth.
    ///
    /// # Errors
    /// [`LpError::Certificate`] with what does not hold, or [`LpError::Overflow`].
    pub fn verify(&self, certificate: &Certificate) -> Result<(), LpError> {
        match self.flaw(certificate)? {
            Some(flaw) => Err(LpError::Certificate(flaw.to_string())),
            None => Ok(()),
        }
    }

    /// The first thing that a certificate does not keep, if it is none.
    ///
    /// # Errors
    /// [`LpError::Overflow`].
    pub fn flaw(&self, certificate: &Certificate) -> Result<Option<Flaw>, LpError> {
        let Certificate {
            whole,
            columns,
            prices,
        } = certificate;
        if *whole <= 0 || columns.len() != self.costs.len() || prices.len() != self.rows.len() {
            return Ok(Some(Flaw::Shape));
        }
        let times = |a: i128, b: i128| a.checked_mul(b).ok_or(LpError::Overflow);
        let plus = |a: i128, b: i128| a.checked_add(b).ok_or(LpError::Overflow);
        if let Some(column) = columns.iter().position(|value| *value < 0) {
            return Ok(Some(Flaw::Negative(column)));
        }
        let mut left_over: Vec<i128> = self
            .costs
            .iter()
            .map(|&cost| times(cost, *whole))
            .collect::<Result<_, _>>()?;
        let (mut cost, mut worth) = (0_i128, 0_i128);
        for (&unit, &value) in self.costs.iter().zip(columns) {
            cost = plus(cost, times(unit, value)?)?;
        }
        for (index, (row, &price)) in self.rows.iter().zip(prices).enumerate() {
            let mut sum = 0_i128;
            for &(column, coefficient) in &row.terms {
                sum = plus(sum, times(coefficient.into(), columns[column])?)?;
                let part = times(-i128::from(coefficient), price)?;
                left_over[column] = plus(left_over[column], part)?;
            }
            let limit = times(row.limit, *whole)?;
            let (kept, sign) = match row.bound {
                Bound::Most => (sum <= limit, price <= 0),
                Bound::Least => (sum >= limit, price >= 0),
                Bound::Exact => (sum == limit, true),
            };
            if !kept || !sign {
                return Ok(Some(Flaw::Row(index)));
            }
            worth = plus(worth, times(row.limit, price)?)?;
        }
        if let Some(column) = left_over.iter().position(|rest| *rest < 0) {
            return Ok(Some(Flaw::Worth(column)));
        }
        Ok((cost != worth).then_some(Flaw::Gap { cost, worth }))
    }
}

impl Tableau {
    /// Pivots until no column below `columns` improves the costs in that row.
    fn minimise(&mut self, costs: usize, columns: usize) -> Result<(), LpError> {
        let mut pivots = 0;
        loop {
            let improving = (0..columns).filter(|&column| self.rows[costs][column] < 0);
            let entering = if pivots < PIVOTS_BEST {
                improving.min_by_key(|&column| self.rows[costs][column])
            } else {
                improving.min()
            };
            let Some(entering) = entering else {
                return Ok(());
            };
            let leaving = self.leaving(entering)?.ok_or(LpError::Unbounded)?;
            self.pivot(leaving, entering)?;
            pivots += 1;
        }
    }

    /// The row that bounds a column most; of equals, the one of the lowest basis column.
    fn leaving(&self, entering: usize) -> Result<Option<usize>, LpError> {
        let mut best: Option<usize> = None;
        for row in 0..self.basis.len() {
            let cell = self.rows[row][entering];
            if cell <= 0 {
                continue;
            }
            let Some(known) = best else {
                best = Some(row);
                continue;
            };
            let ours = self.rows[row][self.columns].checked_mul(self.rows[known][entering]);
            let theirs = self.rows[known][self.columns].checked_mul(cell);
            let (ours, theirs) = ours.zip(theirs).ok_or(LpError::Overflow)?;
            if (ours, self.basis[row]) < (theirs, self.basis[known]) {
                best = Some(row);
            }
        }
        Ok(best)
    }

    fn pivot(&mut self, row: usize, column: usize) -> Result<(), LpError> {
        let pivot = self.rows[row].clone();
        let divisor = pivot[column];
        for (index, cells) in self.rows.iter_mut().enumerate() {
            if index == row {
                continue;
            }
            let factor = cells[column];
            for (cell, &above) in cells.iter_mut().zip(&pivot) {
                let kept = cell.checked_mul(divisor);
                let taken = factor.checked_mul(above);
                let difference = kept
                    .zip(taken)
                    .and_then(|(kept, taken)| kept.checked_sub(taken));
                // A determinant of the program: the division leaves no rest.
                *cell = difference.ok_or(LpError::Overflow)? / self.whole;
            }
        }
        self.basis[row] = column;
        self.whole = divisor;
        if divisor < 0 {
            self.whole = -divisor;
            self.rows
                .iter_mut()
                .flatten()
                .for_each(|cell| *cell = -*cell);
        }
        Ok(())
    }

    /// Takes helping columns out of the basis, where they stand at zero.
    fn leave_artificial(&mut self) -> Result<(), LpError> {
        for row in 0..self.basis.len() {
            if self.basis[row] >= self.artificial {
                let other = (0..self.artificial).find(|&column| self.rows[row][column] != 0);
                // A row without any is said twice; its helping column stays at zero.
                if let Some(column) = other {
                    self.pivot(row, column)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

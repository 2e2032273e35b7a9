use super::*;
use crate::chance::Chance;

fn row(terms: &[(usize, i64)], bound: Bound, limit: i128) -> Row {
    Row {
        terms: terms.to_vec(),
        bound,
        limit,
    }
}

#[test]
fn a_small_program_has_the_solution_and_prices_of_the_textbook() {
    // Minimise −3x − 5y with x <= 4, 2y <= 12, 3x + 2y <= 18: x = 2, y = 6.
    let program = Program {
        costs: vec![-3, -5],
        rows: vec![
            row(&[(0, 1)], Bound::Most, 4),
            row(&[(1, 2)], Bound::Most, 12),
            row(&[(0, 3), (1, 2)], Bound::Most, 18),
        ],
    };
    let found = program.solve().unwrap();
    let part = |value: i128| (value * 2, found.whole * 2);
    assert_eq!(part(found.columns[0]), (4 * found.whole, 2 * found.whole));
    assert_eq!(found.columns[1], 6 * found.whole);
    // The prices are 0, −3/2 and −1.
    let doubled: Vec<i128> = found.prices.iter().map(|p| 2 * p / found.whole).collect();
    assert_eq!(doubled, [0, -3, -2]);
}

#[test]
fn what_has_no_solution_or_no_end_is_told() {
    let twice = Program {
        costs: vec![1],
        rows: vec![
            row(&[(0, 1)], Bound::Most, 1),
            row(&[(0, 1)], Bound::Least, 2),
        ],
    };
    assert_eq!(twice.solve(), Err(LpError::Infeasible));
    let endless = Program {
        costs: vec![-1],
        rows: vec![row(&[(0, 1)], Bound::Least, 2)],
    };
    assert_eq!(endless.solve(), Err(LpError::Unbounded));
    let huge = Program {
        costs: vec![i128::MAX / 2],
        rows: vec![row(&[(0, i64::MAX)], Bound::Least, i128::MAX / 2)],
    };
    assert_eq!(huge.solve(), Err(LpError::Overflow));
    // A row that is said twice, and one that says nothing.
    let redundant = Program {
        costs: vec![1, 1],
        rows: vec![
            row(&[(0, 1), (1, 1)], Bound::Exact, 3),
            row(&[(0, 1), (1, 1)], Bound::Exact, 3),
            row(&[], Bound::Exact, 0),
            row(&[(0, -1)], Bound::Most, -1),
        ],
    };
    assert!(redundant.solve().is_ok());
}

/// Solves random programs; `solve` verifies each certificate, and without a solution a
/// search over small whole columns must find none either.
#[test]
fn random_programs_are_solved_with_a_proof_or_have_no_solution() {
    let (mut solved, mut none) = (0, 0);
    for seed in 0..600 {
        let mut chance = Chance::seeded(seed);
        let columns = chance.within(1, 4) as usize;
        let mut program = Program {
            costs: (0..columns).map(|_| chance.within(-3, 9).into()).collect(),
            rows: Vec::new(),
        };
        for _ in 0..chance.within(1, 4) {
            let terms = (0..columns)
                .map(|column| (column, chance.within(-2, 3)))
                .collect();
            let bound = [Bound::Most, Bound::Exact, Bound::Least][chance.within(0, 2) as usize];
            let limit = chance.within(-6, 9).into();
            program.rows.push(Row {
                terms,
                bound,
                limit,
            });
        }
        // A box, so that there is an end.
        let all: Vec<(usize, i64)> = (0..columns).map(|column| (column, 1)).collect();
        program.rows.push(row(&all, Bound::Most, 6));
        let whole = whole_columns(columns, 6)
            .into_iter()
            .filter(|c| keeps(&program, c));
        let best = whole.map(|c| cost(&program, &c)).min();
        match program.solve() {
            Ok(found) => {
                solved += 1;
                let cost: i128 = cost(&program, &found.columns);
                assert!(
                    best.is_none_or(|best| cost <= best * found.whole),
                    "seed {seed}"
                );
            }
            Err(LpError::Infeasible) => {
                none += 1;
                assert_eq!(best, None, "seed {seed}");
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    assert!(solved > 200 && none > 60, "{solved} {none}");
}

fn cost(program: &Program, columns: &[i128]) -> i128 {
    program.costs.iter().zip(columns).map(|(c, x)| c * x).sum()
}

fn keeps(program: &Program, columns: &[i128]) -> bool {
    program.rows.iter().all(|row| {
        let sum: i128 = row
            .terms
            .iter()
            .map(|&(c, k)| columns[c] * i128::from(k))
            .sum();
        match row.bound {
            Bound::Most => sum <= row.limit,
            Bound::Exact => sum == row.limit,
            Bound::Least => sum >= row.limit,
        }
    })
}

fn whole_columns(count: usize, most: i128) -> Vec<Vec<i128>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = all.iter().flat_map(|start: &Vec<i128>| {
            (0..=most).map(|last| start.iter().copied().chain([last]).collect())
        });
        all = longer.collect();
    }
    all
}

#[test]
fn a_certificate_with_another_number_proves_nothing() {
    let program = Program {
        costs: vec![10, 20, 1],
        rows: vec![
            row(&[(0, 1), (1, 1)], Bound::Exact, 7),
            row(&[(0, 1), (2, 1)], Bound::Most, 5),
            row(&[(2, 1)], Bound::Least, 2),
        ],
    };
    let found = program.solve().unwrap();
    assert_eq!(found.columns, [3, 4, 2].map(|value| value * found.whole));
    for column in 0..3 {
        for by in [-1, 1] {
            let mut other = found.clone();
            other.columns[column] += by;
            assert!(program.verify(&other).is_err(), "column {column} by {by}");
            let mut other = found.clone();
            other.prices[column] += by;
            assert!(program.verify(&other).is_err(), "price {column} by {by}");
        }
    }
    let short = Certificate {
        columns: Vec::new(),
        ..found
    };
    assert_eq!(program.verify(&short).unwrap_err().code(), "M143");
}

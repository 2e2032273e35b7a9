//! The format page, as tests compare it with the code.

const PAGE: &str = include_str!("../../../docs/ledger-format.md");

/// The cells of each row of the table whose first column has this title.
pub(crate) fn rows(title: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {title} |");
    let table = PAGE.lines().skip_while(|line| !line.starts_with(&head));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &'static str| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().trim_matches('`')).collect()
    };
    rows.map(cells).collect()
}

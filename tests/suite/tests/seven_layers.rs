//! The page on the seven layers of transactive energy says what is there, and what README and map say.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::BTreeSet;

use suite::root;

/// The layers, in the order of Zia et al. 2020.
const LAYERS: [&str; 7] = [
    "user",
    "network",
    "system operator",
    "market",
    "distributed ledger",
    "communication",
    "regulation",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Layer and rooms of each row of a page's table of layers: what stands in its second cell in
/// backticks, or as the text of a link.
fn rows(page: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut rows = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, rooms] = cells[..] else {
            continue;
        };
        if !LAYERS.contains(&layer) {
            continue;
        }
        let words = rooms.split(['`', '[', ']', '(', ')', ' ', ',']);
        let rooms = words.filter(|word| word.contains('/') && !word.starts_with(".."));
        rows.push((layer.to_owned(), rooms.map(str::to_owned).collect()));
    }
    rows
}

#[test]
fn every_layer_is_on_the_page_with_rooms_that_exist_and_a_word_on_each() {
    let page = read("docs/seven-layers.md");
    let rows = rows(&page);
    let layers: Vec<&str> = rows.iter().map(|(layer, _)| layer.as_str()).collect();
    assert_eq!(layers, LAYERS);
    let heads: Vec<String> = (page.lines().filter_map(|line| line.strip_prefix("## ")))
        .map(str::to_lowercase)
        .collect();
    assert_eq!(heads[..7], LAYERS);
    for (layer, rooms) in &rows {
        assert!(!rooms.is_empty(), "{layer} has no room");
        for room in rooms {
            assert!(root().join(room).exists(), "{layer}: there is no {room}");
            let link = format!("[`{room}`](../{room})");
            assert!(page.contains(&link), "{layer}: {room} leads elsewhere");
        }
    }
}

#[test]
fn readme_and_map_name_the_rooms_of_the_page() {
    let of_page = rows(&read("docs/seven-layers.md"));
    for other in ["README.md", "ARCHITECTURE.md"] {
        let of_other = rows(&read(other));
        for (layer, rooms) in &of_page {
            let same = of_other.iter().find(|(name, _)| name == layer);
            let (_, theirs) = same.unwrap_or_else(|| panic!("{other} lacks {layer}"));
            assert_eq!(theirs, rooms, "{other}: {layer}");
        }
        assert_eq!(of_other.len(), LAYERS.len(), "{other}");
    }
}

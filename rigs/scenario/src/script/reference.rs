//! The page of all keys of a scenario file, each with an example, from the tables of the keys.

use super::keys::{
    ADOPT, AFTER, AGREE, CHECKS, DROOP, Holds, Key, LOOP, OF_ALL, PHASE, POWER_FACTOR, RAMP, RANGE,
    ROOT, STEP, UNTIL,
};

/// A table of a scenario file.
struct Section {
    title: &'static str,
    about: &'static str,
    keys: &'static [Key],
    /// A text in which each of the keys stands.
    example: &'static str,
}

/// The sections of the page, apart from the checks.
const SECTIONS: &[Section] = &[
    Section {
        title: "At the top",
        about: "",
        keys: ROOT,
        example: r#"name     = "The storage gives {p} and is caught if it does not"
source   = ["what the lab agreed"]
tags     = ["mine", "smoke"]
rig      = "lab.toml"
need     = { ess = 1, source = "grid" }
matrix   = { p = ["1kW", "2kW"] }
seed     = 7
expect   = "pass"
mutants  = { ess1 = [{ defect = "no_latch" }] }
include  = ["common.toml"]
setup    = { within = "30s", do = [{ at = "0s", hold = { "ess1.p" = "0W" } }] }
do       = [{ at = "1s", hold = { "ess1.p" = "{p}" }, mark = "asked" }]
check    = [{ t90 = "ess1.p", from = "asked", to = "{p}", max = "1s" }]
teardown = { within = "10s", do = [{ at = "0s", release = ["ess1"] }] }
after    = { safe = ["ess1"], within = "10s" }
"#,
    },
    Section {
        title: "A range in `matrix`",
        about: "In place of a list of texts: three numbers with one unit.",
        keys: RANGE,
        example: r#"matrix = { soc = { from = "20%", to = "80%", step = "20%" } }
"#,
    },
    Section {
        title: "`setup` and `teardown`",
        about: "Their moments count from their own begin.",
        keys: PHASE,
        example: r#"setup = { within = "30s", do = [{ at = "0s", hold = { "ess1.p" = "0W" } }] }
"#,
    },
    Section {
        title: "A step in `do`",
        about: "All that it does happens at once; at least one key stands beside `at`.",
        keys: STEP,
        example: r#"do = [
  { at = "0s",  set = { "pv1.available" = "2kW" }, until = { settle = "pcc.p", band = "100W", within = "10s" } },
  { at = "+1s", step = { "grid.v" = "46V" }, for = "150ms", mark = "dip" },
  { at = "dip+9s", hold = { "ess1.p" = "1kW" }, fault = { "lan1.loss" = "20%" } },
  { at = "+5s", release = ["ess1"], ramp = { "grid.f" = { to = "49.5Hz", over = "2s" } } },
  { at = "+5s", unplug = ["ess1"] },
  { at = "+9s", plug = ["ess1"], fault = { "lan1.loss" = "off" } },
  { at = "+1s", agree = { pcc_target = "0W" } },
  { at = "+1s", mode = "island", until = { mode = "islanded", within = "30s" } },
  { at = "+1s", hand_over = "gen1" },
  { at = "+1s", adopt = { pv1 = { volt_var = [[0.95, 0.44], [0.99, 0], [1.01, 0], [1.05, -0.44]] } } },
  { at = "+9s", play = "course.csv" },
]
"#,
    },
    Section {
        title: "A loop in `do`",
        about: "",
        keys: LOOP,
        example: r#"do = [
  { repeat = 3, as = "n", do = [{ at = "+1s", hold = { "ess1.p" = "{n}kW" }, mark = "asked{n}" }] },
]
"#,
    },
    Section {
        title: "A line in `ramp`",
        about: "",
        keys: RAMP,
        example: r#"do = [{ at = "0s", ramp = { "grid.f" = { to = "49.5Hz", over = "2s" } } }]
"#,
    },
    Section {
        title: "`agree`",
        about: "It takes the place of all that was agreed before.",
        keys: AGREE,
        example: r#"do = [
  { at = "0s", agree = { pcc_target = "1kW", pcc_limits = "-3..5kW", pcc_pf_min = 0.95, pcc_q = "0var" } },
]
"#,
    },
    Section {
        title: "A device in `adopt`",
        about: "One characteristic, and `revert` where the device shall give it up by itself.",
        keys: ADOPT,
        example: r#"do = [
  { at = "0s",  adopt = { pv1 = { volt_var = [[0.95, 0.44], [0.99, 0], [1.01, 0], [1.05, -0.44]], revert = "60s" } } },
  { at = "+1s", adopt = { pv1 = { volt_watt = [[1.06, 1], [1.1, 0]] } } },
  { at = "+1s", adopt = { pv1 = { watt_var = [[0.5, 0], [1, -0.44]] } } },
  { at = "+1s", adopt = { pv1 = { freq_droop = { db_of_hz = 0.036, db_uf_hz = 0.036, k_of = 0.05, k_uf = 0.05 } } } },
  { at = "+1s", adopt = { pv1 = { power_factor = { pf = 0.95, absorbs = true } } } },
]
"#,
    },
    Section {
        title: "`freq_droop`",
        about: "",
        keys: DROOP,
        example: r#"do = [
  { at = "0s", adopt = { pv1 = { freq_droop = { db_of_hz = 0.036, db_uf_hz = 0.036, k_of = 0.05, k_uf = 0.05 } } } },
]
"#,
    },
    Section {
        title: "`power_factor`",
        about: "",
        keys: POWER_FACTOR,
        example: r#"do = [
  { at = "0s", adopt = { pv1 = { power_factor = { pf = 0.95, absorbs = true } } } },
]
"#,
    },
    Section {
        title: "`until`",
        about: "`within`, and exactly one of `settle`, `above`, `below` and `mode` with what it takes.",
        keys: UNTIL,
        example: r#"do = [
  { at = "0s",  until = { settle = "ess1.p", to = "1kW", band = "50W", for = "2s", within = "10s" } },
  { at = "+1s", until = { above = "ess1.p", value = "0.5kW", within = "5s" } },
  { at = "+1s", until = { below = "ess1.p", value = "0.5kW", within = "5s" } },
  { at = "+1s", until = { mode = "islanded", within = "30s" } },
]
"#,
    },
    Section {
        title: "`after`",
        about: "The whole bench goes to the mode *safe*.",
        keys: AFTER,
        example: r#"after = { safe = ["ess1", "pv1"], within = "10s" }
"#,
    },
];

/// The page, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "<!-- Made from rigs/scenario/src/script/keys.rs by `UPDATE=1 cargo test -p scenario reference`. -->\n\
         # The keys of a scenario file\n\n\
         Each with an example. What they mean together stands on [the page of the scenario file](README.md);\n\
         `gridrig check --schema` prints the same tables for editors. Quantities are texts with units.\n",
    );
    for section in SECTIONS {
        page.push_str(&format!("\n## {}\n\n", section.title));
        if !section.about.is_empty() {
            page.push_str(&format!("{}\n\n", section.about));
        }
        page.push_str(&format!("```toml\n{}```\n\n", section.example));
        table(&mut page, section.keys);
    }
    page.push_str(
        "\n## A check in `check`\n\nExactly one of the following kinds, with its keys, and for all of them:\n\n",
    );
    table(&mut page, OF_ALL);
    for kind in CHECKS {
        page.push_str(&format!(
            "\n### `{}`\n\n{}\n\n```toml\n",
            kind.key.name, kind.key.about
        ));
        for example in kind.examples {
            page.push_str(&format!("check = [{example}]\n"));
        }
        page.push_str("```\n\n");
        let own: Vec<Key> = std::iter::once(kind.key)
            .chain(kind.keys.iter().copied())
            .collect();
        table(&mut page, &own);
    }
    page
}

fn table(page: &mut String, keys: &[Key]) {
    page.push_str("| key | holds | meaning |\n| --- | --- | --- |\n");
    for key in keys {
        let must = if key.must { ", must" } else { "" };
        let row = format!(
            "| `{}` | {}{must} | {} |\n",
            key.name,
            words(&key.holds),
            key.about
        );
        page.push_str(&row);
    }
}

/// What stands under a key, in words.
fn words(holds: &Holds) -> String {
    match holds {
        Holds::Text => "text".to_owned(),
        Holds::Words(words) => words()
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(" "),
        Holds::Texts => "list of texts".to_owned(),
        Holds::Pairs => "list of pairs of texts".to_owned(),
        Holds::Curve => "list of pairs of numbers".to_owned(),
        Holds::Flag => "true or false".to_owned(),
        Holds::Number => "number".to_owned(),
        Holds::Integer(least, i64::MAX) => format!("whole number from {least} on"),
        Holds::Integer(least, most) => format!("whole number from {least} to {most}"),
        Holds::Table(_) => "table".to_owned(),
        Holds::Map(each) => format!("by name: {}", words_of_each(each)),
        Holds::Either(kinds) => kinds.iter().map(words).collect::<Vec<_>>().join(", or "),
        Holds::Steps => "list of steps and loops".to_owned(),
        Holds::Checks => "list of checks".to_owned(),
        Holds::Tables => "list of tables".to_owned(),
    }
}

fn words_of_each(holds: &Holds) -> String {
    match holds {
        Holds::Table(_) => "a table".to_owned(),
        Holds::Text => "a text".to_owned(),
        other => words(other),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use document::Source;

    use super::*;

    #[test]
    fn the_reference_page_in_the_repository_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/KEYS.md");
        let page = reference_page();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).expect("the page can be written");
        }
        let found = std::fs::read_to_string(&path).expect("the page is there");
        assert_eq!(found, page, "UPDATE=1 cargo test -p scenario reference");
    }

    #[test]
    fn each_key_stands_in_the_example_of_its_table_and_each_example_is_right() {
        for section in SECTIONS {
            for key in section.keys {
                let text = format!("\n{}", section.example);
                let stands = [" ", "\n"]
                    .iter()
                    .any(|before| text.contains(&format!("{before}{} ", key.name)));
                assert!(stands, "{}: `{}`", section.title, key.name);
            }
            // What names a file beside it is not there, and what is not there is not shown here.
            let lines = section.example.lines();
            let lines =
                lines.filter(|line| !line.contains("common.toml") && !line.contains(".csv"));
            let mut text = lines.collect::<Vec<_>>().join("\n");
            for (key, line) in [
                ("check", "check = [{ ledger = \"complete\" }]"),
                ("name", "name = \"n\""),
            ] {
                if !text.contains(&format!("{key} ")) {
                    text = format!("{line}\n{text}");
                }
            }
            let loaded = crate::script::read(Source::new("example.toml", text.clone()));
            assert!(loaded.is_ok(), "{text}\n{loaded:?}");
        }
    }
}

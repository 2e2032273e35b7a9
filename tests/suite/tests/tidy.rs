//! The house rules that no compiler sees: who may use whom, what must be absent, what must be there.
//!
//! Each rule lists all its breaches, each with its place.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suite::root;

/// Crates that do no I/O, read no clock, draw no unseeded chance and iterate no hash map.
const PURE: &[(&str, &str)] = &[
    ("quantities", "controller/quantities"),
    ("model", "controller/model"),
    ("services", "controller/services"),
    ("control", "controller/control"),
    ("limiter", "controller/limiter"),
    ("market", "controller/market"),
    ("ledger-core", "ledger/core"),
    ("ledger-proof", "ledger/proof"),
    ("der-model", "rigs/der"),
];

/// What the `clippy.toml` of each pure crate must ban.
const BANNED_PATHS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "rand::thread_rng",
    "rand::rng",
    "std::fs::File",
    "std::fs::read",
    "std::fs::write",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "tokio::spawn",
];

/// What clippy cannot ban as a whole: modules. The text of a pure source has none of these.
const ABSENT_IN_PURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "tokio",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "thread_rng",
];

/// Crates that need a C tool chain, a system library, or a second TLS.
const UNWANTED_CRATES: &[&str] = &[
    "openssl-sys",
    "native-tls",
    "cmake",
    "libudev-sys",
    "aws-lc-sys",
];

/// Names that say nothing of what a file is for.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "managers"];

fn no_breaches(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()))
}

/// All files of the sources, relative to the root, in order. What is made by building or running is
/// not part of them.
fn files() -> Vec<PathBuf> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // `.git` is a file in a second work tree.
            if ["target", "out", ".git", "node_modules", "__pycache__"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .expect("it is below the root")
                        .to_path_buf(),
                );
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    assert!(
        found.len() > 200,
        "the walk lost most of the sources: {}",
        found.len()
    );
    found
}

/// The files that are text, with their text.
fn texts() -> Vec<(PathBuf, String)> {
    let root = root();
    files()
        .into_iter()
        .filter_map(|path| {
            let text = String::from_utf8(std::fs::read(root.join(&path)).ok()?).ok()?;
            Some((path, text))
        })
        .collect()
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Each crate of ours with those of ours that it uses, tests aside.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata(&["--no-deps"]);
    let packages = array(&metadata["packages"]);
    let ours: BTreeSet<&str> = packages.iter().map(|p| text(&p["name"])).collect();
    packages
        .iter()
        .map(|package| {
            let uses = array(&package["dependencies"])
                .iter()
                .filter(|d| d["kind"].is_null() && ours.contains(text(&d["name"])))
                .map(|d| text(&d["name"]).to_owned())
                .collect();
            (text(&package["name"]).to_owned(), uses)
        })
        .collect()
}

/// The names in backticks.
fn ticked(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The section of a page below a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page
        .find(heading)
        .unwrap_or_else(|| panic!("ARCHITECTURE.md has no `{heading}`"));
    let rest = &page[start + heading.len()..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

/// The table of ARCHITECTURE.md: crate, and which of ours it may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let page = read(&root().join("ARCHITECTURE.md"));
    let mut table = BTreeMap::new();
    for line in section(&page, "## Who may use whom").lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
        let [names, may_use] = cells[..] else {
            continue;
        };
        for name in ticked(names) {
            let of_it = ticked(may_use).into_iter().collect();
            assert!(
                table.insert(name.clone(), of_it).is_none(),
                "`{name}` has two rows"
            );
        }
    }
    table
}

#[test]
fn each_crate_uses_exactly_the_crates_that_the_architecture_allows_it() {
    let (used, allowed) = (used(), allowed());
    let mut breaches = Vec::new();
    for (name, uses) in &used {
        // The whole-house tests look at every room and belong to none.
        if name == env!("CARGO_PKG_NAME") {
            continue;
        }
        let Some(may) = allowed.get(name) else {
            breaches.push(format!("`{name}` has no row; it uses {uses:?}"));
            continue;
        };
        for extra in uses.difference(may) {
            breaches.push(format!(
                "`{name}` uses `{extra}`, which its row does not allow"
            ));
        }
        for idle in may.difference(uses) {
            breaches.push(format!(
                "`{name}` may use `{idle}` but does not: a border without need"
            ));
        }
    }
    for name in allowed.keys().filter(|name| !used.contains_key(*name)) {
        breaches.push(format!(
            "`{name}` has a row but is no crate of the workspace"
        ));
    }
    no_breaches(
        "ARCHITECTURE.md and Cargo.toml disagree about who may use whom",
        &breaches,
    );
}

/// The nearest and the far dependencies of a crate, without what only its tests use.
fn closure(metadata: &Value, of: &str) -> BTreeSet<String> {
    let names: BTreeMap<&str, &str> = array(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let nodes: BTreeMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|n| (text(&n["id"]), n))
        .collect();
    let start = names
        .iter()
        .find(|(_, name)| **name == of)
        .expect("a crate of the workspace")
        .0;
    let (mut seen, mut next) = (BTreeSet::from([*start]), vec![*start]);
    while let Some(id) = next.pop() {
        for dependency in array(&nodes[id]["deps"]) {
            let in_program = array(&dependency["dep_kinds"])
                .iter()
                .any(|k| k["kind"] != "dev");
            let id = text(&dependency["pkg"]);
            if in_program && seen.insert(id) {
                next.push(id);
            }
        }
    }
    seen.into_iter().map(|id| names[id].to_owned()).collect()
}

/// The whole tree for the machine that runs this.
fn tree() -> Value {
    let version = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs")
        .stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let host = version
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .expect("rustc names its host");
    metadata(&["--filter-platform", host])
}

#[test]
fn the_program_needs_no_second_tls_and_no_system_library() {
    let closure = closure(&tree(), "gridrig");
    assert!(
        closure.contains("tokio"),
        "the tree is not the program's: {closure:?}"
    );
    let breaches: Vec<String> = UNWANTED_CRATES
        .iter()
        .filter(|name| closure.contains(**name))
        .map(|name| format!("`{name}` is in the program; `cargo tree -i {name}` says why"))
        .collect();
    no_breaches("unwanted crates", &breaches);
}

#[test]
fn the_first_command_of_the_readme_runs_gridrig_and_nothing_else() {
    let readme = read(&root().join("README.md"));
    assert!(readme.contains("\ncargo run --release "), "another command");
    // Cargo asks which program is meant unless a single package of the workspace says so.
    let packages = metadata(&["--no-deps"]);
    let said = array(&packages["packages"]).iter();
    let said: Vec<&str> = said.filter_map(|p| p["default_run"].as_str()).collect();
    assert_eq!(said, ["gridrig"]);
}

#[test]
fn the_emulator_shares_no_register_codec_with_the_drivers() {
    let closure = closure(&tree(), "emulator");
    assert!(
        closure.contains("rumqttd"),
        "the tree is not the emulator's: {closure:?}"
    );
    for codec in ["bus", "limiter", "tokio-modbus"] {
        assert!(
            !closure.contains(codec),
            "the emulator uses `{codec}`: a shared bug would cancel out"
        );
    }
}

#[test]
fn pure_crates_pull_in_no_runtime_and_no_chance() {
    let tree = tree();
    let mut breaches = Vec::new();
    for (name, _) in PURE {
        let closure = closure(&tree, name);
        for outside in ["tokio", "mio", "socket2", "getrandom", "rand"] {
            // A curve library draws in the traits of chance and the source of it, which signing with
            // given nonces never calls.
            let tolerated = name.starts_with("ledger-") && outside == "getrandom";
            if closure.contains(outside) && !tolerated {
                breaches.push(format!("`{name}` pulls in `{outside}`"));
            }
        }
    }
    no_breaches("pure crates", &breaches);
}

#[test]
fn pure_crates_forbid_clocks_chance_and_the_outside_by_lint() {
    let usual = read(&root().join("clippy.toml"));
    let mut breaches = Vec::new();
    for (name, folder) in PURE {
        let path = format!("{folder}/clippy.toml");
        let Ok(lints) = std::fs::read_to_string(root().join(&path)) else {
            breaches.push(format!("{path} is missing"));
            continue;
        };
        for ban in BANNED_PATHS {
            if !lints.contains(&format!("path = \"{ban}\"")) {
                breaches.push(format!("{path}: `{name}` does not ban {ban}"));
            }
        }
        // A local file replaces the one at the root.
        for key in usual.lines().filter(|l| l.contains('=')) {
            if !lints.lines().any(|l| l == key) {
                breaches.push(format!("{path} has lost `{key}`"));
            }
        }
    }
    no_breaches("bans", &breaches);
}

/// Whether a file is part of a pure room: of a pure crate, or a pure file of an impure one.
fn is_pure(path: &Path) -> bool {
    let shown = path.to_string_lossy();
    let pure_crate = PURE
        .iter()
        .any(|(_, folder)| shown.starts_with(&format!("{folder}/src/")));
    let pure_file = shown.starts_with("drivers/bus/src/")
        && (shown.ends_with("/codec.rs") || shown.contains("/src/plan"));
    (pure_crate || pure_file) && shown.ends_with(".rs") && !shown.ends_with("tests.rs")
}

#[test]
fn pure_sources_name_no_clock_no_hash_map_and_no_outside() {
    let mut breaches = Vec::new();
    let mut looked_at = 0;
    for (path, source) in texts().iter().filter(|(path, _)| is_pure(path)) {
        looked_at += 1;
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in program.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for absent in ABSENT_IN_PURE
                .iter()
                .filter(|absent| code.contains(**absent))
            {
                breaches.push(format!("{}:{}: {absent}", path.display(), number + 1));
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} pure files were found");
    no_breaches("pure files reach out", &breaches);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Put together here, so that this file does not breach its own rule.
    let places: Vec<String> = ["root", "work", "home", "tmp"]
        .iter()
        .map(|folder| format!("/{folder}/"))
        .collect();
    let mut breaches = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for place in &places {
                let absolute = line.match_indices(place.as_str()).any(|(at, _)| {
                    // `target/root/x` is relative, `$peers/root/x` and `../root/` are too.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.})*".contains(c))
                });
                if absolute {
                    breaches.push(format!("{}:{}: {place}", path.display(), number + 1));
                }
            }
        }
    }
    no_breaches("absolute paths", &breaches);
}

#[test]
fn no_file_names_the_host_of_a_registry() {
    let hosts: Vec<String> = [
        ("static.crates", "io"),
        ("index.crates", "io"),
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("deb.debian", "org"),
        ("proxy.golang", "org"),
        ("gcr", "io"),
        ("docker", "io"),
    ]
    .iter()
    .map(|(name, end)| format!("{name}.{end}"))
    .collect();
    let mut breaches = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
                breaches.push(format!("{}:{}: {host}", path.display(), number + 1));
            }
        }
    }
    no_breaches("registry hosts", &breaches);
}

#[test]
fn every_ignored_test_says_why() {
    let bare = concat!("#[", "ignore]");
    let mut breaches = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| is_rust(path)) {
        for (number, line) in text.lines().enumerate() {
            if line.trim() == bare {
                breaches.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    no_breaches("ignored without a reason", &breaches);
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "rs")
}

#[test]
fn every_source_file_says_what_it_is() {
    let mut breaches = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| is_rust(path)) {
        // `x/tests.rs` is the test of `x.rs` and needs no other words.
        if path.ends_with("tests.rs") {
            continue;
        }
        let first = text
            .lines()
            .find(|l| !l.trim().is_empty() && !l.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 10) {
            breaches.push(path.display().to_string());
        }
    }
    no_breaches("no module documentation", &breaches);
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let breaches: Vec<String> = files()
        .iter()
        .filter(|path| {
            path.components().any(|part| {
                let name = part.as_os_str().to_string_lossy().to_lowercase();
                EMPTY_NAMES.contains(&name.split('.').next().unwrap_or_default())
            })
        })
        .map(|path| path.display().to_string())
        .collect();
    no_breaches("empty names", &breaches);
}

/// The targets of all links of a Markdown page, outside of code.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for part in prose.split("](").skip(1) {
            if let Some(target) = part.split(')').next() {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

#[test]
fn links_of_a_page_are_found_outside_of_code() {
    let page = "See [a](x.md) and [`b`](y/z.md#part).\n```\n[c](no.md)\n```\nNot `[d](no.md)`.\n";
    assert_eq!(
        links(page),
        [(1, "x.md".to_owned()), (1, "y/z.md#part".to_owned())]
    );
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let root = root();
    let mut breaches = Vec::new();
    for (path, page) in texts()
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "md"))
    {
        for (line, target) in links(page) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let folder = root
                .join(path)
                .parent()
                .expect("a file is in a folder")
                .to_path_buf();
            if !folder.join(file).exists() {
                breaches.push(format!("{}:{line}: {target}", path.display()));
            }
        }
    }
    no_breaches("dead links", &breaches);
}

/// The value of `key = "…"` at the beginning of a line.
fn stated<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .and_then(|(_, value)| value.trim().strip_prefix('"')?.split('"').next())
}

#[test]
fn the_zoo_keeps_one_of_every_bundled_profile() {
    let zoo = read(&root().join("rigs/virtual/zoo.toml"));
    let kept: BTreeSet<&str> = zoo
        .lines()
        .filter_map(|line| stated(line, "profile"))
        .collect();
    let mut seen = 0;
    let mut breaches = Vec::new();
    for (path, text) in texts() {
        if !path.starts_with("drivers/profile/devices") {
            continue;
        }
        seen += 1;
        let id = stated(&text, "id").unwrap_or_default();
        if !kept.contains(id) {
            breaches.push(format!(
                "{}: no device of rigs/virtual/zoo.toml has `profile = \"{id}\"`; give it one, on a \
                 bus of its protocol, and see that `gridrig check --live --on sim` of the zoo passes",
                path.display()
            ));
        }
    }
    assert!(seen > 10, "the profiles were not found: {seen}");
    no_breaches("each bundled profile is served by the zoo", &breaches);
}

#[test]
fn the_pages_that_a_newcomer_needs_are_there() {
    let breaches: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
    ]
    .iter()
    .filter(|page| !std::fs::read_to_string(root().join(page)).is_ok_and(|text| text.len() > 200))
    .map(|page| (*page).to_owned())
    .collect();
    no_breaches("missing or empty", &breaches);
}

#[test]
fn the_change_log_speaks_of_this_version() {
    let log = read(&root().join("CHANGELOG.md"));
    let version = env!("CARGO_PKG_VERSION");
    let speaks = log
        .lines()
        .any(|l| l.starts_with("## ") && (l.contains(version) || l.contains("Unreleased")));
    assert!(
        speaks,
        "CHANGELOG.md has neither `## {version}` nor `## Unreleased`"
    );
}

#[test]
fn the_architecture_draws_the_mode_table_as_it_is() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let drawn = page
        .split("```mermaid\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .find(|picture| picture.trim_start().starts_with("stateDiagram"))
        .expect("ARCHITECTURE.md draws the modes in a ```mermaid block");
    let is = control::mode::table::diagram();
    assert_eq!(drawn.trim_end(), is.trim_end(), "draw this instead:\n{is}");
}

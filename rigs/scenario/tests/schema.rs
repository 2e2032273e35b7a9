//! The schema that editors get takes every bundled scenario, and no other keys.

use std::path::{Path, PathBuf};

use scenario::script::schema;
use serde_json::{Map, Value, json};
use toml_edit::{Item, Value as Toml};

fn of_value(value: &Toml) -> Value {
    match value {
        Toml::String(text) => json!(text.value()),
        Toml::Integer(number) => json!(number.value()),
        Toml::Float(number) => json!(number.value()),
        Toml::Boolean(is) => json!(is.value()),
        Toml::Datetime(time) => json!(time.value().to_string()),
        Toml::Array(list) => list.iter().map(of_value).collect(),
        Toml::InlineTable(table) => {
            let rows = table
                .iter()
                .map(|(key, value)| (key.to_owned(), of_value(value)));
            Value::Object(rows.collect::<Map<_, _>>())
        }
    }
}

fn of_item(item: &Item) -> Value {
    let table = |table: &toml_edit::Table| {
        let rows = table
            .iter()
            .map(|(key, item)| (key.to_owned(), of_item(item)));
        Value::Object(rows.collect::<Map<_, _>>())
    };
    match item {
        Item::None => Value::Null,
        Item::Value(value) => of_value(value),
        Item::Table(found) => table(found),
        Item::ArrayOfTables(list) => list.iter().map(table).collect(),
    }
}

fn json_of(text: &str) -> Value {
    let document = toml_edit::Document::parse(text).expect("TOML");
    of_item(document.as_item())
}

/// Whether a value fits a schema, as far as ours goes: the words that it uses and no others.
fn fits(value: &Value, schema: &Value, whole: &Value) -> bool {
    let rules = schema.as_object().expect("a schema is an object");
    rules.iter().all(|(rule, says)| match rule.as_str() {
        "if" => !fits(value, says, whole) || fits(value, &schema["then"], whole),
        "then" => true,
        "title" | "description" | "$schema" | "definitions" => true,
        "$ref" => {
            let path = says.as_str().expect("a text").trim_start_matches('#');
            fits(value, whole.pointer(path).expect("it is there"), whole)
        }
        "allOf" => says
            .as_array()
            .expect("a list")
            .iter()
            .all(|s| fits(value, s, whole)),
        "anyOf" => says
            .as_array()
            .expect("a list")
            .iter()
            .any(|s| fits(value, s, whole)),
        "enum" => says.as_array().expect("a list").contains(value),
        "pattern" => value.as_str().is_none_or(|text| text.contains('{')),
        "type" => match says.as_str().expect("a text") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            other => unreachable!("no type is called {other}"),
        },
        "items" => value
            .as_array()
            .is_none_or(|all| all.iter().all(|v| fits(v, says, whole))),
        "minItems" | "maxItems" => value.as_array().is_none_or(|all| all.len() == 2),
        "minimum" => value
            .as_i64()
            .is_none_or(|v| v >= says.as_i64().expect("a number")),
        "maximum" => value
            .as_i64()
            .is_none_or(|v| v <= says.as_i64().expect("a number")),
        "required" => says.as_array().expect("a list").iter().all(|key| {
            value
                .as_object()
                .is_none_or(|has| has.contains_key(key.as_str().expect("a text")))
        }),
        "properties" => value.as_object().is_none_or(|has| {
            has.iter()
                .all(|(key, v)| says.get(key).is_none_or(|s| fits(v, s, whole)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|has| {
            let known = schema.get("properties");
            let others = has
                .iter()
                .filter(|(key, _)| known.is_none_or(|k| k.get(*key).is_none()));
            others.into_iter().all(|(_, v)| match says {
                Value::Bool(taken) => *taken,
                each => fits(v, each, whole),
            })
        }),
        other => unreachable!("nobody looks at `{other}`"),
    })
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|e| e == "toml") {
            into.push(path);
        }
    }
}

#[test]
fn every_bundled_scenario_fits_the_schema() {
    let schema = schema();
    let mut paths = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scenarios");
    files(Path::new(folder), &mut paths);
    assert!(paths.len() > 90);
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(
            fits(&json_of(&text), &schema, &schema),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_slip_does_not_fit_the_schema() {
    let schema = schema();
    let good = r#"name = "n"
matrix = { a = ["1"], b = { from = "1", to = "2", step = "1" } }
setup = { within = "1s", do = [{ at = "0s", mode = "{a}" }] }
do = [{ repeat = 2, do = [{ repeat = 2, do = [{ at = "0s", mode = "island" }] }] }]
check = [{ mode = "islanded", within = "1s" }, { kpi = "islanded", at_least = 1 }]
"#;
    assert!(fits(&json_of(good), &schema, &schema));
    let fragment = good
        .lines()
        .filter(|line| !line.starts_with("name") && !line.starts_with("check"));
    let fragment: Vec<&str> = fragment.collect();
    assert!(fits(&json_of(&fragment.join("\n")), &schema, &schema));
    assert!(
        !fits(&json_of("name = \"n\""), &schema, &schema),
        "it checks nothing"
    );
    for (from, to) in [
        ("name = ", "nam = "),
        ("within = \"1s\", do", "withn = \"1s\", do"),
        ("within = \"1s\", do", "do"),
        ("mode = \"island\"", "mode = \"islan\""),
        ("mode = \"island\"", "mod = \"island\""),
        ("repeat = 2, do = [{ at", "repeat = 0, do = [{ at"),
        ("step = \"1\"", "step = 1"),
        ("at_least = 1", "at_lest = 1"),
        ("check = ", "chek = "),
        ("mode = \"islanded\", ", ""),
        ("\"islanded\", at_least", "\"islnded\", at_least"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(!fits(&json_of(&bad), &schema, &schema), "{to}");
    }
}

//! The JSON Schema of scenario files, from the tables of their keys.
//!
//! It is for editors: it knows keys, kinds of values and words. Units, marks and signals are the
//! reader's, which tells of them what no schema can.

use serde_json::{Map, Value, json};

use super::keys::{CHECKS, Holds, Key, LOOP, OF_ALL, ROOT, STEP};

/// The schema of a scenario file (JSON Schema, draft 7: what editors of TOML understand).
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(ROOT.iter());
    // A file that others include has no name and checks nothing.
    schema["then"] = json!({"required": schema["required"].take()});
    schema["if"] = json!({"anyOf": [{"required": ["name"]}, {"required": ["check"]}]});
    schema["required"] = json!([]);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("A scenario of gridrig");
    let checks = CHECKS.iter().map(|kind| {
        let own = std::iter::once(&kind.key).chain(kind.keys);
        let about = format!("{} {}", kind.key.about, kind.examples.join(" "));
        named(kind.key.name, &about, object(own.chain(OF_ALL)))
    });
    let steps = vec![
        named("step", "What is done at a moment.", object(STEP.iter())),
        named(
            "loop",
            "Steps that are carried out several times.",
            object(LOOP.iter()),
        ),
    ];
    schema["definitions"] = json!({"steps": list_of(steps), "checks": list_of(checks.collect())});
    schema
}

fn named(title: &str, about: &str, mut schema: Value) -> Value {
    schema["title"] = json!(title);
    schema["description"] = json!(about);
    schema
}

fn list_of(kinds: Vec<Value>) -> Value {
    json!({"type": "array", "items": {"anyOf": kinds}})
}

/// A table with these keys and no others.
fn object<'k>(keys: impl Iterator<Item = &'k Key>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let mut schema = of(&key.holds);
        schema["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), schema);
        if key.must {
            required.push(key.name);
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of(holds: &Holds) -> Value {
    match holds {
        Holds::Text => json!({"type": "string"}),
        // The matrix can stand for a word, too.
        Holds::Words(words) => json!({"anyOf": [
            {"enum": words()},
            {"type": "string", "pattern": "\\{"},
        ]}),
        Holds::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Holds::Pairs => json!({"type": "array", "items": {
            "type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2,
        }}),
        Holds::Curve => json!({"type": "array", "items": {
            "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2,
        }}),
        Holds::Flag => json!({"type": "boolean"}),
        Holds::Number => json!({"type": "number"}),
        Holds::Integer(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Holds::Table(keys) => object(keys.iter()),
        Holds::Map(each) => json!({"type": "object", "additionalProperties": of(each)}),
        Holds::Either(kinds) => json!({"anyOf": kinds.iter().map(of).collect::<Vec<_>>()}),
        // An allOf, because a description beside a reference would not be seen.
        Holds::Steps => json!({"allOf": [{"$ref": "#/definitions/steps"}]}),
        Holds::Checks => json!({"allOf": [{"$ref": "#/definitions/checks"}]}),
        Holds::Tables => json!({"type": "array", "items": {"type": "object"}}),
    }
}

//! JUnit as the stricter of its readers want it: the schema of the xUnit plugin of Jenkins, stated anew.
//!
//! Jenkins' own `junit` step, GitLab and others read more than it permits and validate nothing. Where we leave it,
//! on purpose, stands in [`BEYOND`], each with its reason.

use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::junit::{InconclusiveAs, junit};
use super::tests::result;

/// What an element may have.
struct Rule {
    element: &'static str,
    must: &'static [&'static str],
    may: &'static [&'static str],
    children: &'static [&'static str],
    has_text: bool,
}

/// Source: `junit-10.xsd` of the plugin, as of 2022.
const RULES: &[Rule] = &[
    Rule {
        element: "testsuites",
        must: &[],
        may: &["name", "time", "tests", "failures", "errors"],
        children: &["testsuite"],
        has_text: false,
    },
    Rule {
        element: "testsuite",
        must: &["name", "tests", "failures", "errors"],
        may: &[
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        ],
        children: &[
            "testsuite",
            "properties",
            "testcase",
            "system-out",
            "system-err",
        ],
        has_text: false,
    },
    Rule {
        element: "testcase",
        must: &["name"],
        may: &["time", "classname", "group"],
        children: &["skipped", "error", "failure", "system-out", "system-err"],
        has_text: false,
    },
    Rule {
        element: "properties",
        must: &[],
        may: &[],
        children: &["property"],
        has_text: false,
    },
    Rule {
        element: "property",
        must: &["name", "value"],
        may: &[],
        children: &[],
        has_text: false,
    },
    Rule {
        element: "failure",
        must: &[],
        may: &["type", "message"],
        children: &[],
        has_text: true,
    },
    Rule {
        element: "error",
        must: &[],
        may: &["type", "message"],
        children: &[],
        has_text: true,
    },
    Rule {
        element: "skipped",
        must: &[],
        may: &["type", "message"],
        children: &[],
        has_text: true,
    },
    Rule {
        element: "system-out",
        must: &[],
        may: &[],
        children: &[],
        has_text: true,
    },
    Rule {
        element: "system-err",
        must: &[],
        may: &[],
        children: &[],
        has_text: true,
    },
];

/// What we write beyond the schema: the measured values of each check stand with the check, where Jenkins' step,
/// GitLab and pytest's legacy family have them, too; the schema knows properties of suites only.
const BEYOND: &[&str] = &["testcase/properties"];

/// What a document has that the rules do not permit, each kind once.
fn breaches(xml: &str) -> BTreeSet<String> {
    let mut reader = Reader::from_str(xml);
    let mut above: Vec<String> = Vec::new();
    let mut found = BTreeSet::new();
    loop {
        match reader.read_event().expect("it is XML") {
            Event::Eof => return found,
            Event::Start(tag) => above.push(look(&tag, above.last(), &mut found)),
            Event::Empty(tag) => {
                look(&tag, above.last(), &mut found);
            }
            Event::End(_) => {
                above.pop();
            }
            Event::Text(text) => {
                let text = text.decode().expect("it is text");
                let of = above
                    .last()
                    .and_then(|name| RULES.iter().find(|r| r.element == name));
                if !text.trim().is_empty() && !of.is_some_and(|rule| rule.has_text) {
                    found.insert(format!("text in {:?}", above.last()));
                }
            }
            _ => {}
        }
    }
}

fn look(tag: &BytesStart<'_>, parent: Option<&String>, found: &mut BTreeSet<String>) -> String {
    let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
    let rule = |name: &str| RULES.iter().find(|rule| rule.element == name);
    let is_child = match parent {
        None => ["testsuites", "testsuite"].contains(&&*name),
        Some(parent) => rule(parent).is_some_and(|rule| rule.children.contains(&&*name)),
    };
    if !is_child {
        found.insert(format!("{}/{name}", parent.map_or("", String::as_str)));
    }
    let attributes: Vec<String> = tag
        .attributes()
        .map(|a| String::from_utf8_lossy(a.expect("an attribute").key.as_ref()).into_owned())
        .collect();
    if let Some(rule) = rule(&name) {
        for attribute in &attributes {
            if !rule.must.contains(&attribute.as_str()) && !rule.may.contains(&attribute.as_str()) {
                found.insert(format!("{name}@{attribute}"));
            }
        }
        for must in rule.must {
            if !attributes.iter().any(|attribute| attribute == must) {
                found.insert(format!("{name} without @{must}"));
            }
        }
    }
    name
}

#[test]
fn every_verdict_is_written_in_the_form_of_the_schema_but_for_what_is_named() {
    for inconclusive in [InconclusiveAs::Error, InconclusiveAs::Skipped] {
        let xml = junit(&result(), inconclusive).expect("plain data");
        let beyond: BTreeSet<String> = BEYOND.iter().map(|of| (*of).to_owned()).collect();
        assert_eq!(breaches(&xml), beyond, "{xml}");
    }
}

#[test]
fn what_the_schema_does_not_permit_is_seen() {
    for (xml, seen) in [
        (
            "<testsuites><testcase name='a'/></testsuites>",
            "testsuites/testcase",
        ),
        (
            "<testsuite name='a' tests='1' failures='0'/>",
            "testsuite without @errors",
        ),
        ("<testsuites colour='red'/>", "testsuites@colour"),
        ("<report/>", "/report"),
        (
            "<testsuites>words</testsuites>",
            "text in Some(\"testsuites\")",
        ),
    ] {
        assert_eq!(breaches(xml), BTreeSet::from([seen.to_owned()]), "{xml}");
    }
}

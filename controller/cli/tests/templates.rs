//! The templates for continuous integration: every command in them that is ours does what it is there for.

mod common;

use common::{Place, repository};

/// The commands of a template in their order, for one of its parts.
fn commands(template: &str, part: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository("docs/ci").join(template)).expect("a template");
    let words = [
        ("${{ matrix.part }}", part),
        ("$CI_NODE_INDEX", part),
        ("$CI_NODE_TOTAL", "2"),
        ("$PART", part),
        ("gridrig ", "$G "),
    ];
    let ours = text.lines().filter_map(|line| {
        let begin = line.find("gridrig test").or(line.find("gridrig report"))?;
        Some(line[begin..].trim_end_matches('\'').to_owned())
    });
    ours.map(|command| {
        let put = |text: String, (word, value): &(&str, &str)| text.replace(word, value);
        words.iter().fold(command, put)
    })
    .collect()
}

#[test]
fn each_template_runs_two_parts_and_puts_them_together() {
    for template in ["github.yml", "gitlab.yml", "Jenkinsfile"] {
        let place = Place::new();
        for name in ["a", "b", "c"] {
            place.file(
                &format!("tests/scenarios/{name}.toml"),
                &format!(
                    "name = \"{name}\"\ndo = [{{ at = \"2s\", mark = \"t0\" }}]\n\
                     check = [{{ band = \"grid.f\", from = \"t0\", for = \"1s\", within = \"49..51Hz\" }}]\n"
                ),
            );
        }
        let [test, merge] = commands(template, "1").try_into().expect("two commands");
        let [other, _] = commands(template, "2").try_into().expect("two commands");
        for command in [test, other, merge] {
            place.shell(&command).exits(0);
        }
        let whole = place.result("whole");
        assert_eq!(whole["verdict"], "pass", "{template}");
        let names: Vec<&str> = whole["scenarios"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|s| s["name"].as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"], "{template}");
        let text = std::fs::read_to_string(repository("docs/ci").join(template)).expect("read");
        assert!(
            text.contains("part-1") || text.contains("part-*"),
            "{template}"
        );
    }
}

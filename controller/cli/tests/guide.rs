//! The pages that tell how to add a device, how to clear a book and how to write a scenario: their commands are run as they
//! stand, and what the first shows of its example files stands in them.

mod common;

use common::{Place, repository};

/// The blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mark = format!("```{language}\n");
    page.split(&mark)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(repository("docs").join(name)).expect("the page is there")
}

const DEVICE: &str = "add-a-device.md";

#[test]
fn every_command_of_the_page_works_as_it_stands() {
    check(DEVICE);
}

#[test]
fn every_command_of_the_page_of_the_market_works_as_it_stands() {
    check("market.md");
}

/// Runs every command of a page.
fn check(name: &str) {
    let place = Place::new();
    let commands: Vec<String> = blocks(&page(name), "sh")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for line in commands {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"gridrig"), "{line}");
        let output = place
            .command(&words[1..])
            .current_dir(repository("."))
            .output()
            .expect("gridrig starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{told}");
        assert!(!told.contains("warning["), "{line}\n{told}");
    }
}

#[test]
fn every_piece_of_a_file_on_the_page_stands_in_that_file() {
    let mut files = String::new();
    for folder in ["modbus", "can", "mqtt"] {
        let folder = repository("docs/examples").join(folder);
        for file in std::fs::read_dir(folder).expect("the examples are there") {
            let path = file.expect("it can be listed").path();
            files.push_str(&std::fs::read_to_string(path).expect("it is text"));
        }
    }
    let pieces = blocks(&page(DEVICE), "toml");
    assert!(pieces.len() > 5, "{pieces:?}");
    for piece in pieces {
        assert!(files.contains(&piece), "in no example file:\n{piece}");
    }
}

/// A page on which a newcomer writes files and gives commands, in its order: a block of TOML is the file that its
/// first line names, a command ends with the exit code that it says (0 where it says none), and each line of a
/// block of text stands in what the last command has told.
#[test]
fn the_page_of_a_first_scenario_can_be_followed_from_an_empty_folder() {
    let text = page("write-a-scenario.md");
    let place = Place::new();
    let (mut commands, mut told) = (0, String::new());
    for block in text.split("```").skip(1).step_by(2) {
        let (language, body) = block.split_once('\n').expect("a language");
        match language {
            "toml" => {
                let name = body.lines().next().and_then(|l| l.strip_prefix("# "));
                place.file(name.expect("the name of the file"), body);
            }
            "sh" => {
                for line in body.lines() {
                    let (command, code) = match line.split_once("# exit code ") {
                        Some((command, code)) => (command, code.parse().expect("a code")),
                        None => (line, 0),
                    };
                    let words: Vec<&str> = command.split_whitespace().collect();
                    assert_eq!(words.first(), Some(&"gridrig"), "{line}");
                    let done = place.gridrig(&words[1..]);
                    done.exits(code);
                    told = format!("{}{}", done.stdout, done.stderr);
                    commands += 1;
                }
            }
            "text" => {
                for line in body.lines() {
                    assert!(told.contains(line), "{line}: {told}");
                }
            }
            other => panic!("a block of {other}"),
        }
    }
    assert!(commands > 8, "only {commands} commands");
}

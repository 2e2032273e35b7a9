//! `gridrig der run`: files in, files out, and what is told of a file that is wrong.

mod common;

use common::Place;

const SETTINGS: &str = "[volt_var]\nenabled = true\n";

fn place(settings: &str, series: &str) -> Place {
    let place = Place::new();
    place.file("s.toml", settings);
    place.file("in.csv", series);
    place
}

const RUN: [&str; 8] = [
    "der",
    "run",
    "--settings",
    "s.toml",
    "--in",
    "in.csv",
    "--out",
    "out.csv",
];

fn rows(place: &Place) -> Vec<String> {
    let text = std::fs::read_to_string(place.path("out.csv")).expect("rows were written");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_row_of_a_series_has_its_row_in_the_result() {
    let place = place(
        SETTINGS,
        "t_s,v_pu,f_hz,p_avail_pu\n0,0.95,60,0.5\r\n100.5,1.05,60,0.5\n200,1.21,60,0.5\n",
    );
    let done = place.gridrig(&RUN);
    done.exits(0);
    assert_eq!(
        rows(&place),
        [
            "t_s,p_pu,q_pu,status",
            "0,0.500000000,0.220000000,on",
            "100.5,0.500000000,-0.220000000,on",
            "200,0.000000000,0.000000000,tripped",
        ]
    );
    assert!(
        done.stderr.contains("3 rows: 2 on, 0 entering, 1 tripped"),
        "{}",
        done.stderr
    );
    assert!(!place.path("out.csv.part").exists());
    let told = place.gridrig(&[&["--json"][..], &RUN].concat());
    assert_eq!(told.exits(0).json()["trips"], 1);
}

#[test]
fn standard_input_and_output_are_files_like_others() {
    let place = place(SETTINGS, "t_s,v_pu,f_hz,p_avail_pu,permit\n0,1,60,1,0\n");
    let done = place.shell("$G der run --settings s.toml --in - --out - < in.csv");
    done.exits(0);
    assert_eq!(
        done.stdout,
        "t_s,p_pu,q_pu,status\n0,0.000000000,0.000000000,off\n"
    );
}

#[test]
fn a_series_that_is_wrong_is_told_with_its_lines_and_leaves_no_result() {
    let place = place(
        SETTINGS,
        "t_s,v_pu,f_hz,p_avail_pu\n0,1,60,1\n1,NaN,60,1\n2,1,60\n1.5,1,60,1\n1.5,1,60,1\n",
    );
    let done = place.gridrig(&RUN);
    done.exits(2);
    for at in [
        "error[G011]: `NaN` is not a finite number\n --> in.csv:3:3",
        "error[G013]: 3 cells instead of 4\n --> in.csv:4:1",
        "error[G012]: time goes from 1.5 to 1.5\n --> in.csv:6:1",
    ] {
        assert!(
            done.stderr.contains(at),
            "{at}\n--- not in\n{}",
            done.stderr
        );
    }
    assert!(!place.path("out.csv").exists() && !place.path("out.csv.part").exists());
}

#[test]
fn settings_that_are_wrong_are_told_before_a_row_is_read() {
    let place = place("[volt_vra]\n[trip]\nuv1 = [0.95, 21]\n", "");
    let done = place.gridrig(&RUN);
    done.exits(2);
    for at in [
        "error[D002]: unknown key `volt_vra`\n --> s.toml:1:2",
        "did you mean `volt_var`?",
        "error[G001]: `trip.uv1, threshold` is 0.95\n --> s.toml:3:8",
    ] {
        assert!(
            done.stderr.contains(at),
            "{at}\n--- not in\n{}",
            done.stderr
        );
    }
}

#[test]
fn a_series_without_a_header_or_a_row_is_no_series() {
    for (series, code) in [
        ("", "G010"),
        ("0,1,60,1\n", "G010"),
        ("t_s,v_pu,f_hz,p_avail_pu\n", "G014"),
        ("t_s,v_pu,f_hz,p_avail_pu\n\n", "G011"),
    ] {
        let place = place(SETTINGS, series);
        let done = place.gridrig(&RUN);
        done.exits(2);
        assert!(done.stderr.contains(code), "{series:?}: {}", done.stderr);
    }
    let place = place(
        "kind = \"storage\"\n",
        "t_s,v_pu,f_hz,p_avail_pu\n0,1,60,1\n",
    );
    let done = place.gridrig(&RUN);
    done.exits(2);
    assert!(
        done.stderr.contains("column `p_demand_pu` is missing"),
        "{}",
        done.stderr
    );
}

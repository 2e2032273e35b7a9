//! The model of a DER against EPRI's OpenDER: both are driven through the same settings and series,
//! and each row of the results is compared.
//!
//! Where the two are known to differ, the last tests say how, and would fail if it changed.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::fmt::Write as _;

use suite::process::{WithArguments, gridrig, json_of};

/// Settled powers, per unit, where both have a closed form.
const SETTLED_PU: f64 = 1e-4;
/// Settled powers where OpenDER searches the circle of the rating, and ends within a thousandth.
const SEARCHED_PU: f64 = 1.5e-3;
/// Powers on their way: another method of integration, and 2.3 for the logarithm of ten.
const MOVING_PU: f64 = 0.02;
/// Step of the series in seconds.
const STEP_S: f64 = 0.05;

/// What a device is told and measures in a row.
#[derive(Clone, Copy)]
struct Row {
    t_s: f64,
    v: f64,
    f: f64,
    available: f64,
    demand: f64,
    permit: bool,
}

/// The beginning of every series.
const QUIET: Row = Row {
    t_s: 0.0,
    v: 1.0,
    f: 60.0,
    available: 1.0,
    demand: 0.0,
    permit: true,
};

/// Rows that hold for a time each, in steps.
fn held(parts: &[(f64, Row)]) -> Vec<Row> {
    held_by(STEP_S, parts)
}

fn held_by(step_s: f64, parts: &[(f64, Row)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (time_s, row) in parts {
        for _ in 0..(time_s / step_s).round() as usize {
            rows.push(Row {
                t_s: rows.len() as f64 * step_s,
                ..*row
            });
        }
    }
    rows
}

/// Rows that are so far apart that everything has settled in each.
fn snapshots(points: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let at = |(n, row): (usize, Row)| Row {
        t_s: n as f64 * 1000.0,
        ..row
    };
    points.into_iter().enumerate().map(at).collect()
}

/// A row of a result.
struct Given {
    p: f64,
    q: f64,
    status: String,
}

fn given(path: &std::path::Path) -> Vec<Given> {
    let text = std::fs::read_to_string(path).expect("a result");
    let read = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |n: usize| cells[n].parse().expect("a number");
        Given {
            p: number(1),
            q: number(2),
            status: cells[3].to_owned(),
        }
    };
    text.lines().skip(1).map(read).collect()
}

/// OpenDER's word in ours; what it calls tripped is off where nobody tripped.
fn word(theirs: &str) -> &'static str {
    match theirs {
        "Entering Service" => "entering",
        "Momentary Cessation" | "Cease to Energize" => "ceased",
        "Trip" => "out",
        _ => "on",
    }
}

fn out(ours: &str) -> &str {
    if ["tripped", "off"].contains(&ours) {
        "out"
    } else {
        ours
    }
}

/// Both results of a series: ours and OpenDER's.
type Both = (Vec<Given>, Vec<Given>);

/// Rows for one process. Chosen: some ten seconds of it, far below the patience with a peer.
const ROWS_AT_ONCE: usize = 30_000;

/// Both results of each pair of settings and series, in portions.
fn all_of(jobs: &[(&str, &[Row])]) -> Vec<Both> {
    let mut done = Vec::new();
    let mut begun = 0;
    let mut rows = 0;
    for (n, job) in jobs.iter().enumerate() {
        rows += job.1.len();
        if rows >= ROWS_AT_ONCE || n + 1 == jobs.len() {
            done.extend(portion(&jobs[begun..=n]));
            (begun, rows) = (n + 1, 0);
        }
    }
    done
}

/// Both results of each pair of settings and series; OpenDER takes them all in one process, for its
/// start takes longer than most of them.
fn portion(jobs: &[(&str, &[Row])]) -> Vec<Both> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |n: usize, name: &str| folder.path().join(format!("{n}-{name}"));
    let mut theirs = Vec::new();
    for (n, (settings, rows)) in jobs.iter().enumerate() {
        std::fs::write(path(n, "s.toml"), settings).expect("a file");
        std::fs::write(path(n, "in.csv"), series(rows)).expect("a file");
        let done = gridrig()
            .with(["--quiet", "der", "run", "--settings"])
            .with([path(n, "s.toml")])
            .with(["--in"])
            .with([path(n, "in.csv")])
            .with(["--out"])
            .with([path(n, "ours.csv")])
            .output()
            .expect("gridrig starts");
        assert!(
            done.status.success(),
            "{settings}\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
        theirs.push("--job".into());
        theirs.extend(["s.toml", "in.csv", "theirs.csv"].map(|name| path(n, name)));
    }
    let told = json_of("opender_series.py", theirs);
    let rows: usize = jobs.iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!(told["rows"], rows);
    let read = |n: usize| {
        let both = (given(&path(n, "ours.csv")), given(&path(n, "theirs.csv")));
        let rows = jobs[n].1.len();
        assert_eq!((both.0.len(), both.1.len()), (rows, rows));
        both
    };
    (0..jobs.len()).map(read).collect()
}

fn both(settings: &str, rows: &[Row]) -> Both {
    all_of(&[(settings, rows)]).remove(0)
}

fn series(rows: &[Row]) -> String {
    let mut text = "t_s,v_pu,f_hz,p_avail_pu,p_demand_pu,permit\n".to_owned();
    for row in rows {
        let permit = u8::from(row.permit);
        let Row {
            t_s,
            v,
            f,
            available,
            demand,
            ..
        } = row;
        writeln!(
            text,
            "{t_s:.2},{v:.6},{f:.6},{available:.6},{demand:.6},{permit}"
        )
        .expect("a string grows");
    }
    text
}

/// A comparison of every row.
struct Case {
    what: String,
    settings: String,
    rows: Vec<Row>,
    near_pu: f64,
    /// Rows in which the status may differ.
    odd: usize,
}

impl Case {
    fn new(what: &str, settings: &str, rows: &[Row], near_pu: f64, odd: usize) -> Self {
        Self {
            what: what.to_owned(),
            settings: settings.to_owned(),
            rows: rows.to_vec(),
            near_pu,
            odd,
        }
    }
}

fn check(cases: &[Case]) {
    let jobs: Vec<(&str, &[Row])> = cases
        .iter()
        .map(|case| (case.settings.as_str(), &case.rows[..]))
        .collect();
    for (case, both) in cases.iter().zip(all_of(&jobs)) {
        compare(case, &both);
    }
}

fn compare(case: &Case, (ours, theirs): &Both) {
    let (mut p, mut q, mut differing) = (0.0_f64, 0.0_f64, 0);
    for ((ours, theirs), row) in ours.iter().zip(theirs).zip(&case.rows) {
        let apart = ((ours.p - theirs.p).abs(), (ours.q - theirs.q).abs());
        // Where active power just crosses what reactive power needs, each crosses in its own row.
        let edge = (ours.p - 0.05).abs() < 1e-3 && apart.1 > case.near_pu;
        if out(&ours.status) != word(&theirs.status) || edge {
            differing += 1;
            continue;
        }
        assert!(
            apart.0 <= case.near_pu && apart.1 <= case.near_pu,
            "{} at {} s ({} pu, {} Hz): {} {}, OpenDER {} {} ({})\n{}",
            case.what,
            row.t_s,
            row.v,
            row.f,
            ours.p,
            ours.q,
            theirs.p,
            theirs.q,
            theirs.status,
            case.settings
        );
        (p, q) = (p.max(apart.0), q.max(apart.1));
    }
    assert!(
        differing <= case.odd,
        "{}: {differing} rows of another status",
        case.what
    );
    println!(
        "{}: {} rows, P within {p:.1e}, Q within {q:.1e}, {differing} of another status",
        case.what,
        case.rows.len()
    );
}

/// Categories of normal and abnormal performance, and kinds.
fn devices() -> impl Iterator<Item = (String, bool)> {
    ["A", "B"].into_iter().flat_map(|normal| {
        ["I", "II", "III"].into_iter().flat_map(move |abnormal| {
            ["pv", "storage"].into_iter().map(move |kind| {
                let text = format!(
                    "category = \"{normal}\"\nabnormal = \"{abnormal}\"\nkind = \"{kind}\"\n"
                );
                (text, kind == "storage")
            })
        })
    })
}

const VOLTAGES: [f64; 14] = [
    0.89, 0.92, 0.935, 0.95, 0.965, 0.98, 1.0, 1.02, 1.03, 1.05, 1.065, 1.08, 1.095, 1.0999,
];
const POWERS: [f64; 9] = [0.0, 0.03, 0.05, 0.1, 0.2, 0.5, 0.75, 0.9, 1.0];
const FREQUENCIES: [f64; 12] = [
    58.6, 59.0, 59.36, 59.9, 59.964, 60.0, 60.036, 60.1, 60.33, 60.6, 61.0, 61.15,
];

/// Every voltage with every power; a storage takes as well as it gives.
fn grid() -> Vec<Row> {
    let signs = [1.0, -1.0];
    snapshots(VOLTAGES.into_iter().flat_map(|v| {
        POWERS.into_iter().flat_map(move |p| {
            signs.into_iter().map(move |sign| Row {
                v,
                available: p,
                demand: sign * p,
                ..QUIET
            })
        })
    }))
}

fn check_static(what: &str, function: &str, near_pu: f64) {
    let of = |(device, _)| {
        let settings = format!("{device}[freq_droop]\nenabled = false\n{function}");
        Case::new(what, &settings, &grid(), near_pu, 0)
    };
    check(&devices().map(of).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs peers"]
fn volt_var_settles_where_opender_settles() {
    check_static("volt-var", "[volt_var]\n", SETTLED_PU);
    check_static(
        "volt-var with a reference voltage",
        "[volt_var]\nvref_pu = 0.97\n",
        SETTLED_PU,
    );
}

#[test]
#[ignore = "needs peers"]
fn volt_watt_settles_where_opender_settles() {
    check_static("volt-watt", "[volt_watt]\n", SETTLED_PU);
    check_static(
        "volt-watt to 0.2",
        "[volt_watt]\nv1 = 1.05\nv2 = 1.08\np2 = 0.2\n",
        SETTLED_PU,
    );
}

#[test]
#[ignore = "needs peers"]
fn constant_reactive_power_settles_where_opender_settles() {
    check_static(
        "constant Q, injecting",
        "[const_q]\nq_pu = 0.44\n",
        SETTLED_PU,
    );
    check_static(
        "constant Q, absorbing",
        "[const_q]\nq_pu = -0.25\n",
        SETTLED_PU,
    );
}

#[test]
#[ignore = "needs peers"]
fn constant_power_factor_settles_where_opender_settles() {
    check_static(
        "constant power factor, absorbing",
        "[const_pf]\npf = 0.9\nexcitation = \"absorb\"\n",
        SEARCHED_PU,
    );
    check_static(
        "constant power factor, injecting",
        "[const_pf]\npf = 0.85\nexcitation = \"inject\"\n",
        SEARCHED_PU,
    );
}

#[test]
#[ignore = "needs peers"]
fn watt_var_settles_where_opender_settles() {
    check_static("watt-var", "[watt_var]\n", SEARCHED_PU);
}

#[test]
#[ignore = "needs peers"]
fn frequency_droop_settles_where_opender_settles() {
    let mut cases = Vec::new();
    for (device, _) in devices() {
        for function in [
            "",
            "[freq_droop]\nk_of = 0.03\nk_uf = 0.04\ndb_of_hz = 0.1\n",
        ] {
            let rows = snapshots([0.2, 0.5, 0.66, 1.0].into_iter().flat_map(|p| {
                FREQUENCIES.into_iter().flat_map(move |f| {
                    let row = Row {
                        available: p,
                        demand: 0.6 - p,
                        ..QUIET
                    };
                    [row, Row { f, ..row }]
                })
            }));
            let settings = format!("{device}{function}");
            cases.push(Case::new("droop", &settings, &rows, SETTLED_PU, 0));
            // With room above: the limit holds power back that the droop may take.
            let settings = format!("{settings}[p_limit]\np_pu = 0.5\n");
            cases.push(Case::new(
                "droop over a limit",
                &settings,
                &rows,
                SETTLED_PU,
                0,
            ));
        }
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn droop_at_50_hertz_is_that_of_60_hertz_per_unit() {
    let mut cases = Vec::new();
    let rows = snapshots(
        [48.9, 49.5, 49.9, 50.03, 50.2, 50.6, 50.9]
            .into_iter()
            .flat_map(|f| {
                let row = Row {
                    f: 50.0,
                    available: 0.7,
                    ..QUIET
                };
                [row, Row { f, ..row }]
            }),
    );
    let settings = "f_nom_hz = 50\n[freq_droop]\ndb_of_hz = 0.03\ndb_uf_hz = 0.2\n";
    cases.push(Case::new("droop at 50 Hz", settings, &rows, SETTLED_PU, 0));
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn functions_respond_in_the_time_in_which_opender_responds() {
    let mut cases = Vec::new();
    let quiet = Row {
        available: 0.5,
        demand: 0.5,
        ..QUIET
    };
    let steps = [
        ("volt-var", "[volt_var]\n", Row { v: 1.08, ..quiet }),
        (
            "volt-var, 1 s",
            "[volt_var]\nolrt_s = 1\n",
            Row { v: 0.93, ..quiet },
        ),
        (
            "volt-var, 90 s",
            "[volt_var]\nolrt_s = 90\n",
            Row { v: 0.93, ..quiet },
        ),
        ("volt-watt", "[volt_watt]\n", Row { v: 1.09, ..quiet }),
        (
            "volt-watt, 0.5 s",
            "[volt_watt]\nolrt_s = 0.5\n",
            Row { v: 1.09, ..quiet },
        ),
        (
            "watt-var",
            "[watt_var]\n",
            Row {
                available: 0.9,
                demand: 0.9,
                ..quiet
            },
        ),
        (
            "power factor",
            "[const_pf]\npf = 0.9\n",
            Row {
                available: 0.8,
                demand: 0.8,
                ..quiet
            },
        ),
        ("droop up", "", Row { f: 59.5, ..quiet }),
        ("droop down", "", Row { f: 60.6, ..quiet }),
        (
            "droop, 0.2 s",
            "[freq_droop]\nolrt_s = 0.2\n",
            Row { f: 60.6, ..quiet },
        ),
    ];
    for (device, _) in devices().filter(|(text, _)| text.contains("\"III\"\n")) {
        for (what, function, row) in steps {
            let rows = held(&[(2.0, quiet), (40.0, row), (40.0, quiet)]);
            cases.push(Case::new(
                what,
                &format!("{device}{function}"),
                &rows,
                MOVING_PU,
                0,
            ));
        }
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn the_reference_voltage_follows_as_in_opender() {
    let mut cases = Vec::new();
    let quiet = Row {
        available: 0.5,
        ..QUIET
    };
    let rows = held(&[
        (2.0, quiet),
        (300.0, Row { v: 1.05, ..quiet }),
        (300.0, Row { v: 0.94, ..quiet }),
    ]);
    let settings = "[volt_var]\nvref_auto = true\nvref_tau_s = 300\n";
    cases.push(Case::new(
        "autonomous reference",
        settings,
        &rows,
        MOVING_PU,
        0,
    ));
    let (ours, _) = both(settings, &rows);
    for (t_s, q) in [
        (60.0, -0.156),
        (120.0, -0.101),
        (200.0, -0.043),
        (275.0, 0.0),
    ] {
        let found = ours[((2.0 + t_s) / STEP_S) as usize].q;
        assert!((found - q).abs() <= 0.003, "{t_s} s: {found}");
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn precedence_is_that_of_opender() {
    let mut cases = Vec::new();
    let steps = [
        (1.0, 60.0),
        (1.09, 60.0),
        (1.09, 60.33),
        (1.09, 60.0),
        (1.09, 59.36),
        (1.0, 59.36),
        (1.0, 60.0),
        (1.0, 59.36),
    ];
    let parts: Vec<(f64, Row)> = steps
        .into_iter()
        .map(|(v, f)| (30.0, Row { v, f, ..QUIET }))
        .collect();
    for p2 in [0.2, 0.0] {
        for mode in [
            "[volt_var]",
            "[watt_var]",
            "[const_q]\nq_pu = 0.2",
            "[const_pf]\npf = 0.9",
        ] {
            let settings = format!("[volt_watt]\np2 = {p2}\n[p_limit]\np_pu = 0.5\n{mode}\n");
            cases.push(Case::new(
                &format!("precedence with {mode}"),
                &settings,
                &held(&parts),
                MOVING_PU,
                0,
            ));
        }
    }
    check(&cases);
}

/// The first row from which on a device is out of service.
fn first_out(rows: &[Given], is_out: impl Fn(&str) -> bool) -> Option<usize> {
    rows.iter().position(|row| is_out(&row.status))
}

#[test]
#[ignore = "needs peers"]
fn protection_trips_in_the_row_in_which_opender_trips() {
    // Each with a step of which the longest clearing time has 300 at the most.
    let rows = [
        (1.21, 60.0, 0.01),
        (1.15, 60.0, 0.05),
        (0.85, 60.0, 0.1),
        (0.60, 60.0, 0.1),
        (0.40, 60.0, 0.01),
        (0.0, 60.0, 0.01),
        (1.0, 62.1, 0.01),
        (1.0, 61.5, 1.0),
        (1.0, 58.0, 1.0),
        (1.0, 56.4, 0.01),
    ];
    let jobs: Vec<(String, (f64, f64), Vec<Row>)> = devices()
        .filter(|(text, storage)| text.contains("category = \"B\"") && !storage)
        .flat_map(|(device, _)| {
            rows.into_iter().map(move |(v, f, step_s)| {
                let series = held_by(
                    step_s,
                    &[
                        (10.0 * step_s, QUIET),
                        (310.0 * step_s, Row { v, f, ..QUIET }),
                    ],
                );
                (format!("{device}step_s = {step_s}\n"), (v, f), series)
            })
        })
        .collect();
    let asked: Vec<(&str, &[Row])> = jobs
        .iter()
        .map(|(s, _, rows)| (&s[..], &rows[..]))
        .collect();
    for ((settings, at, _), (ours, theirs)) in jobs.iter().zip(all_of(&asked)) {
        let ours = first_out(&ours, |s| s == "tripped");
        let theirs = first_out(&theirs, |s| s == "Trip");
        let near = match (ours, theirs) {
            (Some(a), Some(b)) => a.abs_diff(b) <= 1,
            (a, b) => a == b,
        };
        assert!(near, "{settings}{at:?}: {ours:?}, OpenDER {theirs:?}");
    }
}

#[test]
#[ignore = "needs peers"]
fn ride_through_sequences_are_ridden_as_opender_rides_them() {
    let mut cases = Vec::new();
    let v = |time_s: f64, v: f64| {
        (
            time_s,
            Row {
                v,
                available: 0.9,
                ..QUIET
            },
        )
    };
    let sequences = [
        (
            "II",
            vec![
                v(10.0, 0.94),
                v(0.15, 0.28),
                v(0.15, 0.43),
                v(2.65, 0.65),
                v(2.0, 0.88),
                v(20.0, 0.94),
            ],
        ),
        (
            "III",
            vec![
                v(5.0, 0.94),
                v(1.0, 0.03),
                v(0.9, 0.48),
                v(10.0, 0.7),
                v(20.0, 0.94),
            ],
        ),
        (
            "II",
            vec![
                v(10.0, 1.0),
                v(0.2, 1.18),
                v(0.3, 1.175),
                v(0.5, 1.15),
                v(20.0, 1.0),
            ],
        ),
        ("III", vec![v(5.0, 1.05), v(12.0, 1.18), v(20.0, 1.05)]),
        (
            "III",
            vec![
                v(5.0, 1.0),
                v(0.9, 0.4),
                v(5.0, 1.0),
                v(0.5, 0.2),
                v(5.0, 1.0),
            ],
        ),
        (
            "I",
            vec![
                v(5.0, 1.0),
                v(0.15, 0.45),
                v(5.0, 0.94),
                v(0.7, 0.71),
                v(5.0, 1.0),
            ],
        ),
    ];
    for (n, (abnormal, parts)) in sequences.into_iter().enumerate() {
        let settings = format!("abnormal = \"{abnormal}\"\n");
        // OpenDER says that it ceases from the first moment on, though it takes its 0.16 s.
        cases.push(Case::new(
            &format!("sequence {}", n + 1),
            &settings,
            &held(&parts),
            MOVING_PU,
            8,
        ));
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn an_agreed_threshold_of_momentary_cessation_acts_as_in_opender_in_every_category() {
    let v = |time_s: f64, v: f64| {
        let available = 0.9;
        (
            time_s,
            Row {
                v,
                available,
                ..QUIET
            },
        )
    };
    // On the lower threshold, above and below it, and past the upper one; none long enough to trip.
    let parts = [
        v(2.0, 1.0),
        v(1.0, 0.76),
        v(0.5, 0.75),
        v(0.5, 0.8),
        v(0.3, 0.6),
        v(2.0, 0.95),
        v(0.4, 1.13),
        v(1.0, 1.06),
        v(0.4, 1.16),
        v(2.0, 1.0),
    ];
    let mut cases = Vec::new();
    for abnormal in ["I", "II", "III"] {
        for agreed in ["lv = [[0.75, 0]]", "lv = [[0.7, 0]]\nhv = [[1.14, 0]]"] {
            let settings = format!("abnormal = \"{abnormal}\"\n[momentary_cessation]\n{agreed}\n");
            let what = format!("{abnormal}, {agreed}");
            cases.push(Case::new(&what, &settings, &held(&parts), MOVING_PU, 0));
        }
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn service_is_entered_as_opender_enters_it() {
    let mut cases = Vec::new();
    let trip = Row { v: 1.21, ..QUIET };
    let sequences = [
        (
            "most of it default",
            "[enter_service]\ndelay_s = 120\nramp_s = 120\n",
            vec![(1.0, QUIET), (1.0, trip), (300.0, QUIET)],
        ),
        (
            "excursions",
            "[enter_service]\ndelay_s = 20\nramp_s = 30\n",
            vec![
                (1.0, QUIET),
                (1.0, trip),
                (15.0, QUIET),
                (0.1, Row { v: 1.06, ..QUIET }),
                (15.0, QUIET),
                (0.1, Row { f: 60.2, ..QUIET }),
                (15.0, QUIET),
                (
                    0.1,
                    Row {
                        permit: false,
                        ..QUIET
                    },
                ),
                (60.0, QUIET),
                (
                    5.0,
                    Row {
                        permit: false,
                        ..QUIET
                    },
                ),
                (60.0, QUIET),
            ],
        ),
    ];
    for (what, settings, parts) in sequences {
        for function in [
            "",
            "[volt_var]\n",
            "[volt_watt]\n",
            "[p_limit]\np_pu = 0.4\n",
        ] {
            let settings = format!("{settings}{function}");
            cases.push(Case::new(
                &format!("entering, {what}"),
                &settings,
                &held(&parts),
                MOVING_PU,
                2,
            ));
        }
    }
    check(&cases);
}

/// Numbers that look random and are the same each time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f64 {
        // Knuth's multiplier for 64 bits; the upper half is the better one.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }
}

#[test]
#[ignore = "needs peers"]
fn a_random_series_goes_as_in_opender() {
    let mut cases = Vec::new();
    let modes = [
        "[volt_var]\nvref_auto = true\n",
        "[volt_var]\n[volt_watt]\n",
        "[watt_var]\n",
        "[const_pf]\npf = 0.92\nexcitation = \"inject\"\n",
        "[const_q]\nq_pu = -0.2\n[p_limit]\np_pu = 0.6\n",
    ];
    for (seed, (device, storage)) in (1..).zip(devices()) {
        let mut draw = Draw(seed);
        let mode = modes[seed as usize % modes.len()];
        let mut parts = vec![(2.0, QUIET)];
        for _ in 0..12 {
            let dip = draw.next() < 0.1;
            let row = Row {
                v: if dip {
                    draw.between(0.1, 1.25)
                } else {
                    draw.between(0.9, 1.095)
                },
                f: if draw.next() < 0.5 {
                    60.0
                } else {
                    draw.between(58.7, 61.1)
                },
                available: draw.between(0.1, 1.0),
                demand: draw.between(-1.0, 1.0),
                permit: true,
                t_s: 0.0,
            };
            parts.push((draw.between(0.2, 12.0), row));
            // Frequency is back and what was asked for is held, before the next event begins: the
            // two take another power from before where both change at once in a recovery.
            parts.push((
                draw.between(5.0, 20.0),
                Row {
                    f: 60.0,
                    v: 1.0,
                    ..row
                },
            ));
        }
        if storage && mode.contains("volt_watt") {
            continue;
        }
        let settings = format!("{device}{mode}[enter_service]\ndelay_s = 2\nramp_s = 6\n");
        cases.push(Case::new(
            &format!("random series {seed}"),
            &settings,
            &held(&parts),
            MOVING_PU,
            40,
        ));
    }
    check(&cases);
}

#[test]
#[ignore = "needs peers"]
fn the_golden_files_are_what_opender_gives() {
    let golden = suite::root().join("rigs/der/tests/golden");
    let folder = tempfile::tempdir().expect("a folder");
    let mut names: Vec<String> = std::fs::read_dir(&golden)
        .expect("golden files")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name();
            Some(name.to_str()?.strip_suffix(".toml")?.to_owned())
        })
        .collect();
    names.sort();
    assert!(names.len() >= 25, "{}", names.len());
    let mut jobs: Vec<std::ffi::OsString> = Vec::new();
    for name in &names {
        jobs.push("--job".into());
        jobs.push(golden.join(format!("{name}.toml")).into());
        jobs.push(golden.join(format!("{name}.in.csv")).into());
        jobs.push(folder.path().join(format!("{name}.csv")).into());
    }
    let _told = json_of("opender_series.py", jobs);
    for name in &names {
        let kept = golden.join(format!("{name}.opender.csv"));
        let made = folder.path().join(format!("{name}.csv"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::copy(&made, &kept).expect("it can be written");
        }
        let (kept, made) = (given(&kept), given(&made));
        assert_eq!(kept.len(), made.len(), "{name}");
        for (n, (kept, made)) in kept.iter().zip(&made).enumerate() {
            // The last decimals hang on the processor.
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
            let same = near(kept.p, made.p) && near(kept.q, made.q) && kept.status == made.status;
            assert!(
                same,
                "{name}, row {n}: run with UPDATE=1, and say why it changed"
            );
        }
    }
}

/// What OpenDER is known to do wrong, which nobody may copy; it would be told here if it changed.
#[test]
#[ignore = "needs peers"]
fn what_opender_is_known_to_do_wrong_it_still_does_and_ours_does_not() {
    let told = json_of("opender_defects.py", std::iter::empty::<&str>());
    let absorbs = |least: &str| told["absorbs"][least].as_f64().unwrap_or(f64::NAN);
    assert!(absorbs("0").abs() < SETTLED_PU, "{told}");
    assert!((absorbs("-1") + 0.6547).abs() < SETTLED_PU, "{told}");
    assert_eq!(told["off_at_first"], "TypeError", "{told}");
    // A second at 1.12 is to be ridden through in category I, and is over for it after two steps.
    assert_eq!(told["passed_at_once"], true, "{told}");
    // Ten seconds at 58.6 Hz are never more than a step to it: the timer is reset and counted at once.
    assert_eq!(told["low_frequency"][0], "Mandatory Operation", "{told}");
    assert_eq!(told["low_frequency"][1], 0.05, "{told}");
    // Its responses go by 2.3 in place of the logarithm of ten.
    let answered = told["answered"].as_f64().unwrap_or(f64::NAN);
    assert!((answered - (1.0 - (-2.3_f64).exp())).abs() < 5e-5, "{told}");
    assert!((answered - 0.9).abs() > 2e-4, "{told}");
    // Ours takes the power with its default, and begins out of service where that is asked for.
    let storage = "kind = \"storage\"\n[freq_droop]\n";
    let row = |f: f64| Row {
        f,
        demand: -0.5,
        ..QUIET
    };
    let ours = both(storage, &held(&[(1.0, row(60.0)), (60.0, row(60.5))])).0;
    let last = ours.last().expect("rows").p;
    assert!((last + 0.6547).abs() < SETTLED_PU, "{last}");
}

#[test]
#[ignore = "needs peers"]
fn opender_forgets_the_demand_of_a_storage_with_limit_and_volt_watt() {
    let settings = "kind = \"storage\"\n[p_limit]\np_pu = 0.5\n[volt_watt]\n";
    let row = Row {
        demand: -0.3,
        ..QUIET
    };
    let (ours, theirs) = both(settings, &held(&[(2.0, row)]));
    let last = |rows: &[Given]| rows.last().expect("rows").p;
    assert!((last(&ours) + 0.3).abs() < SETTLED_PU);
    assert!((last(&theirs) - 0.5).abs() < SETTLED_PU);
}

#[test]
#[ignore = "needs peers"]
fn opender_skips_the_ramp_of_a_device_that_comes_back_at_a_low_frequency() {
    let low = Row { f: 59.7, ..QUIET };
    let parts = [
        (2.0, QUIET),
        (10.0, low),
        (
            1.0,
            Row {
                permit: false,
                ..low
            },
        ),
        (20.0, low),
    ];
    let settings = "[enter_service]\ndelay_s = 5\nramp_s = 300\n";
    let (ours, theirs) = both(settings, &held(&parts));
    // It holds on to the power from before it tripped; ours begins with nothing but the droop.
    let last = |rows: &[Given]| rows.last().expect("rows").p;
    assert!(last(&ours) < 0.12, "{}", last(&ours));
    assert!(last(&theirs) > 0.9, "{}", last(&theirs));
}

#[test]
#[ignore = "needs peers"]
fn opender_trips_at_once_when_it_begins_outside_its_limits() {
    let parts = [(5.0, Row { v: 0.85, ..QUIET })];
    let (ours, theirs) = both("", &held(&parts));
    assert_eq!(first_out(&theirs, |s| s == "Trip"), Some(0));
    assert_eq!(first_out(&ours, |s| s == "tripped"), None);
}

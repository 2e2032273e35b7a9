//! Control does not wait for telemetry: what the run itself has recorded of its cycles while its server stood still.

use std::path::Path;

use rustix::process::Signal;
use suite::bench::Controller;
use suite::process::json_of;
use suite::{PATIENCE, folder, free_port, http, wait_for};

/// How long each stretch is at least, in seconds of control time. Chosen: longer than the five seconds for which an
/// answer of the server is waited for.
const STRETCH_S: f64 = 8.0;

/// What the worst cycle of a quiet second (of four, three are worse) may have beside twice that of the stretches in which
/// nothing stood still, in milliseconds: a fiftieth of a cycle of 100 ms. The others have to wait for the disk, 20 ms at
/// most, where something was dispatched; a wait for telemetry would be in each.
/// Chosen: in seven runs, four of them beside three busy loops and a writer that synced all the time, a quiet second had
/// 0.05 to 0.11 ms of how late a cycle began and 0.6 to 0.9 ms of how long it took, and 0.05 to 0.17 and 0.5 to 10 ms
/// otherwise.
const QUIET_MORE_MS: f64 = 2.0;

/// What the worst cycle of all may have beside three times that of the other stretches: a quarter of a cycle.
/// Chosen: the same runs had 11 ms at most of how late and 21 ms of how long, 2.6 and 22 ms otherwise.
const WORST_MORE_MS: f64 = 25.0;

/// How far a run has come.
#[derive(Clone, Copy)]
struct Now {
    cycles: f64,
    t_s: f64,
    /// Values that wait for its server.
    waiting: f64,
}

impl Now {
    fn of(page: u16) -> Option<Self> {
        let state = http::try_request(page, "GET", "/api/v1/state", None, "")?.json();
        Some(Self {
            cycles: state["cycle"]["n"].as_f64()?,
            t_s: state["cycle"]["t_s"].as_f64()?,
            waiting: state["counters"]["telemetry_waiting"].as_f64()?,
        })
    }
}

/// Cycles of 100 ms that there was time for and that did not turn.
fn lacking((from, to): (Now, Now)) -> f64 {
    (10.0 * (to.t_s - from.t_s)).round() - (to.cycles - from.cycles)
}

/// The worst cycle of each second that lies in a stretch, as the run has recorded it: how late it began or how long it
/// took, in milliseconds, sorted.
fn worst_of_seconds(run_dir: &Path, figure: &str, (from, to): (Now, Now)) -> Vec<f64> {
    let query = format!(
        "SELECT value FROM samples WHERE kind = 'cycle' AND point = '{figure}' \
         AND t_s > {} + 1 AND t_s <= {} ORDER BY value",
        from.t_s, to.t_s
    );
    let database = run_dir.join("samples.db").display().to_string();
    let answers = json_of("samples_db.py", ["ask", &database, &query]);
    let rows = answers[0].as_array().expect("rows").iter();
    let worst: Vec<f64> = rows.map(|row| row[0].as_f64().expect("a number")).collect();
    assert!(worst.len() > 4, "{figure}: {worst:?}");
    worst
}

#[test]
#[ignore = "needs peers"]
fn a_server_that_is_stopped_with_its_connection_open_delays_no_cycle() {
    let (dir, port) = (folder(), free_port());
    let server = super::server(dir.path(), port);
    let rig = super::rig(dir.path(), port, "v2");
    // A twin without a server, side by side on the same machine: whatever else delays cycles delays its own, too.
    let with = Controller::demo(Some(&rig), &dir.path().join("with"), &[]);
    let twin = Controller::demo(None, &dir.path().join("twin"), &[]);
    let pages = [with.page, twin.page];
    let now = || Some([Now::of(pages[0])?, Now::of(pages[1])?]);
    let began = wait_for("the server has some values", PATIENCE, || {
        (super::exported(port).len() > 200).then(now)?
    });
    let stopped = wait_for("a stretch with the server", PATIENCE, || {
        now().filter(|[with, _]| with.t_s > began[0].t_s + STRETCH_S)
    });
    server.signal(Signal::STOP);
    let ended = wait_for(
        "a stretch in which a thousand values wait",
        PATIENCE,
        || {
            let is_over =
                |with: &Now| with.t_s > stopped[0].t_s + STRETCH_S && with.waiting > 1_000.0;
            now().filter(|[with, _]| is_over(with))
        },
    );
    server.signal(Signal::CONT);
    let [with, twin] = [with.end(), twin.end()];
    assert_eq!(super::counter(&with, "telemetry_lost"), 0);

    let (stood, ran) = ((stopped[0], ended[0]), (began[0], stopped[0]));
    let beside = [(began[1], stopped[1]), (stopped[1], ended[1])];
    let (lack, others_lack) = (lacking(stood), beside.map(lacking));
    println!(
        "cycles that did not turn: {lack} while the server stood, {others_lack:?} without one"
    );
    // A cycle that waited for an answer would lack fifty others.
    assert!(lack <= 1.0 + others_lack[0].max(others_lack[1]));
    for figure in ["late_ms", "took_ms"] {
        let stood = worst_of_seconds(&with, figure, stood);
        let others = [
            worst_of_seconds(&with, figure, ran),
            worst_of_seconds(&twin, figure, beside[0]),
            worst_of_seconds(&twin, figure, beside[1]),
        ];
        println!(
            "{figure}: {stood:.2?} while the server stood; {others:.2?} before, and without one"
        );
        let most = |of: fn(&Vec<f64>) -> f64| others.iter().map(of).fold(0.0, f64::max);
        let quiet = |seconds: &Vec<f64>| seconds[seconds.len() / 4];
        let worst = |seconds: &Vec<f64>| seconds[seconds.len() - 1];
        assert!(
            quiet(&stood) < QUIET_MORE_MS + 2.0 * most(quiet),
            "{figure}"
        );
        assert!(
            worst(&stood) < WORST_MORE_MS + 3.0 * most(worst),
            "{figure}"
        );
    }
}

//! Windows of this run and of those before it.

use super::*;

/// A run folder with half a minute of the bench in it, as telemetry leaves it.
fn run_in(out: &std::path::Path, id: &str, title: &str) -> std::path::PathBuf {
    use crate::telemetry::{NamedDevice, Pace, Servers, Telemetry};
    use model::{Event, Instant, Point, PointSample, Reading, Sample};
    let dir = out.join(id);
    std::fs::create_dir(&dir).unwrap();
    let devices = vec![NamedDevice {
        name: "bat1".into(),
        role: Role::Ess,
        bus: "lan1".into(),
    }];
    let mut about = crate::telemetry::RunAbout::default();
    about.origin.bench = title.to_owned();
    let telemetry =
        Telemetry::start(&dir, devices, Servers::default(), Pace::Real, &about).unwrap();
    for second in 0..30_u32 {
        let now = Instant::from_nanos(u64::from(second) * 1_000_000_000);
        let utc = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);
        let sample = Sample {
            measured_at: now,
            reading: Reading::Good(f64::from(second)),
        };
        let sample = PointSample {
            device: DeviceIx(0),
            point: Point::ActivePower,
            sample,
        };
        telemetry.samples(utc, now, &[sample]);
        if second == 7 {
            let why = "47.9 Hz".into();
            let device = DeviceIx(0);
            telemetry.event(utc, now, &Event::LoadShed { device, why });
        }
    }
    assert_eq!(telemetry.finish(Duration::from_secs(5)).lost, 0);
    dir
}

#[tokio::test]
async fn any_window_of_this_run_and_of_its_neighbours_can_be_asked_for() {
    let out = tempfile::tempdir().unwrap();
    run_in(out.path(), "20261122T100000Z-old", "the former");
    let here = run_in(out.path(), "20261122T110000Z-new", "this one");
    std::fs::create_dir(out.path().join("20261122T120000Z-empty")).unwrap();
    let server = server_beside(None, 1, &here).await;
    let get = async |path: &str| {
        let (status, body) = ask(&server, "GET", path, "", "").await;
        (
            status,
            serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        )
    };

    let (status, runs) = get("/api/v1/runs").await;
    assert_eq!(status, 200);
    let told: Vec<_> = runs.as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (
            told[0]["title"].as_str(),
            told[0]["current"].as_bool(),
            told[0]["seconds"].as_f64()
        ),
        (Some("this one"), Some(true), Some(29.0))
    );
    assert_eq!(told[1]["id"], "20261122T100000Z-old");

    let (status, past) =
        get("/api/v1/history?run=20261122T100000Z-old&from_s=10&to_s=20&points=2").await;
    assert_eq!(status, 200, "{past}");
    assert_eq!(past["t_s"], serde_json::json!([12.5, 17.5]));
    assert_eq!(past["devices"][0]["p_w"], serde_json::json!([12.0, 17.0]));
    assert_eq!(
        past["devices"][0]["p_low_w"],
        serde_json::json!([10.0, 15.0])
    );
    assert_eq!(
        past["devices"][0]["p_high_w"],
        serde_json::json!([14.0, 19.0])
    );
    assert_eq!(past["f_hz"], serde_json::json!([null, null]));
    for never_said in ["q_var", "f_hz", "v_v"] {
        let told = &past["devices"][0][never_said];
        assert_eq!(*told, serde_json::json!([null, null]), "{never_said}");
    }
    let (_, whole) = get("/api/v1/history?points=1").await;
    assert_eq!(
        (&whole["run"], &whole["devices"][0]["p_w"][0]),
        (&"20261122T110000Z-new".into(), &14.5.into())
    );

    let (status, each) = get("/api/v1/history?device=bat1&point=ac.p&from_s=10&to_s=13").await;
    assert_eq!(status, 200, "{each}");
    assert_eq!(each["t_s"], serde_json::json!([10.0, 11.0, 12.0]));
    assert_eq!(each["value"], serde_json::json!([10.0, 11.0, 12.0]));
    assert_eq!(
        (&each["unit"], &each["recorded_to_s"]),
        (&"W".into(), &29.0.into())
    );
    let (_, never) = get("/api/v1/history?device=bat1&point=bat.soc").await;
    assert_eq!(
        (&never["unit"], &never["t_s"]),
        (&"".into(), &serde_json::json!([]))
    );

    let (_, events) = get("/api/v1/events?run=20261122T100000Z-old").await;
    assert_eq!(
        (&events[0]["event"], &events[0]["seq"]),
        (&"load_shed".into(), &1.into())
    );
}

#[tokio::test]
async fn a_question_of_the_past_that_makes_no_sense_is_told_what_is_wrong_with_it() {
    let out = tempfile::tempdir().unwrap();
    let here = run_in(out.path(), "run", "this one");
    let server = server_beside(None, 1, &here).await;
    for (path, status, code) in [
        ("/api/v1/history?form_s=1", 400, "bad_query"),
        ("/api/v1/history?from_s=x", 400, "bad_query"),
        ("/api/v1/history?from_s=nan", 400, "bad_query"),
        ("/api/v1/history?from_s=1e23", 400, "bad_query"),
        ("/api/v1/history?from_s=-1e10&to_s=1", 400, "bad_query"),
        ("/api/v1/history?from_s=1e9", 200, ""),
        ("/api/v1/history?from_s=-1e9&to_s=1e9", 200, ""),
        ("/api/v1/history?from_s=5&to_s=5", 400, "bad_query"),
        ("/api/v1/history?points=0", 400, "bad_query"),
        ("/api/v1/history?points=5001", 400, "bad_query"),
        ("/api/v1/history?device=bat1", 400, "bad_query"),
        ("/api/v1/history?point=ac.p", 400, "bad_query"),
        (
            "/api/v1/history?device=bat1&point=ac.p&points=5",
            400,
            "bad_query",
        ),
        ("/api/v1/stream?hz=0", 400, "bad_query"),
        ("/api/v1/stream?hz=11", 400, "bad_query"),
        ("/api/v1/stream?rate=2", 400, "bad_query"),
        ("/api/v1/ledger?before=x", 400, "bad_query"),
        ("/api/v1/ledger?before=-1", 400, "bad_query"),
        ("/api/v1/ledger?limit=0", 400, "bad_query"),
        ("/api/v1/ledger?limit=501", 400, "bad_query"),
        ("/api/v1/ledger?kind=deal", 400, "bad_query"),
        ("/api/v1/ledger?who=%zz", 400, "bad_query"),
        ("/api/v1/ledger?after=1", 400, "bad_query"),
        ("/api/v1/ledger?limit=1", 404, "no_ledger"),
        ("/api/v1/ledger?run=other&limit=1", 404, "no_such_run"),
        ("/api/v1/ledger/nothing", 400, "bad_query"),
        ("/api/v1/ledger/clock:x", 400, "bad_query"),
        ("/api/v1/ledger/%ff%fe", 400, "bad_query"),
        ("/api/v1/ledger/clock:1?kind=order", 400, "bad_query"),
        ("/api/v1/ledger/00ff", 404, "no_ledger"),
        ("/api/v1/history?run=", 404, "no_such_run"),
        ("/api/v1/history?run=..", 404, "no_such_run"),
        ("/api/v1/history?run=../run", 404, "no_such_run"),
        ("/api/v1/history?run=other", 404, "no_such_run"),
        ("/api/v1/events?points=1", 400, "bad_query"),
        ("/api/v1/events?run=%2Fetc", 404, "no_such_run"),
    ] {
        let (found, body) = ask(&server, "GET", path, "", "").await;
        let said = match code {
            "" => String::new(),
            _ => code_of(&body),
        };
        assert_eq!((found, &*said), (status, code), "{path}");
    }
    // A run without a database says so; the last ten minutes are there all the same.
    std::fs::remove_file(here.join(crate::telemetry::DATABASE_FILE)).unwrap();
    let (status, body) = ask(&server, "GET", "/api/v1/history?points=5", "", "").await;
    assert_eq!((status, &*code_of(&body)), (404, "no_past"));
    assert_eq!(ask(&server, "GET", "/api/v1/history", "", "").await.0, 200);
}

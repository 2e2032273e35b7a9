//! What is told of the bench in numbers: to Prometheus, and of services, alarms and telemetry.

use super::*;

#[tokio::test]
async fn metrics_leave_out_what_is_not_known() {
    let server = server(None, 4).await;
    let (_, before) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        !before.contains("gridrig_device_active_power_watts"),
        "{before}"
    );
    cycle_of(&server.view, 1);
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    for line in [
        "gridrig_device_active_power_watts{device=\"bat1\",role=\"ess\"} -1500",
        "gridrig_mode{mode=\"islanded\"} 1",
        "gridrig_mode{mode=\"safe\"} 0",
        "gridrig_bus_frequency_hertz 49.9",
        "gridrig_link_busy_ratio{link=\"lan1\"} 0",
        "gridrig_link_bus_offs_total{link=\"lan1\"} 0",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    // plug1 was never read.
    assert!(!page.contains("power_watts{device=\"plug1\""), "{page}");
    // A value that is too old to be used is not known either.
    stale_cycle(&server.view);
    let (_, stale) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(!stale.contains("power_watts{device=\"bat1\""), "{stale}");
    assert!(
        stale.contains("gridrig_device_sample_age_seconds{device=\"bat1\",role=\"ess\"} 99"),
        "{stale}"
    );
    // Every family has its head, and every name its unit or `_total`.
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name}");
        assert!(page.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// A bus whose first device was asked four times.
pub(super) fn asked_bus() -> BusView {
    BusView {
        name: "lan1".into(),
        report: bus::BusReport::default(),
        busy_percent: 5.0,
        devices: vec![bus::DeviceReport {
            device: DeviceIx(0),
            requests: 4,
            answers: 2,
            timeouts: 1,
            corrupt: 0,
            exceptions: 1,
            retries: 1,
            late: 1,
            expired: 0,
            busy_nanos: 250_000_000,
            round_trip_p50: Some(Duration::from_millis(20)),
            round_trip_p99: None,
        }],
    }
}

#[tokio::test]
async fn metrics_tell_each_device_of_a_bus_that_asks() {
    let server = server(None, 4).await;
    cycle_of(&server.view, 1);
    server.view.buses(vec![asked_bus()]);
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    let name = &server.view.rig().devices[0].name;
    let link = &server.view.rig().devices[0].bus;
    for (metric, value) in [
        ("requests_total", "4"),
        ("answers_total", "2"),
        ("timeouts_total", "1"),
        ("exceptions_total", "1"),
        ("retries_total", "1"),
        ("late_answers_total", "1"),
        ("busy_seconds_total", "0.25"),
        ("round_trip_p50_seconds", "0.02"),
    ] {
        let line = format!("gridrig_device_{metric}{{device=\"{name}\",link=\"{link}\"}} {value}");
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    // Not known is left out, and so is a device that was not asked.
    assert!(!page.contains("round_trip_p99"), "{page}");
    assert_eq!(page.matches("gridrig_device_requests_total{").count(), 1);
}

#[tokio::test]
async fn a_service_tells_what_it_delivers_and_for_which_share_of_the_time_it_was_available() {
    let server = server(None, 1).await;
    let services = async || {
        let (status, body) = ask(&server, "GET", "/api/v1/services", "", "").await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    assert_eq!(services().await, serde_json::json!([]));
    cycle_of(&server.view, 1);
    cycle_of(&server.view, 2);
    let told = services().await;
    // -1500 W measured on a baseline of -200 W.
    assert_eq!(told[0]["delivered_w"], -1300.0);
    assert_eq!(told[0]["available"], true);
    assert_eq!(told[0]["availability"], 0.5);
    stale_cycle(&server.view);
    assert!(services().await[0]["delivered_w"].is_null());
}

#[tokio::test]
async fn an_alarm_is_listed_as_it_stands_and_seen_by_whoever_has_the_token() {
    let server = server(Some("secret"), 1).await;
    let list = async || {
        let (status, body) = ask(&server, "GET", "/api/v1/alarms", "", "").await;
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()[0].clone()
    };
    let see = async |token: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\nGridrig-Holder: ann\r\n");
        ask(&server, "POST", "/api/v1/acknowledge", &headers, body).await
    };
    let low = r#"{"alarm":"low charge"}"#;
    let calm = list().await;
    assert_eq!(
        (&calm["raised"], &calm["severity"], &calm["since_s"]),
        (&false.into(), &"error".into(), &serde_json::Value::Null)
    );
    let (status, body) = see("secret", low).await;
    assert_eq!((status, &*code_of(&body)), (409, "not_raised"));

    let now = model::Instant::from_nanos(1_500_000_000);
    let estimate = control::Estimate {
        soc: Some(quantities::StateOfCharge::from_fraction(0.1)),
        ..control::Estimate::default()
    };
    let image = model::ProcessImage::unread(0);
    server
        .alarms
        .observe(now, &estimate, &image, |_| Duration::ZERO);
    let raised = list().await;
    assert_eq!(
        (&raised["raised"], &raised["since_s"], &raised["times"]),
        (&true.into(), &1.5.into(), &1.into())
    );
    assert_eq!(raised["why"], "bench.soc is 10.0 %, below 20.0 %");
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        page.contains("gridrig_alarm_raised{alarm=\"low charge\",severity=\"error\"} 1\n"),
        "{page}"
    );

    for (token, body, status, code) in [
        ("wrong", low, 403, "wrong_token"),
        ("secret", r#"{"alarm":"none"}"#, 404, "unknown_alarm"),
        ("secret", r#"{"name":"low charge"}"#, 400, "bad_json"),
    ] {
        let (found, answer) = see(token, body).await;
        assert_eq!((found, &*code_of(&answer)), (status, code), "{body}");
    }
    assert_eq!(list().await["acknowledged_by"], serde_json::Value::Null);
    assert_eq!(see("secret", low).await.0, 202);
    assert_eq!(list().await["acknowledged_by"], "ann");
}

#[tokio::test]
async fn what_waits_for_a_telemetry_server_and_what_the_database_lacks_is_told_to_page_and_prometheus()
 {
    let server = server(None, 1).await;
    server.view.counters(crate::view::Counters {
        telemetry_waiting: 1_234,
        database_lost: 56,
        ..Default::default()
    });
    let (_, page) = ask(&server, "GET", "/metrics", "", "").await;
    assert!(
        page.contains("\ngridrig_telemetry_values_waiting 1234\n"),
        "{page}"
    );
    assert!(
        page.contains("\ngridrig_database_rows_lost_total 56\n"),
        "{page}"
    );
    let (_, state) = ask(&server, "GET", "/api/v1/state", "", "").await;
    assert!(state.contains("\"telemetry_waiting\":1234"), "{state}");
    assert!(state.contains("\"database_lost\":56"), "{state}");
}

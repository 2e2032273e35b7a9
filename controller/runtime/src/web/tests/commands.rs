//! Commands: who may give them, what they become, when they are given, and which are refused.

use super::*;

#[tokio::test]
async fn only_safe_works_without_a_token() {
    let commands = [
        "arm",
        "disarm",
        "mode",
        "hold",
        "release",
        "agreement",
        "hand_over",
        "signal",
        "baseline",
    ];
    for (token, headers, status, code) in [
        (None, "", 403, "read_only"),
        (None, "Authorization: Bearer x\r\n", 403, "read_only"),
        (Some("s3cret"), "", 401, "token_needed"),
        (
            Some("s3cret"),
            "Authorization: Bearer s3creT\r\n",
            403,
            "wrong_token",
        ),
        (
            Some("s3cret"),
            "Authorization: Bearer s3cret2\r\n",
            403,
            "wrong_token",
        ),
        (
            Some("s3cret"),
            "Authorization: Basic s3cret\r\n",
            403,
            "wrong_token",
        ),
    ] {
        let mut server = server(token, 4).await;
        for command in commands {
            let path = format!("/api/v1/{command}");
            let (got, body) = ask(&server, "POST", &path, headers, "{}").await;
            assert_eq!((got, code_of(&body).as_str()), (status, code), "{command}");
        }
        assert!(server.commands.try_recv().is_err());
        let (got, _) = ask(&server, "POST", "/api/v1/safe", headers, "").await;
        assert_eq!(got, 202);
        assert_eq!(server.commands.try_recv().unwrap(), WebCommand::Safe);
    }
}

#[tokio::test]
async fn whoever_has_the_bench_commands_it_and_others_may_only_make_it_safe() {
    let mut server = server(Some("s3cret"), 16).await;
    let token = "Authorization: Bearer s3cret\r\n";
    let ann = format!("{token}Gridrig-Holder: ann\r\n");
    let bob = format!("{token}Gridrig-Holder: bob\r\n");
    let rows: &[(&str, &str, &str, &str, u16)] = &[
        ("POST", "lock/take", "", "", 401),
        ("POST", "lock/take", &ann, r#"{"for_s":0}"#, 400),
        ("POST", "lock/take", &ann, r#"{"for_s":600}"#, 202),
        ("POST", "lock/take", &bob, "", 423),
        ("POST", "arm", &bob, "", 423),
        ("POST", "arm", token, "", 423),
        ("POST", "mode", &bob, r#"{"mode":"island"}"#, 423),
        ("POST", "release", &bob, r#"{"device":"bat1"}"#, 423),
        (
            "POST",
            "hold",
            &bob,
            r#"{"device":"bat1","setpoint":{"p_w":5}}"#,
            423,
        ),
        ("POST", "lock/drop", &bob, "", 423),
        ("POST", "safe", "", "", 202),
        ("POST", "disarm", &bob, "", 202),
        ("POST", "arm", &ann, r#"{"for_s":60}"#, 202),
        ("POST", "lock/drop", &ann, "", 202),
        ("POST", "mode", &bob, r#"{"mode":"island"}"#, 202),
    ];
    for (method, path, headers, body, expected) in rows {
        let path = format!("/api/v1/{path}");
        let (status, answer) = ask(&server, method, &path, headers, body).await;
        assert_eq!(status, *expected, "{path} {body}: {answer}");
    }
    let mut orders = Vec::new();
    while let Ok(command) = server.commands.try_recv() {
        orders.push(command.order());
    }
    let expected = [
        Order::Mode(ModeRequest::Safe),
        Order::Arm(false),
        Order::Arm(true),
        Order::Mode(ModeRequest::Island),
    ];
    assert_eq!(orders, expected);
    ask(&server, "POST", "/api/v1/arm", &bob, "").await;
    let (_, who) = ask(&server, "GET", "/api/v1/lock", "", "").await;
    assert!(
        who.contains(r#""holder":"bob""#),
        "arming takes the bench: {who}"
    );
}

#[tokio::test]
async fn a_command_with_the_token_becomes_an_order() {
    let mut server = server(Some("s3cret"), 4).await;
    let power = |p: f64, q: f64| Setpoint::Power {
        p: ActivePower::from_watts(p),
        q: ReactivePower::from_vars(q),
    };
    let device = DeviceIx(1);
    let hold = |setpoint| Order::Hold { device, setpoint };
    let rows: &[(&str, &str, Order)] = &[
        ("arm", "", Order::Arm(true)),
        ("disarm", "", Order::Arm(false)),
        ("safe", "", Order::Mode(ModeRequest::Safe)),
        (
            "mode",
            r#"{"mode":"island"}"#,
            Order::Mode(ModeRequest::Island),
        ),
        (
            "mode",
            r#"{"mode":"reconnect"}"#,
            Order::Mode(ModeRequest::Reconnect),
        ),
        (
            "mode",
            r#"{"mode":"resume"}"#,
            Order::Mode(ModeRequest::Resume),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":-1500,"q_var":20}}"#,
            hold(power(-1500.0, 20.0)),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":5}}"#,
            hold(power(5.0, 0.0)),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"ceiling_w":8}}"#,
            hold(Setpoint::Ceiling {
                p: ActivePower::from_watts(8.0),
            }),
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"on":false}}"#,
            hold(Setpoint::Switch { on: false }),
        ),
        ("release", r#"{"device":"bat1"}"#, Order::Release { device }),
        (
            "hand_over",
            r#"{"to":"bat1"}"#,
            Order::HandOver { to: device },
        ),
        (
            "signal",
            r#"{"service":"fcr1","fraction":-0.4}"#,
            Order::Signal {
                service: model::ServiceIx(0),
                fraction: -0.4,
            },
        ),
        (
            "baseline",
            r#"{"device":"bat1","p_w":250}"#,
            Order::Baseline {
                device,
                p: ActivePower::from_watts(250.0),
            },
        ),
        (
            "agreement",
            r#"{"import_min_w":-3000,"import_max_w":5000,"pf_min":0.95}"#,
            Order::Agree(model::Agreement {
                limits: Bounds::new(
                    ActivePower::from_watts(-3000.0),
                    ActivePower::from_watts(5000.0),
                ),
                pf_min: Some(0.95),
                ..model::Agreement::default()
            }),
        ),
    ];
    for (command, body, order) in rows {
        let path = format!("/api/v1/{command}");
        let (status, answer) = ask(
            &server,
            "POST",
            &path,
            "Authorization: Bearer s3cret\r\n",
            body,
        )
        .await;
        assert_eq!(status, 202, "{command} {body} {answer}");
        assert_eq!(server.commands.try_recv().unwrap().order(), *order);
    }
}

#[tokio::test]
async fn a_malformed_command_is_refused_with_a_reason() {
    let mut server = server(Some("s3cret"), 4).await;
    let long = format!(r#"{{"device":"{}"}}"#, "x".repeat(5_000));
    let rows: &[(&str, &str, u16, &str)] = &[
        ("mode", "", 400, "bad_json"),
        ("mode", "{", 400, "bad_json"),
        ("mode", r#"{"mode":"asleep"}"#, 400, "bad_json"),
        ("mode", r#"{"mode":"island","now":true}"#, 400, "bad_json"),
        ("hold", r#"{"device":"bat1"}"#, 400, "bad_json"),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":"1kW"}}"#,
            400,
            "bad_json",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":1e999}}"#,
            400,
            "bad_json",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"p_w":1,"on":true}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat1","setpoint":{"q_var":1}}"#,
            400,
            "bad_setpoint",
        ),
        (
            "hold",
            r#"{"device":"bat9","setpoint":{"p_w":1}}"#,
            404,
            "unknown_device",
        ),
        ("release", r#"{"device":"bat9"}"#, 404, "unknown_device"),
        ("hand_over", r#"{"to":"bat9"}"#, 404, "unknown_device"),
        ("hand_over", r#"{"device":"bat1"}"#, 400, "bad_json"),
        ("agreement", r#"{"pf_min":1.2}"#, 422, "bad_agreement"),
        (
            "signal",
            r#"{"service":"fcr1","fraction":1.2}"#,
            422,
            "bad_signal",
        ),
        (
            "signal",
            r#"{"service":"fcr9","fraction":0.2}"#,
            404,
            "unknown_service",
        ),
        ("signal", r#"{"service":"fcr1"}"#, 400, "bad_json"),
        (
            "baseline",
            r#"{"device":"bat9","p_w":0}"#,
            404,
            "unknown_device",
        ),
        ("agreement", r#"{"import_max_w":5}"#, 422, "bad_agreement"),
        (
            "agreement",
            r#"{"import_min_w":6,"import_max_w":5}"#,
            422,
            "bad_agreement",
        ),
        ("release", &long, 413, "body_not_read"),
    ];
    for (command, body, status, code) in rows {
        let path = format!("/api/v1/{command}");
        let (got, answer) = ask(
            &server,
            "POST",
            &path,
            "Authorization: Bearer s3cret\r\n",
            body,
        )
        .await;
        assert_eq!(
            (got, code_of(&answer).as_str()),
            (*status, *code),
            "{command} {body}"
        );
    }
    assert!(server.commands.try_recv().is_err());
}

/// Asks for an island at a moment: status and answer.
async fn at_moment(server: &Server, moment: &str) -> (u16, serde_json::Value) {
    let headers = format!("Authorization: Bearer t\r\nGridrig-At: {moment}\r\n");
    let body = r#"{"mode":"island"}"#;
    let (status, answer) = ask(server, "POST", "/api/v1/mode", &headers, body).await;
    (status, serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn a_command_waits_for_its_moment_and_says_when_it_was_given() {
    let mut server = server(Some("t"), 4).await;
    let (status, first) = at_moment(&server, "+0").await;
    assert_eq!(status, 202, "{first}");
    let began = first["t_s"].as_f64().unwrap();
    let (status, later) = at_moment(&server, "+0.05").await;
    assert_eq!(status, 202, "{later}");
    let later = later["t_s"].as_f64().unwrap();
    assert!(later >= began + 0.05, "{began} {later}");
    // A time of the run, from the last answer on. A busy machine may let a near one pass, and then it is refused.
    let mut then = (0.0, 0, serde_json::Value::Null);
    for lead_s in [0.03, 0.3, 3.0] {
        let (status, answer) = at_moment(&server, &(later + lead_s).to_string()).await;
        then = (lead_s, status, answer);
        if status == 202 {
            break;
        }
    }
    let (lead_s, status, then) = then;
    assert_eq!(status, 202, "{then}");
    assert!(then["t_s"].as_f64().unwrap() >= later + lead_s, "{then}");
    for given in 0..3 {
        let command = server.commands.try_recv().map(WebCommand::order);
        assert_eq!(command, Ok(Order::Mode(ModeRequest::Island)), "{given}");
    }
    for bad in ["0", "+601", "1e9", "soon", "-1", "+-1", "nan", "+"] {
        let (status, problem) = at_moment(&server, bad).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &"bad_moment".into()),
            "{bad}"
        );
    }
    assert!(server.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_planned_command_goes_with_its_connection_and_with_its_lease() {
    let mut server = server(Some("t"), 4).await;
    let plan = |holder: &str, at: &str| {
        let body = r#"{"mode":"island"}"#;
        format!(
            "POST /api/v1/mode HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer t\r\nGridrig-Holder: {holder}\r\n\
             Gridrig-At: {at}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            server.address,
            body.len()
        )
    };
    // Who asked is gone before the moment.
    let mut gone = TcpStream::connect(server.address).await.unwrap();
    gone.write_all(plan("ann", "+2").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(gone);
    // Somebody else has taken the bench meanwhile.
    let taken = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let bob = "Authorization: Bearer t\r\nGridrig-Holder: bob\r\n";
        ask(&server, "POST", "/api/v1/lock/take", bob, "").await.0
    };
    let ((status, body), taken) = tokio::join!(raw(&server, plan("ann", "+2.1")), taken);
    assert_eq!((status, &*code_of(&body), taken), (423, "locked", 202));
    assert!(server.commands.try_recv().is_err(), "nothing was given");
}

#[tokio::test]
async fn a_full_or_ended_queue_is_said_and_not_waited_for() {
    let mut server = server(Some("t"), 1).await;
    let arm =
        |s| async move { ask(s, "POST", "/api/v1/arm", "Authorization: Bearer t\r\n", "").await };
    assert_eq!(arm(&server).await.0, 202);
    let (status, body) = arm(&server).await;
    assert_eq!((status, code_of(&body).as_str()), (503, "busy"));
    server.commands.close();
    let (status, body) = ask(&server, "POST", "/api/v1/safe", "", "").await;
    assert_eq!((status, code_of(&body).as_str()), (503, "ended"));
}

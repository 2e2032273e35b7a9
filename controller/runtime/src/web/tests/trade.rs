//! Orders and late readings of the market, and the answers of its desk.

use super::*;

const ORDER: &str =
    r#"{"participant":"plug1","side":"buy","steps":[{"price_mc_per_kwh":20000,"energy_mwh":500}]}"#;

/// Orders with the token while a desk answers this, and gives status and answer.
async fn order_answered(
    answer: Option<Result<crate::desk::Taken, market::CounterError>>,
) -> (u16, String, crate::desk::Bid) {
    let server = server(Some("s3cret"), 4).await;
    let bids = server.bids.clone();
    let desk = tokio::spawn(async move {
        loop {
            if let Some((bid, hears)) = bids.take().pop() {
                match answer {
                    Some(answer) => drop(hears.send(answer)),
                    None => drop(hears),
                }
                return bid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let body = ORDER.replacen('{', r#"{"interval":7,"#, 1);
    let headers = "Authorization: Bearer s3cret\r\n";
    let (status, said) = ask(&server, "POST", "/api/v1/market/orders", headers, &body).await;
    (status, said, desk.await.unwrap())
}

#[tokio::test]
async fn an_order_of_the_market_gets_the_desks_answer() {
    let taken = crate::desk::Taken {
        interval: 7,
        begins: UtcTime::from_unix_nanos(1_800_000_000_000_000_000),
        gate: UtcTime::from_unix_nanos(1_799_999_999_000_000_000),
        entry: None,
    };
    let (status, said, bid) = order_answered(Some(Ok(taken))).await;
    assert_eq!(status, 202, "{said}");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&told["taken"], &told["interval"]),
        (&true.into(), &7.into())
    );
    assert!(
        told["gate_utc"]
            .as_str()
            .unwrap()
            .starts_with("2027-01-15T07:59:59"),
        "{told}"
    );
    let expected = crate::desk::Bid {
        participant: "plug1".into(),
        side: market::Side::Buy,
        steps: vec![(20_000, 500)],
        interval: Some(7),
        stage: crate::desk::Stage::RealTime,
    };
    assert_eq!(bid, expected);

    let agent = || market::AgentId::from("plug1");
    let duplicate = market::BookError::Duplicate {
        agent: agent(),
        side: market::Side::Buy,
    };
    for (why, status, code) in [
        (
            market::CounterError::Closed {
                interval: 7,
                open: 8,
            },
            409,
            "M037",
        ),
        (
            market::CounterError::Stranger { agent: agent() },
            404,
            "M038",
        ),
        (
            market::CounterError::TooFar {
                interval: 7,
                last: 6,
            },
            422,
            "M039",
        ),
        (market::venue::Refusal::from(duplicate).into(), 422, "M014"),
    ] {
        let (found, said, _) = order_answered(Some(Err(why))).await;
        assert_eq!((found, code_of(&said).as_str()), (status, code), "{said}");
    }
    let (status, said, _) = order_answered(None).await;
    assert_eq!((status, code_of(&said).as_str()), (503, "no_answer"));
}

#[tokio::test]
async fn a_late_reading_gets_the_desks_answer() {
    use market::venue::CorrectionError;
    let agent = || market::AgentId::from("plug1");
    let interval = 7;
    for (answer, status, code) in [
        (Ok(-5_000_000_i128), 202, ""),
        (Err(CorrectionError::NotSettled { interval }), 409, "M048"),
        (
            Err(CorrectionError::NotMetered {
                interval,
                agent: agent(),
            }),
            404,
            "M049",
        ),
        (
            Err(CorrectionError::Stands {
                interval,
                agent: agent(),
            }),
            409,
            "M052",
        ),
    ] {
        let server = server(Some("s3cret"), 4).await;
        let inbox = server.bids.clone();
        let desk = tokio::spawn(async move {
            loop {
                if let Some((late, hears)) = inbox.take_readings().pop() {
                    let _gone = hears.send(answer);
                    return late;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let headers = "Authorization: Bearer s3cret\r\n";
        let body = r#"{"participant":"plug1","interval":7,"energy_mwh":-500}"#;
        let (found, said) = ask(&server, "POST", "/api/v1/market/readings", headers, body).await;
        assert_eq!(found, status, "{said}");
        match code {
            "" => assert!(said.contains("\"amount_u\":\"-5000000\""), "{said}"),
            code => assert_eq!(code_of(&said), code),
        }
        let expected = crate::desk::LateReading {
            participant: "plug1".into(),
            interval: 7,
            energy_mwh: -500,
        };
        assert_eq!(desk.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_order_of_the_market_needs_the_token_and_a_shape() {
    let server = server(Some("s3cret"), 4).await;
    let bearer = "Authorization: Bearer s3cret\r\n";
    let foreign = "Authorization: Bearer s3cret\r\nOrigin: http://evil.example\r\n";
    for (headers, body, status, code) in [
        ("", ORDER, 401, "token_needed"),
        ("Authorization: Bearer guess\r\n", ORDER, 403, "wrong_token"),
        (foreign, ORDER, 403, "foreign_origin"),
        (bearer, "", 400, "bad_json"),
        (
            bearer,
            r#"{"participant":"plug1","side":"hold","steps":[]}"#,
            400,
            "bad_json",
        ),
        (
            bearer,
            r#"{"participant":"plug1","side":"buy"}"#,
            400,
            "bad_json",
        ),
        (bearer, &ORDER.replace("500", "0.5"), 400, "bad_json"),
        (
            bearer,
            &ORDER.replace("500", "99999999999999999999"),
            400,
            "bad_json",
        ),
        (
            bearer,
            &ORDER.replace("\"side\"", "\"now\":1,\"side\""),
            400,
            "bad_json",
        ),
    ] {
        let (found, said) = ask(&server, "POST", "/api/v1/market/orders", headers, body).await;
        assert_eq!(
            (found, code_of(&said).as_str()),
            (status, code),
            "{body}: {said}"
        );
    }
    assert!(
        server.bids.take().is_empty(),
        "nothing of it reached the desk"
    );
    let bid = crate::desk::Bid {
        participant: "plug1".into(),
        side: market::Side::Buy,
        steps: vec![(1, 1)],
        interval: None,
        stage: crate::desk::Stage::RealTime,
    };
    while server.bids.push(bid.clone()).is_some() {}
    let (status, said) = ask(&server, "POST", "/api/v1/market/orders", bearer, ORDER).await;
    assert_eq!((status, code_of(&said).as_str()), (503, "busy"));
}

//! Setting up against a server of version 2 of our own; version 1 is asked for real in the suite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::*;

/// What the server has: buckets with their seconds, and tasks with their text.
#[derive(Clone, Default)]
struct Shelf {
    buckets: Arc<Mutex<BTreeMap<String, u64>>>,
    tasks: Arc<Mutex<Vec<String>>>,
}

type Asked = Query<BTreeMap<String, String>>;

async fn answer(
    State(shelf): State<Shelf>,
    method: Method,
    uri: Uri,
    Query(query): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let json = |status: u16, value: Value| {
        (StatusCode::from_u16(status).unwrap(), value.to_string()).into_response()
    };
    if headers
        .get("authorization")
        .is_none_or(|t| t != "Token good")
    {
        return json(
            401,
            json!({ "code": "unauthorized", "message": "unauthorized access" }),
        );
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut buckets = shelf.buckets.lock().unwrap();
    let mut tasks = shelf.tasks.lock().unwrap();
    let seconds = || body["retentionRules"][0]["everySeconds"].as_u64().unwrap();
    match (method.as_str(), uri.path()) {
        ("GET", "/api/v2/orgs") if query["org"] == "lab" => {
            json(200, json!({ "orgs": [{ "id": "0a", "name": "lab" }] }))
        }
        ("GET", "/api/v2/orgs") => json(
            404,
            json!({ "code": "not found", "message": "organization name not found" }),
        ),
        ("GET", "/api/v2/buckets") => {
            let there = buckets.contains_key(&query["name"]);
            let found = there.then(|| json!({ "id": query["name"] }));
            json(
                200,
                json!({ "buckets": found.into_iter().collect::<Vec<_>>() }),
            )
        }
        ("POST", "/api/v2/buckets") if body["orgID"] == "0a" => {
            let name = body["name"].as_str().unwrap().to_owned();
            assert!(buckets.insert(name, seconds()).is_none(), "made twice");
            json(201, json!({}))
        }
        ("PATCH", path) if path.starts_with("/api/v2/buckets/") => {
            let name = path.trim_start_matches("/api/v2/buckets/");
            *buckets.get_mut(name).unwrap() = seconds();
            json(200, json!({}))
        }
        ("GET", "/api/v2/tasks") => {
            let found: Vec<Value> = tasks.iter().map(|_| json!({ "id": "t1" })).collect();
            json(200, json!({ "tasks": found }))
        }
        ("POST", "/api/v2/tasks") => {
            tasks.push(body["flux"].as_str().unwrap().to_owned());
            json(201, json!({}))
        }
        ("PATCH", "/api/v2/tasks/t1") => {
            tasks[0] = body["flux"].as_str().unwrap().to_owned();
            json(200, json!({}))
        }
        _ => json(404, json!({ "code": "no such path" })),
    }
}

async fn server() -> (String, Shelf) {
    let shelf = Shelf::default();
    let app = axum::Router::new()
        .fallback(answer)
        .with_state(shelf.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, shelf)
}

fn config(url: &str, org: &str, token: &str) -> InfluxConfig {
    InfluxConfig {
        url: url.to_owned(),
        api: WriteApi::V2,
        org: org.to_owned(),
        bucket: "bench".to_owned(),
        token: Some(token.to_owned()),
        ca_pem: None,
        spool_bytes: 0,
        spool_dir: "none".into(),
    }
}

fn kept(values_days: u64) -> Retention {
    Retention {
        values: Duration::from_secs(86_400 * values_days),
        minutes: Duration::from_secs(86_400 * 730),
    }
}

#[tokio::test]
async fn buckets_and_the_task_between_them_are_made_once_and_changed_afterwards() {
    let (url, shelf) = server().await;
    let config = config(&url, "lab", "good");
    for days in [30, 60] {
        let told = set_up(&config, kept(days)).await.unwrap();
        assert_eq!(
            told[0],
            format!("Bucket bench of lab keeps every value for {days}.0 days.")
        );
        let buckets: Vec<_> = shelf.buckets.lock().unwrap().clone().into_iter().collect();
        assert_eq!(
            buckets,
            [
                ("bench".to_owned(), 86_400 * days),
                ("bench_minutes".to_owned(), 86_400 * 730)
            ]
        );
        let tasks = shelf.tasks.lock().unwrap().clone();
        assert_eq!(tasks.len(), 1);
        for part in [
            "from(bucket: \"bench\")",
            "to(bucket: \"bench_minutes\", orgID: \"0a\")",
            "every: 1m",
        ] {
            assert!(tasks[0].contains(part), "{part} in {}", tasks[0]);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_set_up_says_why() {
    let (url, _) = server().await;
    let said = async |config: InfluxConfig| set_up(&config, kept(30)).await.unwrap_err();
    assert!(matches!(
        said(config(&url, "lab", "wrong")).await,
        SetupError::Refused { why, .. } if why.contains("no right")
    ));
    assert!(matches!(
        said(config(&url, "other", "good")).await,
        SetupError::Refused { why, .. } if why.contains("none of that name")
    ));
    assert!(matches!(
        said(config("http://127.0.0.1:1", "lab", "good")).await,
        SetupError::Away { .. }
    ));
    // Another server does not know the path, and says so in its own words.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}", listener.local_addr().unwrap());
    let app =
        axum::Router::new().fallback(|| async { (StatusCode::BAD_REQUEST, "unsupported path") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert!(matches!(
        said(config(&other, "lab", "good")).await,
        SetupError::NoBuckets { .. }
    ));
}

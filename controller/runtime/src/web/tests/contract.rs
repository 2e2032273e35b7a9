//! What the routes are, against the document that tells of them, and what the page is made of.

use super::metrics::asked_bus;
use super::*;

#[test]
fn every_route_is_in_the_openapi_document_and_the_other_way_round() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI.text).unwrap();
    let mut told: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            told.push((method.clone(), path.clone()));
        }
    }
    let routes = routes();
    let mut built: Vec<(String, String)> = routes
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    told.sort();
    built.sort();
    assert_eq!(told, built);
    // And what each needs is told, too.
    for (method, path, need, _) in routes {
        let operation = &document["paths"][path][method];
        let (role, security) = match need {
            Need::Nothing => (None, serde_json::Value::Null),
            Need::Look | Need::Page => (
                Some("observe"),
                serde_json::json!([{}, { "token": [] }, { "session": [] }]),
            ),
            Need::Have(role) => (
                Some(role.name()),
                serde_json::json!([{ "token": [] }, { "session": [] }]),
            ),
        };
        assert_eq!(operation["x-role"].as_str(), role, "{method} {path}");
        assert_eq!(operation["security"], security, "{method} {path}");
    }
}

#[tokio::test]
async fn every_route_answers_by_the_method_that_its_table_says() {
    let server = server(None, 4).await;
    for (method, path, ..) in routes() {
        if path.ends_with("/stream") {
            continue;
        }
        // What does not name one of something is told that there is none.
        if path.contains('{') {
            let path = path.replace("{atom}", "clock:1");
            let (status, body) = ask(&server, "GET", &path, "", "").await;
            assert_eq!(
                (status, code_of(&body).as_str()),
                (404, "no_ledger"),
                "{path}"
            );
            continue;
        }
        let (status, _) = ask(&server, &method.to_uppercase(), path, "", "").await;
        let other = if method == "get" { "DELETE" } else { "GET" };
        assert!(
            matches!((method, status), ("get", 200) | ("post", 202 | 403))
                || matches!((path, status), ("/login", 400) | ("/logout", 303)),
            "{path} {status}"
        );
        // A path that takes both has no other.
        if path == "/login" {
            continue;
        }
        let (status, body) = ask(&server, other, path, "", "").await;
        assert_eq!(
            (status, code_of(&body).as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
    }
    let (status, body) = ask(&server, "GET", "/api/v1/nothing", "", "").await;
    assert_eq!((status, code_of(&body).as_str()), (404, "not_found"));
}

#[test]
fn every_device_of_the_api_has_the_fields_of_the_document() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI.text).unwrap();
    let view = bench_view();
    cycle_of(&view, 1);
    view.buses(vec![asked_bus()]);
    let state = serde_json::to_value(wire::State::of(&view)).unwrap();
    for (schema, value) in [
        ("State", &state),
        ("Device", &state["devices"][0]),
        ("Known", &state["devices"][0]["p_w"]),
        ("Line", &state["devices"][0]["line"]),
    ] {
        let mut told: Vec<&str> = document["components"]["schemas"][schema]["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_str().unwrap())
            .collect();
        let mut sent: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        told.sort_unstable();
        sent.sort_unstable();
        assert_eq!(told, sent, "{schema}");
    }
}

#[test]
fn roles_of_the_page_are_those_of_the_rig() {
    // The diagram's script places devices by role; a new role must be placed there too.
    for (name, _) in Role::NAMES {
        let placed = [format!("\"{name}\""), format!("    {name}: (g)")];
        assert!(
            placed.iter().any(|p| DIAGRAM.text.contains(p)),
            "{name} is not placed in the diagram"
        );
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_never_makes_markup_of_text() {
    for asset in [
        HTML, ELEMENTS, SCRIPT, CHARTS, PAST, DIAGRAM, MARKET, LEDGER, STYLE,
    ] {
        for forbidden in [
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "onclick=",
        ] {
            assert!(!asset.text.contains(forbidden), "{forbidden}");
        }
    }
}

#[tokio::test]
async fn the_charts_are_drawn_by_the_file_that_the_makers_of_their_library_published() {
    use sha3::{Digest as _, Sha3_256};
    /// SHA3-256 of `dist/chart.umd.js` in chart.js 4.5.1 as the npm registry has it.
    const PUBLISHED: &str = "3ef7931a592b38c47b3b9586e8cfc67ccd9729bf0deb0acbbc1c7253dbc78955";
    let server = server(None, 1).await;
    let (status, library) = ask(&server, "GET", "/chart.umd.js", "", "").await;
    assert_eq!(status, 200);
    let digest = Sha3_256::digest(library.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, PUBLISHED);
}

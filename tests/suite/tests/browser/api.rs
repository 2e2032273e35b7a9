//! The API of the page: its document in the opinion of others, and each of its calls with what is wrong.

use serde_json::Value;
use suite::bench::{Controller, TOKEN};
use suite::process::json_of;
use suite::{folder, run};

#[test]
#[ignore = "needs peers"]
fn the_document_of_the_api_is_valid_and_whatever_is_wrong_with_a_call_is_said_by_a_code() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    let told = json_of(
        "openapi_calls.py",
        [demo.page.to_string(), TOKEN.to_owned()],
    );
    println!(
        "{} calls of {} operations: {}",
        told["calls"], told["operations"], told["statuses"]
    );
    for what in ["failed", "untold", "uncoded"] {
        assert_eq!(told[what], Value::Array(Vec::new()), "{what}");
    }
    assert!(told["operations"].as_u64() > Some(40), "{told}");
    assert!(told["calls"].as_u64() > Some(1_000), "{told}");
    // Whatever it was asked, it goes on and ends well.
    let run_dir = demo.end();
    assert_eq!(run::result(&run_dir)["verdict"], "pass");
}

//! A bench that others reach: its keys, its encrypted page, and who may do what from a terminal.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use common::{Done, Place, Running, campus, until};

/// The secret of a role in the tokens file that `init` has made, in a file of its own.
fn token_file(place: &Place, role: &str) -> String {
    let text = std::fs::read_to_string(place.path("keys/tokens.toml")).expect("tokens");
    let table = text.split(&format!("[token.{role}]")).nth(1).expect("role");
    let secret = table.split("secret = \"").nth(1).expect("secret");
    let secret = secret.split('"').next().expect("its end");
    let path = place.file(&format!("{role}.token"), secret);
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("it is the owner's alone");
    path.display().to_string()
}

fn refused(done: &Done, code: i32, word: &str) {
    assert!(
        done.exits(code).stderr.contains(&format!("error[{word}]")),
        "{}",
        done.stderr
    );
}

#[test]
fn keys_are_made_once_and_what_is_served_with_them_is_for_those_who_have_a_token() {
    let place = Place::new();
    campus(&place);
    let made = place.gridrig(&["init", "keys", "--name", "bench.lab", "--json"]);
    let made = made.exits(0).json();
    assert_eq!(made["files"].as_array().map(Vec::len), Some(5));
    assert!(made["files"][0]["made"] == true && made["names"][0] == "bench.lab");
    let again = place.gridrig(&["init", "keys", "--json"]).exits(0).json();
    assert_eq!(again["files"][0]["made"], false, "nothing is overwritten");
    place.gridrig(&["init", "other", "--quiet"]).exits(0);

    // Beyond this machine nothing is served without both, and not with files that others can read.
    let run = |more: &[&str]| {
        let mut words = vec!["run", "campus.toml", "--on", "sim", "--listen", "0.0.0.0:0"];
        words.extend(more);
        place.gridrig(&words)
    };
    let (tls, tokens) = (["--tls", "keys"], ["--tokens", "keys/tokens.toml"]);
    refused(&run(&[]), 2, "W001");
    refused(&run(&tls), 2, "W001");
    refused(&run(&tokens), 2, "W001");
    refused(&run(&["--tls", "nowhere"]), 2, "R124");
    let mode = |bits| {
        let path = place.path("keys/tokens.toml");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).expect("mode");
    };
    mode(0o644);
    refused(&run(&[tls, tokens].concat()), 2, "R123");
    mode(0o600);

    // A free port; taken again at once by the daemon.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let listen = format!("127.0.0.1:{port}");
    let words = [
        ["run", "campus.toml", "--on", "sim", "--listen"].as_slice(),
        &[&listen, "--out", "run"],
        &tls,
        &tokens,
    ]
    .concat();
    let quiet = |command: &mut std::process::Command| {
        Running::of(command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let _daemon = quiet(&mut place.command(&words));
    let api = format!("https://127.0.0.1:{port}");
    let tell = |words: &[&str], ca: &str, role: &str| {
        let token = token_file(&place, role);
        let mut words = words.to_vec();
        words.extend(["--json", "--api", &api, "--token-file", &token]);
        if !ca.is_empty() {
            words.extend(["--ca", ca]);
        }
        place.gridrig(&words)
    };
    let ca = "keys/ca.pem";
    until("the page", || tell(&["top"], ca, "observe").code == Some(0));
    for (words, role, code) in [
        (["lock", "take"].as_slice(), "observe", 3),
        (&["lock", "take"], "operate", 0),
        (&["lock", "drop"], "operate", 0),
        (&["arm", "--yes"], "operate", 3),
        (&["disarm"], "observe", 3),
        (&["disarm"], "operate", 0),
    ] {
        let done = tell(words, ca, role);
        assert_eq!(done.code, Some(code), "{words:?} {role}: {}", done.stderr);
    }
    until("the arm", || {
        tell(&["arm", "--yes"], ca, "arm").code == Some(0)
    });

    refused(&tell(&["top"], "other/ca.pem", "arm"), 2, "C035");
    refused(&tell(&["top"], "", "arm"), 2, "C035");
    // The token may be in the environment as well.
    let secret = std::fs::read_to_string(token_file(&place, "observe")).expect("the token");
    let looked = place
        .command(&["lock", "who", "--json", "--api", &api, "--ca", ca])
        .env("GRIDRIG_TOKEN", secret)
        .output();
    Done::of(looked.expect("gridrig starts")).exits(0);
    // Whatever is missing, the bench can be stopped.
    let words = ["safe", "--json", "--api", &api];
    let stopped = place.gridrig(&words).exits(0).json();
    assert_eq!(stopped["vouched"], false);
    let words = [&words[..], &["--ca", ca]].concat();
    assert_eq!(place.gridrig(&words).exits(0).json()["vouched"], true);
}

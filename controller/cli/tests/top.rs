//! `gridrig top` on a terminal of its own, in a pipe, and what it says when nobody answers.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::{Place, Running, repository, until};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// An address at which nobody answers: the port of the discard service, which hardly anybody runs.
const NOBODY: &str = "http://127.0.0.1:9";
/// Enters and leaves the second screen of a terminal. Source: XTerm control sequences, mode 1049.
const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";

/// A terminal of 80 by 24 with `gridrig top` on it.
struct Screen {
    master: File,
    /// Kept open, so that the settings can be read when the program has ended.
    slave: File,
    shown: Arc<Mutex<String>>,
    program: Running,
}

impl Screen {
    fn open(place: &Place, words: &[&str], no_colour: bool) -> Self {
        Self::open_with(place, words, no_colour, ("NOTHING", ""))
    }

    /// The same with one more variable in its environment.
    fn open_with(place: &Place, words: &[&str], no_colour: bool, variable: (&str, &str)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&master).expect("the terminal is ours");
        unlockpt(&master).expect("the terminal is open");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.to_str().expect("the name is text").to_owned();
        let master = File::from(master);
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(name);
        let slave = slave.expect("its other end opens");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("it has a size");
        let end = || Stdio::from(slave.try_clone().expect("an end of the terminal"));
        let mut command = place.command(words);
        command
            .env("TERM", "xterm-256color")
            .env(variable.0, variable.1);
        if !no_colour {
            command.env_remove("NO_COLOR");
        }
        let program = Running::of(command.stdin(end()).stdout(end()).stderr(Stdio::piped()));
        let shown = Arc::new(Mutex::new(String::new()));
        let mut reads = master.try_clone().expect("the terminal is read");
        let grows = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reads.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                grows.lock().expect("nobody panicked").push_str(&text);
            }
        });
        Self {
            master,
            slave,
            shown,
            program,
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("keys");
    }

    fn has_shown(&self, text: &str) -> bool {
        self.shown.lock().expect("nobody panicked").contains(text)
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("it has settings").local_modes;
        !modes.intersects(LocalModes::ECHO | LocalModes::ICANON)
    }
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let place = Place::new();
    type End = fn(&mut Screen);
    let ends: [(&str, End, i32); 3] = [
        ("q", |s| s.master.write_all(b"q").expect("a key"), 0),
        (
            "control-c",
            |s| s.master.write_all(b"\x03").expect("a key"),
            0,
        ),
        ("a signal", |s| s.program.signal("TERM"), 130),
    ];
    for (name, end, code) in ends {
        let mut screen = Screen::open(&place, &["top", "--api", NOBODY], true);
        // Words are not drawn anew where they stood before: one of them is looked for.
        until("the notice", || screen.has_shown("refused"));
        assert!(screen.has_shown(ENTERED) && screen.is_raw(), "{name}");
        end(&mut screen);
        let Screen {
            program,
            slave,
            shown,
            ..
        } = screen;
        let done = program.end();
        done.exits(code);
        assert_eq!(done.stderr, "", "{name}");
        let modes = tcgetattr(&slave).expect("it has settings").local_modes;
        assert!(
            modes.contains(LocalModes::ECHO | LocalModes::ICANON),
            "{name}"
        );
        until("the first screen", || {
            shown.lock().expect("nobody panicked").contains(LEFT)
        });
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let place = Place::new();
    for (words, no_colour, is_coloured) in [
        (&["top", "--api", NOBODY][..], false, true),
        (&["top", "--api", NOBODY], true, false),
        (&["top", "--api", NOBODY, "--color", "always"], true, true),
        (&["top", "--api", NOBODY, "--color", "never"], false, false),
    ] {
        let screen = Screen::open(&place, words, no_colour);
        until("the notice", || screen.has_shown("refused"));
        let shown = screen.shown.lock().expect("nobody panicked").clone();
        let has_colour = shown.contains("\u{1b}[38;5;");
        assert_eq!(has_colour, is_coloured, "{words:?}: {shown:?}");
    }
}

#[test]
fn a_bench_is_armed_commanded_and_made_safe_from_a_terminal() {
    let place = Place::new();
    let lab = std::fs::read_to_string(repository("rigs/virtual/lab.toml"));
    place.file("lab.toml", &lab.expect("the repository has the rig"));
    // A free port; taken again at once by the daemon.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let listen = port.expect("a port").to_string();
    let api = format!("http://{listen}");
    let token = ("TOP_TOKEN", "sesame-sesame-sesame");
    let words = ["run", "lab.toml", "--on", "sim", "--out", "run"];
    let access = ["--listen", &listen, "--token-env", token.0];
    let _daemon = Running::of(
        place
            .command(&[&words[..], &access].concat())
            .env(token.0, token.1)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    // What another terminal sees of it, as one frame.
    let frame = || place.gridrig(&["top", "--api", &api]).stdout;
    // What arming would write is known, and nobody has confirmed it.
    let look = ["arm", "--json", "--api", &api, "--token-env", token.0];
    until("the bench", || {
        let mut looks = place.command(&look);
        let looked = looks.env(token.0, token.1).output();
        looked.expect("gridrig starts").status.code() == Some(2)
    });
    let top = ["top", "--api", &api, "--token-env", token.0];
    let mut screen = Screen::open_with(&place, &top, true, token);
    until("the screen", || screen.has_shown("operate"));
    screen.type_in(":arm for 10min\r");
    until("the question", || screen.has_shown("lets"));
    assert!(frame().contains("read-only"), "nobody has confirmed");
    screen.type_in("y");
    until("the arm", || frame().contains("ARMED"));
    screen.type_in(":hold ess1 1kW\r");
    until("the dispatch", || frame().contains("ess1 → 1.0 kW"));
    let shown = frame();
    assert!(shown.contains("operator"), "{shown}");
    // It is in the ledger, too, which the frame lists.
    assert!(shown.contains("ledger:\nentries 1 to "), "{shown}");
    screen.type_in(":release ess1\r");
    screen.type_in("ss");
    until("the safe state", || frame().contains("safe for"));
    screen.type_in(":disarm\r");
    until("the disarm", || frame().contains("read-only"));
    screen.type_in("q");
    screen.program.end().exits(0);
}

#[test]
fn in_a_pipe_a_daemon_that_does_not_answer_is_told_once() {
    let place = Place::new();
    let done = place.gridrig(&["top", "--api", NOBODY]);
    done.exits(3);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("error[R024]"), "{}", done.stderr);
    let told = place.gridrig(&["top", "--api", NOBODY, "--json"]).json();
    assert_eq!(told["diagnostics"][0]["code"], "R024", "{told}");
}

#[test]
fn pages_of_the_manual_go_where_they_are_told_or_the_place_is_named() {
    let place = Place::new();
    let done = place.gridrig(&["man", "--out", "man/man1", "--json"]);
    let written = done.exits(0).json();
    let files = written["files"].as_array().expect("the pages are named");
    assert!(files.len() > 40, "{written}");
    let page = std::fs::read_to_string(place.path("man/man1/gridrig-device-write.1"));
    assert!(
        page.expect("the page is there")
            .contains(".TH gridrig-device-write 1")
    );
    place.file("taken", "a file");
    let done = place.gridrig(&["man", "--out", "taken"]);
    done.exits(2);
    assert!(done.stderr.contains("error[C003]"), "{}", done.stderr);
}

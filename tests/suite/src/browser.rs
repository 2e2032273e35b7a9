//! A browser that a test drives: it opens a page, asks it, clicks in it, and hears its complaints.
//!
//! Chromium is spoken to in its DevTools protocol over a pair of named pipes: JSON objects that end
//! with a zero byte. That needs neither a library nor a port.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::process::{Running, WithArguments, text_of, tool};
use crate::{PATIENCE, wait_for};

/// Shift among the modifiers of a key (`Input.dispatchKeyEvent`).
const SHIFT: u32 = 8;

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    _running: Running,
    to: File,
    from: Receiver<Value>,
    session: String,
    last_id: u64,
    complaints: Vec<String>,
}

impl Browser {
    /// Opens a page.
    ///
    /// # Panics
    /// When the browser does not start or does not answer.
    #[must_use]
    pub fn open(folder: &Path, url: &str) -> Self {
        Self::start(folder, url, true)
    }

    /// Opens a page whose own scripts must not run; what a test asks is answered all the same.
    ///
    /// # Panics
    /// When the browser does not start or does not answer.
    #[must_use]
    pub fn open_without_scripts(folder: &Path, url: &str) -> Self {
        Self::start(folder, url, false)
    }

    fn start(folder: &Path, url: &str, scripts: bool) -> Self {
        let (to, from) = (folder.join("to"), folder.join("from"));
        let _ = text_of(Command::new("mkfifo").with([&to, &from]));
        // Opened for both directions, a named pipe does not wait for its other end.
        let open = |path: &Path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .expect("the pipe was just made")
        };
        let (to_file, from_file) = (open(&to), open(&from));
        let program = tool("chromium");
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<\"$PIPE_TO\" 4>\"$PIPE_FROM\""])
            .arg(program.get_program())
            .arg(format!("--user-data-dir={}", folder.join("data").display()))
            .args(["--remote-debugging-pipe", "--window-size=1400,1800"])
            .env("PIPE_TO", &to)
            .env("PIPE_FROM", &from);
        let running = Running::start(command);
        let (heard, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from_file).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    continue;
                };
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            _running: running,
            to: to_file,
            from: answers,
            session: String::new(),
            last_id: 0,
            complaints: Vec::new(),
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            let _ = browser.ask(domain, json!({}));
        }
        let barred = json!({ "value": !scripts });
        let _ = browser.ask("Emulation.setScriptExecutionDisabled", barred);
        if url.starts_with("https://") {
            // No authority of a test is installed; another test has the certificate verified.
            let any = json!({ "ignore": true });
            let _ = browser.ask("Security.setIgnoreCertificateErrors", any);
        }
        let _ = browser.ask("Page.navigate", json!({ "url": url }));
        browser
    }

    /// One request and its answer.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the pipe takes a request");
        loop {
            let Ok(answer) = self.from.recv_timeout(PATIENCE) else {
                panic!("the browser did not answer {method}")
            };
            if answer["id"] == self.last_id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    /// Keeps what a person would see in red in the console.
    fn hear(&mut self, event: &Value) {
        let told = &event["params"];
        let complains = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => told["type"] == "error",
            Some("Log.entryAdded") => told["entry"]["level"] == "error",
            _ => false,
        };
        if complains {
            self.complaints.push(told.to_string());
        }
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.ask("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`]; the message shows the page's text.
    pub fn wait_until(&mut self, what: &str, expression: &str) {
        let mut seen = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, PATIENCE, || {
                let holds = self.evaluate(expression) == true;
                if !holds {
                    seen = self.text();
                }
                holds.then_some(())
            });
        }));
        assert!(
            found.is_ok(),
            "{what}: never; complaints {:?}; the page shows:\n{seen}",
            self.complaints
        );
    }

    /// Makes the window another size, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let _ = self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Presses a key, with Shift held where asked.
    pub fn press(&mut self, key: &str, with_shift: bool) {
        let modifiers = if with_shift { SHIFT } else { 0 };
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": key, "modifiers": modifiers });
            let _ = self.ask("Input.dispatchKeyEvent", key);
        }
    }

    /// Types a sign into what has the focus.
    pub fn type_in(&mut self, text: &str) {
        let _ = self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Draws with the mouse from one place of an element to another, each a part of its width, halfway down.
    pub fn draw_over(&mut self, selector: &str, from: f64, to: f64) {
        let place = format!(
            "(() => {{ const node = document.querySelector('{selector}'); node.scrollIntoView({{ block: 'center' }});\
             const r = node.getBoundingClientRect(); return [r.left, r.width, r.top + r.height / 2]; }})()"
        );
        let place = self.evaluate(&place);
        let number = |n: usize| place[n].as_f64().expect("the element has a place");
        let (left, width, y) = (number(0), number(1), number(2));
        let steps = [
            ("mouseMoved", from, 0),
            ("mousePressed", from, 1),
            ("mouseMoved", (from + to) / 2.0, 1),
            ("mouseMoved", to, 1),
            ("mouseReleased", to, 0),
        ];
        for (kind, at, buttons) in steps {
            let event = json!({
                "type": kind, "x": left + at * width, "y": y, "button": "left", "buttons": buttons, "clickCount": 1,
            });
            let _ = self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Seconds that the processor has spent on the page's scripts, layout and drawing; how busy the machine is
    /// beside it does not count.
    pub fn cpu_s(&mut self) -> f64 {
        let domain = json!({ "timeDomain": "threadTicks" });
        let _ = self.ask("Performance.enable", domain);
        let told = self.ask("Performance.getMetrics", json!({}));
        let metrics = told["metrics"].as_array().cloned().unwrap_or_default();
        let tasks = metrics.iter().find(|m| m["name"] == "TaskDuration");
        tasks.map_or(f64::NAN, |m| m["value"].as_f64().unwrap_or(f64::NAN))
    }

    /// Presses the tabulator, as a person without a mouse does.
    pub fn tab(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            let _ = self.ask("Input.dispatchKeyEvent", key);
        }
    }

    /// Role and name of everything that a reader of screens is told of.
    pub fn told_to_readers(&mut self) -> Vec<(String, String)> {
        let _ = self.ask("Accessibility.enable", json!({}));
        let tree = self.ask("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        let word = |node: &Value, key: &str| {
            let word = node[key]["value"].as_str();
            word.unwrap_or_default().to_owned()
        };
        nodes
            .iter()
            .filter(|node| node["ignored"] != true)
            .map(|node| (word(node, "role"), word(node, "name")))
            .collect()
    }

    /// Bytes of what the page's scripts keep, after what nobody needs is gone: their objects, and the buffers of
    /// numbers that lie beside those.
    pub fn heap_bytes(&mut self) -> f64 {
        let _ = self.ask("HeapProfiler.collectGarbage", json!({}));
        let usage = self.ask("Runtime.getHeapUsage", json!({}));
        let bytes = |key: &str| usage[key].as_f64().unwrap_or(f64::NAN);
        bytes("usedSize") + bytes("backingStorageSize")
    }

    /// Process of the page's scripts, layout and drawing: the busiest of those that the browser has for pages.
    pub fn page_process(&mut self) -> Option<u32> {
        // This is asked of the browser, not of its page.
        let session = std::mem::take(&mut self.session);
        let told = self.ask("SystemInfo.getProcessInfo", json!({}));
        self.session = session;
        let worked = |process: &Value| process["cpuTime"].as_f64().unwrap_or(0.0);
        let all = told["processInfo"].as_array()?;
        let pages = all.iter().filter(|p| p["type"] == "renderer");
        let page = pages.max_by(|a, b| worked(a).total_cmp(&worked(b)))?;
        u32::try_from(page["id"].as_u64()?).ok()
    }

    /// The text that a person sees.
    pub fn text(&mut self) -> String {
        self.evaluate("document.body ? document.body.innerText : ''")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Keeps a picture of the page as `target/test-logs/pictures/NAME.png`, for whoever reads the logs of the
    /// suite; the bytes of it.
    ///
    /// # Panics
    /// When it is no picture, or cannot be kept.
    pub fn keep_picture(&mut self, name: &str) -> Vec<u8> {
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let picture = shot["data"].as_str().unwrap_or_default();
        let picture = BASE64_STANDARD.decode(picture).expect("base64");
        let folder = crate::target().join("test-logs/pictures");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        std::fs::write(folder.join(format!("{name}.png")), &picture).expect("room for it");
        picture
    }

    /// What was complained of in the console, until a moment ago.
    pub fn complaints(&mut self) -> &[String] {
        // What is on its way arrives before the answer to this.
        let _ = self.evaluate("1");
        while let Ok(event) = self.from.recv_timeout(Duration::from_millis(200)) {
            self.hear(&event);
        }
        &self.complaints
    }
}

//! What is announced and told, and when; the broker's part is in the interop suite.

use model::{DeviceIx, Flaw, Point, PointSample, Reading, Sample, UtcTime};
use serde_json::{Value, json};

use super::board::Post;
use super::*;

const NODE: &str = "test-lab";

fn config() -> HomeConfig {
    let device = |name: &str, points: &[Point]| HomeDevice {
        name: name.into(),
        title: "A device".into(),
        points: points
            .iter()
            .map(|p| (*p, Some(Duration::from_secs(5))))
            .collect(),
    };
    HomeConfig {
        broker: Broker {
            host: "127.0.0.1".into(),
            port: 1,
            login: None,
            trust: None,
            status: Some(HomeConfig::status_of(NODE)),
        },
        prefix: "homeassistant".into(),
        node: NODE.into(),
        every: Duration::from_secs(5),
        alarms: Vec::new(),
        devices: vec![
            device("bat1", &[Point::ActivePower, Point::StateOfCharge]),
            device("plug 3", &[Point::SwitchOn]),
        ],
    }
}

/// A board in a time of its own.
struct Bench {
    board: Board,
    began: Instant,
    at: Duration,
}

impl Bench {
    fn new() -> Self {
        let began = Instant::now();
        Self {
            board: Board::new(&config(), began),
            began,
            at: Duration::ZERO,
        }
    }

    fn now(&self) -> Instant {
        self.began + self.at
    }

    fn wait(&mut self, seconds: f64) {
        self.at += Duration::from_secs_f64(seconds);
    }

    fn says(&mut self, device: u16, point: Point, reading: Reading<f64>) {
        let now = ControlInstant::START + self.at;
        let sample = PointSample {
            device: DeviceIx(device),
            point,
            sample: Sample {
                measured_at: now,
                reading,
            },
        };
        let row = Row::of(UtcTime::from_unix_nanos(0), now, sample);
        let moment = self.now();
        self.board.take(&[row], now, moment);
    }

    fn due(&mut self) -> Vec<Post> {
        let now = self.now();
        std::iter::from_fn(|| self.board.next(now)).collect()
    }

    /// Payloads of a device's states that are due.
    fn states(&mut self, object: &str) -> Vec<Value> {
        let topic = format!("gridrig/{NODE}/device/{object}/state");
        let due = self.due();
        assert!(due.iter().all(|p| p.kept == p.topic.ends_with("/config")));
        due.iter()
            .filter(|p| p.topic == topic)
            .map(|p| serde_json::from_str(&p.payload).unwrap())
            .collect()
    }

    /// Everything announced and the first states told.
    fn settled() -> Self {
        let mut bench = Self::new();
        let _ = bench.due();
        bench.wait(1.5);
        let _ = bench.due();
        bench
    }
}

#[test]
fn each_device_is_announced_once_and_takes_no_commands() {
    let mut bench = Bench::new();
    let due = bench.due();
    let topics: Vec<&str> = due.iter().map(|p| p.topic.as_str()).collect();
    assert_eq!(topics.len(), 2, "{topics:?}");
    assert_eq!(
        topics[0],
        "homeassistant/device/gridrig-test-lab/bat1/config"
    );
    assert!(
        topics[1].starts_with("homeassistant/device/gridrig-test-lab/plug-3-"),
        "{topics:?}"
    );
    for post in &due {
        assert!(post.kept);
        assert!(!post.payload.contains("command"), "{}", post.payload);
    }
    let announced: Value = serde_json::from_str(&due[0].payload).unwrap();
    assert_eq!(
        announced["device"]["identifiers"],
        json!(["gridrig-test-lab-bat1"])
    );
    assert_eq!(
        announced["components"]["bat_soc"],
        json!({
            "platform": "sensor",
            "name": "State of charge",
            "unique_id": "gridrig-test-lab-bat1-bat_soc",
            "state_topic": "gridrig/test-lab/device/bat1/state",
            "value_template": "{{ value_json.bat_soc }}",
            "device_class": "battery",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "availability_mode": "all",
            "availability": [
                { "topic": "gridrig/test-lab/status" },
                {
                    "topic": "gridrig/test-lab/device/bat1/state",
                    "value_template": "{{ 'online' if value_json.get('bat_soc') is not none else 'offline' }}",
                },
            ],
        })
    );
    // The same again in another run: what Home Assistant remembers stays.
    let again = Bench::new().due();
    assert_eq!(again, due);
}

#[test]
fn a_value_that_is_not_known_is_null_and_never_zero() {
    let unknown = json!({ "ac_p": null, "bat_soc": null });
    let known = json!({ "ac_p": -1500.0, "bat_soc": 55.0 });
    let half = json!({ "ac_p": null, "bat_soc": 55.0 });
    let mut bench = Bench::new();
    assert!(
        bench.states("bat1").is_empty(),
        "Home Assistant subscribes first"
    );
    bench.wait(1.0);
    assert_eq!(bench.states("bat1"), std::slice::from_ref(&unknown));
    bench.says(0, Point::ActivePower, Reading::Good(-1500.0));
    bench.says(0, Point::StateOfCharge, Reading::Good(0.55));
    bench.wait(1.0);
    assert_eq!(bench.states("bat1"), std::slice::from_ref(&known));
    for flaw in [
        Flaw::Timeout,
        Flaw::Offline,
        Flaw::Corrupt,
        Flaw::OutOfRange,
    ] {
        bench.says(0, Point::ActivePower, Reading::Bad(flaw));
        bench.wait(1.0);
        assert_eq!(
            bench.states("bat1"),
            std::slice::from_ref(&half),
            "{flaw:?}"
        );
        bench.says(0, Point::ActivePower, Reading::Good(-1500.0));
        bench.says(0, Point::StateOfCharge, Reading::Good(0.55));
        bench.wait(1.0);
        assert_eq!(bench.states("bat1"), std::slice::from_ref(&known));
    }
    bench.says(0, Point::ActivePower, Reading::Good(f64::NAN));
    bench.wait(1.0);
    assert_eq!(bench.states("bat1"), std::slice::from_ref(&half));
    // Nobody says anything any more: what was good grows old.
    bench.wait(4.0);
    assert_eq!(bench.states("bat1"), std::slice::from_ref(&unknown));
}

#[test]
fn a_device_is_told_at_its_rate_and_a_new_number_waits_for_its_turn() {
    let mut bench = Bench::settled();
    bench.says(0, Point::ActivePower, Reading::Good(1.0));
    bench.says(0, Point::StateOfCharge, Reading::Good(0.5));
    bench.wait(1.0);
    assert_eq!(bench.states("bat1").len(), 1);
    let mut told = Vec::new();
    for n in 0_u32..200 {
        bench.wait(0.1);
        bench.says(0, Point::ActivePower, Reading::Good(f64::from(n)));
        bench.says(0, Point::StateOfCharge, Reading::Good(0.5));
        told.extend(bench.states("bat1"));
    }
    // 20 s at one in 5 s, each with the value of its moment.
    let powers: Vec<f64> = told.iter().filter_map(|s| s["ac_p"].as_f64()).collect();
    assert_eq!(powers, [49.0, 99.0, 149.0, 199.0]);
    // A point that comes and goes is told at most once a second.
    let mut told = 0;
    for n in 0..100 {
        bench.wait(0.1);
        let reading = match n % 2 {
            0 => Reading::Bad(Flaw::Timeout),
            _ => Reading::Good(0.0),
        };
        bench.says(0, Point::ActivePower, reading);
        told += bench.states("bat1").len();
    }
    assert!((2..=10).contains(&told), "{told} in ten seconds");
}

#[test]
fn everything_is_announced_again_when_home_assistant_comes_back() {
    let mut bench = Bench::settled();
    assert!(bench.due().is_empty());
    bench.board.announce();
    let configs = bench.due();
    assert_eq!(configs.len(), 2);
    assert!(configs.iter().all(|p| p.kept && !p.payload.is_empty()));
    bench.wait(1.0);
    assert_eq!(bench.due().len(), 2, "and every state after it");
}

#[test]
fn what_the_rig_has_no_more_is_taken_away_and_only_that() {
    let mut bench = Bench::settled();
    let topic = |object: &str| format!("homeassistant/device/gridrig-test-lab/{object}/config");
    // Our own as it is, an empty one, and one that is no JSON change nothing.
    let own = Bench::new().due().remove(0).payload;
    bench.board.find(&topic("bat1"), own.as_bytes());
    bench.board.find(&topic("old"), b"");
    bench.board.find(&topic("bat1"), b"{");
    assert!(bench.due().is_empty());
    bench.board.find(&topic("old"), b"{}");
    bench.board.find(&topic("old"), b"{}");
    let forgotten = bench.due();
    assert_eq!(forgotten.len(), 1);
    assert_eq!(
        (forgotten[0].topic.as_str(), forgotten[0].payload.as_str()),
        (&*topic("old"), "")
    );
    assert!(forgotten[0].kept);
    // A point that an earlier profile had.
    let earlier = json!({ "components": {
        "ac_q": { "platform": "sensor", "name": "Reactive power" },
        "ac_s": { "platform": "sensor" },
        "ac_p": { "platform": "sensor", "name": "Active power" },
    } });
    bench
        .board
        .find(&topic("bat1"), earlier.to_string().as_bytes());
    let config: Value = serde_json::from_str(&bench.due()[0].payload).unwrap();
    assert_eq!(
        config["components"]["ac_q"],
        json!({ "platform": "sensor" })
    );
    assert_eq!(config["components"]["ac_s"], Value::Null);
    assert_eq!(config["components"]["ac_p"]["name"], "Active power");
}

#[test]
fn a_point_that_the_device_does_not_have_is_not_shown_until_it_has_it() {
    let mut bench = Bench::settled();
    let announced = |bench: &mut Bench| {
        let due = bench.due();
        let config = due.iter().find(|p| p.topic.ends_with("bat1/config"))?;
        let config: Value = serde_json::from_str(&config.payload).unwrap();
        Some(config["components"]["bat_soc"].clone())
    };
    bench.says(0, Point::StateOfCharge, Reading::Bad(Flaw::NotImplemented));
    assert_eq!(announced(&mut bench), Some(json!({ "platform": "sensor" })));
    bench.says(0, Point::StateOfCharge, Reading::Bad(Flaw::NotImplemented));
    assert_eq!(announced(&mut bench), None, "told once");
    bench.says(0, Point::StateOfCharge, Reading::Good(0.5));
    let back = announced(&mut bench).unwrap();
    assert_eq!(back["name"], "State of charge");
    // One that was there and is not for a moment stays.
    bench.says(0, Point::StateOfCharge, Reading::Bad(Flaw::NotImplemented));
    assert_eq!(announced(&mut bench), None);
}

#[test]
fn a_name_becomes_an_object_of_its_own() {
    use super::entity::object_id;
    assert_eq!(object_id("bat1"), "bat1");
    assert_eq!(object_id("Plug_3-a"), "Plug_3-a");
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let odd = ["plug 3", "plug+3", "plug/3", "", "größe"];
    let objects: std::collections::BTreeSet<String> = odd.map(object_id).into();
    assert_eq!(objects.len(), odd.len());
    assert!(
        objects.iter().all(|o| !o.is_empty() && o.chars().all(fits)),
        "{objects:?}"
    );
}

#[test]
fn a_queue_that_is_full_drops_and_counts_and_never_waits() {
    let (queue, _messages) = mpsc::channel(2);
    let (_end, ended) = sync_channel(1);
    let home = Home {
        queue,
        alarms: mpsc::unbounded_channel().0,
        counts: Arc::new(Counts::default()),
        ended,
        thread: std::thread::spawn(|| {}),
    };
    let now = ControlInstant::START;
    let sample = PointSample {
        device: DeviceIx(0),
        point: Point::ActivePower,
        sample: Sample {
            measured_at: now,
            reading: Reading::Good(1.0),
        },
    };
    let rows: Arc<[Row]> = [Row::of(UtcTime::from_unix_nanos(0), now, sample)].into();
    for _ in 0..5 {
        home.rows(now, Arc::clone(&rows));
    }
    assert_eq!(Counts::read(&home.counts.lost), 3);
    assert_eq!(Counts::read(&home.counts.taken), 5);
}

#[test]
fn an_alarm_of_the_rig_is_a_problem_there_and_told_at_once() {
    let mut bench = Bench::new();
    bench.board = Board::new(
        &HomeConfig {
            alarms: vec!["low charge".into(), "heat".into()],
            ..config()
        },
        bench.began,
    );
    let due = bench.due();
    assert_eq!(due.len(), 3, "two devices, and the alarms");
    let announced: Value = serde_json::from_str(&due[2].payload).unwrap();
    assert_eq!(
        due[2].topic,
        "homeassistant/device/gridrig-test-lab/_alarms/config"
    );
    let heat = &announced["components"]["heat"];
    assert_eq!(
        (&heat["platform"], &heat["device_class"], &heat["name"]),
        (&json!("binary_sensor"), &json!("problem"), &json!("heat"))
    );
    // Each with whether it was seen, which is no problem of the bench.
    let seen = &announced["components"]["heat__seen"];
    assert_eq!(
        (&seen["platform"], &seen["device_class"], &seen["name"]),
        (&json!("binary_sensor"), &Value::Null, &json!("heat seen"))
    );
    assert_eq!(announced["components"].as_object().unwrap().len(), 4);
    bench.wait(1.5);
    let state = bench.states("_alarms");
    let low = state[0]
        .as_object()
        .unwrap()
        .keys()
        .find(|k| k.starts_with("low_charge"));
    let low = low.expect("a key that a template can name").clone();
    let low_seen = format!("{low}__seen");
    let all = |raised: &str, seen: &str| {
        [json!({ "heat": "OFF", "heat__seen": "OFF", &*low: raised, &*low_seen: seen })]
    };
    assert_eq!(state, all("OFF", "OFF"));
    for (turn, raised, seen) in [
        (Turn::Raised, "ON", "OFF"),
        (Turn::Acknowledged, "ON", "ON"),
        (Turn::Cleared, "OFF", "OFF"),
        // Raised anew, it waits to be seen anew.
        (Turn::Raised, "ON", "OFF"),
    ] {
        bench.wait(0.1);
        let now = bench.now();
        bench.board.alarm("of another rig", turn, now);
        assert_eq!(bench.states("_alarms"), [Value::Null; 0]);
        bench.board.alarm("low charge", turn, now);
        // Not in its turn, but now.
        assert_eq!(bench.states("_alarms"), all(raised, seen), "{turn:?}");
    }
}

use super::*;
use crate::device::tests::{run, world};

const TEXT: &str = r#"
schema = 1
day = "240s"
start = 0.5
[sun]
devices = ["pv1"]
peak = "3kW"
clouds = 0.5
[[load]]
device = "plug1"
at_h = [0, 12, 24]
p_w = [200, 1200, 200]
[[event]]
at = "2s"
every = "10s"
set = "grid.f"
value = 49.9
[[event]]
at = "5s"
set = "grid.f"
value = 50.0
"#;

fn parse(text: &str) -> Result<DayCurve, Vec<Diagnostic>> {
    DayCurve::parse(Source::new("day.toml", text), 3)
}

#[test]
fn the_bundled_day_is_read_and_moves_something_every_few_seconds() {
    let text = include_str!("../../../virtual/campus-day.toml");
    let day = parse(text).expect("the demo's day");
    assert!(day.signals().len() >= 3);
    let moved = |n: u64| day.sunlight(day.fraction(Duration::from_secs(n)));
    let noon: Vec<u64> = (0..60)
        .filter(|n| (moved(*n) - moved(n + 3)).abs() > 0.01)
        .collect();
    assert!(noon.len() > 20, "{noon:?}");
}

#[test]
fn sun_loads_and_events_move_the_plant() {
    let day = parse(TEXT).expect("a day");
    let mut world = world();
    day.begin(&mut world);
    assert_eq!(world.get("plug1.p"), Ok(0.0), "not stepped yet");
    let step = |world: &mut World, seconds: u64| {
        for _ in 0..seconds * 100 {
            day.move_on(world);
            world.step(crate::bench::STEP);
        }
    };
    step(&mut world, 1);
    let noon = world.get("plug1.p").expect("told");
    assert!((-1215.0..-1150.0).contains(&noon), "{noon} W at noon");
    step(&mut world, 2);
    assert!((world.get("bus.f").expect("live") - 49.9).abs() < 1e-9);
    step(&mut world, 3);
    assert!((world.get("bus.f").expect("live") - 50.0).abs() < 1e-9);
    step(&mut world, 7);
    assert!(
        (world.get("bus.f").expect("live") - 49.9).abs() < 1e-9,
        "again"
    );
    step(&mut world, 100);
    run(&mut world, 1.0);
    assert_eq!(world.get("pv1.available"), Ok(0.0), "night");
}

#[test]
fn the_sun_is_a_bell_with_clouds_before_it_and_the_seed_makes_the_clouds() {
    let day = parse(TEXT).expect("a day");
    assert_eq!((day.sunlight(0.2), day.sunlight(0.9)), (0.0, 0.0));
    let all: Vec<f64> = (0..1000)
        .map(|n| day.sunlight(f64::from(n) / 1000.0))
        .collect();
    assert!(all.iter().all(|s| (0.0..=1.0).contains(s)));
    assert!(all.iter().any(|s| *s > 0.9), "clear spells");
    let noon = &all[400..600];
    assert!(noon.iter().any(|s| *s < 0.8), "clouds");
    let other = DayCurve::parse(Source::new("day.toml", TEXT), 4).expect("a day");
    assert_ne!(day.sunlight(0.45), other.sunlight(0.45));
    assert_eq!(day, parse(TEXT).expect("a day"));
}

#[test]
fn a_wrong_day_is_refused_with_all_its_faults() {
    let rows = [
        ("schema = 1", "D004"),
        ("schema = 1\nday = \"0s\"", "E101"),
        (
            "schema = 1\nday = \"1min\"\n[[load]]\ndevice = \"l\"\nat_h = [0]\np_w = [1, 2]",
            "E102",
        ),
        (
            "schema = 1\nday = \"1min\"\n[[load]]\ndevice = \"l\"\nat_h = [9, 3]\np_w = [1, 2]",
            "E102",
        ),
        (
            "schema = 1\nday = \"1min\"\n[[event]]\nset = \"grid.f\"",
            "D004",
        ),
    ];
    for (text, code) in rows {
        let faults = parse(text).expect_err("refused");
        assert!(faults.iter().any(|f| f.code == code), "{text}: {faults:?}");
    }
}

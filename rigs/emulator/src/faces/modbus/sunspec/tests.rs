use der_model::settings::Kind;
use model::Point;
use profile::modbus::Table;

use super::super::image::{Exception, Identity};
use super::SunSpecImage;
use crate::device::Nameplate;
use crate::device::tests::{run, world};
use crate::world::World;

/// A device of the test world with a chain of models.
struct Bench {
    world: World,
    device: usize,
    image: SunSpecImage,
}

impl Bench {
    fn new(device: &str, models: &[u16]) -> Self {
        Self::of(world(), device, models)
    }

    /// Of an inverter, or a storage, that is a DER with these settings.
    fn der(device: &str, models: &[u16], settings: &str) -> Self {
        use crate::plant::der::tests::functions;
        let mut world = world();
        if device == "pv1" {
            world.plant.pv[0].set_functions(functions(Kind::Pv, settings));
        } else {
            world.plant.storage[0].set_functions(functions(Kind::Storage, settings));
        }
        Self::of(world, device, models)
    }

    fn of(mut world: World, device: &str, models: &[u16]) -> Self {
        // Half of the rating: there is room for reactive power.
        world.set("pv1.available", 1500.0).expect("settable");
        run(&mut world, 5.0);
        let device = world.device_index(device).expect("there");
        let nameplate: Nameplate = world.devices()[device].nameplate;
        let identity = Identity {
            der: world.functions(device).map(|der| der.own().clone()),
            maker: "gridrig".into(),
            model: "test".into(),
            serial: "1".into(),
            nameplate,
            is_storage: nameplate.capacity_wh > 0.0,
        };
        let image = SunSpecImage::of_models(models, &identity, world.plant.site());
        Self {
            world,
            device,
            image,
        }
    }

    fn read(&mut self, model: u16, offset: u16, count: u16) -> Vec<u16> {
        let base = self.image.base_of(model).expect("in the chain");
        self.image
            .read(
                &self.world,
                self.device,
                Table::Holding,
                base + offset,
                count,
            )
            .expect("there")
    }

    fn write(&mut self, model: u16, offset: u16, words: &[u16]) -> Result<(), Exception> {
        let base = self.image.base_of(model).expect("in the chain");
        self.image.write(
            &mut self.world,
            self.device,
            Table::Holding,
            base + offset,
            words,
        )
    }

    fn run(&mut self, seconds: f64) {
        run(&mut self.world, seconds);
    }

    /// The number of a register, given that of its scale factor.
    fn scaled(&mut self, model: u16, offset: u16, sf: u16) -> f64 {
        let raw = self.read(model, offset, 1)[0].cast_signed();
        let scale = self.read(model, sf, 1)[0].cast_signed();
        f64::from(raw) * 10_f64.powi(scale.into())
    }

    fn p(&self) -> f64 {
        self.world
            .value(self.device, Point::ActivePower)
            .expect("measured")
    }

    fn q(&self) -> f64 {
        self.world
            .value(self.device, Point::ReactivePower)
            .expect("measured")
    }
}

/// Volt-var with 13 registers before the curves and four points: the second curve begins at 33.
const SECOND: u16 = 15 + 18;

#[test]
fn a_written_curve_is_adopted_after_a_while_and_then_obeyed() {
    let mut bench = Bench::new("pv1", &[1, 705]);
    assert_eq!(bench.read(705, 5, 2), [4, 3], "points and curves");
    let active = bench.read(705, 25, 8);
    assert_eq!(active[0], 9200, "92 % of nominal");
    // 30 % of apparent power at every voltage.
    let flat = [9000, 3000, 9500, 3000, 10500, 3000, 11000, 3000];
    assert_eq!(bench.write(705, SECOND + 10, &flat), Ok(()));
    assert_eq!(bench.read(705, 25, 8), active, "not adopted yet");
    assert_eq!(bench.write(705, 3, &[2]), Ok(()));
    assert_eq!(bench.read(705, 4, 1), [0], "busy");
    assert_eq!(bench.read(705, 25, 8), active, "still the old one");
    bench.run(0.4);
    assert_eq!(bench.read(705, 4, 1), [1], "done");
    assert_eq!(bench.read(705, 25, 8), flat);
    bench.run(2.0);
    assert!(bench.q().abs() < 1.0, "not enabled");
    assert_eq!(bench.write(705, 2, &[1]), Ok(()));
    bench.run(2.0);
    let s = bench.world.devices()[bench.device].nameplate.s;
    assert!((bench.q() - 0.3 * s).abs() < 1.0, "{}", bench.q());
}

#[test]
fn the_active_curve_cannot_be_written_and_a_curve_that_runs_backwards_is_not_adopted() {
    let mut bench = Bench::new("pv1", &[1, 705, 711]);
    assert_eq!(
        bench.write(705, 25, &[9000]),
        Err(Exception::IllegalAddress)
    );
    assert_eq!(
        bench.write(711, 14, &[0, 1]),
        Err(Exception::IllegalAddress)
    );
    let before = bench.read(705, 25, 8);
    let backwards = [9800, 0, 9200, 0, 10200, 0, 10800, 0];
    for (words, curve) in [(&backwards[..], 2_u16), (&[][..], 9), (&[][..], 0)] {
        if !words.is_empty() {
            assert_eq!(bench.write(705, SECOND + 10, words), Ok(()));
        }
        assert_eq!(bench.write(705, 3, &[curve]), Ok(()));
        assert_eq!(bench.read(705, 4, 1), [2], "failed: {curve}");
    }
    bench.run(1.0);
    assert_eq!(bench.read(705, 25, 8), before);
}

#[test]
fn a_curve_with_a_revert_time_is_taken_back() {
    let mut bench = Bench::new("pv1", &[1, 705]);
    let flat = [9000, 3000, 9500, 3000, 10500, 3000, 11000, 3000];
    assert_eq!(bench.write(705, SECOND + 10, &flat), Ok(()));
    assert_eq!(bench.write(705, 3, &[2]), Ok(()));
    bench.run(0.4);
    // Seconds to revert, and then the function itself.
    assert_eq!(bench.write(705, 7, &[0, 20]), Ok(()));
    assert_eq!(bench.write(705, 2, &[1]), Ok(()));
    bench.run(5.0);
    assert!(bench.q() > 100.0);
    assert_eq!(bench.read(705, 9, 2), [0, 15], "seconds left");
    bench.run(17.0);
    assert_eq!(bench.read(705, 2, 1), [0], "disabled");
    bench.run(1.0);
    assert!(bench.q().abs() < 1.0);
}

#[test]
fn droop_parameters_are_adopted_and_lower_the_power_of_an_inverter() {
    let mut bench = Bench::new("pv1", &[1, 711]);
    // The second set stands at 14 + 10: dead bands of 0.04 Hz, gain 0.006, as the scales say.
    let scales: Vec<i16> = bench
        .read(711, 11, 2)
        .iter()
        .map(|w| w.cast_signed())
        .collect();
    assert_eq!(scales, [-3, -3]);
    assert_eq!(bench.write(711, 24, &[0, 40, 0, 40, 6, 6]), Ok(()));
    assert_eq!(bench.write(711, 3, &[2]), Ok(()));
    bench.run(0.4);
    assert_eq!(bench.read(711, 4, 1), [1]);
    assert_eq!(bench.write(711, 2, &[1]), Ok(()));
    bench.world.set("pv1.available", 3000.0).expect("settable");
    // The power before the event counts.
    bench.run(5.0);
    // 0.15 Hz above the dead band, and 0.3 Hz is the whole rating; below 50.2 Hz, where every
    // inverter goes down by itself.
    bench.world.set("grid.f", 50.19).expect("settable");
    bench.run(10.0);
    let p = bench.world.value(bench.device, Point::ActivePower);
    let rated = bench.world.devices()[bench.device].nameplate.p;
    assert!(
        (p.expect("measured") - 0.5 * rated).abs() < 0.02 * rated,
        "{p:?}"
    );
}

#[test]
fn a_constant_power_factor_of_model_704_follows_the_active_power() {
    let mut bench = Bench::new("pv1", &[1, 704]);
    let sf = bench.read(704, 53, 1)[0].cast_signed();
    let pf = (0.8 / 10_f64.powi(sf.into())).round() as u16;
    // Under-excited: the inverter takes reactive power.
    assert_eq!(bench.write(704, 59, &[pf, 1]), Ok(()));
    assert_eq!(bench.write(704, 2, &[1]), Ok(()));
    bench.run(3.0);
    let p = bench.world.value(bench.device, Point::ActivePower);
    let p = p.expect("measured");
    assert!(
        (bench.q() + 0.75 * p).abs() < 0.01 * p,
        "{} of {p}",
        bench.q()
    );
    assert_eq!(bench.write(704, 2, &[0]), Ok(()));
    bench.run(3.0);
    assert!(bench.q().abs() < 1.0);
}

#[test]
fn enter_service_and_operation_control_connect_and_disconnect() {
    let rows = [
        (703, 2, [0_u16], [1_u16]),
        (715, 8, [0], [1]),
        (123, 4, [0], [1]),
        (802, 50, [2], [1]),
    ];
    for (model, offset, off, on) in rows {
        let mut bench = Bench::new("pv1", &[1, 122, model]);
        let closed = |bench: &Bench| bench.world.value(bench.device, Point::SwitchOn);
        // What the status of model 122 says of the connection to the grid.
        let told = |bench: &mut Bench| bench.read(122, 4, 1);
        assert_eq!(closed(&bench), Some(1.0));
        assert_eq!(bench.write(model, offset, &off), Ok(()));
        bench.run(0.1);
        assert_eq!(closed(&bench), Some(0.0), "{model}");
        assert_eq!(told(&mut bench), [0], "{model}");
        assert_eq!(bench.write(model, offset, &on), Ok(()));
        bench.run(0.1);
        assert_eq!(closed(&bench), Some(1.0), "{model}");
        assert_eq!(told(&mut bench), [1], "{model}");
    }
}

#[test]
fn modules_and_ports_tell_the_direct_current_side() {
    let mut bench = Bench::new("pv1", &[1, 160, 714]);
    let dc = bench.world.value(bench.device, Point::DcPower).expect("dc");
    let scale = |raw: u16, sf: u16| f64::from(raw) * 10_f64.powi(sf.cast_signed().into());
    let head = bench.read(160, 0, 10);
    assert_eq!((head[1], head[8]), (48, 2), "length and modules");
    for module in 0..2 {
        let watts = bench.read(160, 10 + 20 * module + 11, 1)[0];
        assert!((scale(watts, head[4]) - dc / 2.0).abs() < 1.0);
    }
    let sf = bench.read(714, 17, 1)[0];
    let watts = bench.read(714, 20 + 12, 1)[0];
    assert!((scale(watts, sf) - dc).abs() < 1.0);
}

#[test]
fn heartbeats_count_the_seconds_and_keep_what_the_controller_counts() {
    let mut bench = Bench::new("pv1", &[1, 715, 802]);
    let before = bench.read(715, 3, 2)[1];
    assert_eq!(bench.write(715, 5, &[0, 7]), Ok(()));
    bench.run(3.0);
    assert_eq!(bench.read(715, 3, 2)[1], before + 3);
    assert_eq!(bench.read(802, 18, 1)[0], before + 3);
    assert_eq!(bench.read(715, 5, 2), [0, 7]);
}

#[test]
fn scale_factors_that_move_leave_every_value_as_it_was() {
    let mut bench = Bench::new("pv1", &[1, 103, 123, 705]);
    let value = |bench: &mut Bench, model, offset, sf| {
        let raw = bench.read(model, offset, 1)[0].cast_signed();
        let scale = bench.read(model, sf, 1)[0].cast_signed();
        (scale, f64::from(raw) * 10_f64.powi(scale.into()))
    };
    assert_eq!(bench.write(123, 5, &[4000]), Ok(()));
    let points = [(103, 14, 15), (103, 10, 13), (123, 5, 23), (705, 25, 12)];
    let before: Vec<_> = points
        .iter()
        .map(|(m, o, s)| value(&mut bench, *m, *o, *s))
        .collect();
    for shift in [1, 2] {
        bench.world.set_scale_shift(bench.device, shift);
        for ((model, offset, sf), (scale, told)) in points.iter().zip(&before) {
            let (moved, now) = value(&mut bench, *model, *offset, *sf);
            assert_eq!(moved, scale + shift, "{model}");
            let step = 10_f64.powi(moved.into());
            assert!(
                (now - told).abs() <= step / 2.0,
                "{model} {offset}: {now} for {told}"
            );
        }
    }
    // What is written now stands at the new exponent, and stays when it moves back.
    assert_eq!(bench.write(123, 5, &[50]), Ok(()));
    bench.world.set_scale_shift(bench.device, 0);
    assert_eq!(bench.read(123, 5, 1), [5000]);
}

#[test]
fn a_der_adopts_a_volt_var_curve_and_follows_it_with_its_response() {
    let mut bench = Bench::der("pv1", &[1, 701, 702, 704, 705], "");
    assert_eq!(bench.read(705, 2, 1), [0], "its settings have no volt-var");
    // Within 44 % of 3 kVA; the response time in tenths of a second.
    let curve = [9200, 4400, 9500, 4400, 10500, 0xeed0, 10800, 0xeed0];
    assert_eq!(bench.write(705, SECOND + 7, &[0, 20]), Ok(()));
    assert_eq!(bench.write(705, SECOND + 10, &curve), Ok(()));
    assert_eq!(bench.write(705, 3, &[2]), Ok(()));
    assert_eq!(bench.write(705, 2, &[1]), Ok(()));
    bench.run(10.0);
    assert_eq!(bench.read(705, 4, 1), [1], "done");
    assert!(bench.q().abs() < 30.0, "at nominal: {}", bench.q());
    bench.world.set("grid.v", 0.95 * 230.0).expect("settable");
    bench.run(2.0);
    let s = bench.world.devices()[bench.device].nameplate.s;
    assert!((bench.q() / (0.44 * s) - 0.9).abs() < 0.02, "{}", bench.q());
    bench.run(10.0);
    assert!((bench.q() / (0.44 * s) - 1.0).abs() < 0.01, "{}", bench.q());
    // Disabled, it gives way to nothing.
    assert_eq!(bench.write(705, 2, &[0]), Ok(()));
    bench.run(20.0);
    assert!(bench.q().abs() < 1.0, "{}", bench.q());
}

#[test]
fn a_der_adopts_no_curve_that_rises_or_that_it_cannot_give() {
    let mut bench = Bench::der("pv1", &[1, 705], "");
    for y in [[4400, 0, 1000, 0xeed0_u16], [6000, 0, 0, 0xeed0]] {
        let curve = [9200, y[0], 9800, y[1], 10200, y[2], 10800, y[3]];
        assert_eq!(bench.write(705, SECOND + 10, &curve), Ok(()));
        assert_eq!(bench.write(705, 3, &[2]), Ok(()));
        assert_eq!(bench.read(705, 4, 1), [2], "{y:?}");
    }
}

#[test]
fn registers_of_a_der_begin_with_its_settings() {
    let settings = "category = \"A\"\nabnormal = \"II\"\n[watt_var]\n[volt_watt]\nv1 = 1.05\n[enter_service]\ndelay_s = 42\nramp_s = 7\n[trip]\nov1 = [1.13, 3]\n";
    let mut bench = Bench::der(
        "pv1",
        &[1, 702, 703, 705, 706, 707, 708, 711, 712],
        settings,
    );
    assert_eq!(bench.read(702, 21, 2), [0, 1], "categories");
    assert_eq!(bench.read(703, 10, 1), [42]);
    assert_eq!(bench.read(703, 14, 1), [7]);
    let enabled = [705, 706, 707, 711, 712].map(|model| bench.read(model, 2, 1)[0]);
    assert_eq!(enabled, [0, 1, 1, 1, 1]);
    assert_eq!(bench.read(706, 20, 2), [10500, 10000]);
    // The farther threshold first: 1.20 after 0.16 s, then 1.13 after 3 s.
    assert_eq!(bench.read(708, 10, 7), [2, 12000, 0, 16, 11300, 0, 300]);
    assert_eq!(bench.read(707, 10, 7), [2, 4500, 0, 16, 7000, 0, 1000]);
    // 4 % of 50 Hz and the like stand in 711; 12 registers, and the gain of the first set.
    assert!((bench.scaled(711, 18, 12) - 0.05).abs() < 1e-9);
}

#[test]
fn adopted_trip_curves_trip_in_their_time_and_the_alarm_says_why() {
    let mut bench = Bench::der("pv1", &[1, 701, 703, 708], "[enter_service]\ndelay_s = 5\n");
    let state = |bench: &mut Bench| (bench.read(701, 3, 3), bench.read(701, 6, 2));
    assert_eq!(state(&mut bench), (vec![1, 3, 1], vec![0, 0]));
    assert_eq!(bench.read(701, 8, 2), [0, 1], "it follows the grid");
    // A set has 40 registers; the second begins at 49: 1.20 after 0.16 s and 1.10 after 1 s.
    assert_eq!(
        bench.write(708, 50, &[2, 12000, 0, 16, 11000, 0, 100]),
        Ok(())
    );
    assert_eq!(bench.write(708, 3, &[2]), Ok(()));
    bench.run(0.4);
    assert_eq!(bench.read(708, 4, 1), [1]);
    bench.world.set("grid.v", 1.12 * 230.0).expect("settable");
    bench.run(0.9);
    assert_eq!(state(&mut bench).0[2], 1, "still connected");
    bench.run(0.2);
    assert_eq!(state(&mut bench), (vec![1, 6, 0], vec![0, 1 << 10]));
    bench.world.set("grid.v", 230.0).expect("settable");
    bench.run(1.0);
    assert_eq!(bench.read(703, 15, 2), [0, 4], "seconds until it enters");
    bench.run(5.0);
    assert_eq!(state(&mut bench), (vec![1, 2, 1], vec![0, 0]));
    // The farther threshold must not be the slower one.
    assert_eq!(
        bench.write(708, 50, &[2, 12000, 0, 200, 11000, 0, 100]),
        Ok(())
    );
    assert_eq!(bench.write(708, 3, &[2]), Ok(()));
    assert_eq!(bench.read(708, 4, 1), [2]);
}

/// Where the three curves of the second set of a model of voltage trips begin: 40 registers each set.
const SET_2_OF_TRIPS: [u16; 3] = [50, 63, 76];

#[test]
fn the_curves_of_may_trip_and_momentary_cessation_begin_with_those_of_the_category() {
    let mut bench = Bench::der("pv1", &[1, 707, 708, 709, 710], "");
    // Farthest first: below 0.5 after 1 s, below 0.7 after 10 s, below 0.88 after 20 s.
    let may = [3, 5000, 0, 100, 7000, 0, 1000, 8800, 0, 2000];
    assert_eq!(bench.read(707, 23, 10), may);
    assert_eq!(bench.read(707, 36, 4), [1, 5000, 0, 0], "ceases at 0.5");
    assert_eq!(bench.read(708, 36, 4), [1, 11000, 0, 0], "and above 1.1");
    let mut second = Bench::der("pv1", &[1, 707], "abnormal = \"II\"\n");
    assert_eq!(second.read(707, 36, 1), [0], "category II has none");
    assert_eq!(second.read(707, 23, 1), [4]);
}

#[test]
fn an_adopted_curve_of_cessation_gives_nothing_where_it_says_and_one_out_of_order_is_refused() {
    let mut bench = Bench::der("pv1", &[1, 701, 707], "");
    let set = SET_2_OF_TRIPS[2];
    bench.world.set("grid.v", 0.75 * 230.0).expect("settable");
    bench.run(1.0);
    assert!(bench.p() > 1000.0, "category III gives power at 0.75");
    bench.world.set("grid.v", 230.0).expect("settable");
    bench.run(1.0);
    // At or below 0.6 at once, at or below 0.8 after half a second.
    assert_eq!(bench.write(707, set, &[2, 6000, 0, 0, 8000, 0, 50]), Ok(()));
    assert_eq!(bench.write(707, 3, &[2]), Ok(()));
    bench.run(0.4);
    assert_eq!(bench.read(707, 4, 1), [1], "adopted");
    assert_eq!(bench.read(707, 36, 7), [2, 6000, 0, 0, 8000, 0, 50]);
    for (v, seconds, gives) in [
        (0.75, 0.4, true),
        (0.75, 0.4, false),
        (1.0, 0.5, true),
        (0.59, 0.1, false),
    ] {
        bench.world.set("grid.v", v * 230.0).expect("settable");
        bench.run(seconds);
        assert_eq!(bench.p() > 1000.0, gives, "{v}: {} W", bench.p());
        assert_eq!(bench.read(701, 3, 3)[2], 1, "it stays connected");
    }
    // None at all: it gives power as far down as it stays.
    assert_eq!(bench.write(707, set, &[0]), Ok(()));
    assert_eq!(bench.write(707, 3, &[2]), Ok(()));
    bench.run(1.0);
    assert!(bench.p() > 1000.0, "{} W at 0.59", bench.p());
    // The farther one later than the nearer one.
    assert_eq!(
        bench.write(707, set, &[2, 6000, 0, 100, 8000, 0, 50]),
        Ok(())
    );
    assert_eq!(bench.write(707, 3, &[2]), Ok(()));
    assert_eq!(bench.read(707, 4, 1), [2], "refused");
}

#[test]
fn an_adopted_curve_of_may_trip_is_used_by_a_device_that_leaves_when_it_may() {
    for (trips, stays) in [("when_it_may", false), ("when_it_must", true)] {
        let settings = format!("[ride_through]\ntrips = \"{trips}\"\n");
        let mut bench = Bench::der("pv1", &[1, 701, 707], &settings);
        // Below 0.88 after 2 s.
        assert_eq!(
            bench.write(707, SET_2_OF_TRIPS[1], &[1, 8800, 0, 200]),
            Ok(())
        );
        assert_eq!(bench.write(707, 3, &[2]), Ok(()));
        bench.run(0.4);
        bench.world.set("grid.v", 0.8 * 230.0).expect("settable");
        bench.run(1.9);
        assert_eq!(bench.read(701, 5, 1), [1], "{trips}: not yet");
        bench.run(0.2);
        assert_eq!(bench.read(701, 5, 1), [u16::from(stays)], "{trips}");
    }
}

#[test]
fn enter_service_is_set_and_withdrawn_over_model_703() {
    let mut bench = Bench::der("pv1", &[1, 701, 703], "");
    // Delay 3 s and a ramp of 10 s, by 32 bits each.
    assert_eq!(bench.write(703, 9, &[0, 3]), Ok(()));
    assert_eq!(bench.write(703, 13, &[0, 10]), Ok(()));
    assert_eq!(bench.write(703, 2, &[0]), Ok(()));
    bench.run(0.1);
    assert_eq!((bench.read(701, 3, 3), bench.p()), (vec![0, 0, 0], 0.0));
    assert_eq!(bench.write(703, 2, &[1]), Ok(()));
    bench.run(2.8);
    assert_eq!(bench.p(), 0.0);
    bench.run(2.7);
    assert!(
        (bench.p() - 750.0).abs() < 60.0,
        "a quarter of 3 kW: {}",
        bench.p()
    );
    // A window that cannot be is not taken.
    assert_eq!(bench.write(703, 4, &[12000]), Err(Exception::IllegalValue));
}

#[test]
fn a_reverted_setpoint_of_model_704_gives_way_to_the_function_that_is_on() {
    let mut bench = Bench::der("bat1", &[1, 704, 705], "[volt_var]\nolrt_s = 1\n");
    bench.world.set("grid.v", 0.95 * 230.0).expect("settable");
    bench.run(10.0);
    assert!((bench.q() - 440.0).abs() < 20.0, "{}", bench.q());
    // 300 var absorbed for 30 s; mode 4 is var, and nothing stays enabled behind.
    let minus = (-300_i32).cast_unsigned();
    let words = [(minus >> 16) as u16, minus as u16];
    assert_eq!(bench.write(704, 45, &[0, 30]), Ok(()));
    assert_eq!(bench.write(704, 36, &[4]), Ok(()));
    assert_eq!(bench.write(704, 38, &words), Ok(()));
    assert_eq!(bench.write(704, 35, &[1]), Ok(()));
    bench.run(25.0);
    assert!((bench.q() + 300.0).abs() < 5.0, "{}", bench.q());
    bench.run(25.0);
    assert!((bench.q() - 440.0).abs() < 20.0, "{}", bench.q());
    // A power factor goes before volt-var, too: 0.8 under-excited at 1 kW of discharge.
    assert_eq!(bench.write(704, 24, &[0, 1000]), Ok(()));
    assert_eq!(bench.write(704, 22, &[1]), Ok(()));
    let sf = bench.read(704, 53, 1)[0].cast_signed();
    let pf = (0.92 / 10_f64.powi(sf.into())).round() as u16;
    assert_eq!(bench.write(704, 59, &[pf, 1]), Ok(()));
    assert_eq!(bench.write(704, 2, &[1]), Ok(()));
    bench.run(30.0);
    assert!((bench.q() + 426.0).abs() < 10.0, "{}", bench.q());
}

#[test]
fn a_limit_of_model_704_holds_down_both_kinds_of_der_and_reverts() {
    let settings = "[p_limit]\nenabled = false\nresponse_s = 2\n";
    for (device, rated, before) in [("pv1", 3000.0, 1500.0), ("bat1", 2000.0, 1600.0)] {
        let mut bench = Bench::der(device, &[1, 704], settings);
        if device == "bat1" {
            assert_eq!(bench.write(704, 24, &[0, 1600]), Ok(()));
            assert_eq!(bench.write(704, 22, &[1]), Ok(()));
        }
        bench.run(5.0);
        assert!((bench.p() - before).abs() < 10.0, "{device}: {}", bench.p());
        // 30 % for 20 s, with two decimals as the scale factor says.
        assert_eq!(bench.write(704, 18, &[0, 20]), Ok(()));
        assert_eq!(bench.write(704, 15, &[3000]), Ok(()));
        assert_eq!(bench.write(704, 14, &[1]), Ok(()));
        bench.run(10.0);
        assert!(
            (bench.p() - 0.3 * rated).abs() < 10.0,
            "{device}: {}",
            bench.p()
        );
        bench.run(15.0);
        assert!((bench.p() - before).abs() < 10.0, "{device}: {}", bench.p());
        assert_eq!(bench.read(704, 14, 1), [0], "disabled again");
    }
    // Without the functions of a DER a storage has no such limit.
    let mut simple = Bench::new("bat1", &[1, 704]);
    assert_eq!(simple.write(704, 14, &[1]), Err(Exception::IllegalValue));
}

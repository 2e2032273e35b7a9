use model::Droop;

use super::*;

/// Where the model of these devices begins.
const AT: u16 = 40_070;

/// A device with one model; it adopts what is asked for after two looks.
struct Device {
    words: Vec<u16>,
    /// What the result register says after those looks.
    result: u16,
    looks: u16,
    /// What the device makes of a curve that it adopts.
    spoil: fn(&mut [u16]),
    writes: Vec<(u16, Vec<u16>)>,
}

/// Model 705 with curves of four points; the scale factors are -2, -2 and 0.
fn volt_var(curves: u16, read_only: &[u16]) -> Device {
    let length = 13 + curves * 18;
    let mut words = vec![0; usize::from(length) + 2];
    words[..2].copy_from_slice(&[705, length]);
    words[5..7].copy_from_slice(&[4, curves]);
    words[12..15].copy_from_slice(&[0xFFFE, 0xFFFE, 0]);
    for (curve, flag) in (0..).zip(read_only) {
        words[15 + 18 * curve + 9] = *flag;
    }
    Device {
        words,
        result: DONE,
        looks: 0,
        spoil: |_| {},
        writes: Vec::new(),
    }
}

impl Device {
    fn chain(&self) -> Chain {
        Chain {
            base: 40_000,
            models: vec![Model {
                id: self.words[0],
                address: AT,
                length: self.words[1],
            }],
            end: None,
        }
    }

    fn answer(&mut self, request: &Request) -> Vec<u16> {
        match request {
            Request::Read { address, count } => {
                let start = usize::from(address - AT);
                if (*address, *count) == (AT + 4, 1) && self.words[0] == 705 {
                    self.looks += 1;
                    if self.looks > 2 {
                        self.words[4] = self.result;
                    }
                }
                self.words[start..start + usize::from(*count)].to_vec()
            }
            Request::Write { address, words } => {
                self.writes.push((address - AT, words.clone()));
                let start = usize::from(address - AT);
                self.words[start..start + words.len()].copy_from_slice(words);
                if self.words[0] == 705 && *address == AT + 3 {
                    let curve = usize::from(words[0]) - 1;
                    let mut copied: Vec<u16> = self.words[15 + 18 * curve..][..18].to_vec();
                    (self.spoil)(&mut copied);
                    copied[9] = 1;
                    self.words[15..33].copy_from_slice(&copied);
                    self.words[4] = 0;
                }
                Vec::new()
            }
        }
    }

    /// Runs an adoption to its end; the error is why it failed.
    fn adopts(&mut self, wish: Characteristic, revert: Option<Duration>) -> Result<(), String> {
        let mut adoption = Adoption::begin(wish, revert, &self.chain())?;
        for _ in 0..200 {
            let request = adoption.request().ok_or("no request")?;
            let words = self.answer(&request);
            if adoption.take(&words)? == Next::Done {
                return Ok(());
            }
        }
        Err("no end".to_owned())
    }
}

fn ieee() -> Characteristic {
    Characteristic::VoltVar(vec![(0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44)])
}

#[test]
fn a_curve_is_written_requested_awaited_proved_and_then_enabled() {
    let mut device = volt_var(3, &[1, 0, 0]);
    assert_eq!(device.adopts(ieee(), Some(Duration::from_secs(60))), Ok(()));
    let expected = [
        // The second curve begins at 15 + 18: points, percent of apparent power, reactive first.
        (33, vec![4, 3, 1]),
        (43, vec![9200, 4400, 9800, 0, 10_200, 0, 10_800, 0xEED0]),
        (3, vec![2]),
        (7, vec![0, 60]),
        (2, vec![1]),
    ];
    assert_eq!(device.writes, expected);
    assert_eq!(device.looks, 3);
}

#[test]
fn the_active_curve_is_never_written_although_it_says_that_it_may_be() {
    let mut device = volt_var(3, &[0, 0, 0]);
    assert_eq!(
        device.adopts(ieee(), Some(Duration::from_millis(1500))),
        Ok(())
    );
    assert_eq!(device.writes[0].0, 15 + 18);
    assert_eq!(device.writes[2..4], [(3, vec![2]), (7, vec![0, 2])]);
}

#[test]
fn a_model_that_is_shorter_than_it_should_be_or_has_moved_takes_no_curve() {
    let mut device = volt_var(3, &[1, 0, 0]);
    let chain = device.chain();
    let mut short = chain.clone();
    short.models[0].length = 10;
    let why = Adoption::begin(ieee(), None, &short).expect_err("too short");
    assert!(why.contains("has 10 registers, the specification"), "{why}");
    // A firmware update has put another model there since the chain was walked.
    device.words[0] = 706;
    let mut adoption = Adoption::begin(ieee(), None, &chain).expect("a model 705");
    let words = device.answer(&adoption.request().expect("a request"));
    let why = adoption.take(&words).expect_err("another model");
    assert!(why.contains("the model is not there any more"), "{why}");
}

#[test]
fn a_read_only_curve_is_passed_over() {
    let mut device = volt_var(3, &[1, 1, 0]);
    assert_eq!(device.adopts(ieee(), None), Ok(()));
    assert_eq!(device.writes[0].0, 15 + 2 * 18);
    assert_eq!(device.writes[2], (3, vec![3]));
}

#[test]
fn what_goes_wrong_is_told_with_model_and_register_and_enables_nothing() {
    let five = Characteristic::VoltVar((0..5).map(|n| (0.9 + 0.05 * f64::from(n), 0.0)).collect());
    let refusing = Device {
        result: FAILED,
        ..volt_var(3, &[1, 0, 0])
    };
    let busy = Device {
        result: 0,
        ..volt_var(3, &[1, 0, 0])
    };
    let other = Device {
        // The device clips the first point to 40 %.
        spoil: |curve| curve[11] = 4000,
        ..volt_var(3, &[1, 0, 0])
    };
    let mut liar = volt_var(3, &[1, 0, 0]);
    liar.words[6] = 9;
    let droop = Characteristic::FreqDroop(Droop {
        db_over_hz: 0.036,
        db_under_hz: 0.036,
        k_over: 0.05,
        k_under: 0.05,
    });
    let one_step = Device {
        spoil: |curve| curve[11] = 4401,
        ..volt_var(3, &[1, 0, 0])
    };
    let rows: [(Device, Characteristic, &str); 9] = [
        (
            one_step,
            ieee(),
            "the active curve holds 44.01, 44 was asked for",
        ),
        (
            refusing,
            ieee(),
            "register 40074 (AdptCrvRslt): the device has refused",
        ),
        (busy, ieee(), "still busy with the curve after 10 s"),
        (
            other,
            ieee(),
            "(Crv[1].Pt[1].Var): the active curve holds 40, 44 was asked for",
        ),
        (
            volt_var(3, &[1, 1, 1]),
            ieee(),
            "no curve of it may be written",
        ),
        (
            volt_var(1, &[1]),
            ieee(),
            "it has no curve besides the active one",
        ),
        (
            volt_var(3, &[1, 0, 0]),
            five,
            "its curves have fewer points",
        ),
        (
            liar,
            ieee(),
            "announces more curves and points than its 67 registers",
        ),
        (
            volt_var(3, &[1, 0, 0]),
            droop,
            "no SunSpec model 711 and cannot follow freq-droop",
        ),
    ];
    for (mut device, wish, expected) in rows {
        let why = device.adopts(wish, None).expect_err(expected);
        assert!(why.contains(expected), "{why}");
        assert_eq!(device.words[2], 0, "enabled all the same: {expected}");
    }
}

#[test]
fn a_scale_factor_that_moves_during_the_adoption_is_the_one_that_counts() {
    let mut device = volt_var(3, &[1, 0, 0]);
    // From hundredths to tenths while the curve is adopted, all registers with it.
    device.spoil = |curve| {
        for word in &mut curve[10..18] {
            *word = (word.cast_signed() / 10).cast_unsigned();
        }
    };
    let mut adoption = Adoption::begin(ieee(), None, &device.chain()).expect("a model 705");
    let mut last = Next::Go;
    while last != Next::Written {
        let words = device.answer(&adoption.request().expect("a request"));
        last = adoption.take(&words).expect("no fault");
    }
    device.words[12..14].copy_from_slice(&[0xFFFF, 0xFFFF]);
    let words = device.answer(&adoption.request().expect("the proof"));
    assert_eq!(adoption.take(&words), Ok(Next::Go));
}

#[test]
fn a_power_factor_goes_into_the_newer_model_and_else_into_the_older_one() {
    let device = |model: u16, length: u16, scale_at: usize| {
        let mut words = vec![0; usize::from(length) + 2];
        words[..2].copy_from_slice(&[model, length]);
        words[scale_at] = 0xFFFD;
        Device {
            words,
            ..volt_var(1, &[1])
        }
    };
    let wish = Characteristic::PowerFactor {
        pf: 0.9,
        absorbs: true,
    };
    let mut newer = device(704, 65, 53);
    assert_eq!(newer.adopts(wish.clone(), None), Ok(()));
    assert_eq!(newer.writes, [(59, vec![900, 1]), (2, vec![1])]);
    let mut older = device(123, 24, 24);
    assert_eq!(older.adopts(wish, None), Ok(()));
    // In the fourth quadrant the power factor is negative.
    assert_eq!(older.writes, [(10, vec![0xFC7C]), (14, vec![1])]);
}

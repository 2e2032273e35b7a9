//! The line protocol: names, units and what texts may hold.

use super::*;

#[test]
fn lines_are_named_as_the_dashboards_expect() {
    let rows: &[(&[PointSample], &[&str])] = &[
        (
            &[watts(0, 1.0, 2.5)],
            &["ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=2.5 1795341601000000000"],
        ),
        (
            &[
                watts(0, 1.0, -1e3),
                sample(0, Point::VoltageL1, 1.0, Reading::Good(230.1)),
                watts(0, 2.0, 3.0),
            ],
            &[
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=-1000,ac_v_l1=230.1 1795341601000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_p=3 1795341602000000000",
            ],
        ),
        (
            &[sample(1, Point::SwitchOn, 0.0, Reading::Good(1.0))],
            &[
                "load,bus=lan\\ 1,device=plug\\,\\ \"3\",quality=good,role=load switch_on=1 1795341600000000000",
            ],
        ),
        // What is not a good number is no value, and says why.
        (
            &[
                watts(0, 0.0, f64::NAN),
                sample(0, Point::Frequency, 0.0, Reading::Good(50.0)),
                sample(0, Point::ReactivePower, 0.0, Reading::Good(f64::INFINITY)),
                sample(
                    0,
                    Point::StateOfCharge,
                    0.0,
                    Reading::Bad(Flaw::Exception(2)),
                ),
            ],
            &[
                "ess,bus=lan\\ 1,device=bat1,quality=not\\ a\\ number,role=ess ac_p_bad=1,ac_q_bad=1 1795341600000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=good,role=ess ac_f=50 1795341600000000000",
                "ess,bus=lan\\ 1,device=bat1,quality=exception\\ 2,role=ess bat_soc_bad=1 1795341600000000000",
            ],
        ),
        (&[watts(77, 0.0, 1.0)], &[]),
    ];
    for (samples, expected) in rows {
        let lines = sample_lines(
            &Labels::new(&Origin::default(), &devices()),
            &rows_of(samples),
        );
        let texts: Vec<&str> = lines.text.lines().collect();
        assert_eq!(texts, *expected);
        assert_eq!(lines.values, values_of(&lines.text));
    }
}

#[test]
fn values_are_counted_in_the_text_whatever_its_names_and_strings_hold() {
    let nasty = r#"a b,c=d "e" \ \, \  é"#;
    let origin = Origin {
        site: nasty.into(),
        bench: format!("{nasty}\n"),
        run: "\\".into(),
    };
    let mut named = devices();
    for device in &mut named {
        device.name = nasty.into();
        device.bus = format!("{nasty} {nasty}");
    }
    let labels = Labels::new(&origin, &named);
    let rows = rows_of(&[
        watts(0, 1.0, 2.5),
        sample(0, Point::Frequency, 1.0, Reading::Good(50.0)),
        sample(
            0,
            Point::StateOfCharge,
            1.0,
            Reading::Bad(Flaw::Exception(2)),
        ),
        watts(1, 1.0, -1e-300),
    ]);
    let samples = sample_lines(&labels, &rows);
    assert_eq!((samples.values, values_of(&samples.text)), (4, 4));
    assert_eq!(samples.text.lines().count(), 3);
    let event = Event::LoadShed {
        device: DeviceIx(1),
        why: format!("{nasty}, \"1,2,3\" = {nasty}"),
    };
    let told = describe(&event, &|_| nasty.into());
    let event = event_lines(&labels, utc(0.0), &told);
    assert_eq!((event.values, values_of(&event.text)), (1, 1));
    let mut figures = Lines::default();
    Figures::of_cycle(0.5, 1.0).push_line(&mut figures, &labels, utc(0.0));
    assert_eq!((figures.values, values_of(&figures.text)), (2, 2));
    // A backslash never stands before one that escapes, since servers read two in different ways.
    let texts = [samples.text, figures.text].concat();
    for two in [r"\\,", r"\\=", r"\\ "] {
        assert!(!texts.contains(two), "{two} in {texts}");
    }
}

#[test]
fn every_line_says_which_site_bench_and_run_it_is_of() {
    let origin = Origin {
        site: "north hall".into(),
        bench: "Campus, 400 V".into(),
        run: "20261122T100000Z-run-1".into(),
    };
    let of = r"bench=Campus\,\ 400\ V,run=20261122T100000Z-run-1,site=north\ hall";
    let labels = Labels::new(&origin, &devices());
    let record = describe(&happened_event(), &|_| "plug".into());
    let mut lines = sample_lines(&labels, &rows_of(&[watts(0, 0.0, 1.0)]));
    lines.text += &event_lines(&labels, utc(0.0), &record).text;
    Figures::of_cycle(0.5, 1.0).push_line(&mut lines, &labels, utc(0.0));
    let texts = lines.text.lines();
    let heads: Vec<&str> = texts.map(|t| t.split_once(of).expect(t).0).collect();
    assert_eq!(
        heads,
        [
            r"ess,bus=lan\ 1,device=bat1,quality=good,role=ess,",
            "event,device=plug,kind=load_shed,",
            "cycle,",
        ]
    );
}

#[test]
fn every_point_has_its_own_field() {
    let mut names: Vec<String> = Point::ALL.iter().map(|p| field_name(*p)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Point::ALL.len());
    assert!(
        names
            .iter()
            .all(|n| n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    );
}

#[test]
fn events_become_lines_whatever_their_text_holds() {
    let changed = Event::ModeChanged {
        from: Mode::Islanded,
        to: Mode::Safe,
        why: "a \"quoted\" back\\slash,\nnew line = 1".into(),
    };
    let cleared = Event::MarketCleared {
        interval: 3,
        price_mc_per_kwh: None,
        energy_mwh: 1_500,
        trades: 2,
    };
    let shed = Event::LoadRestored {
        device: DeviceIx(1),
    };
    let rows: &[(&Event, &[&str])] = &[
        (
            &changed,
            &[
                r#"event,kind=mode_changed text="Mode changed from islanded to safe: a \"quoted\" back\\slash, new line = 1." 1795341600000000000"#,
            ],
        ),
        (
            &cleared,
            &[
                r#"event,kind=market_cleared text="Interval 3 cleared nothing." 1795341600000000000"#,
                "market energy_mwh=1500,trades=2 1795341600000000000",
            ],
        ),
        (
            &shed,
            &[
                r#"event,device=a\ b\=c\_,kind=load_restored text="The load was given back." 1795341600000000000"#,
            ],
        ),
    ];
    for (event, expected) in rows {
        let record = describe(event, &|_| "a b=c\\".into());
        let lines = event_lines(&Labels::new(&Origin::default(), &[]), utc(0.0), &record);
        let texts: Vec<&str> = lines.text.lines().collect();
        assert_eq!(texts, *expected);
    }
}

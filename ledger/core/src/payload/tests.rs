use super::*;
use crate::epochs::EpochChange;
use crate::record::Amount;

const ID: AtomId = AtomId([3; 32]);

fn dispatch() -> Dispatch {
    Dispatch {
        device: "inverter-2".to_owned(),
        kind: DispatchKind::Power,
        setpoint: Setpoint {
            p_milliwatts: Some(-2_500_000),
            ..Setpoint::NONE
        },
        authority_epoch: 4,
        valid_from_utc_ns: 10,
        valid_until_utc_ns: 20,
        cause: Some(ID),
        why: "price".to_owned(),
    }
}

fn step(price: i64, quantity: i64) -> Step {
    Step {
        price_millicents_per_kwh: price,
        quantity_milliwatt_hours: quantity,
    }
}

fn terms() -> Terms {
    Terms {
        interval: 4,
        penalty_millicents_per_kwh: 10,
        penalty_low_millicents_per_kwh: 10,
        penalty_high_millicents_per_kwh: None,
        tolerance_milliwatt_hours: 1,
        tolerance_ppm: 50_000,
        accounts: vec![TermsAccount {
            participant: "house-1".to_owned(),
            standing: StandingKind::Capped,
            count: 5,
            deposit: Amount(-3),
        }],
    }
}

/// One payload of every kind.
fn samples() -> Vec<Payload> {
    let text = |t: &str| t.to_owned();
    vec![
        Payload::Dispatch(dispatch()),
        Payload::DispatchAck(DispatchAck {
            dispatch: ID,
            stage: DispatchStage::Power,
            measured_p_milliwatts: None,
            seen_utc_ns: -5,
        }),
        Payload::Trip(Trip {
            device: text("b1"),
            what: text("open"),
            acted_at_utc_ns: 1,
            logged_at_utc_ns: 2,
        }),
        Payload::Mode(Mode {
            from: text("grid"),
            to: text("island"),
            reason: text("rocof"),
        }),
        Payload::MeterReading(MeterReading {
            participant: text("house-1"),
            interval_start_utc_ns: 0,
            interval_ns: 1,
            energy_milliwatt_hours: Some(0),
            quality: ReadingQuality::Valid,
        }),
        Payload::Order(Order {
            agent: text("house-1"),
            interval: 3,
            side: Side::Sell,
            steps: vec![step(-100, 5), step(-90, 7)],
            rank: 0,
        }),
        Payload::Clearing(Clearing {
            interval: 3,
            mechanism: text("uniform_k_half"),
            quantity_milliwatt_hours: 5,
            price_millicents_per_kwh: Some(7),
            price_low_millicents_per_kwh: Some(7),
            price_high_millicents_per_kwh: Some(8),
            fills: vec![Fill {
                order: ID,
                agent: text("house-1"),
                quantity_milliwatt_hours: 5,
                amount: Amount(35),
            }],
            operator_amount: Amount(-35),
        }),
        Payload::Trade(Trade {
            buyer: text("a"),
            seller: text("b"),
            interval: 1,
            quantity_milliwatt_hours: 2,
            price_millicents_per_kwh: 3,
        }),
        Payload::Settlement(Settlement {
            interval: 3,
            is_excused: false,
            lines: vec![SettlementLine {
                account: text("a"),
                amount: Amount(i128::MIN),
                what: text("energy"),
            }],
        }),
        Payload::Config(Config {
            subject: text("rig"),
            digest: [1; 32],
            note: text(""),
        }),
        Payload::Checkpoint(Checkpoint {
            node: Address([1; 32]),
            size: 4,
            root: [2; 32],
        }),
        Payload::Mint(Mint { reading: ID }),
        Payload::Burn(Burn {
            reason: text("used"),
        }),
        Payload::Transfer(Transfer { memo: text("") }),
        Payload::AuthorityGrant(AuthorityGrant {
            issuer: Address([1; 32]),
            device: text("b1"),
            authority_epoch: 2,
        }),
        Payload::FraudProof(FraudProof {
            what: text("fork"),
            first: crate::record::Opaque(vec![1]),
            second: crate::record::Opaque(vec![2]),
        }),
        Payload::Resolve(Resolve {
            fraud: ID,
            why: text("reserve"),
        }),
        Payload::Terms(terms()),
        Payload::Epoch(EpochChange {
            number: 1,
            prev: [1; 32],
            configuration: crate::record::Opaque(vec![1]),
            approvals: vec![],
        }),
        Payload::Withdrawal(Withdrawal {
            agent: text("house-1"),
            interval: 3,
            side: Side::Sell,
        }),
        Payload::Activation(activation()),
        Payload::Infeasible(infeasible()),
    ]
}

fn infeasible() -> Infeasible {
    Infeasible {
        device: "ess-1".into(),
        interval: 3,
        committed_milliwatt_hours: 20_000,
        missing_milliwatt_hours: 4_000,
        why: "its battery is empty".into(),
    }
}

#[test]
fn an_infeasible_commitment_names_its_device_and_what_is_missing() {
    let check = |change: &dyn Fn(&mut Infeasible), expected: &str| {
        let mut i = infeasible();
        change(&mut i);
        let found = Payload::from_value(Kind::Infeasible, i.to_value());
        let found = found.map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
        assert_eq!(found, expected);
    };
    check(&|_| (), "accepted");
    check(
        &|i| i.device.clear(),
        "An infeasible commitment names its device.",
    );
    check(
        &|i| i.missing_milliwatt_hours = 0,
        "Of an infeasible commitment something is missing.",
    );
}

fn activation() -> Activation {
    Activation {
        participant: "ess-1".into(),
        interval: 3,
        moments: 150,
        available_moments: 149,
        up_milliwatt_hours: 12_000,
        down_milliwatt_hours: 0,
        asked_milliwatts: 450_000_000,
        missed_milliwatts: 9_000_000,
    }
}

#[test]
fn an_activation_names_who_it_is_and_counts_no_more_than_there_is() {
    let check = |change: &dyn Fn(&mut Activation), expected: &str| {
        let mut a = activation();
        change(&mut a);
        let found = Payload::from_value(Kind::Activation, a.to_value());
        let found = found.map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
        assert_eq!(found, expected);
    };
    check(&|_| (), "accepted");
    check(
        &|a| a.participant.clear(),
        "An activation names its participant.",
    );
    check(
        &|a| a.available_moments = 151,
        "Nobody is available in more moments than there are.",
    );
    check(
        &|a| a.down_milliwatt_hours = -1,
        "The energies of an activation are magnitudes.",
    );
}

#[test]
fn every_kind_has_a_payload_that_reads_back_as_itself_and_as_no_other_kind() {
    let samples = samples();
    let kinds: Vec<Kind> = samples.iter().map(Payload::kind).collect();
    assert_eq!(kinds, Kind::ALL);
    for payload in &samples {
        let bytes = payload.to_value().encode().unwrap();
        let value = Value::decode(&bytes).unwrap();
        assert_eq!(
            Payload::from_value(payload.kind(), value).as_ref(),
            Ok(payload)
        );
    }
}

#[test]
fn a_broken_rule_inside_a_payload_is_refused() {
    let check = |change: &dyn Fn(&mut Dispatch), expected: &str| {
        let mut d = dispatch();
        change(&mut d);
        let found = Payload::from_value(Kind::Dispatch, d.to_value());
        let found = found.map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
        assert_eq!(found, expected);
    };
    const FIT: &str = "A dispatch commands exactly the values of its kind.";
    check(&|_| (), "accepted");
    check(&|d| d.setpoint.q_millivars = Some(0), "accepted");
    check(&|d| d.setpoint.p_milliwatts = None, FIT);
    check(&|d| d.setpoint.switch_closed = Some(true), FIT);
    check(&|d| d.kind = DispatchKind::Switch, FIT);
    check(&|d| d.kind = DispatchKind::Ceiling, FIT);
    check(&|d| d.kind = DispatchKind::Release, FIT);
    check(&|d| d.device.clear(), "A dispatch names its device.");
    check(
        &|d| d.valid_until_utc_ns = 9,
        "A dispatch ends no earlier than it begins.",
    );
    check(
        &|d| {
            d.kind = DispatchKind::Ceiling;
            d.setpoint = Setpoint {
                ceiling_milliwatts: Some(-1),
                ..Setpoint::NONE
            };
        },
        "A ceiling is not negative.",
    );
}

#[test]
fn a_missing_reading_has_no_energy_and_every_other_has_one() {
    for (quality, energy, accepted) in [
        (ReadingQuality::Valid, Some(0), true),
        (ReadingQuality::Valid, None, false),
        (ReadingQuality::Estimated, None, false),
        (ReadingQuality::Missing, None, true),
        (ReadingQuality::Missing, Some(0), false),
    ] {
        let reading = MeterReading {
            participant: "house-1".to_owned(),
            interval_start_utc_ns: 0,
            interval_ns: 1,
            energy_milliwatt_hours: energy,
            quality,
        };
        let found = Payload::from_value(Kind::MeterReading, reading.to_value());
        assert_eq!(found.is_ok(), accepted, "{quality:?} {energy:?}");
    }
}

#[test]
fn an_order_is_a_curve_with_its_best_price_first() {
    for (side, steps, accepted) in [
        (Side::Sell, vec![step(-1, 5)], true),
        (Side::Sell, vec![step(1, 5), step(2, 1)], true),
        (Side::Sell, vec![step(2, 5), step(1, 1)], false),
        (Side::Buy, vec![step(2, 5), step(1, 1)], true),
        (Side::Buy, vec![step(2, 5), step(2, 1)], false),
        (Side::Buy, vec![step(2, 5), step(1, 0)], false),
        (Side::Buy, vec![], false),
    ] {
        let order = Order {
            agent: "house-1".to_owned(),
            interval: 3,
            side,
            steps,
            rank: 0,
        };
        let found = Payload::from_value(Kind::Order, order.to_value());
        assert_eq!(found.is_ok(), accepted, "{order:?}");
    }
}

#[test]
fn the_amounts_of_a_clearing_sum_to_zero() {
    for (amounts, operator, accepted) in [
        (vec![], 0, true),
        (vec![7, -7], 0, true),
        (vec![6, -7], 1, true),
        (vec![8, -7], -1, true),
        (vec![8, -7], 0, false),
        (vec![i128::MAX, 1], 0, false),
    ] {
        let fill = |amount| Fill {
            order: ID,
            agent: "house-1".to_owned(),
            quantity_milliwatt_hours: 5,
            amount: Amount(amount),
        };
        let clearing = Clearing {
            interval: 3,
            mechanism: "huang".to_owned(),
            quantity_milliwatt_hours: 5,
            price_millicents_per_kwh: None,
            price_low_millicents_per_kwh: None,
            price_high_millicents_per_kwh: None,
            fills: amounts.iter().copied().map(fill).collect(),
            operator_amount: Amount(operator),
        };
        let found = Payload::from_value(Kind::Clearing, clearing.to_value());
        assert_eq!(found.is_ok(), accepted, "{amounts:?} {operator}");
    }
}

#[test]
fn a_penalty_lies_between_its_bounds() {
    for (low, rate, high, tolerance, accepted) in [
        (10, 10, None, 0, true),
        (10, 12, Some(12), 5, true),
        (10, 9, None, 0, false),
        (10, 12, Some(11), 0, false),
        (-1, 12, None, 0, false),
        (10, 10, None, -1, false),
    ] {
        let terms = Terms {
            penalty_millicents_per_kwh: rate,
            penalty_low_millicents_per_kwh: low,
            penalty_high_millicents_per_kwh: high,
            tolerance_milliwatt_hours: tolerance,
            ..terms()
        };
        let found = Payload::from_value(Kind::Terms, terms.to_value());
        assert_eq!(found.is_ok(), accepted, "{terms:?}");
    }
}

#[test]
fn an_atom_belongs_to_its_author_and_its_subjects() {
    let universe = UniverseId([1; 32]);
    let author = Address([8; 32]);
    let device = Address::of_name(&universe, "inverter-2");
    let mut expected = vec![author, device];
    expected.sort();
    assert_eq!(
        Payload::Dispatch(dispatch()).destinations(&universe, &author, &[], 16),
        expected
    );
    assert_eq!(
        Payload::Dispatch(dispatch()).destinations(&universe, &author, &[], 1),
        [author]
    );
}

/// Whether a value may stand where the page says that this type does.
fn is_of(value: &Value, shape: &str) -> bool {
    match value {
        Value::Int(_) => ["u64", "i64", "code", "bool"].contains(&shape),
        Value::Text(_) => shape == "text",
        Value::Bytes(bytes) if bytes.len() == 32 => {
            ["id", "address", "digest", "bytes32"].contains(&shape)
        }
        Value::Bytes(bytes) if bytes.len() == 16 => shape == "amount",
        Value::Bytes(_) => shape == "bytes",
        Value::Array(_) => shape.ends_with('?') || shape == "record" || shape == "[record]",
    }
}

#[test]
fn the_format_page_lists_every_kind_with_its_fields() {
    let rows = crate::page::rows("kind");
    assert_eq!(rows.len(), Kind::ALL.len());
    for (payload, row) in samples().iter().zip(rows) {
        let kind = payload.kind();
        assert_eq!(row[..2], [kind.name(), &kind.code().to_string()]);
        let (Shown::Record(shown), Value::Array(values)) = (payload.shown(), payload.to_value())
        else {
            panic!("{kind:?} is no record");
        };
        let fields: Vec<(&str, &str)> = row[2]
            .split(", ")
            .filter_map(|field| field.split_once(' '))
            .collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let expected: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "{kind:?}");
        for ((name, shape), value) in fields.iter().zip(&values) {
            assert!(is_of(value, shape), "{kind:?} {name} {shape} {value:?}");
        }
    }
}

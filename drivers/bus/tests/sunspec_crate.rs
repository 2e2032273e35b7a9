//! A second opinion on SunSpec: the `sunspec` crate reads the same registers as our layouts and codec.
//!
//! Its models are generated from the same published definitions by other people's code, so a
//! wrong offset, width, sign or "not implemented" pattern on our side shows here.

// A registers' image that they cannot read ends the test.
#![allow(clippy::panic)]

use bus::modbus::codec;
use model::Flaw;
use profile::modbus::{Encoding, WordOrder};
use profile::sunspec::{ModelPoint, PointType, model};
use proptest::prelude::*;
use sunspec::models::model103::Model103;
use sunspec::models::model160::Model160;
use sunspec::models::model701::Model701;
use sunspec::models::model705::Model705;
use sunspec::{Model, ParseError};

/// The raw number of a point in the registers of a model, `None` when it is not implemented.
fn ours(points: &[ModelPoint], name: &str, words: &[u16]) -> Option<f64> {
    let point = points.iter().find(|p| p.name == name).expect(name);
    let encoding = Encoding {
        data: point.kind.data().expect("a number"),
        order: WordOrder::BigFirst,
        factor: 1.0,
        scale: None,
        not_implemented: point.kind.not_implemented().into(),
    };
    let start = usize::from(point.offset);
    match codec::decode(
        &encoding,
        &words[start..start + usize::from(point.size)],
        None,
    ) {
        Ok(value) => Some(value),
        Err(flaw) => {
            assert_eq!(flaw, Flaw::NotImplemented, "{name}");
            None
        }
    }
}

/// The layout of a model with these words in its length and count registers.
fn layout(words: &[u16]) -> Vec<ModelPoint> {
    let model = model(words[0]).expect("bundled");
    let count = |name: &str| {
        let point = model.point(name)?;
        words.get(usize::from(point.offset)).copied()
    };
    model.lay_out(&count, words[1]).expect("it fits")
}

/// Their reading of the registers behind ID and length; what they find invalid is a reading as well.
fn theirs<M: Model>(words: &[u16]) -> M {
    match M::parse(&words[2..]) {
        Ok(model) => model,
        Err(ParseError::InvalidPointData(invalid)) => invalid.model,
        Err(ParseError::Decode(error)) => panic!("they cannot decode it: {error}"),
    }
}

/// A value that they always give, `None` when it is the pattern for "not implemented".
fn given<T: PartialEq + Into<f64>>(value: T, pattern: T) -> Option<f64> {
    (value != pattern).then(|| value.into())
}

fn check(words: &[u16], rows: &[(&str, Option<f64>)]) -> Result<(), TestCaseError> {
    let points = layout(words);
    for (name, theirs) in rows {
        prop_assert_eq!(ours(&points, name, words), *theirs, "{}", name);
    }
    Ok(())
}

/// Registers of a model, every eighth of them at an end of its range, where the patterns are.
fn image(
    number: u16,
    length: u16,
    fixed: &'static [(usize, u16)],
) -> impl Strategy<Value = Vec<u16>> {
    let word = prop_oneof![
        6 => any::<u16>(),
        1 => Just(0xFFFF_u16),
        1 => Just(0x8000_u16),
        1 => Just(0_u16),
    ];
    prop::collection::vec(word, usize::from(length)).prop_map(move |mut words| {
        words.splice(0..0, [number, length]);
        for (at, word) in fixed {
            words[*at] = *word;
        }
        // A text that is none is not what this is about.
        for point in layout(&words) {
            if point.kind == PointType::String {
                let start = usize::from(point.offset);
                words[start..start + usize::from(point.size)].fill(0);
            }
        }
        words
    })
}

fn wide(value: Option<u64>) -> Option<f64> {
    value.map(|v| v as f64)
}

proptest! {
    #[test]
    fn an_inverter_reads_the_same(words in image(103, 50, &[])) {
        let m: Model103 = theirs(&words);
        check(&words, &[
            ("A", given(m.a, 0xFFFF)),
            ("PhVphC", given(m.ph_vph_c, 0xFFFF)),
            ("W", given(m.w, i16::MIN)),
            ("Hz", given(m.hz, 0xFFFF)),
            ("VAr", m.v_ar.map(f64::from)),
            ("VAr_SF", m.v_ar_sf.map(f64::from)),
            ("WH", given(m.wh, 0)),
            ("DCW", m.dcw.map(f64::from)),
            ("DCW_SF", m.dcw_sf.map(f64::from)),
        ])?;
    }

    #[test]
    fn a_measurement_of_model_701_reads_the_same(words in image(701, 153, &[])) {
        let m: Model701 = theirs(&words);
        check(&words, &[
            ("W", m.w.map(f64::from)),
            ("Hz", m.hz.map(f64::from)),
            ("TotWhInj", wide(m.tot_wh_inj)),
            ("WL1", m.wl1.map(f64::from)),
            ("TotWhInjL1", wide(m.tot_wh_inj_l1)),
            ("TotWhInjL3", wide(m.tot_wh_inj_l3)),
            ("W_SF", m.w_sf.map(f64::from)),
        ])?;
    }

    #[test]
    fn strings_of_modules_read_the_same(words in image(160, 48, &[(8, 2)])) {
        let m: Model160 = theirs(&words);
        prop_assert_eq!(m.module.len(), 2);
        let second = &m.module[1];
        check(&words, &[
            ("DCW_SF", m.dcw_sf.map(f64::from)),
            ("module[1].DCV", m.module[0].dcv.map(f64::from)),
            ("module[2].DCA", second.dca.map(f64::from)),
            ("module[2].DCW", second.dcw.map(f64::from)),
            ("module[2].Tmp", second.tmp.map(f64::from)),
            ("module[2].Tms", second.tms.map(f64::from)),
        ])?;
    }

    #[test]
    fn curves_read_the_same(words in image(705, 67, &[(5, 4), (6, 3)])) {
        let m: Model705 = theirs(&words);
        prop_assert_eq!(m.crv.len(), 3);
        check(&words, &[
            ("RvrtTms", m.rvrt_tms.map(f64::from)),
            ("V_SF", given(m.v_sf, i16::MIN)),
            ("Crv[2].ActPt", given(m.crv[1].act_pt, 0xFFFF)),
            ("Crv[2].RspTms", m.crv[1].rsp_tms.map(f64::from)),
            ("Crv[1].Pt[4].Var", m.crv[0].pt[3].var.map(f64::from)),
            ("Crv[3].Pt[2].V", m.crv[2].pt[1].v.map(f64::from)),
        ])?;
    }
}

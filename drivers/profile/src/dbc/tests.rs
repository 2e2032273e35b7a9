use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Database, Unusable> {
    Database::parse(&Source::new("a.dbc", text))
}

/// A file with one message of eight bytes and these lines of signals, and what follows them.
fn file(signals: &str, rest: &str) -> String {
    format!(
        "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: A B\n\nBO_ 512 Status: 8 A\n{signals}\n\n{rest}\n"
    )
}

fn shape_of(text: &str, signal: &str) -> Result<Shape, String> {
    let database = parse(text).expect("a DBC file");
    let message = database.message("Status").expect("its message");
    message.signal(signal).expect("its signal").shape.clone()
}

#[test]
fn a_message_is_read_with_place_number_scale_unit_and_cycle_time() {
    let text = file(
        " SG_ Volts : 7|16@0- (0.1,-5) [0|100] \"V\" B\n SG_ Amps : 16|12@1+ (2,0) [0|0] \"A\" B",
        "BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 10000;\nBA_DEF_DEF_ \"GenMsgCycleTime\" 0;\nBA_ \"GenMsgCycleTime\" BO_ 512 100;",
    );
    let database = parse(&text).expect("a DBC file");
    let message = database.message("Status").expect("its message");
    assert_eq!((message.id, message.len), (CanId::Standard(0x200), 8));
    assert_eq!(message.cycle, Some(Duration::from_millis(100)));
    let volts = message.signal("Volts").expect("its signal");
    assert_eq!((volts.unit.as_str(), volts.line), ("V", 10));
    let field = volts.shape.as_ref().expect("readable").field;
    assert_eq!(
        (field.at.start, field.at.len, field.at.order),
        (7, 16, ByteOrder::Big)
    );
    assert_eq!(
        (field.number, field.factor, field.offset),
        (Number::Signed, 0.1, -5.0)
    );
    let amps = shape_of(&text, "Amps").expect("readable");
    assert_eq!(
        (amps.field.at.order, amps.field.number),
        (ByteOrder::Little, Number::Unsigned)
    );
}

#[test]
fn floats_and_pages_are_told_by_the_lines_that_come_later() {
    let text = file(
        " SG_ Mode M : 0|8@1+ (1,0) [0|0] \"\" B\n SG_ Sub m2M : 8|8@1+ (1,0) [0|0] \"\" B\n \
         SG_ Deep m4 : 16|32@1- (1,0) [0|0] \"\" B\n SG_ Power m1 : 8|32@1- (1,0) [0|0] \"W\" B",
        "SIG_VALTYPE_ 512 Power : 1;\nSG_MUL_VAL_ 512 Sub Mode 2-2, 5-6;\nSG_MUL_VAL_ 512 Deep Sub 4-4;\nSG_MUL_VAL_ 512 Power Mode 1-1;",
    );
    assert_eq!(shape_of(&text, "Mode").expect("readable").page, []);
    let power = shape_of(&text, "Power").expect("readable");
    assert_eq!(power.field.number, Number::Float);
    let bits = |start| Bits {
        start,
        len: 8,
        order: ByteOrder::Little,
    };
    let select = |start, values: &[(u64, u64)]| Selector {
        at: bits(start),
        values: values.to_vec(),
    };
    assert_eq!(power.page, [select(0, &[(1, 1)])]);
    let deep = shape_of(&text, "Deep").expect("readable");
    assert_eq!(
        deep.page,
        [select(0, &[(2, 2), (5, 6)]), select(8, &[(4, 4)])]
    );
}

#[test]
fn a_signal_that_nobody_can_read_says_why_and_spares_the_others() {
    for (line, rest, why) in [
        ("X : 0|0@1+ (1,0) [0|0] \"\" B", "", "it has 0 bits"),
        ("X : 0|65@1+ (1,0) [0|0] \"\" B", "", "it has 65 bits"),
        ("X : 57|8@1+ (1,0) [0|0] \"\" B", "", "within the 8 bytes"),
        ("X : 56|2@0+ (1,0) [0|0] \"\" B", "", "within the 8 bytes"),
        (
            "X : 99999999|8@1+ (1,0) [0|0] \"\" B",
            "",
            "within the 8 bytes",
        ),
        (
            "X : 0|16@1+ (1,0) [0|0] \"\" B",
            "SIG_VALTYPE_ 512 X : 1;",
            "does not have 16 bits",
        ),
        (
            "X : 0|32@1+ (1,0) [0|0] \"\" B",
            "SIG_VALTYPE_ 512 X : 2;",
            "does not have 32 bits",
        ),
        ("X : 0|16@1+ (0,0) [0|0] \"\" B", "", "makes no value"),
        (
            "X m1 : 0|16@1+ (1,0) [0|0] \"\" B",
            "",
            "has no multiplexer",
        ),
        (
            "X m1 : 0|16@1+ (1,0) [0|0] \"\" B",
            "SG_MUL_VAL_ 512 X Ghost 1-1;",
            "`Ghost` is not there",
        ),
        (
            "X m1M : 0|16@1+ (1,0) [0|0] \"\" B",
            "SG_MUL_VAL_ 512 X X 1-1;",
            "nested more than 8 deep",
        ),
    ] {
        let text = file(
            &format!(" SG_ {line}\n SG_ Good : 0|8@1+ (1,0) [0|0] \"\" B"),
            rest,
        );
        let found = shape_of(&text, "X").expect_err(line);
        assert!(found.contains(why), "{line}: {found}");
        assert!(shape_of(&text, "Good").is_ok(), "{line}");
    }
    let two = file(
        " SG_ A M : 0|8@1+ (1,0) [0|0] \"\" B\n SG_ Z M : 8|8@1+ (1,0) [0|0] \"\" B\n SG_ X m1 : 16|8@1+ (1,0) [0|0] \"\" B",
        "",
    );
    assert!(
        shape_of(&two, "X")
            .expect_err("ambiguous")
            .contains("several multiplexers")
    );
}

#[test]
fn a_file_that_no_bus_can_carry_is_refused_with_its_line() {
    let head = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: A\n\n";
    let signal = " SG_ X : 0|8@1+ (1,0) [0|0] \"\" A\n";
    for (rest, line, why) in [
        (
            format!("BO_ 66384 Wide: 8 A\n{signal}"),
            9,
            "66384 is not an identifier",
        ),
        (
            format!("BO_ 2048 Wide: 8 A\n{signal}"),
            9,
            "2048 is not an identifier",
        ),
        (
            format!("BO_ 1 One: 8 A\n{signal}\nBO_ 1 Two: 8 A\n{signal}"),
            12,
            "identifier of two messages",
        ),
        (format!("BO_ 1 One: 9 A\n{signal}"), 9, "has 9 bytes"),
        (
            format!("BO_ 1 One: 100000 A\n{signal}"),
            9,
            "has 100000 bytes",
        ),
        (
            format!("BO_ 1 One: 8 A\n{signal}{signal}"),
            11,
            "the signal `X` twice",
        ),
        (
            "BO_ 1 One: 8 A\n SG_ X : 0|8@7+ (1,0)\n".to_owned(),
            10,
            "not DBC",
        ),
        ("hello\n".to_owned(), 9, "not DBC"),
    ] {
        let fault = parse(&format!("{head}{rest}")).expect_err(&rest);
        assert!(fault.why.contains(why), "{rest}: {fault}");
        assert_eq!(fault.line, line, "{rest}: {fault}");
    }
    let huge = " ".repeat(FILE_BYTES_MAX + 1);
    assert!(
        parse(&huge)
            .expect_err("too large")
            .why
            .contains("more than")
    );
}

#[test]
fn a_file_in_the_western_code_page_keeps_its_degrees() {
    assert_eq!(text_of(b"\"\xb0C\"".to_vec()), "\"\u{b0}C\"");
    assert_eq!(text_of("\"\u{b0}C\"".as_bytes().to_vec()), "\"\u{b0}C\"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(
        cut in 0_usize..400, junk in "[ -~\n]{0,40}", with in "[ -~\n]{0,8}"
    ) {
        let text = file(
            " SG_ Mode M : 0|8@1+ (1,0) [0|0] \"\" B\n SG_ X m1 : 8|32@1- (1,0) [0|0] \"W\" B",
            "SIG_VALTYPE_ 512 X : 1;\nSG_MUL_VAL_ 512 X Mode 1-1;",
        );
        let cut = text.floor_char_boundary(cut);
        let _ = parse(&junk);
        let _ = parse(&format!("{}{with}{}", &text[..cut], &text[cut..]));
    }
}

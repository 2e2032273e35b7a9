use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn data(id: CanId, bytes: &[u8]) -> Heard {
    Heard::Frame(Frame::Data {
        id,
        data: Data::new(bytes).unwrap(),
    })
}

fn parse(text: &[u8]) -> Vec<Heard> {
    let mut heard = VecDeque::new();
    Parser::default().push(text, &mut heard);
    heard.into()
}

#[test]
fn elements_are_read_as_servers_write_them() {
    use CanId::*;
    for (text, expected) in [
        ("< hi >", vec![Heard::Hi]),
        ("< ok >", vec![Heard::Ok]),
        ("<ok>", vec![Heard::Ok]),
        ("< echo >", vec![Heard::Echo]),
        (
            "< frame 351 23.424242 1402740E740ECC01 >",
            vec![data(
                Standard(0x351),
                &[0x14, 0x02, 0x74, 0x0E, 0x74, 0x0E, 0xCC, 0x01],
            )],
        ),
        (
            "< frame 356 23.4 7A 13 F2 >",
            vec![data(Standard(0x356), &[0x7A, 0x13, 0xF2])],
        ),
        (
            "< frame 18FEF100 23.5  >",
            vec![data(Extended(0x18FE_F100), &[])],
        ),
        (
            "< frame 00000351 1.0 01 >",
            vec![data(Extended(0x351), &[1])],
        ),
        (
            "< error 020 24.0 >",
            vec![Heard::Frame(Frame::Error { class: 0x20 })],
        ),
        (
            "< error could not open bus >",
            vec![Heard::Refused("error could not open bus".into())],
        ),
        ("< frame 800 1.0 01 >", vec![Heard::Garbage]),
        ("< frame FFFFFFFF 1.0 01 >", vec![Heard::Garbage]),
        ("< frame 35100 1.0 01 >", vec![Heard::Garbage]),
        ("< frame +51 1.0 01 >", vec![Heard::Garbage]),
        ("< frame 351 nan 01 >", vec![Heard::Garbage]),
        ("< frame 351 1.0 01020304050607080 >", vec![Heard::Garbage]),
        ("< frame 351 1.0 010203040506070809 >", vec![Heard::Garbage]),
        ("< frame 351 1.0 xx >", vec![Heard::Garbage]),
        ("< frame 351 >", vec![Heard::Garbage]),
        ("< >", vec![Heard::Garbage]),
        ("HTTP/1.1 400\r\n< ok >", vec![Heard::Garbage, Heard::Ok]),
        ("< fra< ok >", vec![Heard::Garbage, Heard::Ok]),
        (">>> < ok >\n", vec![Heard::Garbage, Heard::Ok]),
    ] {
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn an_element_that_never_ends_is_given_up_and_the_next_one_is_heard() {
    let mut parser = Parser::default();
    let mut heard = VecDeque::new();
    parser.push(b"< frame 351 1.0 ", &mut heard);
    for _ in 0..100 {
        parser.push(&[b'0'; 1000], &mut heard);
        assert!(parser.held_bytes() <= ELEMENT_BYTES_MAX);
    }
    parser.push(b" >< ok >", &mut heard);
    assert_eq!(Vec::from(heard), [Heard::Garbage, Heard::Ok]);
}

#[test]
fn frames_are_sent_in_lower_case_with_a_decimal_length() {
    let rows: [(CanId, &[u8], &str); 4] = [
        (
            CanId::Standard(0x305),
            &[0; 8],
            "< send 305 8 0 0 0 0 0 0 0 0 >",
        ),
        (CanId::Standard(0x7AB), &[0xFF, 0x0A], "< send 7ab 2 ff a >"),
        (CanId::Extended(0x4200), &[2], "< send 00004200 1 2 >"),
        (CanId::Standard(0), &[], "< send 0 0 >"),
    ];
    for (id, bytes, text) in rows {
        let frame = Frame::Data {
            id,
            data: Data::new(bytes).unwrap(),
        };
        assert_eq!(send_element(&frame).as_deref(), Some(text));
    }
    for frame in [
        Frame::Remote {
            id: CanId::Standard(1),
        },
        Frame::Error { class: 0x40 },
    ] {
        assert_eq!(send_element(&frame), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_waits_for_each_ok_and_keeps_frames_that_come_with_the_last() {
    let (near, mut far) = duplex(1024);
    let server = tokio::spawn(async move {
        let mut text = [0; 64];
        far.write_all(b"noise < hi >").await.unwrap();
        let n = far.read(&mut text).await.unwrap();
        assert_eq!(&text[..n], b"< open can0 >");
        far.write_all(b"< o").await.unwrap();
        far.write_all(b"k >").await.unwrap();
        let n = far.read(&mut text).await.unwrap();
        assert_eq!(&text[..n], b"< rawmode >");
        far.write_all(b"< ok >< frame 351 1.0 01 >< error 040 1.1 >")
            .await
            .unwrap();
        far
    });
    let mut connection = Connection::open(near, "can0").await.unwrap();
    assert_eq!(
        connection.receive().await.unwrap(),
        data(CanId::Standard(0x351), &[1])
    );
    assert_eq!(
        connection.receive().await.unwrap(),
        Heard::Frame(Frame::Error { class: 0x40 })
    );
    drop(server.await.unwrap());
    assert!(matches!(connection.receive().await, Err(LinkError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_open_the_bus_is_quoted() {
    let (near, mut far) = duplex(1024);
    far.write_all(b"< hi >< error could not open bus >")
        .await
        .unwrap();
    let Err(error) = Connection::open(near, "can7").await.map(|_| ()) else {
        panic!("opened")
    };
    assert!(error.to_string().contains("could not open bus"), "{error}");
}

fn elements() -> impl Strategy<Value = (String, Heard)> {
    let frame = (
        prop_oneof![
            (0_u16..=CanId::STANDARD_MAX).prop_map(CanId::Standard),
            (0_u32..=CanId::EXTENDED_MAX).prop_map(CanId::Extended)
        ],
        proptest::collection::vec(any::<u8>(), 0..=8),
        any::<u32>(),
    )
        .prop_map(|(id, bytes, time)| {
            let id_text = match id {
                CanId::Standard(id) => format!("{id:03X}"),
                CanId::Extended(id) => format!("{id:08X}"),
            };
            let hex: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
            let text = format!("< frame {id_text} {time}.{:06} {hex} >", time % 1_000_000);
            (text, data(id, &bytes))
        });
    prop_oneof![
        4 => frame,
        1 => Just(("< ok >\n".to_owned(), Heard::Ok)),
        1 => any::<u16>().prop_map(|class| (
            format!("< error {class:03X} 1.5 >"),
            Heard::Frame(Frame::Error { class: class.into() })
        )),
    ]
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_however_it_is_split(
        elements in proptest::collection::vec(elements(), 0..12),
        cuts in proptest::collection::vec(1_usize..20, 1..40),
    ) {
        let text: String = elements.iter().map(|(text, _)| text.as_str()).collect();
        let expected: Vec<Heard> = elements.into_iter().map(|(_, heard)| heard).collect();
        let mut parser = Parser::default();
        let mut heard = VecDeque::new();
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            parser.push(now, &mut heard);
            rest = later;
        }
        prop_assert_eq!(Vec::from(heard), expected);
    }

    #[test]
    fn no_bytes_make_the_parser_panic_or_grow_and_splitting_changes_nothing(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'<'), Just(b'>'), Just(b' ')], 0..2000),
        cut in 0_usize..2000,
    ) {
        let cut = cut.min(bytes.len());
        let mut parser = Parser::default();
        let mut split = VecDeque::new();
        parser.push(&bytes[..cut], &mut split);
        parser.push(&bytes[cut..], &mut split);
        prop_assert!(parser.held_bytes() <= ELEMENT_BYTES_MAX);
        prop_assert_eq!(Vec::from(split), parse(&bytes));
    }
}

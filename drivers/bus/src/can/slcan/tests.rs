use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;

fn parsed(bytes: &[u8]) -> Vec<Heard> {
    let mut heard = VecDeque::new();
    Parser::default().push(bytes, &mut heard);
    heard.into()
}

fn data(id: CanId, bytes: &[u8]) -> Frame {
    Frame::Data {
        id,
        data: Data::new(bytes).unwrap(),
    }
}

#[test]
fn lines_are_read_as_adapters_write_them() {
    let (short, long) = (CanId::Standard(0x351), CanId::Extended(0x18FE_F100));
    for (line, expected) in [
        (
            "t35181402740E740ECC01\r",
            Heard::Frame(data(short, &[0x14, 2, 0x74, 14, 0x74, 14, 0xCC, 1])),
        ),
        ("T18FEF100101\r", Heard::Frame(data(long, &[1]))),
        ("t3510\r", Heard::Frame(data(short, &[]))),
        // With a time stamp in milliseconds, and in lower case.
        ("t3511ab1f40\r", Heard::Frame(data(short, &[0xAB]))),
        ("\nt3511AB\r", Heard::Frame(data(short, &[0xAB]))),
        ("r3518\r", Heard::Frame(Frame::Remote { id: short })),
        ("R18FEF1000\r", Heard::Frame(Frame::Remote { id: long })),
        (
            "b3519000102030405060708090A0B\r",
            Heard::Frame(data(short, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])),
        ),
        ("\r", Heard::Done),
        ("z\r", Heard::Done),
        ("V1013\r", Heard::Done),
        ("\u{7}", Heard::Refused),
        ("t35\u{7}", Heard::Garbage),
        // Too short, too long, not hexadecimal, beyond 11 or 29 bits, no such length.
        ("t3512AB\r", Heard::Garbage),
        ("t3511ABC\r", Heard::Garbage),
        ("t3511AG\r", Heard::Garbage),
        ("t3511+B\r", Heard::Garbage),
        ("t8001AB\r", Heard::Garbage),
        ("T200000000\r", Heard::Garbage),
        ("t3519AB\r", Heard::Garbage),
        ("x\r", Heard::Garbage),
        ("t\r", Heard::Garbage),
    ] {
        assert_eq!(parsed(line.as_bytes()), [expected], "{line:?}");
    }
}

#[test]
fn a_line_that_never_ends_is_given_up_and_the_next_one_is_heard() {
    let mut parser = Parser::default();
    let mut heard = VecDeque::new();
    for _ in 0..1000 {
        parser.push(&[b't'; 100], &mut heard);
        assert!(parser.held_bytes() <= LINE_BYTES_MAX);
    }
    parser.push(b"\rt3510\r", &mut heard);
    let frame = data(CanId::Standard(0x351), &[]);
    assert_eq!(heard, [Heard::Garbage, Heard::Frame(frame)]);
}

async fn hear(peer: &mut DuplexStream) -> String {
    let mut bytes = [0; 256];
    let n = peer.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_closed_set_and_opened_before_frames_are_believed() {
    let (near, mut far) = duplex(4096);
    let opening = tokio::spawn(Connection::open(near, 500_000));
    assert_eq!(hear(&mut far).await, "\r\rC\r");
    // What an open channel still had to say is of an earlier session, a refusal and half a line too.
    far.write_all(b"\x07t3511FF\rt3511").await.unwrap();
    assert_eq!(hear(&mut far).await, "S6\rO\r");
    far.write_all(b"\r\rt3510\r").await.unwrap();
    let mut connection = opening.await.unwrap().unwrap();
    let empty = data(CanId::Standard(0x351), &[]);
    assert_eq!(connection.receive().await.unwrap(), Heard::Frame(empty));
    let keep_alive = data(CanId::Standard(0x305), &[0; 8]);
    connection.send(&keep_alive).await.unwrap();
    assert_eq!(hear(&mut far).await, "t30580000000000000000\r");
    connection.close().await;
    assert_eq!(hear(&mut far).await, "C\r");
}

#[tokio::test(start_paused = true)]
async fn a_bit_rate_that_is_refused_is_told() {
    let (near, mut far) = duplex(4096);
    let opening = tokio::spawn(Connection::open(near, 800_000));
    hear(&mut far).await;
    assert_eq!(hear(&mut far).await, "S7\rO\r");
    far.write_all(b"\x07\r").await.unwrap();
    let Err(error) = opening.await.unwrap().map(|_| ()) else {
        panic!("opened")
    };
    assert!(
        error.to_string().contains("refuses to open at 800000"),
        "{error}"
    );
    let (near, _far) = duplex(64);
    let Err(error) = Connection::open(near, 83_333).await.map(|_| ()) else {
        panic!("opened")
    };
    assert!(
        error.to_string().contains("no bit rate of 83333"),
        "{error}"
    );
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let id = prop_oneof![
        (0_u16..=CanId::STANDARD_MAX).prop_map(CanId::Standard),
        (0_u32..=CanId::EXTENDED_MAX).prop_map(CanId::Extended)
    ];
    let length = prop_oneof![0_usize..=8, proptest::sample::select(FD_LENGTHS.to_vec())];
    let bytes = length.prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len));
    (id, bytes, any::<bool>()).prop_map(|(id, bytes, remote)| {
        if remote {
            Frame::Remote { id }
        } else {
            data(id, &bytes)
        }
    })
}

proptest! {
    #[test]
    fn what_is_sent_is_read_again(frame in any_frame()) {
        let line = send_line(&frame).unwrap();
        prop_assert_eq!(parsed(line.as_bytes()), [Heard::Frame(frame)]);
    }

    #[test]
    fn no_bytes_make_the_parser_panic_or_grow_and_splitting_changes_nothing(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"tTrRdDbB0123\r\x07".to_vec())], 0..600
        ),
        cut in 0_usize..600,
    ) {
        let whole = parsed(&bytes);
        let mut parser = Parser::default();
        let mut heard = VecDeque::new();
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        parser.push(a, &mut heard);
        prop_assert!(parser.held_bytes() <= LINE_BYTES_MAX);
        parser.push(b, &mut heard);
        prop_assert_eq!(Vec::from(heard), whole);
    }
}

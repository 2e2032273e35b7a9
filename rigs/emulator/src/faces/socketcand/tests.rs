use std::time::Duration;

use tokio::io::DuplexStream;

use super::*;
use crate::device::tests::world;
use crate::world::Shared;

async fn heard(stream: &mut DuplexStream) -> String {
    let mut buffer = [0_u8; 256];
    let count = stream.read(&mut buffer).await.expect("open");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn bus() -> Arc<CanBus> {
    Arc::new(CanBus::new(Shared::new(world())))
}

fn client(bus: &Arc<CanBus>) -> DuplexStream {
    let (client, server) = tokio::io::duplex(4096);
    tokio::spawn(serve(Arc::clone(bus), "can0".into(), server));
    client
}

/// A client that compares every single read, as python-can does.
async fn raw_client(bus: &Arc<CanBus>) -> DuplexStream {
    let mut client = client(bus);
    assert_eq!(heard(&mut client).await, "< hi >");
    client.write_all(b"< open can0 >").await.expect("open");
    assert_eq!(heard(&mut client).await, "< ok >");
    client.write_all(b"< rawmode >").await.expect("open");
    assert_eq!(heard(&mut client).await, "< ok >");
    client
}

#[tokio::test(start_paused = true)]
async fn two_clients_hear_each_other_and_not_themselves() {
    let bus = bus();
    let (mut one, mut two) = (raw_client(&bus).await, raw_client(&bus).await);
    let rows = [
        (
            "< send 305 8 0 0 0 0 0 0 0 0 >",
            "< frame 305 0.000000 0000000000000000 >",
        ),
        (
            "< send 18fef100 2 1 ff >",
            "< frame 18FEF100 0.000000 01FF >",
        ),
        ("< send 7 0 >", "< frame 007 0.000000  >"),
    ];
    for (sent, expected) in rows {
        one.write_all(sent.as_bytes()).await.expect("open");
        assert_eq!(heard(&mut two).await, expected);
    }
    let silence = tokio::time::timeout(Duration::from_secs(1), heard(&mut one)).await;
    assert!(silence.is_err(), "nobody hears himself");
    assert!(bus.last_heard(CanId::Standard(0x305)).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_the_daemon_refuses_is_refused() {
    let bus = bus();
    let mut client = client(&bus);
    assert_eq!(heard(&mut client).await, "< hi >");
    let rows = [
        ("< rawmode >", "< error unknown command >"),
        ("< open can7 >", "< error could not open bus >"),
        ("< open can0 >", "< ok >"),
        ("< send 305 1 0 >", "< error unknown command >"),
        ("< rawmode >", "< ok >"),
        ("< send 305 2 0 >", "< error Syntax error in send command >"),
        ("< send 900 1 0 >", "< error Syntax error in send command >"),
        ("< echo >", "< echo >"),
    ];
    for (sent, expected) in rows {
        client.write_all(sent.as_bytes()).await.expect("open");
        assert_eq!(heard(&mut client).await, expected, "{sent}");
    }
}

#[test]
fn a_bus_that_is_off_is_told_as_an_error_frame_of_its_class() {
    let sent = Sent {
        by: 0,
        at: std::time::Duration::from_millis(1500),
        frame: CanFrame {
            id: CanId::Standard(0x351),
            data: vec![1, 2],
        },
        bus_off: true,
    };
    assert_eq!(frame_text(&sent), "< error 040 1.500000 >");
}

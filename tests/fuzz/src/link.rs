//! The Modbus link with all its guards, against a device that says anything at any time.
//!
//! The bytes are a script: how frames are told apart, and what the device says to each request.
//! What the link believes must be what was said to that very request, whatever came before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::modbus::link::{Ask, ModbusLink, Timing};
use bus::{BusStats, Endpoint, Framing};
use emulator::faces::modbus::frame::{self, Request, Wrap};
use profile::modbus::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// Requests of a run. Chosen: enough for a late answer to meet several later requests.
const REQUESTS_MAX: usize = 12;

/// The unit that is asked.
const UNIT: u8 = 9;

/// How long the link waits, and how late an answer may come afterwards.
/// Chosen: a late answer comes after the time-out and within the window, as a rig promises of its devices.
const TIMING: Timing = Timing {
    timeout: Duration::from_millis(50),
    min_gap: Duration::from_millis(2),
    late_window: Duration::from_millis(200),
};
const LATE: Duration = Duration::from_millis(120);

/// What the device does with a request.
#[derive(Clone, Debug)]
struct Turn {
    shape: Shape,
    late: bool,
    twice: bool,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The bytes as they are.
    Raw,
    /// The bytes in a frame.
    Framed,
    /// The right function and length, with the bytes as registers.
    Answer,
    /// As [`Self::Answer`], with the number of another request where there are numbers.
    Foreign,
}

impl Turn {
    /// What is said to a request.
    fn bytes(&self, request: &Request) -> Vec<u8> {
        let count = usize::from(request.pdu.last().copied().unwrap_or(0));
        let answer = || {
            let mut pdu = vec![request.function(), (2 * count) as u8];
            pdu.extend(
                self.data
                    .iter()
                    .chain(std::iter::repeat(&0))
                    .take(2 * count),
            );
            pdu
        };
        let one = match (self.shape, request.wrap) {
            (Shape::Raw, _) => self.data.clone(),
            (Shape::Framed, wrap) => wrap.bytes(request.unit, &self.data),
            (Shape::Foreign, Wrap::Tcp { transaction }) => Wrap::Tcp {
                transaction: transaction.wrapping_sub(1),
            }
            .bytes(request.unit, &answer()),
            (Shape::Answer | Shape::Foreign, wrap) => wrap.bytes(request.unit, &answer()),
        };
        one.repeat(if self.twice { 2 } else { 1 })
    }
}

/// The turns that a script tells: a byte of manners, a length, and that many bytes.
fn turns(mut script: &[u8]) -> VecDeque<Turn> {
    let mut turns = VecDeque::new();
    while let [manners, length, rest @ ..] = script {
        let length = usize::from(*length).min(rest.len());
        let (data, after) = rest.split_at(length);
        turns.push_back(Turn {
            shape: match manners & 3 {
                0 => Shape::Answer,
                1 => Shape::Raw,
                2 => Shape::Framed,
                _ => Shape::Foreign,
            },
            late: manners & 4 != 0,
            twice: manners & 8 != 0,
            data: data.to_vec(),
        });
        script = after;
        if turns.len() == REQUESTS_MAX {
            break;
        }
    }
    turns
}

/// What the device still has to say, and what it has said to the last request.
#[derive(Debug, Default)]
struct Device {
    turns: VecDeque<Turn>,
    said: Vec<u8>,
}

type Shared = Arc<Mutex<Device>>;

fn with<T>(device: &Shared, act: impl FnOnce(&mut Device) -> T) -> T {
    act(&mut device.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Serves one connection until it ends.
async fn serve(stream: DuplexStream, framing: frame::Framing, device: Shared) {
    let (mut heard, mut said) = tokio::io::split(stream);
    let (send, mut sent) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(bytes) = sent.recv().await {
            if said.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let (mut buffer, mut chunk) = (Vec::new(), [0; 256]);
    while let Ok(count @ 1..) = heard.read(&mut chunk).await {
        buffer.extend_from_slice(&chunk[..count]);
        while let Some(request) = framing.take(&mut buffer) {
            let turn = with(&device, |d| d.turns.pop_front());
            let bytes = turn.as_ref().map(|turn| turn.bytes(&request));
            let bytes = bytes.unwrap_or_default();
            with(&device, |d| d.said.clone_from(&bytes));
            let (send, late) = (send.clone(), turn.is_some_and(|turn| turn.late));
            tokio::spawn(async move {
                if late {
                    tokio::time::sleep(LATE).await;
                }
                // A connection that was given up hears nothing more.
                let _ = send.send(bytes);
            });
        }
    }
}

async fn play(framing: Framing, device: Shared) {
    let (dial, mut dialled) = mpsc::unbounded_channel();
    let cut = match framing {
        Framing::Rtu { .. } => frame::Framing::Rtu,
        Framing::Tcp | Framing::TcpUnnumbered => frame::Framing::Tcp,
    };
    let far_end = Arc::clone(&device);
    tokio::spawn(async move {
        while let Some(stream) = dialled.recv().await {
            tokio::spawn(serve(stream, cut, Arc::clone(&far_end)));
        }
    });
    let stats = Arc::new(BusStats::default());
    let mut link = ModbusLink::new(Endpoint::Memory(dial), framing, Duration::ZERO, 7, stats);
    for number in 0..REQUESTS_MAX as u16 {
        if with(&device, |d| d.turns.is_empty()) {
            return;
        }
        while !link.is_up() {
            // The far end lives as long as the link: it always opens in the end.
            let _ = link.connect().await;
        }
        let count = 1 + number % 3;
        let ask = Ask::Read {
            table: Table::Holding,
            address: 100 + number,
            count,
        };
        if let Ok(answer) = link.transact(UNIT, ask, TIMING).await {
            assert_eq!(answer.words.len(), usize::from(count), "{framing:?}");
            let mut frame = vec![UNIT, 3, (2 * count) as u8];
            frame.extend(answer.words.iter().flat_map(|word| word.to_be_bytes()));
            let said = with(&device, |d| d.said.clone());
            assert!(
                said.windows(frame.len()).any(|part| part == frame),
                "{framing:?}: believed {frame:02x?}, but to this request was said {said:02x?}"
            );
        }
    }
}

/// A device that says anything at any time: what is believed was said to that very request.
pub fn modbus_link(bytes: &[u8]) {
    let Some((framing, script)) = bytes.split_first() else {
        return;
    };
    let framing = match framing % 3 {
        0 => Framing::Tcp,
        1 => Framing::TcpUnnumbered,
        _ => Framing::Rtu { baud: None },
    };
    let device = Arc::new(Mutex::new(Device {
        turns: turns(script),
        said: Vec::new(),
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime without sockets needs nothing of the system")
        .block_on(play(framing, device));
}

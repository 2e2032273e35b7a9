//! A CAN bus inside this process: what several parties put on it, all others hear.
//!
//! Responsible for what the wire itself does: the lower identifier goes first, nobody hears
//! himself, a frame takes its time, a controller can be thrown off the bus. Not
//! responsible for what frames mean. `virtual://NAME` in a rig is such a wire; everybody in
//! the process who names it is on the same one.
//!
//! The wire has no task of its own. Whoever sends waits for its turn and moves the frames
//! that win before it along; a sender that gives up leaves its frame on the wire.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use profile::can::CanId;
use tokio::sync::mpsc;

use super::LinkError;
use super::codec::{CLASS_BUS_OFF, CLASS_RESTARTED, Frame};

/// Frames that a slow party may lag behind before it loses some, as a controller's full
/// buffer does. Chosen: a quarter of a second of a full bus at 500 kbit/s.
const INBOX_FRAMES: usize = 1024;

/// Wires of this process by name, while anybody is on them.
static WIRES: LazyLock<Mutex<BTreeMap<String, Weak<Wire>>>> =
    LazyLock::new(|| Mutex::new(BTreeMap::new()));

/// A bus.
#[derive(Debug, Default)]
pub struct Wire {
    /// Bits per second, when frames take their time.
    bitrate: Option<u32>,
    state: Mutex<State>,
    /// Held by the one who moves frames along.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    parties: u64,
    frames: u64,
    nodes: BTreeMap<u64, Inbox>,
    /// What waits for the bus, in the order in which it wins.
    waiting: BTreeMap<(Priority, u64), (u64, Frame)>,
}

#[derive(Debug)]
struct Inbox {
    deliver: mpsc::Sender<Frame>,
    /// Its controller has left the bus: it neither sends nor hears.
    off: bool,
}

/// What decides who goes first (ISO 11898-1): the upper 11 bits of the identifier, then a
/// standard before an extended one, then the rest, then data before a request.
type Priority = (u32, bool, u32, bool);

fn priority(frame: &Frame) -> Option<Priority> {
    let (id, remote) = match frame {
        Frame::Data { id, .. } => (*id, false),
        Frame::Remote { id } => (*id, true),
        Frame::Error { .. } => return None,
    };
    Some(match id {
        CanId::Standard(id) => (u32::from(id), false, 0, remote),
        CanId::Extended(id) => (id >> 18, true, id & 0x3_FFFF, remote),
    })
}

impl Wire {
    /// The wire of a name, made if nobody is on it yet; its bit rate is that of the first who asks.
    #[must_use]
    pub fn named(name: &str, bitrate: Option<u32>) -> Arc<Self> {
        let mut wires = WIRES.lock().unwrap_or_else(PoisonError::into_inner);
        wires.retain(|_, wire| wire.strong_count() > 0);
        if let Some(wire) = wires.get(name).and_then(Weak::upgrade) {
            return wire;
        }
        let wire = Arc::new(Self {
            bitrate,
            ..Self::default()
        });
        wires.insert(name.to_owned(), Arc::downgrade(&wire));
        wire
    }

    /// Puts one more party on the bus, with a fresh controller.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Node {
        let (deliver, inbox) = mpsc::channel(INBOX_FRAMES);
        let mut state = self.state();
        state.parties += 1;
        let number = state.parties;
        state.nodes.insert(
            number,
            Inbox {
                deliver,
                off: false,
            },
        );
        drop(state);
        Node {
            wire: Arc::clone(self),
            number,
            inbox,
        }
    }

    /// Lets every controller report an error of this class (bits as in the kernel's `can/error.h`).
    pub fn disturb(&self, class: u32) {
        for node in self.state().nodes.values() {
            node.deliver.try_send(Frame::Error { class }).ok();
        }
    }

    /// Throws a party's controller off the bus, or lets it come back.
    pub fn set_off(&self, number: u64, off: bool) {
        if let Some(node) = self.state().nodes.get_mut(&number) {
            node.off = off;
            let class = if off { CLASS_BUS_OFF } else { CLASS_RESTARTED };
            node.deliver.try_send(Frame::Error { class }).ok();
        }
    }

    async fn send(&self, by: u64, frame: Frame) -> Result<(), LinkError> {
        let priority = priority(&frame).ok_or(LinkError::NotCarried)?;
        let mine = {
            let mut state = self.state();
            if state.nodes.get(&by).is_none_or(|node| node.off) {
                return Err(LinkError::QueueFull {
                    interface: "the virtual bus".to_owned(),
                });
            }
            state.frames += 1;
            let key = (priority, state.frames);
            state.waiting.insert(key, (by, frame));
            key
        };
        // Whoever wants to send at the same time gets to say so first.
        tokio::task::yield_now().await;
        loop {
            let _turn = self.turn.lock().await;
            if !self.state().waiting.contains_key(&mine) {
                return Ok(());
            }
            self.carry_next().await;
        }
    }

    /// Carries the frame that wins.
    async fn carry_next(&self) {
        let next = self.state().waiting.first_key_value().map(|(key, _)| *key);
        let Some(key) = next else { return };
        if let Some(bitrate) = self.bitrate.filter(|rate| *rate > 0) {
            let bits = self
                .state()
                .waiting
                .get(&key)
                .map_or(0, |(_, frame)| frame.bits());
            let nanos = bits * 1_000_000_000 / u64::from(bitrate);
            tokio::time::sleep(Duration::from_nanos(nanos)).await;
        }
        let mut state = self.state();
        if let Some((by, frame)) = state.waiting.remove(&key) {
            for (number, node) in &state.nodes {
                if *number != by && !node.off {
                    node.deliver.try_send(frame).ok();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A party on a bus.
#[derive(Debug)]
pub struct Node {
    wire: Arc<Wire>,
    number: u64,
    inbox: mpsc::Receiver<Frame>,
}

impl Node {
    /// Its number on the wire, to single it out with [`Wire::set_off`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next frame of anybody else. Safe to drop while it waits.
    ///
    /// # Errors
    /// Never while the node is there; the wire lives as long as its nodes.
    pub async fn receive(&mut self) -> Result<Frame, LinkError> {
        self.inbox.recv().await.ok_or(LinkError::Closed)
    }

    /// Sends a frame and waits until it has gone.
    ///
    /// # Errors
    /// When the controller is off the bus, or the frame is an error frame.
    pub async fn send(&self, frame: &Frame) -> Result<(), LinkError> {
        self.wire.send(self.number, *frame).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.wire.state().nodes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::codec::Data;
    use super::*;

    fn frame(id: CanId) -> Frame {
        Frame::Data {
            id,
            data: Data::new(&[0; 8]).unwrap(),
        }
    }

    fn standard(id: u16) -> Frame {
        frame(CanId::Standard(id))
    }

    /// What a party hears now.
    fn heard(node: &mut Node) -> Vec<Frame> {
        std::iter::from_fn(|| node.inbox.try_recv().ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_lower_identifier_goes_first_and_nobody_hears_himself() {
        let wire = Wire::named("order", None);
        let (a, b, mut c) = (wire.join(), wire.join(), wire.join());
        let base = frame(CanId::Extended(0x100 << 18));
        let (high, low, equal) = (standard(0x700), standard(0x0FF), standard(0x100));
        let sends = tokio::join!(a.send(&high), b.send(&base), a.send(&equal), b.send(&low));
        assert!(sends.0.is_ok() && sends.1.is_ok() && sends.2.is_ok() && sends.3.is_ok());
        assert_eq!(heard(&mut c), [low, equal, base, high]);
        let (mut a, mut b) = (a, b);
        assert_eq!(heard(&mut a), [low, base]);
        assert_eq!(heard(&mut b), [equal, high]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_wire_takes_the_time_of_its_bits() {
        let wire = Wire::named("paced", Some(500_000));
        let (a, mut b) = (wire.join(), wire.join());
        let begun = Instant::now();
        for _ in 0..100 {
            a.send(&standard(1)).await.unwrap();
        }
        // 111 bits of 2 µs each; the clock of tokio has a grain of a millisecond per wait.
        let took = begun.elapsed();
        assert!(took >= Duration::from_micros(22_200), "{took:?}");
        assert_eq!(heard(&mut b).len(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_off_the_bus_is_told_and_alone() {
        let wire = Wire::named("off", None);
        let (mut a, mut b) = (wire.join(), wire.join());
        wire.set_off(a.number(), true);
        assert!(matches!(
            a.send(&standard(1)).await,
            Err(LinkError::QueueFull { .. })
        ));
        b.send(&standard(2)).await.unwrap();
        let class = CLASS_BUS_OFF;
        assert_eq!(heard(&mut a), [Frame::Error { class }]);
        assert_eq!(heard(&mut b), []);
        wire.set_off(a.number(), false);
        a.send(&standard(3)).await.unwrap();
        assert_eq!(heard(&mut b), [standard(3)]);
        wire.disturb(0x20);
        assert_eq!(heard(&mut b), [Frame::Error { class: 0x20 }]);
    }

    #[tokio::test]
    async fn a_name_is_one_wire_while_anybody_is_on_it() {
        let mut a = Wire::named("shared", None).join();
        let b = Wire::named("shared", None).join();
        let other = Wire::named("another", None).join();
        b.send(&standard(1)).await.unwrap();
        other.send(&standard(2)).await.unwrap();
        assert_eq!(heard(&mut a), [standard(1)]);
        drop((a, b));
        let fresh = Wire::named("shared", Some(1));
        assert_eq!(fresh.bitrate, Some(1), "the old wire has gone");
    }
}

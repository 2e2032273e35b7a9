//! The link to a broker: what it promises, whichever transport carries it.
//!
//! A link keeps itself connected. It restores subscriptions at every connection, and
//! it forgets everything else: a message that was not sent before an outage is never
//! sent after it. What is still worth sending is for the caller to decide.

mod broker;
mod memory;
mod sift;
mod trust;

use std::future::Future;

use profile::mqtt::Message;

pub use broker::{Broker, BrokerLink, Login, client_id};
pub use memory::{Dials, MemoryLink};
pub use trust::{Trust, tls};

/// A name that the caller gives to a message, to hear about its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Largest message taken. Chosen: 4 MiB; lists of bridge devices pass 100 KiB, and the
/// library's 10 KiB would lose the connection over and over to one retained message.
pub const INCOMING_BYTES_MAX: usize = 4 << 20;

/// Why a link cannot be had or has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The broker closed the connection.
    #[error("the broker has closed the connection")]
    Closed,
    /// The broker does not let this client in.
    #[error("the broker refuses the login ({code}): check user and password in the rig")]
    Refused {
        /// Its return code.
        code: String,
    },
    /// A certificate or key of the rig cannot be used.
    #[error("{what} of the rig cannot be used: {why}")]
    Certificate {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Broker and controller do not trust each other.
    #[error("{why}")]
    Untrusted {
        /// Whose certificate, what is wrong with it, and what to do.
        why: String,
    },
    /// The broker sent a message that is too large to take.
    #[error(
        "the broker sends a message of {bytes} bytes, above the {} MiB that are taken; it is looked for",
        INCOMING_BYTES_MAX >> 20
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The transport failed.
    #[error("{why}")]
    Transport {
        /// In its words.
        why: String,
    },
    /// The caller asked for a new connection.
    #[error("the connection was given up: {why}")]
    GivenUp {
        /// For this reason.
        why: String,
    },
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is connected, and its subscriptions are on their way.
    Up,
    /// It is lost or cannot be had; told once per outage.
    Down(LinkError),
    /// A message under one of the subscriptions. `retain` means that the broker had kept it.
    Message(Message),
    /// The broker has taken a message.
    Acknowledged(Token),
    /// The broker refuses a subscription.
    SubscriptionRefused,
    /// It is lost to a message of this topic that is too large to take; the topic is not
    /// listened to any more.
    Barred {
        /// The topic.
        filter: String,
        /// The size of its message in bytes.
        bytes: usize,
    },
}

/// The link takes no message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no connection to the broker")]
pub struct NotSent;

/// A link to a broker.
pub trait Link: Send {
    /// Listens to a topic filter, now and after every reconnection.
    fn subscribe(&mut self, filter: &str);

    /// Publishes a message without retaining it: with a token at QoS 1, otherwise at QoS 0.
    ///
    /// # Errors
    /// When there is no connection. The message is forgotten.
    fn publish(&mut self, token: Option<Token>, topic: &str, payload: &[u8])
    -> Result<(), NotSent>;

    /// What happens next. Safe to drop while it waits.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Gives up the connection with everything that is under way on it.
    fn reset(&mut self, why: &str);

    /// Disconnects in an orderly way, in bounded time.
    fn close(self) -> impl Future<Output = ()> + Send;
}

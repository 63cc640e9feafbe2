//! What a tool and its consumer say to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flume::Sender;

use super::codec::{Command, Message};
use super::connection::Connection;
use super::peer::Event;

/// A topic and the channel to consume it through.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// The channel.
    pub channel: String,
}

/// Where the nsqds are known from.
#[derive(Clone, Debug)]
pub enum Sources {
    /// `host:port` of each nsqd. The first attempt to connect must succeed.
    Nsqds(Vec<String>),
    /// HTTP addresses of nsqlookupds, which are asked again and again.
    Lookupds(Vec<String>),
}

/// A message to be answered with [`Delivery::finish`] or [`Delivery::requeue`].
#[derive(Debug)]
pub struct Delivery {
    /// The place of its subscription in what the consumer was started with.
    pub subscription: usize,
    /// The message.
    pub message: Message,
    connection: Arc<Connection>,
}

impl Delivery {
    pub(super) fn new(
        subscription: usize,
        message: Message,
        connection: Arc<Connection>,
    ) -> Delivery {
        Delivery { subscription, message, connection }
    }

    /// Done. Goes out with the next flush; on a lost connection it goes nowhere, and the nsqd
    /// delivers the message again.
    pub fn finish(&self) {
        self.connection.queue(&Command::Fin(self.message.id));
    }

    /// Not done: for somebody else, or for later.
    pub fn requeue(&self, delay_ms: u64) {
        self.connection.queue(&Command::Req(self.message.id, delay_ms));
    }

    /// Not done yet: the nsqd's timeout starts anew.
    #[expect(dead_code, reason = "nsq_tail is done with a message at once")]
    pub fn touch(&self) {
        self.connection.queue(&Command::Touch(self.message.id));
    }
}

/// What the tool has to deal with next.
#[derive(Debug)]
pub enum Step {
    /// A message.
    Message(Delivery),
    /// Nothing more waits: answer what was put off, then call `Consumer::flush`.
    Idle,
    /// Consuming cannot begin; the text says why.
    Failed(String),
    /// The stop that was asked for is complete, or took too long.
    Stopped,
}

/// What becomes of messages that come while stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The tool still gets them.
    Deliver,
    /// They go back to the nsqd at once.
    HandBack,
}

/// Asks a consumer to stop, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    asked: Arc<AtomicBool>,
    wake: Sender<Event>,
}

impl Stopper {
    pub(super) fn new(asked: Arc<AtomicBool>, wake: Sender<Event>) -> Stopper {
        Stopper { asked, wake }
    }

    /// The consumer stops; messages that already wait still reach the tool. Never blocks.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        // A full queue needs no waking, and a consumer that is gone has stopped.
        let _ = self.wake.try_send(Event::Stop);
    }
}

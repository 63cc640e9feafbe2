//! Our own NSQ client, for the tools: consuming from several nsqds with plain blocking sockets.
//!
//! One thread per nsqd connects, greets, subscribes, answers heartbeats and reads; what it reads
//! goes through one bounded queue to the tool's own thread, which owns all state and sends every
//! answer. When the tool is slow the queue fills, reading stops, and the nsqds notice by
//! themselves. Nothing else is shared.

mod codec;
mod connection;
mod consumer;
mod limits;
mod live;
pub mod log;
mod lookup;
mod options;
mod peer;
mod rdy;
mod step;

/// The rule for names of topics and channels, which is the broker's.
pub use shards::wire::names::Name;

pub use consumer::Consumer;
pub use options::ConsumerOptions;
pub use step::{Delivery, Rest, Sources, Step, Stopper, Subscription};

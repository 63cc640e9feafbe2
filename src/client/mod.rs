//! Our own NSQ client, for the tools: consuming from several nsqds with plain blocking sockets.
//!
//! One thread per nsqd connects, greets, subscribes, answers heartbeats and reads; what it reads
//! goes through one bounded queue to the tool's own thread, which owns all state and sends every
//! answer. When the tool is slow the queue fills, reading stops, and the nsqds notice by
//! themselves. Nothing else is shared.

pub mod codec;
mod connection;
pub mod consumer;
mod duration;
mod limits;
pub mod log;
mod lookup;
pub mod options;
mod peer;
mod rdy;

pub use consumer::{Consumer, Delivery, Sources, Step, Stopper, Subscription};
pub use options::ConsumerOptions;

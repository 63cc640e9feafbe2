//! One shard of the broker, and nothing that touches the outside world.
//!
//! Bytes, letters from other shards and the time go in; bytes to send, letters and effects come
//! out. The compiler keeps sockets, files, clocks and threads away: there is no `std` here.
//!
//! ```text
//! bytes ──► wire ──► shard ──► topic's log ──► channel's cursor ──► client's output ──► bytes
//!                      │                            │
//!                      └── letters ──► other shards └── outstanding ◄── FIN, REQ, TOUCH, wheel
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod wire;

pub mod shard;

pub mod placement;

pub mod channel;
pub mod deferral;
pub mod locality;
pub mod log;
pub mod outstanding;
pub mod requeued;
pub mod sequences;
pub mod topic;

pub mod policy;
pub mod redrive;
pub mod transfers;

pub mod auth;
pub mod client;
pub mod published;
pub mod upgrade;

pub mod disk;
pub mod journal;
pub mod page_buffer;
pub mod recover;
pub mod store;

pub mod nsq_format;

pub mod mail;
pub mod metadata;
pub mod request;

pub mod latency;
pub mod merge;
pub mod stats;

pub mod id;
pub mod limits;
pub mod slots;
pub mod wheel;

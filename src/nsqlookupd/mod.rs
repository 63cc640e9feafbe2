//! nsqlookupd: who has which topics. Producers register over TCP, consumers ask over HTTP.
//!
//! [`registry`] and [`protocol`] are pure; [`shared`] is what the connections of the one thread
//! have in common, with the waking of those who wait for a change; [`tcp`] and [`http`] move bytes,
//! [`wire`] through TLS where a client asks for it. [`run`] is the program, and the light shard of
//! it in the broker's process.

pub mod run;

pub mod limits;
pub mod peer;
pub mod registry;

pub mod protocol;
pub mod shared;
pub mod tcp;
pub mod wire;

pub mod http;
pub mod metrics;

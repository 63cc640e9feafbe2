//! nsqd's HTTP interface, in the order of a request's way: bytes, route, handler, answer.
//!
//! hyper runs as a task of the shard's executor, but the executor's reactor has no part in it:
//! bytes come from and go to the turn loop through [`socket`], the time comes from it through
//! [`timers`], and what a handler wants of a shard goes through the [`desk`].

// The way of the bytes.
pub mod socket;
pub mod timers;

// What the handlers ask.
pub mod desk;
pub mod facts;
pub mod grants;

// From a connection to a handler.
pub mod routes;
pub mod serve;

// The main road.
mod authorize;
pub mod bodies;
pub mod counts;
mod publish;
mod split;

// Everything else.
mod config;
mod debug;
mod drain;
mod health;
mod info;
mod manage;
pub mod memory;
mod peek;
pub mod policy;
mod redrive;
mod seek;
pub mod stats;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use authorize::{CommonName, Origin};
use serve::Call;

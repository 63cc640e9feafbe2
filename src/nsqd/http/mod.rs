//! nsqd's HTTP interface, in the order of a request's way: bytes, route, handler, answer.
//!
//! hyper runs as a task of the shard's executor, but the executor's reactor has no part in it:
//! bytes come from and go to the turn loop through [`socket`], the time comes from it through
//! [`timers`], and what a handler wants of a shard goes through the [`desk`].

mod body;
mod config;
mod debug;
pub mod desk;
pub mod facts;
mod info;
mod manage;
pub mod memory;
mod publish;
mod routes;
pub mod serve;
pub mod socket;
mod split;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod timers;

use serve::Call;

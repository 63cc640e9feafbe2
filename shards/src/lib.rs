//! One shard of the broker, and nothing that touches the outside world.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod id;
pub mod limits;
pub mod request;
pub mod stats;
pub mod wire;

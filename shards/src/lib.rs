//! One shard of the broker, and nothing that touches the outside world.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod id;
pub mod limits;
pub mod log;
pub mod outstanding;
pub mod request;
pub mod slots;
pub mod stats;
pub mod wheel;
pub mod wire;

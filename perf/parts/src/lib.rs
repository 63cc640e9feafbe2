//! Scripts that drive a shard by hand, without a kernel: what `make bench-parts` times, and what
//! the guards count.
//!
//! A time depends on the machine and its neighbours. How many instructions a message takes, and
//! whether memory is allocated for it, depends on the code alone, so that a test can hold it.

pub mod flow;
pub mod rows;

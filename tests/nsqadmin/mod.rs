//! nsqadmin: beside the original over the same cluster, and where nodes and people misbehave.
//!
//! `SHOAL_TEST_ADMIN` names the original nsqadmin; without it what needs it says so and passes.
//! With `SHOAL_TEST_PEER` an original nsqd is part of the cluster.

mod access;
mod actions;
mod beside;
mod cluster;
mod fleet;
mod history;
mod nodes;
mod notify;
mod program;
mod secure;
mod stub;

pub use cluster::Cluster;
pub use program::{Admin, ask, lookupd};
pub use stub::{Answer, Stub, dead_address};

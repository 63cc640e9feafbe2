//! The broker's rim: everything of nsqd that touches the outside world.
//!
//! In the order of a process's life: `startup` checks and takes what is needed, `metadata` says
//! which topics there were, `run` starts a `worker` per core and one that accepts, each with its
//! `ring` and its `mailbox`, and `http` serves on all of them.

pub mod run;
pub mod startup;

pub mod metadata;

pub mod doorbell;
pub mod mailbox;
pub mod ring;

pub mod worker;

pub mod http;

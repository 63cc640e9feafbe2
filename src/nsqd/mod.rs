//! The broker's rim: everything of nsqd that touches the outside world.
//!
//! In the order of a process's life: `startup` checks and takes what is needed, `metadata` says
//! which topics there were, `takeover` brings in what the original left (`export` is the way back,
//! a program of its own), `recovery` reads the files, `run` starts a `worker` per core and one
//! that accepts, each with its `ring`, its `disk` and its `mailbox`, `control` talks to
//! nsqlookupds, `life` tells how they all are, and `http` serves on all workers.

mod crew;
pub mod run;
pub mod startup;

pub mod metadata;

pub mod export;
pub mod takeover;

pub mod doorbell;
pub mod mailbox;
mod recovery;
pub mod ring;
pub mod transport;
pub mod words;

pub mod disk;
mod floor;

pub mod control;
pub mod life;
pub mod statistics;
pub mod worker;

pub mod http;

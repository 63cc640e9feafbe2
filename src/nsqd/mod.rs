//! The broker's rim: everything of nsqd that touches the outside world.

pub mod doorbell;
pub mod mailbox;
pub mod ring;
pub mod run;
pub mod startup;

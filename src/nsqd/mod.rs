//! The broker's rim.

pub mod doorbell;
pub mod mailbox;
pub mod ring;

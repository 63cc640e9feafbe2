//! NSQ's wire format: bytes to commands, and frames to bytes. Nothing here knows a topic.

pub mod command;
pub mod errors;
pub mod frame;
pub mod identify;
pub mod names;

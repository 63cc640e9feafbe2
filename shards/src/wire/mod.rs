//! NSQ's wire format: bytes to commands, and frames to bytes. Nothing here knows a topic.

pub mod names;

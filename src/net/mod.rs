//! What programs off the message path stand on: listeners, a thread with a small executor, and
//! connections that are bounded in number and end when they are silent for too long.
//!
//! Everything but [`listeners`] and [`shield`] is for threads whose sockets glommio drives. The
//! workers of the broker drive their own.

pub mod listeners;

pub mod thread;

pub mod carrier;
pub mod connections;
pub mod stream;

pub mod shield;

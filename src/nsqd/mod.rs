//! The broker's rim.

pub mod http;

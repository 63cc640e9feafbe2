//! Whole connections, byte for byte, against shards that answer by script.

mod connections;
mod endpoints;
mod publishing;

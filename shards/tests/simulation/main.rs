//! Shards in a simulated world, everything from one seed; and the parser and the formats beside it.
#![cfg(test)]

mod beyond;
mod canaries;
mod every;
mod formats;
mod log;
mod memory;
mod parser;
mod regressions;
mod replay;
mod seeds;
mod share;
mod world;

//! The program as a whole: many topics over many shards, floods, limits, signals, privileges.
//!
//! What the original does as well is checked against it too; the rest says why not.

mod connections;
mod flood;
mod idle;
mod listeners;
mod memory_limit;
mod metadata;
mod privileges;
mod process;
mod shards;
mod takeover;
mod tools;

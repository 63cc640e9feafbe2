//! What the files of a data path look like: written by a running shard, read when one starts.
//!
//! ```text
//! file   header (4 KiB, two copies) │ entry │ entry │ … │ zeros, or what an earlier use left
//! entry  head: checksum, kind, names, lengths │ payload │ the head again, behind a longer run
//! ```
//! A *journal* holds what happened on one shard, turn by turn: the records that each topic got,
//! and what changed in topics and channels. A *store* holds whole segments of topics. Both have
//! this one format, so a journal can serve as a store for as long as somebody wants a run in it.
//!
//! The checksum of every head starts with the file's nonce and the head's place in the file. What
//! an earlier use of a file left behind its end is therefore never taken for an entry, nor is what
//! clients publish, nor what a disk has put to a wrong place.

pub mod entry;
pub mod file;
pub mod scan;
pub mod state;

#[cfg(test)]
mod tests;

//! The wire protocol: line grammar, error catalogue, names, MPUB, recorded transcripts.

mod case;
mod errors;
mod golden;
mod grammar;
mod half_close;
mod mpub;
mod names;
mod not_fatal;
mod publish_errors;

//! What the HTTP servers of all programs share: routes, query strings, responses, durations as
//! text.
//!
//! Everything here follows what clients of the original can observe; where it looks odd (a 307 for
//! a slash too many, an unknown escape failing the whole query), that is why.

pub mod duration;
pub mod query;
pub mod respond;
pub mod router;

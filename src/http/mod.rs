//! What the HTTP servers of all programs share: routes, query strings, bodies, responses,
//! durations as text.
//!
//! [`server`] is the server of programs off the message path. The broker's own lives in its turn
//! loop and shares everything else.
//!
//! Everything here follows what clients of the original can observe; where it looks odd (a 307 for
//! a slash too many, an unknown escape failing the whole query), that is why.

pub mod body;
#[allow(dead_code, reason = "a client has more than any one of its users needs")]
pub mod client;
pub mod dispatch;
pub mod duration;
pub mod exposition;
pub mod health;
pub mod profiles;
pub mod query;
pub mod respond;
pub mod router;

pub mod server;

//! nsqlookupd: its protocol, its HTTP interface, what time does to producers, and its limits.
//!
//! With `SHOAL_TEST_LOOKUPD` naming the original's binary the same tests run against that one.

mod beside;
mod http;
mod limits;
mod process;
mod protocol;
mod time;
mod tls;
mod tools;
mod waiting;

use process::{Kind, Lookupd, Producer, on_each_lookupd, on_our_lookupd};

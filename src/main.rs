//! x
// Until the program calls them, only tests do.
#![allow(dead_code)]

mod http;
mod nsqd;

fn main() {}

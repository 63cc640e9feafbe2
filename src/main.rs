//! x
mod nsqd;
fn main() {}

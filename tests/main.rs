//! Black-box tests: they start the built broker and talk to it as its users do.
//!
//! `SHOAL_BIN` names the broker (default `target/release/shoal`). With `SHOAL_TEST_PEER` naming a
//! binary of the original nsqd the same tests run against that one: whatever they say about the
//! protocol has to be true there first; `SHOAL_TEST_LOOKUPD` is the same for nsqlookupd. Most of
//! the time is spent waiting, so `cargo test -p shoal-tests -- --test-threads=8` is quicker.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod protocol;

#[cfg(test)]
mod identify;

#[cfg(test)]
mod upgrade;

#[cfg(test)]
mod auth;

#[cfg(test)]
mod flow;

#[cfg(test)]
mod http;

#[cfg(test)]
mod stats;

#[cfg(test)]
mod metrics;

#[cfg(test)]
mod operate;

#[cfg(test)]
mod statsd;

#[cfg(test)]
mod packaging;

#[cfg(test)]
mod nsqlookupd;

#[cfg(test)]
mod shoal;

#[cfg(test)]
mod nsqadmin;

#[cfg(test)]
mod beyond;

#[cfg(test)]
mod crash;

#[cfg(test)]
mod cluster;

#[cfg(test)]
mod clients;

#[cfg(test)]
mod loadtest;

#[cfg(test)]
mod page;

#[cfg(test)]
mod guard;

#[cfg(test)]
mod tidy;

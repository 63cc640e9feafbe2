//! nsqd and nsqlookupd together, in every pair of ours and the original's that is there.
//!
//! `SHOAL_TEST_PEER` names the original nsqd and `SHOAL_TEST_LOOKUPD` the original nsqlookupd.
//! Without them both sides are ours.

mod discovery;
mod faulty;
mod lookupd;
mod network;
mod registration;
mod scripted;
mod tls;

use std::path::PathBuf;
use std::thread;

use crate::harness::Peer;
pub use lookupd::{Lookupd, Program};

/// An nsqd and a nsqlookupd.
#[derive(Clone, Copy, Debug)]
struct Pair {
    nsqd: Peer,
    lookupd: Program,
}

impl Pair {
    /// Every pair that is there.
    fn all() -> Vec<Pair> {
        let mut nsqds = vec![Peer::Shoal { shards: 2 }];
        nsqds.extend(std::env::var_os("SHOAL_TEST_PEER").map(|_| Peer::Original));
        let pair = |nsqd| Program::all().into_iter().map(move |lookupd| Pair { nsqd, lookupd });
        nsqds.into_iter().flat_map(pair).collect()
    }
}

/// Runs a test with every pair at once.
fn on_each_pair(test: impl Fn(Pair) + Sync) {
    let test = &test;
    let failed: Vec<Pair> = thread::scope(|scope| {
        let runs: Vec<_> =
            Pair::all().into_iter().map(|pair| (pair, scope.spawn(move || test(pair)))).collect();
        runs.into_iter().filter_map(|(pair, run)| run.join().err().map(|_| pair)).collect()
    });
    assert!(failed.is_empty(), "failed for {failed:?}");
}

/// Runs a test of our nsqd with every nsqlookupd at once.
fn on_each_lookupd(test: impl Fn(Pair) + Sync) {
    on_each_pair(|pair| {
        if !pair.nsqd.is_original() {
            test(pair);
        }
    });
}

/// Where the programs on real client libraries are.
fn clients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

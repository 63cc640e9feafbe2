//! Which program a test runs against, and in which shapes.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// The program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Our broker with so many shards.
    Shoal {
        /// Value of `--shards`.
        shards: usize,
    },
    /// The original nsqd, named by `SHOAL_TEST_PEER`: it proves the tests.
    Original,
}

/// Flags that only Shoal knows; dropped when the original is started.
const SHOAL_FLAGS: [&str; 15] = [
    "--shards",
    "--greeting-timeout",
    "--memory-limit",
    "--durability",
    "--topic-durability",
    "--compression-memory",
    "--http-body-memory",
    "--tls-handshakes",
    "--http-require-auth",
    "--metrics-",
    "--topic-max",
    "--topic-on-full",
    "--channel-max",
    "--channel-on-full",
    "--min-free-disk",
];

impl Peer {
    /// The shapes that every test of protocol behaviour runs in.
    pub fn all() -> Vec<Peer> {
        if original().is_some() {
            return vec![Peer::Original];
        }
        vec![Peer::Shoal { shards: 1 }, Peer::Shoal { shards: 2 }]
    }

    /// Whether our own broker is there, for tests that need both programs.
    pub fn shoal_is_built() -> bool {
        super::broker::shoal_binary().exists()
    }

    /// True for the original nsqd.
    pub fn is_original(self) -> bool {
        self == Peer::Original
    }

    /// How late a timer may fire: the original looks at new channels only every five seconds.
    pub fn late(self) -> Duration {
        Duration::from_secs(if self.is_original() { 9 } else { 4 })
    }

    /// The arguments that this program understands.
    pub fn arguments(self, wanted: &[String]) -> Vec<String> {
        let is_ours = |flag: &String| SHOAL_FLAGS.iter().any(|own| flag.starts_with(own));
        match self {
            Peer::Original => wanted.iter().filter(|flag| !is_ours(flag)).cloned().collect(),
            Peer::Shoal { shards } => {
                let mut all = vec!["nsqd".to_string(), format!("--shards={shards}")];
                all.extend(wanted.iter().cloned());
                all
            }
        }
    }
}

/// The original nsqd's binary, where one is given to prove the tests with.
pub fn original() -> Option<PathBuf> {
    std::env::var_os("SHOAL_TEST_PEER").map(PathBuf::from)
}

/// Runs a test in all shapes at once, and says for each whether it passed.
fn outcomes(test: impl Fn(Peer) + Sync) -> Vec<(Peer, bool)> {
    let test = &test;
    thread::scope(|scope| {
        let runs: Vec<_> =
            Peer::all().into_iter().map(|peer| (peer, scope.spawn(move || test(peer)))).collect();
        runs.into_iter().map(|(peer, run)| (peer, run.join().is_ok())).collect()
    })
}

/// Runs a test of behaviour that both programs share, in all shapes at once.
pub fn on_each_peer(test: impl Fn(Peer) + Sync) {
    let mut failed = outcomes(test);
    failed.retain(|(_, passed)| !passed);
    assert!(failed.is_empty(), "failed for {failed:?}");
}

/// Runs a test of what only Shoal does; against the original it says why it does nothing.
pub fn on_each_shoal(reason: &str, test: impl Fn(Peer) + Sync) {
    if original().is_some() {
        eprintln!("only for Shoal: {reason}");
        return;
    }
    on_each_peer(test);
}

/// Runs several waits side by side, so that the suite's time is the longest of them, not the sum.
pub fn at_once(parts: &[&(dyn Fn() + Sync)]) {
    thread::scope(|scope| {
        let runs: Vec<_> = parts.iter().map(|part| scope.spawn(part)).collect();
        let failed = runs.into_iter().filter_map(|run| run.join().err()).count();
        assert_eq!(failed, 0, "parts failed");
    });
}

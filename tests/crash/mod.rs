//! What was acknowledged outlives whatever happens to the broker: kill -9 at any moment, SIGTERM,
//! a full disk, damaged files, a power cut.
//!
//! A run prints its seed; `CRASH_SEED` repeats it, as far as real processes can be repeated, and
//! `CRASH_CYCLES` says how often the broker is killed. What the machine does not permit (mounting,
//! mostly) is printed as `SKIPPED (reason)` and is not a pass.

mod canaries;
mod clock;
mod cycles;
mod deferred;
mod disk;
mod drain;
mod folder;
mod full;
mod fuse;
mod in_flight;
mod large;
mod ledger;
mod load;
mod mount;
mod power;
mod random;
mod report;
mod rot;
mod stop;

use std::io::Write;
use std::sync::Arc;

use crate::harness::{Broker, Client, Peer, TempDir};

/// The modes in which an acknowledged message outlives kill -9.
const LASTING: [&str; 2] = ["written", "synced"];

/// The flags of a mode; for the original the ones that come closest.
fn durable(peer: Peer, mode: &str) -> Vec<String> {
    match peer {
        Peer::Original if mode == "memory" => Vec::new(),
        Peer::Original => vec!["--mem-queue-size=0".into(), "--sync-every=1".into()],
        Peer::Shoal { .. } => vec![format!("--durability={mode}")],
    }
}

/// Starts a broker in this mode.
fn start(peer: Peer, mode: &str, dir: Arc<TempDir>) -> Broker {
    let flags = durable(peer, mode);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Broker::start_in(peer, &flags, dir)
}

/// Says that something was not tried. Unlike what a test prints, this is shown when it passes too.
fn skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_string();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name} ({reason})");
}

/// Bodies with a name and a number, so that a test can say what it expects.
fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number}")).collect()
}

/// Publishes them in one MPUB.
fn publish_all(client: &mut Client, topic: &str, bodies: &[String]) {
    let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    client.send(&crate::harness::mpub(topic, &bodies));
    client.ok();
}

//! A nsqlookupd process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Broker, Peer, SOON, TempDir, eventually, lasting_address, program};

/// Whose nsqlookupd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Shoal,
    Original,
}

impl Program {
    /// Those that are there.
    pub fn all() -> Vec<Program> {
        let mut all = vec![Program::Shoal];
        all.extend(std::env::var_os("SHOAL_TEST_LOOKUPD").map(|_| Program::Original));
        all
    }

    /// Its command line.
    pub fn command(self, flags: &[String]) -> Command {
        let mut command = match self {
            Program::Original => {
                let path = std::env::var_os("SHOAL_TEST_LOOKUPD").map(PathBuf::from);
                Command::new(path.expect("SHOAL_TEST_LOOKUPD names the original"))
            }
            Program::Shoal => {
                let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
                command.arg("nsqlookupd");
                command
            }
        };
        command.args(flags);
        command
    }
}

/// A running nsqlookupd.
pub struct Lookupd {
    pub program: Program,
    pub process: Broker,
}

impl Lookupd {
    /// Starts one on free ports.
    pub fn start(program: Program) -> Lookupd {
        Lookupd::start_with(program, &[])
    }

    /// Starts one at these addresses.
    pub fn start_at(program: Program, tcp: SocketAddr, http: SocketAddr) -> Lookupd {
        Lookupd::spawn(program, tcp, http, &[])
    }

    /// Starts one on free ports, with these flags besides.
    pub fn start_with(program: Program, flags: &[String]) -> Lookupd {
        Lookupd::spawn(program, lasting_address(), lasting_address(), flags)
    }

    fn spawn(program: Program, tcp: SocketAddr, http: SocketAddr, more: &[String]) -> Lookupd {
        let mut flags = vec![
            format!("--tcp-address={tcp}"),
            format!("--http-address={http}"),
            format!("--broadcast-address={}", tcp.ip()),
        ];
        flags.extend_from_slice(more);
        let process = Broker::spawn(program.command(&flags), Arc::new(TempDir::new()));
        Lookupd { program, process }
    }

    /// Where it takes the protocol.
    pub fn tcp(&self) -> SocketAddr {
        self.process.tcp
    }

    /// Where it answers HTTP.
    pub fn http(&self) -> SocketAddr {
        self.process.http
    }

    /// The flag with which an nsqd finds it.
    pub fn flag(&self) -> String {
        format!("--lookupd-tcp-address={}", self.tcp())
    }

    /// An answer of its HTTP.
    pub fn get(&self, target: &str) -> Value {
        self.process.request("GET", target, b"").json()
    }

    /// Everything that somebody has registered, as `topic` and `topic/channel`.
    pub fn registered(&self) -> BTreeSet<String> {
        let debug = self.get("/debug");
        let keys = debug.as_object().unwrap().iter();
        let living =
            keys.filter(|(_, producers)| producers.as_array().is_some_and(|p| !p.is_empty()));
        let names = living.filter_map(|(key, _)| {
            let mut parts = key.split(':');
            match (parts.next()?, parts.next()?, parts.next()?) {
                ("topic", topic, _) => Some(topic.to_owned()),
                ("channel", topic, channel) => Some(format!("{topic}/{channel}")),
                _ => None,
            }
        });
        names.collect()
    }

    /// Waits until exactly this is registered.
    #[track_caller]
    pub fn await_registered(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        let mut found = self.registered();
        let what = format!("{expected:?} at {:?}", self.program);
        let start = std::time::Instant::now();
        while found != expected {
            assert!(start.elapsed() < SOON, "{what} instead of {found:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
            found = self.registered();
        }
    }

    /// How many nsqds have a topic.
    pub fn producers(&self, topic: &str) -> usize {
        self.get(&format!("/lookup?topic={topic}"))["producers"].as_array().map_or(0, Vec::len)
    }

    /// Waits until so many nsqds are connected.
    #[track_caller]
    pub fn await_nodes(&self, count: usize) {
        eventually(&format!("{count} nsqds at {:?}", self.program), SOON, || {
            self.get("/nodes")["producers"].as_array().map(Vec::len) == Some(count)
        });
    }
}

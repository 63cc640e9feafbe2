//! A running nsqlookupd, and a producer that talks to it in bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Broker, Exit, Peer, Reply, SOON, TempDir, program, request, show};

/// Whose nsqlookupd it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Shoal,
    /// The original's, which proves the tests.
    Original,
}

/// The original's binary, where one is given.
fn original() -> Option<PathBuf> {
    std::env::var_os("SHOAL_TEST_LOOKUPD").map(PathBuf::from)
}

/// Runs a test of what both do.
pub fn on_each_lookupd(test: impl Fn(Kind)) {
    test(if original().is_some() { Kind::Original } else { Kind::Shoal });
}

/// Runs a test of what only ours does.
pub fn on_our_lookupd(reason: &str, test: impl Fn()) {
    if original().is_some() {
        eprintln!("only for Shoal: {reason}");
        return;
    }
    test();
}

/// A running nsqlookupd.
pub struct Lookupd {
    /// The process. What is said of brokers holds for it, as far as it says where it listens.
    pub process: Broker,
}

impl Lookupd {
    /// Starts one on free ports with these flags.
    pub fn start(kind: Kind, flags: &[&str]) -> Lookupd {
        let mut command = Lookupd::command(kind);
        command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg("--broadcast-address=lookup.example").args(flags);
        Lookupd { process: Broker::spawn(command, Arc::new(TempDir::new())) }
    }

    /// Its command line without flags.
    pub fn command(kind: Kind) -> Command {
        match kind {
            Kind::Original => Command::new(original().expect("a test of it was asked for")),
            Kind::Shoal => {
                let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
                command.arg("nsqlookupd");
                command
            }
        }
    }

    /// Runs one that should end by itself.
    pub fn run(kind: Kind, flags: &[&str]) -> Exit {
        let mut command = Lookupd::command(kind);
        command.args(flags);
        Broker::run(command, SOON)
    }

    /// One request.
    pub fn request(&self, method: &str, target: &str) -> Reply {
        request(self.process.http, method, target, b"")
    }

    /// The JSON of something that has to be there.
    pub fn get(&self, target: &str) -> Value {
        let reply = self.request("GET", target);
        assert_eq!(reply.status, 200, "GET {target}: {reply:?}");
        reply.json()
    }

    /// A request that has to succeed and say nothing.
    pub fn post(&self, target: &str) {
        let reply = self.request("POST", target);
        assert_eq!((reply.status, reply.text()), (200, ""), "POST {target}");
    }

    /// The names in a list of an answer, sorted: it comes in any order.
    pub fn names(&self, target: &str, list: &str) -> Vec<String> {
        let names = self.get(target);
        let names = names[list].as_array().unwrap_or_else(|| panic!("{target} has no {list}"));
        let mut names: Vec<_> =
            names.iter().map(|name| name.as_str().unwrap().to_string()).collect();
        names.sort();
        names
    }

    /// The HTTP ports of the producers in an answer, sorted.
    pub fn ports(&self, target: &str) -> Vec<u64> {
        let answer = self.get(target);
        let producers = answer["producers"].as_array().unwrap().iter();
        let mut ports: Vec<_> =
            producers.map(|producer| producer["http_port"].as_u64().unwrap()).collect();
        ports.sort_unstable();
        ports
    }
}

/// A connection to the TCP port.
pub struct Producer {
    stream: TcpStream,
}

impl Producer {
    /// Connects and says nothing.
    pub fn connect(lookupd: &Lookupd) -> Producer {
        let stream = TcpStream::connect(lookupd.process.tcp).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Producer { stream }
    }

    /// Connects and identifies itself; `http_port` tells it from others.
    pub fn identified(lookupd: &Lookupd, http_port: u16) -> Producer {
        let mut producer = Producer::connect(lookupd);
        producer.say(b"  V1");
        producer.say(&identify(&identity(http_port)));
        let about: Value = serde_json::from_str(&producer.answer().unwrap()).unwrap();
        assert_eq!(about["broadcast_address"], "lookup.example");
        producer
    }

    /// Sends bytes; the other side may have closed.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says a command that has to succeed.
    pub fn command(&mut self, line: &str) {
        self.say(format!("{line}\n").as_bytes());
        assert_eq!(self.answer().as_deref(), Some("OK"), "{line}");
    }

    /// Says that it will say no more.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer in the notation of `harness::bytes`; `None` at the end.
    pub fn answer(&mut self) -> Option<String> {
        let mut size = [0; 4];
        if !self.read(&mut size) {
            return None;
        }
        let mut text = vec![0; u32::from_be_bytes(size) as usize];
        assert!(self.read(&mut text), "it ended within an answer");
        Some(show(&text))
    }

    /// All answers until the other side ends the connection.
    pub fn answers(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// False at the end. A reset is an end, too.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read_exact(buffer) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer in time"),
            Err(_) => false,
        }
    }
}

/// IDENTIFY with its body.
pub fn identify(json: &str) -> Vec<u8> {
    [b"IDENTIFY\n", (json.len() as u32).to_be_bytes().as_slice(), json.as_bytes()].concat()
}

/// What a producer says of itself.
pub fn identity(http_port: u16) -> String {
    format!(
        "{{\"broadcast_address\":\"127.0.0.1\",\"hostname\":\"h\",\"http_port\":{http_port},\
         \"tcp_port\":4150,\"topology_region\":\"r1\",\"topology_zone\":\"az1\",\
         \"version\":\"1.3.0\"}}"
    )
}

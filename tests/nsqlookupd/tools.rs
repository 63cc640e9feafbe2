//! The original's programs around our nsqlookupd: nsqd registers, the tools and nsqadmin read.
//!
//! `SHOAL_TEST_PROGRAMS` names the directory that has them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::{Kind, Lookupd};
use crate::harness::{Broker, Exit, SOON, TempDir, eventually, request};

/// The directory of the original's programs.
fn programs() -> Option<PathBuf> {
    let found = std::env::var_os("SHOAL_TEST_PROGRAMS").map(PathBuf::from);
    if found.is_none() {
        eprintln!("needs the original's programs in SHOAL_TEST_PROGRAMS");
    }
    found
}

/// The original's nsqd, registered with this nsqlookupd.
fn nsqd(programs: &PathBuf, lookupd: &Lookupd) -> Broker {
    let dir = Arc::new(TempDir::new());
    let mut command = Command::new(programs.join("nsqd"));
    command.args(Broker::flags(&[], &dir));
    command.arg(format!("--lookupd-tcp-address={}", lookupd.process.tcp));
    Broker::spawn(command, dir)
}

fn run(programs: &PathBuf, program: &str, flags: &[&str]) -> Exit {
    let mut command = Command::new(programs.join(program));
    command.args(flags);
    Broker::run(command, SOON)
}

#[test]
fn nsqd_registers_and_tools_find_it() {
    let Some(programs) = programs() else { return };
    let lookupd = Lookupd::start(Kind::Shoal, &[]);
    // What is seeded here is created there with the topic.
    lookupd.post("/channel/create?topic=t&channel=seeded");
    let nsqd = nsqd(&programs, &lookupd);
    eventually("nsqd is registered", SOON, || lookupd.ports("/nodes").len() == 1);
    nsqd.request("POST", "/pub?topic=t", b"hello");
    let port = u64::from(nsqd.http.port());
    eventually("its topic is", SOON, || lookupd.ports("/lookup?topic=t") == [port]);
    let lookup = format!("--lookupd-http-address={}", lookupd.process.http);
    let tail = run(&programs, "nsq_tail", &[&lookup, "--topic=t", "--channel=seeded", "--n=1"]);
    assert!(tail.output.contains("hello"), "{}", tail.output);
    let stat = run(
        &programs,
        "nsq_stat",
        &[&lookup, "--topic=t", "--channel=seeded", "--count=1", "--interval=1s"],
    );
    assert!(stat.output.contains("depth"), "{}", stat.output);
    drop(nsqd);
    eventually("it is gone", SOON, || lookupd.ports("/nodes").is_empty());
    assert_eq!(lookupd.names("/lookup?topic=t", "channels"), ["seeded"]);
}

#[test]
fn nsqadmin_reads_and_writes() {
    let Some(programs) = programs() else { return };
    let lookupd = Lookupd::start(Kind::Shoal, &[]);
    let nsqd = nsqd(&programs, &lookupd);
    nsqd.post("/topic/create?topic=t");
    nsqd.post("/channel/create?topic=t&channel=c");
    eventually("it is registered", SOON, || {
        lookupd.names("/channels?topic=t", "channels") == ["c"]
    });
    let mut command = Command::new(programs.join("nsqadmin"));
    command.arg("--http-address=127.0.0.1:0");
    command.arg(format!("--lookupd-http-address={}", lookupd.process.http));
    let (admin, http) = Admin::start(command);
    let get = |target: &str| request(http, "GET", target, b"").json();
    assert_eq!(get("/api/topics")["topics"][0], "t");
    let topic = get("/api/topics/t");
    assert_eq!(topic["nodes"].as_array().unwrap().len(), 1, "{topic}");
    assert_eq!(topic["channels"][0]["channel_name"], "c", "{topic}");
    let nodes = get("/api/nodes");
    assert_eq!(nodes["nodes"][0]["topics"][0]["topic"], "t", "{nodes}");
    let node = format!("/api/nodes/127.0.0.1:{}", nsqd.http.port());
    assert_eq!(request(http, "DELETE", &node, br#"{"topic":"t"}"#).status, 200);
    assert!(lookupd.ports("/lookup?topic=t").is_empty(), "a tombstone hides it");
    assert_eq!(request(http, "DELETE", "/api/topics/t", b"").status, 200);
    assert!(lookupd.names("/topics", "topics").is_empty());
    drop(admin);
}

/// A running nsqadmin.
struct Admin(std::process::Child);

impl Admin {
    fn start(mut command: Command) -> (Admin, SocketAddr) {
        use std::io::BufRead;
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let text = "HTTP: listening on ";
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(text)).unwrap();
        let address = line.split(text).nth(1).unwrap().trim().parse().unwrap();
        // What it says after that is read, so that it does not get stuck.
        std::thread::spawn(move || lines.for_each(drop));
        (Admin(child), address)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! The process: exit codes, signals, ports, the lock on its data path, its names.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, Exit, Peer, TempDir, on_each_peer, on_each_shoal, program};

const PROMPTLY: Duration = Duration::from_secs(10);

fn run(peer: Peer, flags: &[&str]) -> Exit {
    let dir = TempDir::new();
    Broker::run(Broker::command(peer, flags, &dir), PROMPTLY)
}

#[test]
fn signals() {
    on_each_peer(|peer| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut broker = Broker::start(peer, &[]);
            let mut consumer = Client::consumer(&broker, "t", "c", 1);
            consumer.publish("t", b"x");
            consumer.delivery("x", 1);
            let start = Instant::now();
            broker.signal(signal);
            let status = broker.wait(PROMPTLY);
            assert_eq!(status.code(), Some(0), "signal {signal}: {status:?}");
            assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
            consumer.closed();
        }
    });
}

/// Flags that make it end before it listens, the exit code, and what has to be said.
const REFUSED: [(&str, i32, &str); 7] = [
    ("--no-such-flag", 2, "no-such-flag"),
    ("--max-rdy-count=x", 2, "max-rdy-count"),
    ("--msg-timeout=5", 2, "msg-timeout"),
    ("--node-id=1024", 1, "--node-id must be [0,1024)"),
    ("--max-deflate-level=10", 1, "--max-deflate-level must be [1,9]"),
    ("--data-path=/no/such/directory", 1, "/no/such/directory"),
    ("--config=/no/such/file", 1, "/no/such/file"),
];

#[test]
fn refused_flags() {
    on_each_peer(|peer| {
        for (flag, code, text) in REFUSED {
            let exit = run(peer, &[flag]);
            assert_eq!(exit.status.code(), Some(code), "{flag}: {}", exit.output);
            assert!(exit.output.contains(text), "{flag}: {}", exit.output);
            assert!(!exit.output.contains("panicked"), "{flag}: {}", exit.output);
        }
    });
}

#[test]
fn version_and_help() {
    on_each_peer(|peer| {
        let exit = run(peer, &["--version"]);
        assert_eq!(exit.status.code(), Some(0));
        assert!(exit.output.starts_with("nsqd v1.3.0 (built w/"), "{}", exit.output);
        let exit = run(peer, &["--help"]);
        assert_eq!(exit.status.code(), Some(0));
        for flag in ["-tcp-address", "-mem-queue-size", "-data-path"] {
            assert!(exit.output.contains(flag), "{flag}: {}", exit.output);
        }
    });
}

/// A port that is taken is an error that names it, for both listeners.
#[test]
fn port_in_use() {
    on_each_peer(|peer| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        for flag in ["tcp", "http"] {
            let exit = run(peer, &[&format!("--{flag}-address={address}")]);
            assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
            assert!(exit.output.contains(&address), "{}", exit.output);
            let text = exit.output.to_lowercase();
            assert!(text.contains("address already in use"), "{}", exit.output);
        }
    });
}

/// Two brokers on one port would share its connections silently.
#[test]
fn port_of_another_broker() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let exit = run(peer, &[&format!("--tcp-address={}", broker.tcp)]);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        for _ in 0..20 {
            Client::new(&broker).alive();
        }
        assert_eq!(broker.topic("still-alive")["message_count"], 20);
    });
}

fn refuses_locked(peer: Peer, dir: &TempDir) {
    let exit = Broker::run(Broker::command(peer, &[], dir), PROMPTLY);
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(exit.output.contains("failed to lock data-path"), "{}", exit.output);
    assert!(exit.output.contains(&dir.path().display().to_string()), "{}", exit.output);
}

/// The data path belongs to one process, whoever holds the lock on it.
#[test]
fn data_path_locked() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        refuses_locked(peer, &broker.dir());
        Client::new(&broker).alive();
        // Once it is gone, by whatever way, the path is free.
        broker.signal(libc::SIGKILL);
        let dir = broker.dir();
        drop(broker);
        let held = File::open(dir.path()).unwrap();
        // SAFETY: the descriptor is open for as long as `held` lives.
        let locked = unsafe { libc::flock(held.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        assert_eq!(locked, 0);
        refuses_locked(peer, &dir);
        // Closing it would not do: a process that another test is about to start may have it, too.
        // SAFETY: as above.
        assert_eq!(unsafe { libc::flock(held.as_raw_fd(), libc::LOCK_UN) }, 0);
        let broker = Broker::start_in(peer, &[], dir);
        Client::new(&broker).alive();
    });
}

/// The original's lock keeps Shoal out, where both programs are there.
#[test]
fn data_path_locked_by_the_original() {
    if Peer::all() != [Peer::Original] {
        eprintln!("needs SHOAL_TEST_PEER");
        return;
    }
    if !Peer::shoal_is_built() {
        eprintln!("needs the built broker beside the original");
        return;
    }
    let original = Broker::start(Peer::Original, &[]);
    refuses_locked(Peer::Shoal { shards: 1 }, &original.dir());
    let dir = original.stop();
    let ours = Broker::start_in(Peer::Shoal { shards: 1 }, &[], dir);
    refuses_locked(Peer::Original, &ours.dir());
}

/// Called through a link named `nsqd` it is nsqd, without the program's name on the line.
#[test]
fn called_as_nsqd() {
    on_each_shoal("the original has one name", |peer| {
        let dir = TempDir::new();
        let link = dir.path().join("nsqd");
        std::os::unix::fs::symlink(program(peer).canonicalize().unwrap(), &link).unwrap();
        let mut command = Command::new(&link);
        command.args(Broker::flags(&["-max-rdy-count=12", "--verbose"], &dir));
        let broker = Broker::spawn(command, dir.into());
        Client::new(&broker).alive();
        assert_eq!(broker.request("GET", "/config/max_rdy_count", b"").text(), "12");
    });
}

/// Go's ways of writing flags, which unit files of the original use.
#[test]
fn flag_forms() {
    on_each_peer(|peer| {
        let flags = [
            "-max-rdy-count=5",
            "--max-rdy-count",
            "7",
            "--snappy=false",
            "--deflate",
            "-msg-timeout",
            "1m30s",
            "--max-msg-size=0x100",
        ];
        let broker = Broker::start(peer, &flags);
        let value = |key: &str| broker.request("GET", &format!("/config/{key}"), b"");
        assert_eq!(value("max_rdy_count").text(), "7");
        assert_eq!(value("snappy").text(), "false");
        assert_eq!(value("deflate").text(), "true");
        assert_eq!(value("msg_timeout").text(), "90000000000");
        assert_eq!(value("max_msg_size").text(), "256");
    });
}

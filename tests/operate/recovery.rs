//! What is said over HTTP, and to systemd, while files of an earlier start are read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::WHY;
use super::systemd::Systemd;
use crate::harness::{
    Broker, Client, HttpConnection, Peer, SOON, TempDir, eventually, mpub, on_each_shoal,
};

/// Messages of a byte each: much to read for little on the disk.
const BATCH: usize = 20_000;
const BATCHES: usize = 40;
/// Starts until one is caught in the middle.
const ATTEMPTS: usize = 12;

/// A data path that takes a while to read.
fn much_to_read(peer: Peer) -> Arc<TempDir> {
    let broker = Broker::start(peer, &[]);
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=c");
    let mut client = Client::new(&broker);
    let batch = mpub("t", &[&b"x"[..]; BATCH]);
    for _ in 0..BATCHES {
        client.send(&batch);
        client.ok();
    }
    broker.kill()
}

/// A broker that is reading, as `ask` says: whether it came in time.
pub fn caught(peer: Peer, flags: &[&str], mut ask: impl FnMut(&mut Broker) -> bool) -> Broker {
    let mut dir = much_to_read(peer);
    for _ in 0..ATTEMPTS {
        let mut broker = Broker::spawn_bound(Broker::command(peer, flags, &dir), dir);
        if ask(&mut broker) {
            return broker;
        }
        dir = broker.kill();
    }
    panic!("recovery was over {ATTEMPTS} times before anything could be asked");
}

fn await_ready(broker: &Broker) {
    eventually("it is ready", 6 * SOON, || broker.request("GET", "/readyz", b"").status == 200);
}

#[test]
fn everything_is_answered_while_files_are_read() {
    on_each_shoal(WHY, |peer| {
        let mut replies = Vec::new();
        // By starts that were over before all was asked.
        let mut published = 0;
        let broker = caught(peer, &[], |broker| {
            let requests = [
                ("GET", "/healthz", 200),
                ("GET", "/readyz", 503),
                ("GET", "/ping", 503),
                ("GET", "/stats", 503),
                ("POST", "/pub?topic=t", 503),
                ("GET", "/nowhere", 404),
                ("POST", "/stats", 405),
                ("GET", "/metrics", 200),
            ];
            replies = requests
                .map(|(method, target, _)| (target, broker.request(method, target, b"body")))
                .into();
            published += i64::from(replies[4].1.status == 200);
            requests.iter().zip(&replies).all(|(request, (_, reply))| reply.status == request.2)
                && replies.last().unwrap().1.text().contains("\nnsq_recovering 1\n")
        });
        for (target, reply) in &replies {
            assert_eq!(reply.header("Connection"), Some("close"), "{target}: {reply:?}");
            let later = (reply.status == 503).then_some("1");
            assert_eq!(reply.header("Retry-After"), later, "{target}");
        }
        for (target, reply) in &replies[1..3] {
            let said = reply.json();
            assert_eq!(
                (said["ok"].as_bool(), said["reasons"].as_array().unwrap().len()),
                (Some(false), 1)
            );
            let reason = said["reasons"][0].as_str().unwrap();
            assert!(reason.starts_with("recovering"), "{target}: {reason}");
            let listeners = said["listeners"].to_string();
            assert!(listeners.contains(&format!("HTTP: {}", broker.http)), "{listeners}");
            assert!(said["recovery"]["step"].is_string(), "{said}");
        }
        assert_eq!(replies[3].1.json()["message"], "RECOVERING");
        await_ready(&broker);
        let messages = (BATCH * BATCHES) as i64 + published;
        assert_eq!(broker.channel("t", "c")["depth"], messages, "and the refused one is not there");
        let metrics = broker.request("GET", "/metrics", b"");
        assert!(metrics.text().contains("\nnsq_recovering 0\n"));
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
    });
}

/// Connections that are there when the workers take over are answered; those behind them, too.
#[test]
fn nobody_is_cut_off_by_the_end_of_it() {
    on_each_shoal(WHY, |peer| {
        let mut early = Vec::new();
        let broker = caught(peer, &[], |broker| {
            early.clear();
            early.push(TcpStream::connect(broker.http).unwrap());
            let mut begun = TcpStream::connect(broker.http).unwrap();
            begun.write_all(b"GET /ping HTTP/1.1\r\nHo").unwrap();
            early.push(begun);
            // Accepted in order: when this one is answered, the others are in.
            broker.request("GET", "/readyz", b"").status == 503
        });
        await_ready(&broker);
        for (stream, rest) in early.iter_mut().zip(["GET /ping HTTP/1.1\r\nHo", ""]) {
            stream.write_all(format!("{rest}st: t\r\n\r\n").as_bytes()).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with("HTTP/1.1 503 "), "{reply:?}");
            assert!(reply.to_lowercase().contains("\r\nconnection: close\r\n"), "{reply}");
        }
        let mut kept = HttpConnection::new(broker.http);
        for _ in 0..3 {
            assert_eq!(kept.request("GET", "/ping", b"").status, 200);
        }
    });
}

/// systemd hears at once that a start may take its time, and how far it is.
#[test]
fn systemd_is_asked_for_more_time() {
    let peer = Peer::Shoal { shards: 1 };
    let dir = much_to_read(peer);
    let mut command = Broker::command(peer, &[], &dir);
    let systemd = Systemd::listen(&mut command);
    let began = Instant::now();
    let broker = Broker::spawn_bound(command, dir);
    let mut said = String::new();
    while !said.contains("READY=1") {
        assert!(began.elapsed() < 6 * SOON, "{said}");
        said.push_str(&systemd.heard(SOON).expect("it tells its life"));
        said.push('\n');
    }
    let (before, after) = said.split_once("READY=1").unwrap();
    assert!(before.contains("EXTEND_TIMEOUT_USEC=120000000\nSTATUS=recovering"), "{said}");
    assert!(!after.contains("EXTEND_TIMEOUT_USEC"), "{said}");
    assert_eq!(broker.request("GET", "/readyz", b"").status, 200);
}

//! A full disk: publishers are refused and told so, consumers are not; when there is room again,
//! everything goes on by itself, and nothing that was acknowledged is missing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::drain::settle;
use super::durable;
use super::ledger::{Answer, Key, body};
use super::load::World;
use super::mount::{Small, on_small};
use super::random::Random;
use super::report::Rules;
use crate::harness::{
    Broker, Client, Frame, HttpConnection, Peer, SOON, TempDir, eventually, publish,
};

/// Room for the journals of two starts of two shards, and little more.
const KIB: u64 = 100 * 1024;
const PADDING: usize = 60_000;
/// The address of no broker.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// One broker on a small disk, one publisher, one channel.
struct Case<'a> {
    peer: Peer,
    mode: &'a str,
    world: World,
    random: Random,
    sequence: u32,
}

impl<'a> Case<'a> {
    fn new(peer: Peer, mode: &'a str) -> Self {
        let world = World::new(NOWHERE, 0, 1, false);
        world.calm.store(true, Ordering::Relaxed);
        world.ledger.channel("t", "c");
        Case { peer, mode, world, random: Random::new(5), sequence: 0 }
    }

    fn start(&mut self, dir: Arc<TempDir>) -> Broker {
        let mut flags = durable(self.peer, self.mode);
        if self.peer.is_original() {
            // It removes a file only when it has read all of it, and written the next.
            flags.push("--max-bytes-per-file=2097152".into());
        }
        // More memory than there is disk, so that it is the disk that is full.
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(["--memory-limit=512MB"]).collect();
        let broker = Broker::start_in(self.peer, &flags, dir);
        self.world.tcp = broker.tcp;
        broker
    }

    fn next(&mut self, padding: usize) -> (Key, Vec<u8>) {
        self.sequence += 1;
        let body = body(Key { producer: 1, sequence: self.sequence }, padding, &mut self.random);
        (self.world.ledger.sent("t", &body, None), body)
    }

    /// Publishes one message; whether it was taken. A refusal is the right one, and ends the
    /// connection.
    fn publish(&mut self, client: &mut Client) -> bool {
        let (key, body) = self.next(PADDING);
        client.send(&publish("t", &body));
        match client.frame() {
            Frame::Response(text) if text == b"OK" => {
                self.world.ledger.answered(&[key], Answer::Acknowledged);
                true
            }
            frame => {
                let text = frame.describe();
                assert!(text.starts_with("error: E_PUB_FAILED PUB failed "), "{text}");
                self.world.ledger.answered(&[key], Answer::Refused);
                client.closed();
                false
            }
        }
    }

    /// Publishes until the disk is full. Gives how many messages it took.
    fn publish_until_refused(&mut self, broker: &Broker) -> usize {
        let mut client = Client::new(broker);
        for taken in 0..2 * KIB as usize * 1024 / PADDING {
            if !self.publish(&mut client) {
                return taken;
            }
        }
        panic!("more was taken than the disk can hold");
    }

    /// Says no in every way there is, as long as the disk is full.
    fn refuses(&mut self, broker: &Broker) {
        let ping = || broker.request("GET", "/ping", b"");
        eventually("/ping answers 500", SOON, || ping().status == 500);
        assert!(ping().text().starts_with("NOK - "), "{:?}", ping());
        for target in ["/pub?topic=t", "/mpub?topic=t"] {
            let (key, body) = self.next(PADDING);
            // A line of its own each, for /mpub.
            let body: Vec<u8> =
                if target.starts_with("/mpub") { vec![b'm'; PADDING] } else { body };
            let reply = broker.request("POST", target, &body);
            assert_eq!(reply.status, 503, "{target}: {reply:?}");
            if !self.peer.is_original() {
                let after = reply.header("Retry-After").expect("Retry-After");
                assert!(after.parse::<u64>().is_ok_and(|seconds| seconds > 0), "{after}");
            }
            self.world.ledger.answered(&[key], Answer::Refused);
        }
        assert!(!self.publish(&mut Client::new(broker)));
        // Reading what there is needs no disk.
        assert_eq!(broker.request("GET", "/stats?format=json", b"").status, 200);
    }

    /// Takes so many messages and finishes them.
    fn consume(&self, count: usize) {
        assert_eq!(self.world.sweep("t", "c", count), count, "messages came");
    }

    /// Takes everything there is.
    fn drain(&self, broker: &Broker) {
        let left = settle(broker, &self.world);
        assert!(left.is_empty(), "does not come out: {left:?}");
    }

    /// By itself and within a bound, publishing works again.
    fn resumes(&mut self, broker: &Broker) {
        eventually("publishing works again", SOON, || self.publish(&mut Client::new(broker)));
        eventually("it is well again", SOON, || broker.request("GET", "/ping", b"").text() == "OK");
        let (key, body) = self.next(100);
        assert_eq!(broker.request("POST", "/pub?topic=t", &body).status, 200);
        self.world.ledger.answered(&[key], Answer::Acknowledged);
    }
}

/// A broker whose topic and channel are there, while there is room.
fn furnished(case: &mut Case<'_>, dir: Arc<TempDir>) -> Broker {
    let broker = case.start(dir);
    let mut http = HttpConnection::new(broker.http);
    http.request("POST", "/topic/create?topic=t", b"");
    http.request("POST", "/channel/create?topic=t&channel=c", b"");
    broker
}

/// Files that are nobody's: what the broker keeps besides its metadata lies in `log/`.
fn strays(peer: Peer, dir: &TempDir) -> Vec<String> {
    if peer.is_original() {
        // It leaves those of its queues.
        return Vec::new();
    }
    let names = |path: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut strays = names(dir.path());
    strays.retain(|name| !["nsqd.dat", "log", "filler"].contains(&name.as_str()));
    let mut files = names(&dir.path().join("log"));
    files.retain(|name| !name.ends_with(".journal") && !name.ends_with(".store"));
    // A few are kept ready for the journal.
    let spare = files.extract_if(.., |name| name.ends_with(".spare")).count();
    assert!(spare <= 4, "{spare} spare files");
    strays.extend(files);
    strays
}

/// Nothing is lost. The original may lose what it was moving from a topic to its channel.
fn judge(peer: Peer, case: &Case<'_>, forgets: Duration) {
    let mut report = case.world.ledger.report(Rules { forgets, ..Rules::STRICT });
    eprintln!("{peer:?}: {report}");
    if peer.is_original() && report.lost.len() < 10 {
        report.lost.clear();
    }
    report.assert_clean();
}

/// Fills the disk, gives room again, and looks whether all is there; before and after a crash.
fn full_and_back(peer: Peer, mode: &str, small: &Small, make_room: impl FnOnce(&Small)) {
    let mut case = Case::new(peer, mode);
    let dir = small.dir();
    let broker = furnished(&mut case, dir.clone());
    let taken = case.publish_until_refused(&broker);
    assert!(taken > 20, "refused after {taken} messages");
    case.refuses(&broker);
    case.consume(20);
    make_room(small);
    case.resumes(&broker);
    assert!(strays(peer, &dir).is_empty(), "{:?}", strays(peer, &dir));
    if peer.is_original() {
        case.drain(&broker);
    } else {
        // It may well forget what was finished when it could not write.
        case.world.ledger.killed();
        let broker = case.start(broker.kill());
        case.drain(&broker);
        assert!(strays(peer, &dir).is_empty(), "{:?}", strays(peer, &dir));
    }
    eprintln!("{peer:?} {mode}: {taken} taken");
    judge(peer, &case, 2 * SOON);
}

#[test]
fn the_disk_grows() {
    on_small(KIB, |peer, small| {
        full_and_back(peer, "written", small, |small| small.resize(3 * KIB));
    });
}

/// Somebody else had filled it.
#[test]
fn a_file_goes() {
    on_small(3 * KIB, |peer, small| {
        let filler = small.fill(KIB);
        full_and_back(peer, "synced", small, |_| fs::remove_file(&filler).unwrap());
    });
}

/// Nobody helps: what consumers finish makes room.
#[test]
fn consumers_make_room() {
    on_small(KIB, |peer, small| {
        let mut case = Case::new(peer, "written");
        let broker = furnished(&mut case, small.dir());
        for _ in 0..2 {
            let taken = case.publish_until_refused(&broker);
            assert!(taken > 20, "refused after {taken} messages");
            case.refuses(&broker);
            case.drain(&broker);
            case.resumes(&broker);
        }
        case.drain(&broker);
        judge(peer, &case, Rules::STRICT.forgets);
    });
}

/// It starts on a disk that is full, says so, gives what it has, and takes more when it can.
#[test]
fn starts_on_a_full_disk() {
    on_small(KIB, |peer, small| {
        if peer.is_original() {
            eprintln!("only for Shoal: the original does not start");
            return;
        }
        let mut case = Case::new(peer, "written");
        let broker = furnished(&mut case, small.dir());
        let mut client = Client::new(&broker);
        for _ in 0..50 {
            assert!(case.publish(&mut client));
        }
        let dir = broker.kill();
        case.world.ledger.killed();
        let filler = small.fill(0);
        let broker = case.start(dir);
        eventually("it says so", SOON, || {
            ["no space left", "No space left"].iter().any(|text| broker.log_line(text).is_some())
        });
        case.refuses(&broker);
        case.consume(20);
        fs::remove_file(filler).unwrap();
        case.resumes(&broker);
        case.drain(&broker);
        judge(peer, &case, 2 * SOON);
        broker.stop();
    });
}

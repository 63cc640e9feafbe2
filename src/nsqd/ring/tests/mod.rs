//! The ring with real sockets. Here is what the tests share; each file of tests has one subject.

mod accept;
mod files;
mod flow;
mod lifetime;
mod sleep;

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Doorbell, Event, Reading, Ring, RingOptions, SocketKey};

/// Longest that any test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Set in the environment of a test that runs in a process of its own.
const CHILD: &str = "SHOAL_TEST_CHILD";

/// An event that may be kept.
#[derive(Debug)]
enum Seen {
    Accepted(usize, OwnedFd),
    AcceptPaused(usize, io::Error),
    Received(SocketKey, Vec<u8>),
    Ended(SocketKey),
    Failed(SocketKey, io::Error),
    Writable(SocketKey),
    Quiet(SocketKey),
    Doorbell,
}

impl Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Accepted { listener, socket } => Seen::Accepted(listener, socket),
            Event::AcceptPaused { listener, error } => Seen::AcceptPaused(listener, error),
            Event::Received { socket, bytes } => Seen::Received(socket, bytes.to_vec()),
            Event::Ended { socket } => Seen::Ended(socket),
            Event::Failed { socket, error } => Seen::Failed(socket, error),
            Event::Writable { socket } => Seen::Writable(socket),
            Event::Quiet { socket } => Seen::Quiet(socket),
            Event::Doorbell => Seen::Doorbell,
        }
    }
}

impl Ring {
    /// The doorbell that wakes this ring.
    fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// How many sockets were added and neither closed nor taken.
    fn sockets(&self) -> usize {
        self.sockets.open
    }
}

fn ring(entries: u32, buffers: u16, buffer_bytes: usize) -> Ring {
    let options = RingOptions { entries, buffers, buffer_bytes };
    Ring::new(&options, Doorbell::new().unwrap()).unwrap()
}

/// One turn: sleeps up to `timeout` and tells what happened.
fn turn(ring: &mut Ring, timeout: Duration) -> Vec<Seen> {
    ring.wait(Some(timeout), || true).unwrap();
    let mut seen = Vec::new();
    ring.events(|event| seen.push(Seen::from(event)));
    seen
}

/// Turns until `done` is content with all that was seen, and returns that.
fn turn_until(ring: &mut Ring, mut done: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
    let start = Instant::now();
    let mut seen = Vec::new();
    while !done(&seen) {
        assert!(start.elapsed() < PATIENCE, "waited in vain; saw {} events", seen.len());
        seen.extend(turn(ring, Duration::from_millis(100)));
    }
    seen
}

/// Turns for a while and checks that nothing at all happens.
fn expect_silence(ring: &mut Ring, duration: Duration) {
    let start = Instant::now();
    while let Some(left) = duration.checked_sub(start.elapsed()) {
        let seen = turn(ring, left);
        assert!(seen.is_empty(), "expected nothing, saw {seen:?}");
    }
}

/// All bytes that were received by one socket, in order.
fn received(seen: &[Seen], key: SocketKey) -> Vec<u8> {
    let mut all = Vec::new();
    for event in seen {
        if let Seen::Received(from, bytes) = event
            && *from == key
        {
            all.extend_from_slice(bytes);
        }
    }
    all
}

/// The two ends of a connection over the loopback.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (server, _) = listener.accept().unwrap();
    (server, client)
}

/// A connection whose server end is in the ring.
fn added(ring: &mut Ring, reading: Reading) -> (SocketKey, TcpStream) {
    let (server, client) = connection();
    (ring.add(server.into(), reading), client)
}

/// Bytes of which no two stretches are alike, for telling lost, doubled and reordered ones.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(len);
    bytes
}

fn read_exactly(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn send_all(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs a test in a process of its own, where it may count descriptors and change limits.
fn in_own_process(module: &str, name: &str, test: fn()) {
    let path = format!("{}::{name}", module.split_once("::").unwrap().1);
    if env::var(CHILD).is_ok_and(|child| child == path) {
        test();
        return;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([path.as_str(), "--exact", "--nocapture"]).env(CHILD, &path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path} failed:\n{said}\n{complained}");
    assert!(said.contains("1 passed"), "{path} did not run:\n{said}");
}

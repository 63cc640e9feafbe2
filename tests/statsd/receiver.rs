//! A statsd that adds counters up and keeps the last value of each gauge.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::SOON;

/// Where a broker reports to.
pub struct Receiver {
    socket: UdpSocket,
    /// Names with their types, in the order in which they first came.
    pub order: Vec<(String, char)>,
    /// Counters added up, gauges as they were last.
    pub values: BTreeMap<String, i64>,
    /// Sizes of the packets that came.
    pub packets: Vec<usize>,
}

impl Receiver {
    /// Nothing came yet.
    pub fn new() -> Receiver {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (order, values, packets) = (Vec::new(), BTreeMap::new(), Vec::new());
        Receiver { socket, order, values, packets }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Takes what comes until `done`.
    #[track_caller]
    pub fn until(&mut self, what: &str, done: impl Fn(&Receiver) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < 2 * SOON, "not in time: {what}; {:#?}", self.values);
            self.receive();
        }
    }

    fn receive(&mut self) {
        let mut packet = [0; 65536];
        let Ok(length) = self.socket.recv(&mut packet) else { return };
        self.packets.push(length);
        let text = std::str::from_utf8(&packet[..length]).unwrap();
        assert!(text.ends_with('\n'), "a line is cut off in {text:?}");
        for line in text.lines() {
            let (name, rest) = line.split_once(':').unwrap();
            let (value, kind) = rest.split_once('|').unwrap();
            let value: i64 = value.parse().unwrap();
            let kind = match kind {
                "c" => 'c',
                "g" => 'g',
                other => panic!("{other} in {line}"),
            };
            if !self.values.contains_key(name) {
                self.order.push((name.to_string(), kind));
            }
            let entry = self.values.entry(name.to_string()).or_default();
            *entry = if kind == 'c' { *entry + value } else { value };
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.values.get(name).copied()
    }
}

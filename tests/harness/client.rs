//! A TCP client that says what it waits for and how long.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Broker, Frame, Message, SOON, dpub, publish};

/// Why no frame came.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The broker closed, or reset because it had not read everything.
    Closed,
    /// Nothing within the time given.
    Silent,
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// Messages that came before the answer to a publish; they are handed out first.
    early: VecDeque<Frame>,
}

impl Client {
    /// Connects and sends the magic.
    pub fn new(broker: &Broker) -> Self {
        let mut client = Self::bare(broker.tcp);
        client.send(b"  V2");
        client
    }

    /// Connects to a broker that may not be there, and sends the magic.
    pub fn try_new(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(SOON)).ok()?;
        let mut client = Client { stream, received: Vec::new(), early: VecDeque::new() };
        client.try_send(b"  V2").then_some(client)
    }

    /// Connects and sends nothing.
    pub fn bare(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Client { stream, received: Vec::new(), early: VecDeque::new() }
    }

    /// Connects, subscribes, and asks for messages.
    pub fn consumer(broker: &Broker, topic: &str, channel: &str, ready: u32) -> Self {
        let mut client = Self::new(broker);
        client.subscribe(topic, channel);
        client.command(&format!("RDY {ready}"));
        client
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes to a broker that may close meanwhile; false once it has.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one line.
    pub fn command(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends each byte in a segment of its own, with pauses at the beginning and at the end.
    pub fn send_split(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            if !self.try_send(&[*byte]) {
                return;
            }
            if at < 40 || at + 20 > bytes.len() {
                std::thread::sleep(Duration::from_micros(150));
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The socket, for tests that need more than frames.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The next frame within `within`, or why there is none.
    pub fn next(&mut self, within: Duration) -> Result<Frame, End> {
        if let Some(frame) = self.early.pop_front() {
            return Ok(frame);
        }
        self.next_received(within)
    }

    fn next_received(&mut self, within: Duration) -> Result<Frame, End> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(frame) = Frame::take(&mut self.received) {
                return Ok(frame);
            }
            self.fill(deadline)?;
        }
    }

    /// Exactly `count` raw bytes, for what is not framed.
    pub fn raw(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + SOON;
        while self.received.len() < count {
            if let Err(end) = self.fill(deadline) {
                panic!("{end:?} after {} of {count} bytes", self.received.len());
            }
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), End> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Silent),
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(End::Closed),
                _ => panic!("{error}"),
            },
        }
    }

    /// The next frame, which is due now.
    pub fn frame(&mut self) -> Frame {
        match self.next(SOON) {
            Ok(frame) => frame,
            Err(end) => panic!("no frame: {end:?}"),
        }
    }

    /// Expects a frame in the tables' notation.
    pub fn expect(&mut self, wanted: &str) {
        let frame = self.frame();
        assert_eq!(frame.describe(), wanted, "{frame:?}");
    }

    /// Expects `OK`.
    pub fn ok(&mut self) {
        self.expect("OK");
    }

    /// Expects `OK`, and keeps messages that come before it: nothing says which is sent first.
    fn ok_among_messages(&mut self) {
        loop {
            match self.next_received(SOON) {
                Ok(frame @ Frame::Message(_)) => self.early.push_back(frame),
                other => {
                    let answer = other.as_ref().map(Frame::describe);
                    return assert_eq!(answer.as_deref(), Ok("OK"));
                }
            }
        }
    }

    /// Expects a message now.
    pub fn message(&mut self) -> Message {
        self.message_within(SOON)
    }

    /// Expects a message within `within`.
    pub fn message_within(&mut self, within: Duration) -> Message {
        match self.next(within) {
            Ok(Frame::Message(message)) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Expects a message with this body, and gives its id.
    pub fn delivery(&mut self, body: &str, attempts: u16) -> String {
        let message = self.message();
        assert_eq!((message.text(), message.attempts), (body, attempts));
        message.id
    }

    /// All messages that come until `quiet` passes without one.
    pub fn drain(&mut self, quiet: Duration) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            match self.next(quiet) {
                Ok(Frame::Message(message)) => all.push(message),
                Ok(Frame::Response(body)) if body == b"_heartbeat_" => self.command("NOP"),
                Ok(other) => panic!("expected messages, got {other:?}"),
                Err(_) => return all,
            }
        }
    }

    /// Expects that nothing comes for so long.
    pub fn silent(&mut self, quiet: Duration) {
        assert_eq!(self.next(quiet), Err(End::Silent));
    }

    /// Expects that the broker closes, with no further frame.
    pub fn closed(&mut self) {
        assert_eq!(self.next(SOON), Err(End::Closed));
    }

    /// Expects that the connection still works: a publish is answered, next in order.
    pub fn alive(&mut self) {
        self.publish("still-alive", b"x");
    }

    /// Publishes and waits for `OK`.
    pub fn publish(&mut self, topic: &str, body: &[u8]) {
        self.send(&publish(topic, body));
        self.ok_among_messages();
    }

    /// Publishes with a delay and waits for `OK`.
    pub fn publish_deferred(&mut self, topic: &str, defer_ms: u64, body: &[u8]) {
        self.send(&dpub(topic, defer_ms, body));
        self.ok_among_messages();
    }

    /// Subscribes and waits for `OK`.
    pub fn subscribe(&mut self, topic: &str, channel: &str) {
        self.command(&format!("SUB {topic} {channel}"));
        self.ok();
    }

    /// Finishes a message.
    pub fn fin(&mut self, id: &str) {
        self.command(&format!("FIN {id}"));
    }

    /// Gives a message back.
    pub fn req(&mut self, id: &str, timeout_ms: u64) {
        self.command(&format!("REQ {id} {timeout_ms}"));
    }

    /// Asks for more time.
    pub fn touch(&mut self, id: &str) {
        self.command(&format!("TOUCH {id}"));
    }
}

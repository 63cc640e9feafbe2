//! Clients that go on whatever happens to the broker, and tell the ledger each step.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{Answer, Key, Ledger, Receipt, body};
use super::random::Random;
use crate::harness::{Client, End, Frame, Message, dpub, identify, mpub, publish};

/// Commands that a producer sends ahead of their answers.
const WINDOW: usize = 32;
/// The least time from one burst of commands to the next: it bounds the load.
const BURSTS: Duration = Duration::from_millis(5);
/// Messages are given to somebody else after this time, which a broker has to get some of the
/// processor in.
const TIMEOUT_MS: u64 = 3000;
/// A touched message is finished after this time.
const HELD: Duration = Duration::from_millis(300);
/// How long clients wait before they look again at what they are to do.
const POLL: Duration = Duration::from_millis(20);

/// What all clients of a run share.
pub struct World {
    /// Hears of everything.
    pub ledger: Ledger,
    /// Where the broker is, when it is there.
    pub tcp: SocketAddr,
    /// Of all random choices.
    pub seed: u64,
    /// Topics are `t0`, `t1` and so on.
    pub topics: usize,
    /// Whether some messages are published with a delay.
    pub defers: bool,
    /// Whether publishers go on.
    pub producing: AtomicBool,
    /// For a moment nothing is published.
    pub paused: AtomicBool,
    /// From now on everything that comes is finished.
    pub calm: AtomicBool,
    /// Everybody is to end.
    pub over: AtomicBool,
}

/// Ends the clients of a run, also when the run fails.
pub struct Ending<'a>(pub &'a World);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.producing.store(false, Ordering::Relaxed);
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// A run against a broker at this address.
    pub fn new(tcp: SocketAddr, seed: u64, topics: usize, defers: bool) -> Self {
        World {
            ledger: Ledger::default(),
            tcp,
            seed,
            topics,
            defers,
            producing: AtomicBool::new(true),
            paused: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }

    /// Publishes until told to stop, and then waits for the answers.
    pub fn produce(&self, id: u32) {
        let mut producer = Producer {
            world: self,
            id,
            sequence: 0,
            random: Random::new(self.seed ^ u64::from(id)),
        };
        while Self::is(&self.producing) {
            if let Some(client) = Client::try_new(self.tcp) {
                producer.connected(client);
            }
            thread::sleep(POLL);
        }
    }

    /// Consumes one channel as an unreliable worker does, until the run is over.
    pub fn consume(&self, topic: &str, channel: &str, id: u64) {
        let mut random = Random::new(self.seed ^ (id << 32));
        while !Self::is(&self.over) {
            let ready = 1 + random.below(100);
            match Consumer::new(self, topic, channel, ready) {
                Some(mut consumer) => while consumer.step(&mut random).is_ok() {},
                None => thread::sleep(POLL),
            }
        }
    }

    /// Takes so many messages from a channel and finishes them; gives up when none come, and says
    /// how many came.
    pub fn sweep(&self, topic: &str, channel: &str, count: usize) -> usize {
        let Some(mut consumer) = Consumer::new(self, topic, channel, count.min(2000)) else {
            return 0;
        };
        let mut random = Random::new(0);
        let mut taken = 0;
        while taken < count {
            match consumer.client.next(Duration::from_millis(500)) {
                Ok(Frame::Message(message)) => consumer.take(&message, &mut random),
                _ => break,
            }
            taken += 1;
        }
        consumer.leave();
        taken
    }
}

struct Producer<'a> {
    world: &'a World,
    id: u32,
    sequence: u32,
    random: Random,
}

impl Producer<'_> {
    /// Publishes on one connection as long as it lasts.
    fn connected(&mut self, mut client: Client) {
        let mut waiting: VecDeque<Vec<Key>> = VecDeque::new();
        let mut next_burst = Instant::now();
        while World::is(&self.world.producing) || !waiting.is_empty() {
            let sends = World::is(&self.world.producing) && !World::is(&self.world.paused);
            if sends && waiting.len() < WINDOW && Instant::now() >= next_burst {
                next_burst = Instant::now() + BURSTS;
                for _ in 0..=self.random.below(8) {
                    let (bytes, keys) = self.command();
                    waiting.push_back(keys);
                    if !client.try_send(&bytes) {
                        return;
                    }
                }
            }
            match client.next(Duration::from_millis(1)) {
                Ok(frame) => self.answer(&mut client, &mut waiting, frame),
                Err(End::Closed) => return,
                Err(End::Silent) if World::is(&self.world.over) => return,
                Err(End::Silent) => {}
            }
        }
    }

    fn answer(&self, client: &mut Client, waiting: &mut VecDeque<Vec<Key>>, frame: Frame) {
        let answer = match frame {
            Frame::Response(text) if text == b"_heartbeat_" => {
                client.try_send(b"NOP\n");
                return;
            }
            Frame::Response(text) if text == b"OK" => Answer::Acknowledged,
            Frame::Error(text) if text.windows(10).any(|part| part == b"PUB_FAILED") => {
                Answer::Refused
            }
            frame => panic!("the producer got {frame:?}"),
        };
        let keys = waiting.pop_front().expect("an answer follows a command");
        self.world.ledger.answered(&keys, answer);
    }

    /// A command, and whom it carries.
    fn command(&mut self) -> (Vec<u8>, Vec<Key>) {
        let topic = format!("t{}", self.random.below(self.world.topics));
        match self.random.below(10) {
            0 | 1 => {
                let bodies: Vec<Vec<u8>> =
                    (0..2 + self.random.below(10)).map(|_| self.body()).collect();
                let keys =
                    bodies.iter().map(|body| self.world.ledger.sent(&topic, body, None)).collect();
                let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                (mpub(&topic, &slices), keys)
            }
            2 if self.world.defers => {
                let (body, delay) = (self.body(), self.random.ms_below(3000));
                let key = self.world.ledger.sent(&topic, &body, Some(delay));
                (dpub(&topic, delay.as_millis() as u64, &body), vec![key])
            }
            _ => {
                let body = self.body();
                let key = self.world.ledger.sent(&topic, &body, None);
                (publish(&topic, &body), vec![key])
            }
        }
    }

    /// Most are small, some are large, and a few are larger than anything that is written at once.
    fn body(&mut self) -> Vec<u8> {
        let padding = match self.random.below(200) {
            0 => 100_000 + self.random.below(200_000),
            1..=9 => self.random.below(20_000),
            _ => self.random.below(400),
        };
        self.sequence += 1;
        let key = Key { producer: self.id, sequence: self.sequence };
        body(key, padding, &mut self.random)
    }
}

struct Consumer<'a> {
    world: &'a World,
    topic: String,
    channel: String,
    client: Client,
    /// The life of the broker that it is connected to.
    life: usize,
    /// What was said about which message, for when the broker does not accept it.
    said: BTreeMap<String, Receipt>,
    /// Touched ones, and when they will be finished.
    held: VecDeque<(Instant, String, Receipt)>,
}

impl<'a> Consumer<'a> {
    /// Subscribes, if the broker is there and stays long enough.
    fn new(world: &'a World, topic: &str, channel: &str, ready: usize) -> Option<Self> {
        let life = world.ledger.life();
        let mut client = Client::try_new(world.tcp)?;
        let opening = identify(&format!("{{\"msg_timeout\":{TIMEOUT_MS}}}"));
        let subscribe = format!("SUB {topic} {channel}\n").into_bytes();
        for bytes in [opening, subscribe] {
            let sent = client.try_send(&bytes);
            let answer = client.next(Duration::from_secs(10));
            if !sent || answer != Ok(Frame::Response(b"OK".to_vec())) {
                return None;
            }
        }
        client.try_send(format!("RDY {ready}\n").as_bytes()).then(|| Consumer {
            world,
            topic: topic.to_string(),
            channel: channel.to_string(),
            client,
            life,
            said: BTreeMap::new(),
            held: VecDeque::new(),
        })
    }

    /// Handles one frame or a moment without one; an error when there is nothing more to do here.
    fn step(&mut self, random: &mut Random) -> Result<(), End> {
        match self.client.next(POLL) {
            Ok(Frame::Message(message)) => self.take(&message, random),
            Ok(Frame::Response(_)) => {
                self.client.try_send(b"NOP\n");
            }
            Ok(Frame::Error(text)) => self.refused(&text),
            Err(End::Closed) => return Err(End::Closed),
            Err(End::Silent) if World::is(&self.world.over) => return Err(End::Closed),
            Err(End::Silent) => {}
        }
        while self.held.front().is_some_and(|held| held.0 <= Instant::now()) {
            let (_, id, receipt) = self.held.pop_front().unwrap();
            self.finish(&id, receipt);
        }
        Ok(())
    }

    /// Tells the ledger, and decides what becomes of the message.
    fn take(&mut self, message: &Message, random: &mut Random) {
        let ledger = &self.world.ledger;
        let receipt = ledger.delivered(&self.topic, &self.channel, message.attempts, &message.body);
        let id = message.id.clone();
        let Some(mut receipt) = receipt else {
            // The ledger has noted it; it must not come again and again.
            self.client.try_send(format!("FIN {id}\n").as_bytes());
            return;
        };
        receipt.life = self.life;
        let lot = if World::is(&self.world.calm) { 99 } else { random.below(100) };
        match lot {
            0..5 => self.requeue(&id, receipt, Duration::ZERO),
            5..8 => self.requeue(&id, receipt, Duration::from_millis(100) + random.ms_below(1400)),
            8..13 => {
                self.client.try_send(format!("TOUCH {id}\n").as_bytes());
                self.held.push_back((Instant::now() + HELD, id, receipt));
            }
            // It will time out.
            13..15 => {}
            _ => self.finish(&id, receipt),
        }
    }

    fn finish(&mut self, id: &str, receipt: Receipt) {
        self.world.ledger.finished(&receipt);
        self.client.try_send(format!("FIN {id}\n").as_bytes());
        self.said.insert(id.to_string(), receipt);
    }

    fn requeue(&mut self, id: &str, receipt: Receipt, delay: Duration) {
        self.world.ledger.requeued(&receipt, delay);
        self.client.try_send(format!("REQ {id} {}\n", delay.as_millis()).as_bytes());
        self.said.insert(id.to_string(), receipt);
    }

    /// `E_FIN_FAILED FIN <id> failed …`: the message had timed out.
    fn refused(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        match (words[0], words.get(2).and_then(|id| self.said.get(*id))) {
            ("E_FIN_FAILED" | "E_REQ_FAILED", Some(receipt)) => self.world.ledger.void(receipt),
            ("E_TOUCH_FAILED", _) => {}
            _ => panic!("the consumer got {text}"),
        }
    }

    /// Closes in order, so that everything said before is heard.
    fn leave(&mut self) {
        self.client.try_send(b"CLS\n");
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            match self.client.next(Duration::from_secs(5)) {
                Ok(Frame::Error(text)) => self.refused(&text),
                Ok(Frame::Response(text)) if text != b"CLOSE_WAIT" => {}
                Ok(Frame::Message(_)) => {}
                _ => return,
            }
        }
    }
}

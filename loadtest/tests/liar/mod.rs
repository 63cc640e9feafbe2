//! A small broker that does what NSQ's protocol says, except for one lie that it can be told to
//! tell: whoever checks a broker has to catch it.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// Confirms every so many-th message and forgets it.
    Lose(u64),
    /// Delivers every so many-th message twice.
    Repeat(u64),
    /// Changes a bit in every so many-th message.
    Corrupt(u64),
    /// Cuts a byte off every so many-th message.
    Cut(u64),
    /// Puts every so many-th message into another topic.
    Misroute(u64),
    /// Adds a message of its own to every so many-th.
    Invent(u64),
    /// Answers the so many-th publish with an error.
    Refuse(u64),
    /// Closes the connection at the so many-th publish.
    Close(u64),
}

/// The running broker; its threads end with the test's process.
pub struct Liar {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    topics: HashMap<String, Topic>,
    published: u64,
    deliveries: u64,
}

#[derive(Default)]
struct Topic {
    /// What came before there was a channel.
    early: Vec<Vec<u8>>,
    channels: HashMap<String, VecDeque<Delivery>>,
}

#[derive(Clone)]
struct Delivery {
    attempts: u16,
    body: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    lie: Lie,
    state: Arc<Mutex<State>>,
    bytes: Vec<u8>,
    place: Option<(String, String)>,
    ready: usize,
    in_flight: HashMap<Vec<u8>, Delivery>,
}

impl Liar {
    /// Starts it on a free port.
    pub fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let client = Client {
                    stream,
                    lie,
                    state: shared.clone(),
                    bytes: Vec::new(),
                    place: None,
                    ready: 0,
                    in_flight: HashMap::new(),
                };
                thread::spawn(move || client.serve());
            }
        });
        Self { address, state }
    }

    /// Messages that were published so far.
    pub fn published(&self) -> u64 {
        self.state.lock().unwrap().published
    }
}

impl Client {
    fn serve(mut self) {
        let mut some = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut some) {
                Ok(0) => break,
                Ok(came) => self.bytes.extend_from_slice(&some[..came]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {}
                Err(_) => break,
            }
            let mut out = Vec::new();
            let goes_on = self.take_commands(&mut out);
            self.deliver(&mut out);
            if self.stream.write_all(&out).is_err() || !goes_on {
                break;
            }
        }
        // What was not finished is somebody else's.
        let left: Vec<Delivery> = self.in_flight.drain().map(|(_, delivery)| delivery).collect();
        self.with_channel(|queue, _| queue.extend(left));
    }

    /// False when the connection has to end.
    fn take_commands(&mut self, out: &mut Vec<u8>) -> bool {
        if self.bytes.starts_with(b"  V2") {
            self.bytes.drain(..4);
        }
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(self.bytes[..end].to_vec()).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let body = match words[0] {
                "PUB" | "MPUB" => {
                    let Some(body) = sized(&self.bytes[end + 1..]) else { return true };
                    body.to_vec()
                }
                _ => Vec::new(),
            };
            let has_body = matches!(words[0], "PUB" | "MPUB");
            self.bytes.drain(..end + 1 + if has_body { 4 + body.len() } else { 0 });
            match words[0] {
                "PUB" => self.publish(words[1], vec![body], out),
                "MPUB" => self.publish(words[1], split(&body), out),
                "SUB" => self.subscribe(words[1], words[2], out),
                "RDY" => self.ready = words[1].parse().unwrap(),
                "FIN" => drop(self.in_flight.remove(words[1].as_bytes()).unwrap()),
                "REQ" => self.requeue(words[1]),
                "CLS" => {
                    self.ready = 0;
                    frame(out, 0, b"CLOSE_WAIT");
                }
                "NOP" => {}
                other => panic!("{other:?}"),
            }
            let published = self.state.lock().unwrap().published;
            if matches!(self.lie, Lie::Close(at) if published >= at) {
                return false;
            }
        }
        true
    }

    fn publish(&mut self, topic: &str, bodies: Vec<Vec<u8>>, out: &mut Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        for body in bodies {
            state.published += 1;
            let number = state.published;
            let is_now = |every| number.is_multiple_of(every);
            let mut copies = vec![body];
            let mut topic = topic.to_owned();
            match self.lie {
                Lie::Lose(every) if is_now(every) => copies.clear(),
                Lie::Repeat(every) if is_now(every) => copies.push(copies[0].clone()),
                Lie::Corrupt(every) if is_now(every) => {
                    let middle = copies[0].len() / 2;
                    copies[0][middle] ^= 1;
                }
                Lie::Cut(every) if is_now(every) => drop(copies[0].pop()),
                Lie::Invent(every) if is_now(every) => copies.push(b"good news".to_vec()),
                Lie::Misroute(every) if is_now(every) => {
                    let other = state.topics.keys().find(|name| **name != topic);
                    topic = other.unwrap_or(&topic).clone();
                }
                _ => {}
            }
            state.topics.entry(topic).or_default().take(copies);
        }
        match self.lie {
            Lie::Refuse(at) if state.published >= at => frame(out, 1, b"E_PUB_FAILED disk full"),
            _ => frame(out, 0, b"OK"),
        }
    }

    fn subscribe(&mut self, topic: &str, channel: &str, out: &mut Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let entry = state.topics.entry(topic.to_owned()).or_default();
        let early = std::mem::take(&mut entry.early);
        let queue = entry.channels.entry(channel.to_owned()).or_default();
        queue.extend(early.into_iter().map(|body| Delivery { attempts: 0, body }));
        self.place = Some((topic.to_owned(), channel.to_owned()));
        frame(out, 0, b"OK");
    }

    fn requeue(&mut self, id: &str) {
        let delivery = self.in_flight.remove(id.as_bytes()).unwrap();
        self.with_channel(|queue, _| queue.push_back(delivery));
    }

    fn deliver(&mut self, out: &mut Vec<u8>) {
        let room = self.ready.saturating_sub(self.in_flight.len());
        let Some(all) = self.with_channel(|queue, deliveries| {
            let count = room.min(queue.len());
            let ids = *deliveries..;
            *deliveries += count as u64;
            ids.zip(queue.drain(..count)).collect::<Vec<_>>()
        }) else {
            return;
        };
        for (number, mut delivery) in all {
            delivery.attempts += 1;
            let id = format!("{number:016x}").into_bytes();
            let mut data = vec![0; 8];
            data.extend_from_slice(&delivery.attempts.to_be_bytes());
            data.extend_from_slice(&id);
            data.extend_from_slice(&delivery.body);
            frame(out, 2, &data);
            self.in_flight.insert(id, delivery);
        }
    }

    /// The channel that was subscribed to, and how many deliveries there were.
    fn with_channel<T>(
        &self,
        work: impl FnOnce(&mut VecDeque<Delivery>, &mut u64) -> T,
    ) -> Option<T> {
        let (topic, channel) = self.place.as_ref()?;
        let mut state = self.state.lock().unwrap();
        let State { topics, deliveries, .. } = &mut *state;
        Some(work(topics.get_mut(topic)?.channels.get_mut(channel)?, deliveries))
    }
}

impl Topic {
    fn take(&mut self, bodies: Vec<Vec<u8>>) {
        for queue in self.channels.values_mut() {
            queue.extend(bodies.iter().map(|body| Delivery { attempts: 0, body: body.clone() }));
        }
        if self.channels.is_empty() {
            self.early.extend(bodies);
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    out.extend_from_slice(&((4 + data.len()) as u32).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(data);
}

/// What follows a length, if all of it is there.
fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(4..4 + length)
}

/// The messages of an MPUB.
fn split(body: &[u8]) -> Vec<Vec<u8>> {
    let (mut bodies, mut rest) = (Vec::new(), &body[4..]);
    while let Some(one) = sized(rest) {
        bodies.push(one.to_vec());
        rest = &rest[4 + one.len()..];
    }
    bodies
}

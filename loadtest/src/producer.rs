//! Connections that publish in a closed loop.

use std::io;

use crate::codec;
use crate::conn::{Conn, ReadBuffer};
use crate::poll::{Event, Poller};
use crate::requests::{Pattern, Progress};
use crate::{Result, Target, greet};

/// What is sent, and how its answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `PUB`.
    Pub,
    /// `MPUB` of so many messages.
    Mpub(usize),
    /// `DPUB` with so many milliseconds.
    Dpub(u64),
    /// `POST /pub`.
    Http,
}

impl Request {
    /// Messages in one of them.
    pub fn messages(self) -> u64 {
        match self {
            Self::Mpub(batch) => batch as u64,
            Self::Pub | Self::Dpub(_) | Self::Http => 1,
        }
    }
}

/// The shape of a closed-loop publishing load.
#[derive(Clone, Copy, Debug)]
pub struct Publish {
    /// What each request is.
    pub request: Request,
    /// How many connections.
    pub connections: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Requests under way on each connection.
    pub in_flight: usize,
    /// Requests sent together, once so many have been answered; 1 sends each on its own.
    pub together: usize,
    /// Each connection publishes to one of the topics; otherwise to all of them in turn.
    pub stays: bool,
}

impl Publish {
    /// Messages in one request.
    pub fn messages_per_request(&self) -> u64 {
        self.request.messages()
    }

    /// One request for each of the target's topics.
    fn requests(&self, target: &Target) -> Vec<Vec<u8>> {
        let (body, host) = (body(self.size), target.http_of_load().to_string());
        let request = |topic: &String| match self.request {
            Request::Pub => codec::publish(topic, &body),
            Request::Mpub(batch) => codec::publish_many(topic, &body, batch),
            Request::Dpub(defer_ms) => codec::publish_deferred(topic, &body, defer_ms),
            Request::Http => codec::http_publish(&host, topic, &body),
        };
        target.topic_names().iter().map(request).collect()
    }
}

/// The publishing connections of a run.
pub struct Producers {
    shape: Publish,
    /// One through all topics, or one for each.
    patterns: Vec<Pattern>,
    members: Vec<Producer>,
    buffer: ReadBuffer,
    /// Requests that may still be sent.
    pub budget: u64,
    /// Requests sent, or on their way out.
    pub sent: u64,
    /// Requests answered.
    pub answered: u64,
}

struct Producer {
    conn: Conn,
    /// Which of the patterns it follows.
    pattern: usize,
    progress: Progress,
    /// Requests that may be under way on this connection and are not.
    free: usize,
}

impl Producers {
    /// Connects them; tokens are counted from 0. Nothing is sent before [`Producers::grant`].
    pub fn connect(target: &Target, shape: Publish, poller: &Poller) -> Result<Self> {
        let requests = shape.requests(target);
        let of_round = |round: &[Vec<u8>]| Pattern::of_round(round, shape.in_flight);
        let patterns: Vec<Pattern> = match shape.stays {
            true => requests.chunks(1).map(of_round).collect(),
            false => vec![of_round(&requests)],
        };
        let mut members = Vec::with_capacity(shape.connections);
        for token in 0..shape.connections {
            let conn = match shape.request {
                Request::Http => greet::http(target, token)?,
                _ => greet::producer(target, token)?,
            };
            conn.register(poller)?;
            let pattern = token % patterns.len();
            // They go through the topics spread out, not all to the same one.
            let first = if shape.stays { 0 } else { token * target.topics / shape.connections };
            let progress = Progress::starting_at(&patterns[pattern], first);
            members.push(Producer { conn, pattern, progress, free: shape.in_flight });
        }
        let buffer = ReadBuffer::new();
        Ok(Self { shape, patterns, members, buffer, budget: 0, sent: 0, answered: 0 })
    }

    /// Lets so many more requests be sent, now on every connection that has room.
    pub fn grant(&mut self, requests: u64, poller: &Poller) -> Result<()> {
        self.budget = self.budget.saturating_add(requests);
        for token in 0..self.members.len() {
            self.send(token, poller)?;
        }
        Ok(())
    }

    /// Handles what one connection is ready for.
    pub fn on_event(&mut self, event: Event, poller: &Poller) -> Result<()> {
        if event.readable {
            self.take_answers(event.token)?;
            self.send(event.token, poller)?;
        }
        if event.writable {
            self.flush(event.token, poller)?;
        }
        Ok(())
    }

    /// Messages confirmed so far.
    pub fn published(&self) -> u64 {
        self.answered * self.shape.messages_per_request()
    }

    fn take_answers(&mut self, token: usize) -> Result<()> {
        let member = &mut self.members[token];
        let bytes = member.conn.read(&mut self.buffer)?;
        let (oks, used) = match self.shape.request {
            Request::Http => codec::count_http_oks(bytes)?,
            _ => codec::count_oks(bytes)?,
        };
        member.conn.keep(&bytes[used..]);
        member.free += oks;
        assert!(member.free <= self.shape.in_flight, "more answers than requests");
        self.answered += oks as u64;
        Ok(())
    }

    /// Sends as many requests as are free and granted, if these are enough to go together.
    fn send(&mut self, token: usize, poller: &Poller) -> Result<()> {
        let member = &mut self.members[token];
        let granted = usize::try_from(self.budget).unwrap_or(usize::MAX);
        let requests = member.free.min(granted);
        let is_last = requests == granted;
        if requests == 0 || (requests < self.shape.together && !is_last) {
            return Ok(());
        }
        member.free -= requests;
        member.progress.push(&self.patterns[member.pattern], requests);
        self.budget -= requests as u64;
        self.sent += requests as u64;
        Ok(self.flush(token, poller)?)
    }

    fn flush(&mut self, token: usize, poller: &Poller) -> io::Result<()> {
        let member = &mut self.members[token];
        member.conn.write_pattern(&self.patterns[member.pattern], &mut member.progress)?;
        member.conn.wait_for_room(poller, !member.progress.is_done())
    }
}

/// A body that is not all the same byte.
pub fn body(size: usize) -> Vec<u8> {
    (0..size).map(|index| b'a' + (index % 26) as u8).collect()
}

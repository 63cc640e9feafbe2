//! Connections that publish messages which can be told apart, and know when each was meant to go.

use std::collections::VecDeque;

use crate::body::Bodies;
use crate::codec::{self, Kind};
use crate::conn::{Conn, Outbox, ReadBuffer};
use crate::poll::{Event, Poller};
use crate::producer::Request;
use crate::{Result, Target, greet};

/// Bytes that may wait on a connection whose broker does not read; it has no room beyond that.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// The publishing connections of a run.
pub struct Senders {
    request: Request,
    /// What a request begins with, for each topic.
    heads: Vec<Vec<u8>>,
    members: Vec<Sender>,
    /// Requests under way on a connection, at most.
    in_flight_max: usize,
    /// Whose turn it is.
    turn: usize,
    buffer: ReadBuffer,
    /// Messages of the requests sent, or on their way out.
    pub sent: u64,
    /// Messages confirmed.
    pub confirmed: u64,
    /// Requests sent, or on their way out.
    requests: u64,
}

struct Sender {
    conn: Conn,
    outbox: Outbox,
    /// When each request under way was meant to be sent.
    waiting: VecDeque<u64>,
    /// Has something that was not written yet.
    is_fresh: bool,
}

impl Senders {
    /// Connects them; tokens are counted from 0.
    pub fn connect(
        target: &Target,
        request: Request,
        connections: usize,
        in_flight_max: usize,
        poller: &Poller,
    ) -> Result<Self> {
        let mut members = Vec::with_capacity(connections);
        for token in 0..connections {
            let conn = match request {
                Request::Http => greet::http(target, token)?,
                _ => greet::producer(target, token)?,
            };
            conn.register(poller)?;
            let (outbox, waiting) = (Outbox::default(), VecDeque::new());
            members.push(Sender { conn, outbox, waiting, is_fresh: false });
        }
        let heads = target.topic_names().iter().map(|topic| head(target, request, topic)).collect();
        Ok(Self {
            request,
            heads,
            members,
            in_flight_max,
            turn: 0,
            buffer: ReadBuffer::new(),
            sent: 0,
            confirmed: 0,
            requests: 0,
        })
    }

    /// Messages in one request.
    pub fn messages_per_request(&self) -> u64 {
        self.request.messages()
    }

    /// Connections, which have the tokens from 0 on.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The next connection that may have one more request; none while all are full.
    pub fn next_with_room(&mut self) -> Option<usize> {
        for _ in 0..self.members.len() {
            let at = self.turn;
            self.turn = (at + 1) % self.members.len();
            let member = &self.members[at];
            let has_room = member.waiting.len() < self.in_flight_max;
            if has_room && member.outbox.unsent() < UNSENT_BYTES_MAX {
                return Some(at);
            }
        }
        None
    }

    /// Puts the next request on a connection; its messages are numbered from `first` on.
    pub fn push(&mut self, at: usize, bodies: &Bodies, first: u64, due_ns: u64) {
        let topic = (self.requests % self.heads.len() as u64) as usize;
        let (head, member) = (&self.heads[topic], &mut self.members[at]);
        Content { bodies, first, due_ns }.append(self.request, head, &mut member.outbox.bytes);
        member.waiting.push_back(due_ns);
        member.is_fresh = true;
        self.requests += 1;
        self.sent += self.request.messages();
    }

    /// Writes what was pushed since the last time.
    pub fn flush(&mut self, poller: &Poller) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| member.is_fresh) {
            member.is_fresh = false;
            member.outbox.flush(&mut member.conn, poller)?;
        }
        Ok(())
    }

    /// Handles what one connection is ready for; `on_confirm` learns of each request when it was
    /// meant to be sent.
    pub fn on_event(
        &mut self,
        event: Event,
        poller: &Poller,
        mut on_confirm: impl FnMut(u64),
    ) -> Result<()> {
        let member = &mut self.members[event.token];
        if event.readable {
            let answers = member.take_answers(self.request, &mut self.buffer)?;
            for _ in 0..answers {
                let due_ns = member.waiting.pop_front().ok_or_else(|| {
                    crate::Error::Protocol("more answers than publishes".to_owned())
                })?;
                on_confirm(due_ns);
                self.confirmed += self.request.messages();
            }
        }
        Ok(member.outbox.flush(&mut member.conn, poller)?)
    }
}

impl Sender {
    fn take_answers(&mut self, request: Request, buffer: &mut ReadBuffer) -> Result<usize> {
        let bytes = self.conn.read(buffer)?;
        let (mut oks, mut at) = (0, 0);
        if request == Request::Http {
            (oks, at) = codec::count_http_oks(bytes)?;
        } else {
            while let Some(frame) = codec::next_frame(bytes, &mut at)? {
                match (frame.kind, frame.data) {
                    (Kind::Response, b"OK") => oks += 1,
                    (Kind::Response, b"_heartbeat_") => {
                        self.outbox.bytes.extend_from_slice(b"NOP\n");
                    }
                    _ => return Err(codec::unexpected(&frame)),
                }
            }
        }
        self.conn.keep(&bytes[at..]);
        Ok(oks)
    }
}

/// What does not change from request to request of a topic.
fn head(target: &Target, request: Request, topic: &str) -> Vec<u8> {
    let text = match request {
        Request::Pub => format!("PUB {topic}\n"),
        Request::Mpub(_) => format!("MPUB {topic}\n"),
        Request::Dpub(defer_ms) => format!("DPUB {topic} {defer_ms}\n"),
        Request::Http => {
            let host = target.http_of_load();
            format!("POST /pub?topic={topic} HTTP/1.1\r\nHost: {host}\r\nContent-Length: ")
        }
    };
    text.into_bytes()
}

/// One request: the messages of `bodies` from number `first` on, due at the same time.
struct Content<'b> {
    bodies: &'b Bodies,
    first: u64,
    due_ns: u64,
}

impl Content<'_> {
    fn append(&self, request: Request, head: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(head);
        match request {
            Request::Pub | Request::Dpub(_) => self.append_sized(self.first, out),
            Request::Mpub(batch) => {
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&(batch as u32).to_be_bytes());
                for number in self.first..self.first + batch as u64 {
                    self.append_sized(number, out);
                }
                let length = (out.len() - at - 4) as u32;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            Request::Http => {
                out.extend_from_slice(self.bodies.size(self.first).to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                self.bodies.append(out, self.first, self.due_ns);
            }
        }
    }

    fn append_sized(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.bodies.size(number) as u32).to_be_bytes());
        self.bodies.append(out, number, self.due_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Checked, Sizes};

    #[test]
    fn requests_carry_whole_bodies_and_right_lengths() {
        let bodies = Bodies::new(Sizes::Range(30, 60), true).unwrap();
        let mut out = Vec::new();
        let content = |first| Content { bodies: &bodies, first, due_ns: 5 };
        content(7).append(Request::Mpub(3), b"MPUB t\n", &mut out);
        let inner = &out[b"MPUB t\n".len()..];
        assert_eq!(inner[..4], ((inner.len() - 4) as u32).to_be_bytes());
        assert_eq!(inner[4..8], [0, 0, 0, 3]);
        let mut at = 8;
        for number in 7..10 {
            let size = u32::from_be_bytes(inner[at..at + 4].try_into().unwrap()) as usize;
            let checked = bodies.check(&inner[at + 4..at + 4 + size]);
            assert_eq!(checked, Checked::Whole { number, due_ns: 5 });
            at += 4 + size;
        }
        assert_eq!(at, inner.len());

        out.clear();
        content(0).append(Request::Http, b"POST / HTTP/1.1\r\nContent-Length: ", &mut out);
        let head = b"POST / HTTP/1.1\r\nContent-Length: ".len();
        let size = bodies.size(0);
        assert_eq!(out[head..head + 6], *format!("{size}\r\n\r\n").as_bytes());
        assert_eq!(out.len(), head + 6 + size);
        assert_eq!(bodies.check(&out[head + 6..]), Checked::Whole { number: 0, due_ns: 5 });
    }
}

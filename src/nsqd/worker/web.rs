//! HTTP connections of one worker: tasks beside the turn loop, fed and drained by it.
//!
//! The tasks never wait for anything but what the loop tells them (bytes, room, answers, time),
//! so the loop knows when one of them can run: when it has told them something, or when the last
//! round of them ran at all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use shards::placement::Placement;
use shards::request::{Reply, Request};
use shards::wire::names::Name;
use slab::Slab;

use super::Worker;
use crate::net::shield::panic_text;
use crate::nsqd::http::desk::{Answers, Desk};
use crate::nsqd::http::facts::Facts;
use crate::nsqd::http::serve::serve;
use crate::nsqd::http::socket::{DirtyList, HttpPeer, pair};
use crate::nsqd::http::timers::Timers;
use crate::nsqd::ring::{Ring, SocketKey};

/// Rounds of tasks in one turn; a task that wakes itself goes on in the next.
const ROUNDS_PER_TURN_MAX: usize = 16;
/// How long what a client still sends is thrown away after the last answer.
const LINGER: Duration = Duration::from_millis(500);
/// How much of it: a request that was refused for its size, but not one without an end.
const LINGER_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
struct Connection {
    socket: SocketKey,
    peer: HttpPeer,
    /// A receive is under way.
    reading: bool,
    /// The other side sends no more.
    ended: bool,
    /// The socket takes no more for now.
    blocked: bool,
    /// Everything is said: what still comes is thrown away until then, so that a reset does not
    /// overtake the answer.
    lingering: Option<Instant>,
    /// How much was thrown away.
    discarded_bytes: usize,
}

/// The HTTP connections of a worker.
#[derive(Debug)]
pub struct Web {
    connections: Slab<Connection>,
    /// Slots with news from their tasks.
    dirty: DirtyList,
    timers: Timers,
    desk: LocalDesk,
    /// Polls of tasks, ever.
    polls: Rc<Cell<u64>>,
    /// A task can run.
    stirred: bool,
    /// Connections that linger, and until when. A slot may have a new owner by then, which a look
    /// does no harm.
    lingering: VecDeque<(usize, Instant)>,
}

/// Where the tasks of one worker hand in requests.
#[derive(Clone, Debug)]
struct LocalDesk {
    facts: Arc<Facts>,
    placement: Rc<Placement>,
    answers: Answers,
    asked: Rc<RefCell<Vec<(u16, u64, Request)>>>,
}

impl Desk for LocalDesk {
    fn shards(&self) -> u16 {
        self.placement.shards
    }

    fn owner(&self, topic: &[u8]) -> u16 {
        // A name that no topic can have: any shard can say that there is none.
        Name::parse(topic).map_or(0, |name| self.placement.owner(&name))
    }

    fn ask(&self, shard: u16, request: Request) -> impl Future<Output = Reply> + 'static {
        let expected = self.answers.expect();
        if let Some((ticket, _)) = &expected {
            self.asked.borrow_mut().push((shard, *ticket, request));
        }
        async move {
            match expected {
                Some((_, answer)) => answer.await,
                None => Reply::Refused("too many requests wait".to_owned()),
            }
        }
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Web {
    /// No connections yet.
    pub fn new(facts: Arc<Facts>, placement: Placement, now: Instant) -> Web {
        let desk = LocalDesk {
            facts,
            placement: Rc::new(placement),
            answers: Answers::default(),
            asked: Rc::default(),
        };
        Web {
            connections: Slab::new(),
            dirty: DirtyList::default(),
            timers: Timers::new(now),
            desk,
            polls: Rc::default(),
            stirred: false,
            lingering: VecDeque::new(),
        }
    }

    /// What HTTP tells about the process.
    pub fn facts(&self) -> &Facts {
        &self.desk.facts
    }

    /// Starts a task for a connection and returns the connection's slot.
    pub fn open(&mut self, socket: SocketKey, remote: String) -> usize {
        let slot = self.connections.vacant_key();
        let (task_side, peer) = pair(slot as u64, self.dirty.clone());
        self.connections.insert(Connection {
            socket,
            peer,
            reading: false,
            ended: false,
            blocked: false,
            lingering: None,
            discarded_bytes: 0,
        });
        let serving = serve(task_side, self.desk.clone(), self.timers.clone(), remote);
        let task = Counted { inner: Box::pin(serving), polls: self.polls.clone() };
        glommio::spawn_local(task).detach();
        self.stirred = true;
        slot
    }

    /// Bytes arrived.
    pub fn received(&mut self, slot: usize, bytes: &[u8]) {
        self.tell(slot, |connection| {
            connection.reading = false;
            match connection.lingering {
                None => connection.peer.feed(bytes),
                Some(_) => connection.discarded_bytes += bytes.len(),
            }
        });
        self.dirty.borrow_mut().push(slot as u64);
    }

    /// The peer sends no more.
    pub fn ended(&mut self, slot: usize) {
        self.tell(slot, |connection| {
            connection.peer.end();
            connection.ended = true;
        });
        self.dirty.borrow_mut().push(slot as u64);
    }

    /// The connection broke.
    pub fn failed(&mut self, slot: usize, error: io::Error) {
        self.tell(slot, |connection| {
            connection.peer.fail(error);
            connection.ended = true;
        });
        self.dirty.borrow_mut().push(slot as u64);
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, slot: usize) {
        self.tell(slot, |connection| connection.blocked = false);
        self.dirty.borrow_mut().push(slot as u64);
    }

    fn tell(&mut self, slot: usize, news: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(slot) {
            news(connection);
            self.stirred = true;
        }
    }

    /// Whether a task can run.
    pub fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// When a task is to be woken by the time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|&(_, until)| until);
        self.timers.next_deadline().into_iter().chain(lingering).min()
    }

    /// Receives, sends and closes as the tasks want it. The socket when it was closed.
    fn look_after(&mut self, slot: usize, ring: &mut Ring, now: Instant) -> Option<SocketKey> {
        let connection = self.connections.get_mut(slot)?;
        let (socket, peer) = (connection.socket, &mut connection.peer);
        while !connection.blocked && peer.has_output() {
            let output = peer.output();
            let length = output.len();
            match ring.send(socket, output) {
                Ok(sent) => {
                    peer.sent(sent);
                    if sent < length {
                        connection.blocked = true;
                        ring.want_writable(socket);
                    }
                }
                Err(error) => {
                    peer.fail(error);
                    connection.ended = true;
                }
            }
            self.stirred = true;
        }
        if peer.is_closed() {
            let until = *connection.lingering.get_or_insert_with(|| {
                ring.end_sending(socket);
                self.lingering.push_back((slot, now + LINGER));
                now + LINGER
            });
            let enough = until <= now || connection.discarded_bytes > LINGER_BYTES_MAX;
            if connection.ended || enough {
                ring.close(socket);
                self.connections.remove(slot);
                return Some(socket);
            }
        }
        let discards = connection.lingering.is_some();
        if !connection.reading && !connection.ended && (discards || peer.wants_input()) {
            connection.reading = true;
            ring.resume(socket);
        }
        None
    }
}

impl Worker {
    /// Lets HTTP tasks run as long as they have something to do, and moves what they say.
    pub(super) async fn run_web(&mut self) {
        self.web.stirred |= self.web.next_deadline().is_some_and(|at| at <= self.clock.instant());
        self.web.timers.advance(self.clock.instant());
        for _ in 0..ROUNDS_PER_TURN_MAX {
            while let Some((ticket, reply)) = self.shard.take_reply() {
                self.web.desk.answers.answer(ticket, reply);
                self.web.stirred = true;
            }
            if !self.web.stirred {
                return;
            }
            self.web.stirred = false;
            let before = self.web.polls.get();
            glommio::executor().yield_now().await;
            self.web.stirred = self.web.polls.get() != before;
            let asked = std::mem::take(&mut *self.web.desk.asked.borrow_mut());
            for (to, ticket, request) in asked {
                self.shard.ask(to, ticket, request);
            }
            self.look_after_web();
        }
    }

    fn look_after_web(&mut self) {
        let now = self.clock.instant();
        let mut dirty = std::mem::take(&mut *self.web.dirty.borrow_mut());
        while let Some((slot, _)) = self.web.lingering.pop_front_if(|(_, until)| *until <= now) {
            dirty.push(slot as u64);
        }
        for slot in dirty {
            if let Some(socket) = self.web.look_after(slot as usize, &mut self.ring, now) {
                self.sockets.remove(socket);
            }
        }
    }
}

/// A task that counts its polls, and whose panic ends only itself.
struct Counted<F> {
    inner: Pin<Box<F>>,
    polls: Rc<Cell<u64>>,
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        let inner = self.inner.as_mut();
        catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).unwrap_or_else(|panic| {
            tracing::error!("panic in HTTP connection - {}", panic_text(&*panic));
            Poll::Ready(())
        })
    }
}

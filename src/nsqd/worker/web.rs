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

use hyper::StatusCode;
use shards::auth::Question;
use shards::placement::Placement;
use shards::request::{Reply, Request};
use shards::wire::names::Name;
use slab::Slab;

use super::Worker;
use super::layered::Layered;
use super::secure::{HANDSHAKE_TIMEOUT, Next, Secure};
use crate::net::shield::panic_text;
use crate::nsqd::control::auth::Outcome;
use crate::nsqd::http::counts::RequestCounts;
use crate::nsqd::http::desk::{Answers, Desk};
use crate::nsqd::http::facts::Facts;
use crate::nsqd::http::grants::Grants;
use crate::nsqd::http::routes::Endpoint;
use crate::nsqd::http::serve::serve;
use crate::nsqd::http::socket::{DirtyList, HttpPeer, pair};
use crate::nsqd::http::timers::Timers;
use crate::nsqd::http::{CommonName, Origin};
use crate::nsqd::ring::{Ring, SocketKey};
use crate::nsqd::statistics::outpost::Counter;
use crate::nsqd::statistics::{Page, Wanted};
use crate::nsqd::transport::Layers;

/// Rounds of tasks in one turn; a task that wakes itself goes on in the next.
const ROUNDS_PER_TURN_MAX: usize = 16;
/// Bytes sent in one turn, at which the tasks have to wait for the next one.
const BYTES_PER_TURN_MAX: usize = 512 * 1024;
/// How long what a client still sends is thrown away after the last answer.
const LINGER: Duration = Duration::from_millis(500);
/// How much of it: a request that was refused for its size, but not one without an end.
const LINGER_BYTES_MAX: usize = 8 << 20;

struct Connection {
    socket: SocketKey,
    peer: HttpPeer,
    /// TLS around it, if there is any.
    secure: Option<Secure>,
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
    /// Connections that were opened.
    opened: u64,
    /// Bytes sent in this turn.
    turn_bytes: usize,
    /// Connections that linger, and until when. A slot may have a new owner by then, which a look
    /// does no harm.
    lingering: VecDeque<(usize, Instant)>,
    /// Handshakes under way, and by when they have to be over.
    opening: VecDeque<(usize, Instant)>,
}

/// Where the tasks of one worker hand in requests.
#[derive(Clone, Debug)]
struct LocalDesk {
    facts: Arc<Facts>,
    placement: Rc<Placement>,
    answers: Answers,
    asked: Rc<RefCell<Vec<(u16, u64, Request)>>>,
    grants: Grants,
    pages: Answers<Page>,
    counter: Counter,
    counts: Rc<RefCell<RequestCounts>>,
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

    fn authorize(&self, question: Question) -> impl Future<Output = Outcome> + 'static {
        self.grants.ask(question)
    }

    fn page(&self, wanted: Wanted) -> impl Future<Output = Page> + 'static {
        let expected = self.pages.expect();
        let ordered =
            expected.as_ref().is_some_and(|(ticket, _)| self.counter.order(*ticket, wanted));
        async move {
            match expected.filter(|_| ordered) {
                Some((_, page)) => page.await,
                None => Page::too_busy(),
            }
        }
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn count(&self, endpoint: Option<Endpoint>, status: StatusCode) {
        self.counts.borrow_mut().count(endpoint, status);
    }
}

impl Web {
    /// No connections yet.
    pub fn new(facts: Arc<Facts>, placement: Placement, counter: Counter, now: Instant) -> Web {
        let desk = LocalDesk {
            facts,
            placement: Rc::new(placement),
            answers: Answers::default(),
            asked: Rc::default(),
            grants: Grants::default(),
            pages: Answers::default(),
            counter,
            counts: Rc::default(),
        };
        Web {
            connections: Slab::new(),
            dirty: DirtyList::default(),
            timers: Timers::new(now),
            desk,
            polls: Rc::default(),
            stirred: false,
            opened: 0,
            turn_bytes: 0,
            lingering: VecDeque::new(),
            opening: VecDeque::new(),
        }
    }

    /// What HTTP tells about the process.
    pub fn facts(&self) -> &Facts {
        &self.desk.facts
    }

    /// Starts a task for a connection and returns the connection's slot.
    pub fn open(
        &mut self,
        socket: SocketKey,
        remote: String,
        layers: Option<Layers>,
        now: Instant,
    ) -> usize {
        self.opened += 1;
        let slot = self.connections.vacant_key();
        let name = layers.is_some().then(CommonName::default);
        if name.is_some() {
            self.opening.push_back((slot, now + HANDSHAKE_TIMEOUT));
        }
        let (task_side, peer) = pair(slot as u64, self.dirty.clone());
        self.connections.insert(Connection {
            socket,
            peer,
            secure: layers.zip(name.clone()).map(|(layers, name)| {
                Secure::new(layers, Origin { remote: remote.clone(), secure: Some(name) }, now)
            }),
            reading: false,
            ended: false,
            blocked: false,
            lingering: None,
            discarded_bytes: 0,
        });
        let (desk, timers) = (self.desk.clone(), self.timers.clone());
        let serving = serve(task_side, desk, timers, Origin { remote, secure: name });
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
                None => match &mut connection.secure {
                    None => connection.peer.feed(bytes),
                    Some(secure) => secure.receive(bytes),
                },
                Some(_) => connection.discarded_bytes += bytes.len(),
            }
        });
        self.dirty.borrow_mut().push(slot as u64);
    }

    /// The peer sends no more.
    pub fn ended(&mut self, slot: usize) {
        self.tell(slot, |connection| {
            if connection.secure.is_none() {
                connection.peer.end();
            }
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

    /// A handshake that stood in line may go on.
    pub fn called(&mut self, slot: usize) {
        if let Some(Connection { secure: Some(secure), .. }) = self.connections.get_mut(slot) {
            secure.called();
            self.dirty.borrow_mut().push(slot as u64);
            self.stirred = true;
        }
    }

    fn tell(&mut self, slot: usize, news: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(slot) {
            news(connection);
            self.stirred = true;
        }
    }

    /// A request of HTTP may do this.
    pub fn authorized(&mut self, ticket: u64, outcome: Outcome) {
        self.desk.grants.answer(ticket, outcome);
        self.stirred = true;
    }

    /// A page that a task ordered.
    pub fn page_came(&mut self, ticket: u64, page: Page) {
        self.desk.pages.answer(ticket, page);
        self.stirred = true;
    }

    /// Answers of auth servers that are kept.
    pub fn grants(&self) -> usize {
        self.desk.grants.count()
    }

    /// Connections that are open.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Requests that were answered.
    pub fn requests(&self) -> RequestCounts {
        *self.desk.counts.borrow()
    }

    /// Connections that were opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Requests and orders that wait for their answers.
    pub fn waiting(&self) -> usize {
        self.desk.answers.waiting() + self.desk.pages.waiting()
    }

    /// Whether a task can run.
    pub fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// When a task is to be woken by the time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|&(_, until)| until);
        let opening = self.opening.front().map(|&(_, until)| until);
        self.timers.next_deadline().into_iter().chain(lingering).chain(opening).min()
    }

    /// Receives, sends and closes as the tasks want it. The socket when it was closed.
    fn look_after(
        &mut self,
        slot: usize,
        ring: &mut Ring,
        layered: &mut Layered,
        now: Instant,
    ) -> Option<SocketKey> {
        let connection = self.connections.get_mut(slot)?;
        let next = connection.unpack(layered, now);
        if next == Next::Again {
            self.dirty.borrow_mut().push(slot as u64);
            self.stirred = true;
        }
        let sent = connection.send(ring, layered);
        self.stirred |= sent > 0;
        self.turn_bytes += sent;
        self.stirred |= connection.secure.as_mut().is_some_and(Secure::has_told);
        let socket = connection.socket;
        if connection.is_closed() {
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
        let wants = connection.lingering.is_some() || connection.wants_input();
        if !connection.reading && !connection.ended && wants && next == Next::Receive {
            connection.reading = true;
            ring.resume(socket);
        }
        None
    }
}

impl Connection {
    /// Takes what came out of TLS, if there is any.
    fn unpack(&mut self, layered: &mut Layered, now: Instant) -> Next {
        let Some(secure) = &mut self.secure else { return Next::Receive };
        if secure.is_opening() && secure.until <= now {
            secure.give_up(&mut self.peer, "i/o timeout");
        }
        secure.unpack(&mut self.peer, self.ended, self.socket, layered)
    }

    /// Sends what the task has said. How many bytes there were.
    fn send(&mut self, ring: &mut Ring, layered: &mut Layered) -> usize {
        let mut bytes = 0;
        while !self.blocked {
            let output = match &mut self.secure {
                None => self.peer.output(),
                Some(secure) => secure.output(&mut self.peer, layered),
            };
            let length = output.len();
            if length == 0 {
                return bytes;
            }
            bytes += length;
            match (ring.send(self.socket, output), &mut self.secure) {
                (Ok(sent), secure) => {
                    match secure {
                        None => self.peer.sent(sent),
                        Some(secure) => secure.sent(sent),
                    }
                    if sent < length {
                        self.blocked = true;
                        ring.want_writable(self.socket);
                    }
                }
                (Err(error), secure) => {
                    if let Some(secure) = secure {
                        secure.broken();
                    }
                    self.peer.fail(error);
                    self.ended = true;
                }
            }
        }
        bytes
    }

    /// Whether everything is said.
    fn is_closed(&self) -> bool {
        self.peer.is_closed() && self.secure.as_ref().is_none_or(Secure::is_silent)
    }

    fn wants_input(&self) -> bool {
        self.peer.wants_input() || self.secure.as_ref().is_some_and(Secure::is_opening)
    }
}

impl Worker {
    /// Lets HTTP tasks run as long as they have something to do, and moves what they say.
    pub(super) async fn run_web(&mut self) {
        self.web.stirred |= self.web.next_deadline().is_some_and(|at| at <= self.clock.instant());
        self.web.timers.advance(self.clock.instant());
        self.web.turn_bytes = 0;
        for _ in 0..ROUNDS_PER_TURN_MAX {
            while let Some((ticket, reply)) = self.shard.take_reply() {
                self.web.desk.answers.answer(ticket, reply);
                self.web.stirred = true;
            }
            if !self.web.stirred || self.web.turn_bytes >= BYTES_PER_TURN_MAX {
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
            for (ticket, question) in self.web.desk.grants.take_asked() {
                self.line.ask(ticket, question);
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
        while let Some((slot, _)) = self.web.opening.pop_front_if(|(_, until)| *until <= now) {
            dirty.push(slot as u64);
        }
        let Worker { web, ring, layered, .. } = self;
        for slot in dirty {
            if let Some(socket) = web.look_after(slot as usize, ring, layered, now) {
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

//! A listener's connections: accepted up to a number, each with a time by which it has to have
//! done something, and brought to an end together.
//!
//! A connection is ended by shutting its socket down: the task that serves it is woken, finds the
//! end of the stream or an error, and returns. Nothing is cancelled.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use glommio::Task;
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use slab::Slab;

use super::listeners::{BoundListener, ListenerSocket, UnixFile};
use super::shield::Shielded;
use super::stream::{self, Stream};

/// How often deadlines are looked at, and so how late one may be.
const TICK: Duration = Duration::from_millis(250);
/// How long accepting rests after an error, such as no descriptor being left.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// The least time between two lines in the log about refused connections.
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often an interim listener looks for connections.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the end of the last connection is looked for.
const END_TICK: Duration = Duration::from_millis(5);
/// How long a connection may take to end after its socket was shut down.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How long what a client still sends is thrown away after the last word to it.
pub const LINGER: Duration = Duration::from_millis(500);

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Until when the client has to do something. (Before the stream: it goes first.)
    pub watch: Watch,
    /// The bytes.
    pub stream: Stream,
    /// The other side's `ip:port`, or `@` for a unix socket.
    pub remote: String,
}

impl Connection {
    /// After the last word: throws away what the client still sends, for a while, so that a reset
    /// does not overtake that word.
    pub async fn linger(&mut self) {
        self.watch.within(Some(LINGER));
        stream::shutdown(self.stream.as_raw_fd(), Shutdown::Write);
        let stream = &mut self.stream;
        stream::discard(|cx, buffer| Pin::new(&mut *stream).poll_read(cx, buffer)).await;
    }
}

/// What ends a connection that is silent for too long.
#[derive(Debug)]
pub struct Watch {
    key: usize,
    watched: Rc<Watched>,
    of: Rc<Inner>,
}

#[derive(Debug)]
struct Watched {
    /// Open as long as this is in the list.
    socket: RawFd,
    deadline: Cell<Option<Instant>>,
}

impl Watch {
    /// Ends the connection after `time`, counted from now, unless a later call comes before that.
    /// `None` is never.
    pub fn within(&self, time: Option<Duration>) {
        self.watched.deadline.set(time.map(|time| Instant::now() + time));
    }

    /// Whether the listener stops, and connections should come to their end.
    pub fn is_stopping(&self) -> bool {
        self.of.end_at.get().is_some()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.of.connections.borrow_mut().remove(self.key);
    }
}

/// Numbers about a listener's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Connections now.
    pub open: usize,
    /// Connections that were served, ever.
    pub accepted: u64,
    /// Connections that were closed at once, because there were too many.
    pub refused: u64,
    /// Connections that were ended for their silence.
    pub silent: u64,
}

/// Tells the numbers of a listener's connections.
#[derive(Clone, Debug)]
pub struct ConnectionCounter(Rc<Inner>);

impl ConnectionCounter {
    /// The numbers of this moment.
    pub fn counts(&self) -> ConnectionCounts {
        ConnectionCounts { open: self.0.open(), ..self.0.counts.get() }
    }
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    connections_max: usize,
    connections: RefCell<Slab<Rc<Watched>>>,
    /// All but the open ones, which are counted when asked for.
    counts: Cell<ConnectionCounts>,
    /// Set when the listener stops; then all connections end.
    end_at: Cell<Option<Instant>>,
    refused_logged: Cell<Option<Instant>>,
}

/// A listener that accepts.
#[derive(Debug)]
pub struct Listening {
    inner: Rc<Inner>,
    /// The listening socket once more: the one that the task owns cannot be reached.
    socket: OwnedFd,
    acceptor: Task<()>,
    watchdog: Task<()>,
    _unix_file: Option<UnixFile>,
}

/// Accepts connections on this thread's executor, `connections_max` at a time, and has each served
/// by a task of its own. What the task says is the end of the connection.
///
/// # Errors
/// When the process has no descriptor left.
pub fn listen<S, F>(
    bound: BoundListener,
    connections_max: usize,
    serve: S,
) -> Result<Listening, String>
where
    S: Fn(Connection) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let BoundListener { name, socket, unix_file, .. } = bound;
    let listener = match socket {
        ListenerSocket::Tcp(listener) => OwnedFd::from(listener),
        ListenerSocket::Unix(listener) => OwnedFd::from(listener),
    };
    let socket = listener.try_clone().map_err(|error| format!("cannot listen - {error}"))?;
    let inner = Inner::new(name, connections_max);
    // SAFETY: the descriptor was just given up by its owner, and the listener becomes the next.
    // glommio does nothing with a TCP listener that it may not do with a unix one.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let acceptor = glommio::spawn_local(accept(inner.clone(), listener, serve));
    let watchdog = glommio::spawn_local(watch(inner.clone()));
    Ok(Listening { inner, socket, acceptor, watchdog, _unix_file: unix_file })
}

impl Listening {
    /// Who can tell the numbers of its connections.
    pub fn counter(&self) -> ConnectionCounter {
        ConnectionCounter(self.inner.clone())
    }

    /// Accepts no more, lets the clients say no more, and waits until what they are owed is said
    /// and all connections have ended. Those that have not after `grace` are cut off.
    pub async fn stop(self, grace: Duration) {
        let end_at = Instant::now() + grace;
        self.inner.end_at.set(Some(end_at));
        stream::shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        self.acceptor.await;
        self.inner.shutdown_all(Shutdown::Read);
        self.inner.end(end_at).await;
        self.watchdog.cancel().await;
    }
}

/// A listener that accepts until its owner does.
#[derive(Debug)]
pub struct Interim {
    inner: Rc<Inner>,
    acceptor: Task<()>,
    watchdog: Task<()>,
}

/// As [`listen`], until somebody else is to accept from the same socket, which is left as it is.
/// It is looked at now and then: an accept that waits could not be called off without losing a
/// connection.
///
/// # Errors
/// When the process has no descriptor left.
pub fn listen_interim<S, F>(
    bound: &BoundListener,
    connections_max: usize,
    serve: S,
) -> Result<Interim, String>
where
    S: Fn(Connection) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let socket = bound.another().map_err(|error| format!("cannot listen - {error}"))?;
    let inner = Inner::new(bound.name, connections_max);
    let acceptor = glommio::spawn_local(look(inner.clone(), socket, serve));
    let watchdog = glommio::spawn_local(watch(inner.clone()));
    Ok(Interim { inner, acceptor, watchdog })
}

impl Interim {
    /// Accepts no more. Connections go on, but are to come to their end.
    pub async fn leave(self, grace: Duration) -> Leaving {
        let Interim { inner, acceptor, watchdog } = self;
        let end_at = Instant::now() + grace;
        inner.end_at.set(Some(end_at));
        acceptor.await;
        Leaving { inner, end_at, watchdog }
    }
}

/// The connections that an interim listener leaves behind.
#[derive(Debug)]
pub struct Leaving {
    inner: Rc<Inner>,
    end_at: Instant,
    watchdog: Task<()>,
}

impl Leaving {
    /// Waits until all of them have ended; those that have not after the grace are cut off.
    pub async fn end(self) {
        self.inner.end(self.end_at).await;
        self.watchdog.cancel().await;
    }
}

async fn look<S, F>(inner: Rc<Inner>, listener: ListenerSocket, serve: S)
where
    S: Fn(Connection) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    while inner.end_at.get().is_none() {
        match listener.accept() {
            Ok(socket) => {
                // SAFETY: the descriptor was just given up by its owner. glommio does nothing
                // with a TCP stream that it may not do with a unix one.
                let socket = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
                inner.begin(socket, &serve);
                glommio::executor().yield_now().await;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Timer::new(LOOK_INTERVAL).await;
            }
            Err(error) => {
                tracing::error!("{}: failed to accept a connection - {error}", inner.name);
                Timer::new(ACCEPT_REST).await;
            }
        }
    }
}

async fn accept<S, F>(inner: Rc<Inner>, listener: TcpListener, serve: S)
where
    S: Fn(Connection) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    while inner.end_at.get().is_none() {
        // Never in a race with anything: a future that is dropped may hold a connection.
        match listener.shared_accept().await {
            Ok(accepted) => inner.begin(accepted.bind_to_executor(), &serve),
            Err(_) if inner.end_at.get().is_some() => return,
            Err(error) => {
                tracing::error!("{}: failed to accept a connection - {error}", inner.name);
                Timer::new(ACCEPT_REST).await;
            }
        }
    }
}

async fn watch(inner: Rc<Inner>) {
    loop {
        Timer::new(TICK).await;
        inner.end_silent(Instant::now());
    }
}

impl Inner {
    fn new(name: &'static str, connections_max: usize) -> Rc<Inner> {
        Rc::new(Inner {
            name,
            connections_max,
            connections: RefCell::default(),
            counts: Cell::default(),
            end_at: Cell::default(),
            refused_logged: Cell::default(),
        })
    }

    /// Has a new connection served.
    fn begin<F>(self: &Rc<Self>, socket: TcpStream, serve: &impl Fn(Connection) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        if let Some(connection) = self.admit(socket) {
            glommio::spawn_local(Shielded::new(self.name, serve(connection))).detach();
        }
    }

    /// Waits until all connections have ended, and cuts them off when it is time.
    async fn end(&self, end_at: Instant) {
        while self.open() > 0 && Instant::now() < end_at {
            Timer::new(END_TICK).await;
        }
        self.shutdown_all(Shutdown::Both);
        let give_up_at = Instant::now() + END_PATIENCE;
        while self.open() > 0 && Instant::now() < give_up_at {
            Timer::new(END_TICK).await;
        }
    }

    fn open(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Takes a new connection in, unless it is broken already or one too many.
    fn admit(self: &Rc<Self>, socket: TcpStream) -> Option<Connection> {
        let mut counts = self.counts.get();
        if self.open() >= self.connections_max {
            counts.refused += 1;
            self.counts.set(counts);
            self.log_refused();
            return None;
        }
        let found = Stream::new(socket).and_then(|stream| Ok((stream.remote()?, stream)));
        let (remote, stream) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!("{}: a connection broke at its start - {error}", self.name);
                return None;
            }
        };
        counts.accepted += 1;
        self.counts.set(counts);
        let watched = Rc::new(Watched { socket: stream.as_raw_fd(), deadline: Cell::default() });
        let key = self.connections.borrow_mut().insert(watched.clone());
        Some(Connection { watch: Watch { key, watched, of: self.clone() }, stream, remote })
    }

    fn log_refused(&self) {
        let now = Instant::now();
        let recently = |at: Instant| now.duration_since(at) < REFUSED_LOG_INTERVAL;
        if self.refused_logged.get().is_some_and(recently) {
            return;
        }
        self.refused_logged.set(Some(now));
        let ConnectionCounts { refused, .. } = self.counts.get();
        tracing::warn!(
            "{}: {refused} connections refused, since there are {} already, which is the most",
            self.name,
            self.connections_max
        );
    }

    fn end_silent(&self, now: Instant) {
        let mut counts = self.counts.get();
        for (_, watched) in self.connections.borrow().iter() {
            if watched.deadline.get().is_some_and(|at| at <= now) {
                watched.deadline.set(None);
                stream::shutdown(watched.socket, Shutdown::Both);
                counts.silent += 1;
            }
        }
        self.counts.set(counts);
    }

    fn shutdown_all(&self, how: Shutdown) {
        for (_, watched) in self.connections.borrow().iter() {
            stream::shutdown(watched.socket, how);
        }
    }
}

#[cfg(test)]
mod tests;

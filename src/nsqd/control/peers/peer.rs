//! One address of a nsqlookupd: connected to, talked with, and connected to again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;
use shards::wire::names::Name;

use super::Peers;
use super::answer::{LookupInfo, Trouble};
use super::backoff::Backoff;
use super::session::{News, Session};
use super::wire::Wire;
use crate::config::go_text::errno_text;
use crate::net::stream::Stream;
use crate::nsqd::control::limits::{DIAL_TIMEOUT, FAILURE_LOG_INTERVAL, READ_BYTES};
use crate::nsqd::control::stir::Stir;

/// See the module's text.
#[derive(Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// How the log names it.
    shown: String,
    /// What its certificate has to say.
    host: String,
    /// Topics that it has not been told of; `None` while there is no connection: a new one begins
    /// with all of them.
    changed: RefCell<Option<BTreeSet<Name>>>,
    /// Who it says it is, while it is connected.
    info: RefCell<Option<LookupInfo>>,
    /// The first attempt to connect has come to something.
    tried: Cell<bool>,
    stopped: Cell<bool>,
    /// Its task runs.
    running: Cell<bool>,
    stir: Stir,
    /// What was last told of a failure, and when.
    told: RefCell<Option<(String, Instant)>>,
}

/// What a connection waits for.
enum Happened {
    /// So many bytes arrived.
    Received(usize),
    /// Something is to be told, time has passed, or it is over.
    Stirred,
}

impl Peer {
    /// A peer whose task is still to be started.
    pub fn new(address: SocketAddr, shown: String, host: String) -> Peer {
        Peer {
            address,
            shown,
            host,
            changed: RefCell::default(),
            info: RefCell::default(),
            tried: Cell::default(),
            stopped: Cell::default(),
            running: Cell::default(),
            stir: Stir::default(),
            told: RefCell::default(),
        }
    }

    /// How the log names it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Who it says it is, while it is connected.
    pub fn info(&self) -> Option<LookupInfo> {
        self.info.borrow().clone()
    }

    /// Whether it is connected and has said who it is.
    pub fn is_open(&self) -> bool {
        self.info.borrow().is_some()
    }

    /// Whether it was reached, or could not be.
    pub fn is_tried(&self) -> bool {
        self.tried.get()
    }

    /// Topics that it has not been told of since they changed.
    pub fn untold(&self) -> usize {
        self.changed.borrow().as_ref().map_or(0, BTreeSet::len)
    }

    /// Whether its task runs. It does not after a panic.
    pub fn is_running(&self) -> bool {
        self.running.get()
    }

    /// Topics came or went, or their channels did.
    pub fn tell(&self, topics: &[Name]) {
        if let Some(changed) = &mut *self.changed.borrow_mut() {
            changed.extend(topics);
            self.stir.stir();
        }
    }

    /// Ends the connection, and the task with it.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.stir.stir();
    }

    /// Keeps the connection up until it is stopped.
    pub async fn run(self: Rc<Self>, of: Rc<Peers>) {
        let _running = Running::new(self.clone());
        let mut backoff = Backoff::new();
        while !self.stopped.get() {
            let began = Instant::now();
            let trouble = self.live(&of).await;
            self.tried.set(true);
            if self.stopped.get() {
                return;
            }
            let trouble = trouble.err().unwrap_or(Trouble::Ended);
            self.complain(&of, &trouble);
            of.lost(self.address);
            if let Trouble::Twin(twin) = trouble {
                of.outlive(twin, || self.stopped.get()).await;
            }
            // Without randomness all come back at once, which is what happens without this, too.
            let chance = getrandom::u32().map_or(0.5, |random| f64::from(random) / 2f64.powi(32));
            let until = Instant::now() + backoff.pause(began.elapsed(), chance);
            while !self.stopped.get() && Instant::now() < until {
                self.stir.pause(until.saturating_duration_since(Instant::now())).await;
            }
        }
    }

    /// One connection from its beginning to its end.
    async fn live(&self, of: &Peers) -> Result<(), Trouble> {
        let _connection = Connection(self);
        tracing::debug!("LOOKUP connecting to {}", self.shown);
        let mut wire = Wire::new(of.tls()?, &self.host)?;
        let mut stream = dial(self.address).await?;
        let mut session = {
            // What comes from now on is not in it.
            self.changed.replace(Some(BTreeSet::new()));
            Session::new(&of.identity, &of.registry.borrow(), Instant::now())
        };
        let (mut buffer, mut outgoing, mut plain) = (vec![0; READ_BYTES], Vec::new(), Vec::new());
        while !self.stopped.get() {
            for topic in self.changed.borrow_mut().iter_mut().flat_map(std::mem::take) {
                session.changed(topic);
            }
            if let Some(news) = session.advance(&of.registry.borrow(), Instant::now())? {
                self.heard(of, news)?;
            }
            let taken = wire.put_out(session.output(), &mut outgoing)?;
            session.sent(taken);
            let deadline = session.deadline();
            let happened = self.wait(deadline, &mut stream, &mut outgoing, &mut buffer).await?;
            if let Happened::Received(count) = happened {
                plain.clear();
                wire.take_in(&buffer[..count], &mut plain)?;
                for news in session.received(&plain, Instant::now())? {
                    self.heard(of, news)?;
                }
            }
        }
        Ok(())
    }

    /// Sends what there is and waits for whatever comes first.
    async fn wait(
        &self,
        deadline: Instant,
        stream: &mut Stream,
        outgoing: &mut Vec<u8>,
        buffer: &mut [u8],
    ) -> Result<Happened, Trouble> {
        let mut timer = Timer::new(deadline.saturating_duration_since(Instant::now()));
        poll_fn(|cx| {
            send(outgoing, stream, cx)?;
            match Pin::new(&mut *stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Trouble::Ended)),
                Poll::Ready(Ok(count)) => return Poll::Ready(Ok(Happened::Received(count))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                Poll::Pending => {}
            }
            match self.stir.poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(Happened::Stirred)),
                Poll::Pending => Pin::new(&mut timer).poll(cx).map(|_| Ok(Happened::Stirred)),
            }
        })
        .await
    }

    fn heard(&self, of: &Peers, news: News) -> Result<(), Trouble> {
        match news {
            News::Identified(info) => {
                if let Some(twin) = of.twin(self.address, &info) {
                    return Err(Trouble::Twin(twin));
                }
                tracing::info!("LOOKUPD({}): peer info {info:?}", self.shown);
                if info.http_address().is_none() {
                    tracing::error!("LOOKUPD({}): no broadcast address", self.shown);
                }
                self.info.replace(Some(info));
                self.told.replace(None);
                self.tried.set(true);
                of.counters.connected();
            }
            News::Registered(0) => {}
            News::Registered(commands) => {
                let topics = of.registry.borrow().names().count();
                tracing::info!(
                    "LOOKUPD({}): {topics} topics registered, {commands} commands",
                    self.shown
                );
            }
        }
        Ok(())
    }

    /// Says what went wrong, but not the same again and again.
    fn complain(&self, of: &Peers, trouble: &Trouble) {
        of.counters.failed();
        let (text, now) = (trouble.to_string(), Instant::now());
        let mut told = self.told.borrow_mut();
        let known = told.as_ref().is_some_and(|(before, at)| {
            *before == text && now.duration_since(*at) < FAILURE_LOG_INTERVAL
        });
        // Of a name for both families one may work and the other never.
        let spare = matches!(trouble, Trouble::Twin(_)) || of.has_other_family(self.address);
        if known || spare {
            tracing::debug!("LOOKUPD({}): {text}", self.shown);
        } else {
            tracing::error!("LOOKUPD({}): {text}", self.shown);
            *told = Some((text, now));
        }
    }
}

fn broken(error: &std::io::Error) -> Trouble {
    Trouble::Broken(errno_text(error))
}

async fn dial(address: SocketAddr) -> Result<Stream, Trouble> {
    let failed = |text: String| Trouble::Broken(format!("dial tcp {address}: {text}"));
    let socket = TcpStream::connect_timeout(address, DIAL_TIMEOUT).await.map_err(|error| {
        let error = std::io::Error::from(error);
        match error.kind() {
            std::io::ErrorKind::TimedOut => failed("i/o timeout".to_owned()),
            _ => failed(format!("connect: {}", errno_text(&error))),
        }
    })?;
    Stream::new(socket).map_err(|error| broken(&error))
}

/// Sends as much as the other side takes now.
fn send(outgoing: &mut Vec<u8>, stream: &mut Stream, cx: &mut Context<'_>) -> Result<(), Trouble> {
    while !outgoing.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, outgoing) {
            Poll::Ready(Ok(0)) => return Err(Trouble::Ended),
            Poll::Ready(Ok(count)) => drop(outgoing.drain(..count)),
            Poll::Ready(Err(error)) => return Err(broken(&error)),
            Poll::Pending => break,
        }
    }
    Ok(())
}

/// A connection of a peer: when it ends, however that is, nothing of it is left.
struct Connection<'a>(&'a Peer);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.changed.replace(None);
        self.0.info.replace(None);
    }
}

/// That a peer's task runs.
struct Running(Rc<Peer>);

impl Running {
    fn new(peer: Rc<Peer>) -> Running {
        peer.running.set(true);
        Running(peer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(false);
        // Nobody has to wait for it any more.
        self.0.tried.set(true);
    }
}

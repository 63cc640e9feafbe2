//! The control thread: what nsqd does with others off the way of a message, on a small executor.
//!
//! Shards report topics and channels that come and go, and ask for the channels of new topics
//! (`line`). `peers` tells nsqlookupds, `discovery` asks them. Whatever those do, be it nothing, no
//! shard waits longer than it said it would, and only with topics that are new. `auth` asks auth
//! servers what clients may do.

pub mod auth;
mod discovery;
pub mod limits;
pub mod line;
mod peers;
mod stir;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};
use glommio::timer::Timer;
use serde::Serialize;
use shards::auth::Question;
use shards::metadata::DiscoveryNews;

use super::doorbell::Doorbell;
use super::http::facts::Facts;
use crate::config::auth_address;
use crate::config::nsqd::{LookupdTlsOptions, NsqdOptions};
use crate::config::value::TlsVersion;
use crate::http::client::{Client, ClientOptions};
use crate::net::shield::panic_text;
use crate::net::thread::{LightThread, StopSignal};
use crate::tls::ClientFiles;
use auth::{Asker, Authorizer, Servers};
use discovery::Questions;
use limits::{
    AUTH_ANSWER_BYTES_MAX, CHANNELS_BYTES_MAX, QUESTION_GRACE, SETTLE_TICK, STOP_PATIENCE,
};
use line::{End, Line};
use peers::Peers;

/// The time of something that is to have none.
const NO_TIMEOUT: Duration = Duration::from_secs(60);

/// What the thread is told.
#[derive(Debug)]
pub enum Note {
    /// This came and went on a worker's shard.
    News(usize, DiscoveryNews),
    /// These are the nsqlookupds from now on.
    Lookupds(Vec<String>),
    /// This node leaves: no nsqlookupd is to name it any more, whoever sets which.
    Drain,
    /// Somebody waits to be told what a client may do.
    Question(Asker, Question),
    /// Somebody wants to know how it stands with nsqlookupds.
    Survey(Sender<ControlNumbers>),
}

/// How it stands with nsqlookupds and auth servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlNumbers {
    /// Their addresses as the log shows them, and whether they are connected.
    pub peers: Vec<(String, bool)>,
    /// Addresses, as configured, that are followed.
    pub names: u64,
    /// Addresses that are too many.
    pub left_out: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections that ended or could not be made.
    pub failures: u64,
    /// Topics whose channels are asked for.
    pub questions_running: u64,
    /// Topics that wait for their turn.
    pub questions_waiting: u64,
    /// Topics that nsqlookupds have not been told of.
    pub untold: u64,
    /// Questions that auth servers are asked.
    pub auth_running: u64,
    /// Questions that wait for their turn.
    pub auth_waiting: u64,
    /// Questions that were granted, denied, and failed.
    pub auth_answered: [u64; 3],
}

/// Where others ask how it stands with nsqlookupds.
#[derive(Clone, Debug)]
pub struct Survey(Sender<Note>);

impl Survey {
    /// The numbers, unless the thread does not give them in time.
    #[must_use]
    pub fn ask(&self, patience: Duration) -> Option<ControlNumbers> {
        let (reply, answer) = flume::bounded(1);
        self.0.send(Note::Survey(reply)).ok()?;
        answer.recv_timeout(patience).ok()
    }
}

/// Where the thread is told something.
#[derive(Debug)]
pub struct Inbox {
    notes: Sender<Note>,
    noted: Receiver<Note>,
}

impl Inbox {
    /// An inbox; the thread that reads it need not run yet.
    pub fn new() -> Inbox {
        let (notes, noted) = flume::unbounded();
        Inbox { notes, noted }
    }

    /// Where others ask how it stands with nsqlookupds.
    pub fn survey(&self) -> Survey {
        Survey(self.notes.clone())
    }

    /// Has the thread follow the nsqlookupds that an operator sets.
    pub fn lookupds(&self) -> impl Fn(&[String]) + Send + Sync + 'static {
        let notes = self.notes.clone();
        // At the end of the process nobody follows any more.
        move |addresses| drop(notes.send(Note::Lookupds(addresses.to_vec())))
    }

    /// What tells the thread that this node leaves.
    pub fn drainer(&self) -> Drainer {
        Drainer { notes: self.notes.clone() }
    }
}

/// Has nsqlookupds forget this node.
#[derive(Debug)]
pub struct Drainer {
    notes: Sender<Note>,
}

impl Drainer {
    /// Has them forget it for as long as the process runs.
    pub fn drain(&self) {
        // At the end of the process nobody follows any more.
        let _ = self.notes.send(Note::Drain);
    }
}

/// What has happened so far with nsqlookupds.
#[derive(Debug, Default)]
pub struct Counters {
    connects: Cell<u64>,
    failures: Cell<u64>,
}

impl Counters {
    fn connected(&self) {
        self.connects.set(self.connects.get() + 1);
    }

    fn failed(&self) {
        self.failures.set(self.failures.get() + 1);
    }
}

/// How long a shard lets a new topic wait for its channels.
pub fn discovery_timeout(options: &NsqdOptions) -> Duration {
    question_timeout(options) + QUESTION_GRACE
}

fn question_timeout(options: &NsqdOptions) -> Duration {
    timeout(options.auth.request_timeout_ms)
}

fn timeout(ms: u64) -> Duration {
    if ms == 0 { NO_TIMEOUT } else { Duration::from_millis(ms).min(NO_TIMEOUT) }
}

/// The thread, as the main thread sees it.
#[derive(Debug)]
pub struct Control {
    thread: LightThread,
}

impl Control {
    /// Starts the thread, and gives each worker, in the order of the doorbells, its line to it.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(
        inbox: Inbox,
        options: &NsqdOptions,
        facts: &Facts,
        doorbells: &[Doorbell],
    ) -> Result<(Control, Vec<Line>), String> {
        let lookupds = options.lookupd_tcp_addresses.clone();
        let discovers = !lookupds.is_empty();
        let pair = |(worker, doorbell)| line::pair(worker, &inbox.notes, doorbell, discovers);
        let (lines, ends): (Vec<Line>, Vec<End>) = doorbells.iter().enumerate().map(pair).unzip();
        let identity = identity(options, facts).map_err(|error| error.to_string())?;
        let tls = options.lookupd_tls.as_ref().map(files);
        if let Some(files) = &tls {
            files.load().map_err(|error| format!("--lookupd-tls: {error}"))?;
        }
        let client = ClientOptions {
            connect_timeout: timeout(options.auth.connect_timeout_ms),
            request_timeout: question_timeout(options),
            reply_bytes_max: CHANNELS_BYTES_MAX,
            ..ClientOptions::default()
        };
        let auth = auth_options(options)?;
        let (addresses, post) = (options.auth.http_addresses.clone(), options.auth.post);
        let question_timeout = question_timeout(options);
        let noted = inbox.noted;
        let thread = LightThread::start("control", move |stop| async move {
            let peers = Rc::new(Peers::new(identity, tls));
            let ends = Rc::new(ends);
            let client = Client::new(client);
            let questions = Questions::new(client, peers.clone(), ends.clone(), question_timeout);
            let servers = Servers::new(addresses, post, Client::new(auth));
            let auth = Rc::new(Authorizer::new(servers, ends.clone(), question_timeout));
            let leaves = Cell::new(false);
            let desk = Desk { peers, questions: Rc::new(questions), auth, ends, leaves };
            desk.peers.follow(&lookupds);
            desk.work(noted, stop).await;
        })?;
        Ok((Control { thread }, lines))
    }

    /// Ends what the thread does. nsqlookupds hear of it by the end of the connections.
    pub fn stop(self) {
        self.thread.stop(STOP_PATIENCE);
    }
}

/// What connections with nsqlookupds are encrypted with.
fn files(options: &LookupdTlsOptions) -> ClientFiles {
    ClientFiles {
        root_ca: options.root_ca_file.clone(),
        identity: options.identity.clone(),
        insecure: options.insecure,
        oldest: TlsVersion::Tls12,
    }
}

/// How auth servers are asked. As in the original, the authorities for them are those for clients,
/// or those of the machine.
fn auth_options(options: &NsqdOptions) -> Result<ClientOptions, String> {
    if options.auth.http_addresses.is_empty() {
        return Ok(ClientOptions::default());
    }
    let files = ClientFiles {
        root_ca: Some(PathBuf::from(&options.tls.root_ca_file)).filter(|path| path != ""),
        identity: None,
        insecure: false,
        oldest: options.tls.min_version,
    };
    let addresses = &options.auth.http_addresses;
    let is_needed = addresses.iter().any(|address| auth_address::is_secure(address) == Ok(true));
    let tls = match files.load() {
        Ok(tls) => Some(tls),
        Err(_) if !is_needed && files.root_ca.is_none() => None,
        Err(error) => return Err(format!("--tls-root-ca-file: {error}")),
    };
    Ok(ClientOptions {
        connect_timeout: timeout(options.auth.connect_timeout_ms),
        request_timeout: question_timeout(options),
        reply_bytes_max: AUTH_ANSWER_BYTES_MAX,
        tls,
        ..ClientOptions::default()
    })
}

/// Who this node is, as nsqlookupds are told: keys in the original's order.
fn identity(options: &NsqdOptions, facts: &Facts) -> io::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Identity<'a> {
        broadcast_address: &'a str,
        hostname: &'a str,
        http_port: u16,
        tcp_port: u16,
        topology_region: &'a str,
        topology_zone: &'a str,
        version: &'a str,
    }
    let (http_port, tcp_port) = (options.broadcast_http_port, options.broadcast_tcp_port);
    if (http_port == 0 || tcp_port == 0) && !options.lookupd_tcp_addresses.is_empty() {
        tracing::warn!(
            "nsqlookupd takes no node without a TCP and an HTTP port: set --broadcast-tcp-port and \
             --broadcast-http-port"
        );
    }
    Ok(serde_json::to_vec(&Identity {
        broadcast_address: &facts.broadcast_address,
        hostname: &facts.hostname,
        http_port,
        tcp_port,
        topology_region: &facts.topology_region,
        topology_zone: &facts.topology_zone,
        version: &facts.version,
    })?)
}

/// The thread.
struct Desk {
    peers: Rc<Peers>,
    questions: Rc<Questions>,
    auth: Rc<Authorizer>,
    ends: Rc<Vec<End>>,
    /// This node is to be named by nobody any more.
    leaves: Cell<bool>,
}

impl Desk {
    async fn work(self, noted: Receiver<Note>, stop: StopSignal) {
        while let Some(note) = next(&noted, &stop).await {
            let taken = catch_unwind(AssertUnwindSafe(|| self.take(note)));
            if let Err(panic) = taken {
                tracing::error!("panic in control - {}", panic_text(&*panic));
            }
        }
        tracing::info!("LOOKUP: closing");
        let give_up_at = Instant::now() + STOP_PATIENCE / 2;
        while !self.peers.stop() && Instant::now() < give_up_at {
            Timer::new(SETTLE_TICK).await;
        }
    }

    fn take(&self, note: Note) {
        match note {
            Note::News(worker, news) => {
                self.ends[worker].taken();
                self.peers.register(news.topics);
                for (topic, name) in news.questions {
                    self.questions.ask(worker, topic, name);
                }
            }
            Note::Survey(reply) => {
                let (questions_running, questions_waiting) = self.questions.counts();
                let (auth_running, auth_waiting) = self.auth.counts();
                let numbers = ControlNumbers {
                    questions_running,
                    questions_waiting,
                    auth_running,
                    auth_waiting,
                    auth_answered: self.auth.answered(),
                    ..self.peers.numbers()
                };
                // Whoever asked may have given up.
                let _ = reply.try_send(numbers);
            }
            Note::Question(asker, question) => self.auth.ask(asker, question),
            Note::Lookupds(_) if self.leaves.get() => {
                tracing::warn!("LOOKUP: draining, nsqlookupds are told nothing any more");
            }
            Note::Lookupds(addresses) => self.follow(&addresses),
            Note::Drain => {
                self.leaves.set(true);
                self.follow(&[]);
            }
        }
    }

    fn follow(&self, addresses: &[String]) {
        self.peers.follow(addresses);
        self.ends.iter().for_each(|end| end.discover(!addresses.is_empty()));
    }
}

/// The next note, unless it is time to stop.
async fn next(noted: &Receiver<Note>, stop: &StopSignal) -> Option<Note> {
    let (mut note, mut stop) = (pin!(noted.recv_async()), pin!(stop.wait()));
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => note.as_mut().poll(cx).map(Result::ok),
    })
    .await
}

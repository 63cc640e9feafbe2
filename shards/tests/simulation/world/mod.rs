//! A world around shards: workers, mailboxes, connections and a clock, all from one seed.
//!
//! There are no sockets: a connection is two pipes that split and join bytes at random, and that
//! take nothing for a while. Letters between workers arrive late, in order per pair and lane. What
//! goes into a shard and what comes out of it passes the ledger, which knows what must come.
//!
//! Reading order: `wire`, `pipes` (connections), `turn` (one turn of a worker, as the rim does it),
//! `clients` (who acts at random), `letters` (dead ones), `ledger`, `metadata` and `disk` (what
//! outlives a restart), `discovery` (lookup servers), `restart`.

mod clients;
mod discovery;
pub mod disk;
pub mod ledger;
mod letters;
mod metadata;
mod pipes;
pub mod random;
mod restart;
mod seek;
mod turn;
pub mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use shards::client::Peer;
use shards::limits::Options;
use shards::log::pool::{CHUNK_BYTES, Grow};
use shards::mail::Letter;
use shards::placement::Placement;
use shards::policy::Limit;
use shards::request::{Reply, Request};
use shards::shard::{Departure, Now, Parts, Shard, Socket};
use shards::stats::{Bookmark, ShardStats, StatsQuery};
use shards::wire::names::Name;

use disk::{DiskSettings, Folder, Queue};
use ledger::Ledger;
use pipes::{Connection, Place};
use random::Random;
pub use restart::End;

/// 2026-06-01.
const START_NS: i64 = 1_780_272_000_000_000_000;
/// Rounds of turns after which a world that is left alone must have come to rest.
const ROUNDS_MAX: usize = 20_000;
/// Half seconds after which nobody waits for a disk any more. What lies in a file of which nothing
/// can be read is given up one segment after the other, after ten seconds each.
const DISK_ROUNDS_MAX: usize = 500;

/// A fault that is built in on purpose, to see that the ledger finds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Canary {
    /// Publishes between shards get lost.
    LoseLetter,
    /// A finished message is delivered once more.
    DeliverTwice,
    /// A FIN has no effect.
    LoseFinish,
    /// A publish is answered but not queued.
    LosePublish,
    /// A delivery does not count.
    SameAttempts,
    /// A byte of a body changes.
    SpoilBody,
    /// One answer overtakes another.
    SwapAnswers,
    /// One message more than RDY allows.
    IgnoreReady,
    /// A deferred message comes too soon.
    Early,
    /// A channel that an operator paused goes on.
    ForgetPause,
    /// What a topic holds vanishes.
    LoseHeld,
    /// A channel vanishes with everything in it.
    LoseChannel,
    /// A sync is reported that was not made.
    LieAboutSync,
    /// An append is reported that was not made.
    LoseAppend,
    /// Finishes are not written down, though it is said that they are.
    LoseFinishEntry,
    /// The state of a topic and its channels is not written down, though it is said that it is.
    LoseSnapshot,
    /// A topic goes on before it knows its channels.
    StartTooSoon,
    /// A channel that lookup servers know is not made.
    ForgetChannel,
    /// It is not told that a topic is gone.
    ForgetToUnregister,
    /// Dead letters between shards get lost.
    LoseDeadLetter,
    /// A message is delivered once more than it may be.
    OneMoreAttempt,
    /// A channel holds more than it may, or for longer.
    LooseBound,
    /// What is finished is not kept.
    ForgetRetained,
    /// A channel gives up what it may hold.
    TightBound,
    /// Dead letters vanish.
    LoseLetters,
    /// What was published once is published again.
    Republish,
}

/// What kind of world it is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub shards: u16,
    pub options: Options,
    pub topics: Vec<&'static str>,
    pub channels: Vec<&'static str>,
    /// Largest body of the simulated producers.
    pub body_bytes_max: usize,
    /// Connections that the world keeps up.
    pub connections: usize,
    /// Of a hundred steps those in which an operator asks for something.
    pub operators: usize,
    /// Consumers publish too.
    pub mixed: bool,
    /// Operators also empty and delete.
    pub destructive: bool,
    /// Some consumers want a sample only.
    pub sampling: bool,
    /// Most publishes are deferred, up to so many milliseconds.
    pub deferring: Option<usize>,
    /// Deliveries after which a message of the first channel of each topic is a dead letter; 0 for
    /// any number.
    pub attempts: u16,
    /// Operators also move channels in what topics keep.
    pub seeks: bool,
    /// What the first channel of each topic may hold.
    pub first: Limit,
    /// Operators bring dead letters back.
    pub redrives: bool,
    /// The clock sometimes jumps by seconds.
    pub jumps: bool,
    /// New topics wait for the channels that lookup servers know.
    pub discovery: bool,
    /// How all shards end now and then.
    pub ends: Vec<End>,
    /// What the disk is like, if there is one.
    pub disk: Option<DiskSettings>,
    pub canary: Option<Canary>,
}

impl Settings {
    /// Whether there is anything that becomes a dead letter.
    pub fn has_dead_letters(&self) -> bool {
        self.attempts > 0 || self.first.is_set()
    }

    /// Whether messages go because they are too old.
    pub fn has_ages(&self) -> bool {
        let defaults = self.options.defaults;
        [defaults.topic, defaults.channel, self.first].iter().any(|limit| limit.max_age_ms != 0)
    }

    /// Whether the disk may fail.
    pub fn is_faulty(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| {
            disk.errors > 0 || disk.fails_at.is_some() || disk.space_bytes.is_some()
        })
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            shards: 3,
            options: Options {
                msg_timeout_ms: 300,
                max_msg_timeout_ms: 2000,
                discovery_timeout_ms: 400,
                ..Options::default()
            },
            topics: vec!["t0", "t1", "t2", "t3"],
            channels: vec!["c0", "c1"],
            body_bytes_max: 200,
            connections: 8,
            operators: 2,
            mixed: false,
            destructive: true,
            sampling: false,
            deferring: None,
            attempts: 0,
            seeks: false,
            first: Limit::default(),
            redrives: false,
            jumps: true,
            discovery: false,
            ends: Vec::new(),
            disk: None,
            canary: None,
        }
    }
}

enum Mail {
    Letter(Letter),
    Arrival(usize, Departure),
}

struct Worker {
    shard: Shard,
    /// By sender, then data and answers.
    mail: Vec<[VecDeque<Mail>; 2]>,
    connections: Vec<usize>,
    asks: VecDeque<(u16, u64, Request)>,
    queue: Queue,
}

/// See the module's text.
pub struct World {
    pub settings: Settings,
    pub random: Random,
    pub now: Now,
    pub ledger: Ledger,
    pub connections: Vec<Connection>,
    /// Replies to `ask` that nobody has looked at.
    pub replies: Vec<(u64, Reply)>,
    /// Turns and acts so far.
    pub steps: u64,
    workers: Vec<Worker>,
    placement: Placement,
    next_ticket: u64,
    /// Pipes neither split nor refuse, and mail is not late.
    calm: bool,
    canary_done: bool,
    memory: Memory,
    written: metadata::Written,
    lookup: discovery::Lookup,
    pub folder: Folder,
    /// Dead letters that were found at the end.
    pub buried: usize,
    seed: u64,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> World {
        let now = Now { mono_ms: 1000, wall_ns: START_NS };
        let disk = settings.disk.clone().unwrap_or_default();
        let mut folder = Folder::new(seed, disk, settings.options.journal_file_bytes);
        folder.canary = settings.canary;
        let mut world = World {
            random: Random::new(seed),
            now,
            ledger: Ledger::new(&settings),
            connections: Vec::new(),
            replies: Vec::new(),
            steps: 0,
            workers: Vec::new(),
            placement: Placement::new(0, settings.shards, &[]),
            next_ticket: 0,
            calm: false,
            canary_done: false,
            memory: Memory::default(),
            written: metadata::Written::new(),
            lookup: discovery::Lookup::default(),
            folder,
            buried: 0,
            seed,
            settings,
        };
        world.workers = (0..=world.settings.shards).map(|me| world.worker(me)).collect();
        if world.settings.has_dead_letters() {
            world.poison();
        }
        world
    }

    /// A worker with nothing in it.
    fn worker(&self, me: u16) -> Worker {
        let Settings { shards, options, disk, .. } = &self.settings;
        let count = shards + 1;
        let mut options = options.clone();
        for limit in [&mut options.defaults.topic, &mut options.defaults.channel] {
            *limit = self.settings.canary.map_or(*limit, |canary| letters::bend(*limit, canary));
        }
        if self.settings.canary == Some(Canary::ForgetRetained) {
            options.defaults.keep.bytes = 1;
        }
        let parts = Parts {
            options,
            placement: Placement::new(me, *shards, &[]),
            workers: count,
            now: self.now,
            seed: self.seed ^ u64::from(me),
            disk: disk.is_some() && me < *shards,
        };
        let mut shard = Shard::new(parts, self.memory.grow());
        // No answer waits for a file: the ledger wants each as soon as something was done.
        shard.metadata_settled(u64::MAX);
        shard.discover(self.settings.discovery);
        Worker {
            shard,
            mail: (0..count).map(|_| Default::default()).collect(),
            connections: Vec::new(),
            asks: VecDeque::new(),
            queue: Queue::new(me),
        }
    }

    /// A client dials in; the acceptor takes it.
    pub fn connect(&mut self) -> usize {
        let index = self.connections.len();
        let acceptor = self.workers.len() - 1;
        let worker = &mut self.workers[acceptor];
        let peer = Peer { ip: "127.0.0.1".to_owned(), address: format!("127.0.0.1:{index}") };
        worker.shard.begin_turn(self.now);
        let key = worker.shard.connect(Socket(index as u64), peer);
        worker.connections.push(index);
        self.connections.push(Connection::new(Place::At(acceptor, key)));
        self.ledger.connected(index);
        self.write(index, b"  V2", None);
        index
    }

    /// Has a worker ask a shard on behalf of HTTP. The ticket of the reply.
    pub fn ask(&mut self, from: usize, to: u16, request: Request) -> u64 {
        self.next_ticket += 1;
        self.workers[from].asks.push_back((to, self.next_ticket, request));
        self.next_ticket
    }

    /// Asks the owner of a topic.
    pub fn ask_owner(&mut self, topic: usize, request: Request) -> u64 {
        let owner = self.owner(topic);
        let from = self.random.below(self.workers.len());
        self.ask(from, owner, request)
    }

    pub fn owner(&self, topic: usize) -> u16 {
        self.placement.owner(&name(self.settings.topics[topic]))
    }

    pub fn placement_owner(&self, topic: &str) -> u16 {
        self.placement.owner(&name(topic))
    }

    /// Lets time pass; nothing else happens.
    pub fn advance(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ns += ms as i64 * 1_000_000;
    }

    /// Lets everything that is under way arrive, with the clock standing still.
    pub fn quiesce(&mut self) {
        self.calm = true;
        for round in 0.. {
            let before = self.activity();
            for worker in 0..self.workers.len() {
                self.turn(worker);
            }
            if before == self.activity() && self.is_at_rest() {
                break;
            }
            if round == ROUNDS_MAX {
                self.ledger.complain("the world does not come to rest".to_owned());
                break;
            }
        }
        self.calm = false;
    }

    /// Comes to rest and compares what the shards say of themselves with the ledger.
    pub fn check(&mut self) {
        self.quiesce();
        self.wait_for_disk();
        let stats = self.stats();
        self.ledger.compare(&stats, self.now.mono_ms);
        self.compare_metadata(&stats);
        self.compare_registrations(&stats);
    }

    /// What the disk refused is tried again after a while: somebody may wait for that.
    fn wait_for_disk(&mut self) {
        for round in 0.. {
            if !self.workers.iter().any(|worker| worker.shard.waits_for_disk()) {
                return;
            }
            if round == DISK_ROUNDS_MAX {
                return self.ledger.complain("somebody waits for the disk for ever".to_owned());
            }
            if round % 20 == 19 {
                self.folder.make_space();
            }
            self.advance(500);
            self.quiesce();
        }
    }

    /// The statistics of every worker, the acceptor last.
    pub fn stats(&mut self) -> Vec<ShardStats> {
        let query = StatsQuery::default();
        let whole = |worker: &mut Worker| {
            let mut whole = worker.shard.report(&query, Bookmark::default());
            while let Some(next) = whole.next {
                whole.add(worker.shard.report(&query, next));
            }
            whole.arrange(&query);
            whole
        };
        self.workers.iter_mut().map(whole).collect()
    }

    /// Connections that workers hold.
    pub fn client_count(&self) -> usize {
        self.workers.iter().map(|worker| worker.shard.client_count()).sum()
    }

    /// Whether any worker has a timer set.
    pub fn has_timers(&self) -> bool {
        self.workers.iter().any(|worker| worker.shard.next_deadline_ms().is_some())
    }

    /// Stops the test when the ledger has something to say.
    pub fn judge(&self, seed: u64) {
        let complaints = &self.ledger.complaints;
        assert!(complaints.is_empty(), "seed {seed}, step {}: {complaints:#?}", self.steps);
    }

    fn is_at_rest(&self) -> bool {
        let mail = self.workers.iter().flat_map(|worker| &worker.mail).flatten();
        mail.into_iter().all(VecDeque::is_empty)
            && self.workers.iter().all(|w| w.asks.is_empty() && !w.shard.has_work())
            && self.workers.iter().all(|w| w.queue.is_idle())
            && self.connections.iter().all(Connection::is_at_rest)
    }

    /// A number that changes when something happens.
    fn activity(&self) -> (u64, usize) {
        (self.connections.iter().map(Connection::activity).sum(), self.replies.len())
    }
}

pub fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).expect("the names of a world are valid")
}

/// Chunks for the shards' logs, freed with the world.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<*mut [u8]>>>);

impl Memory {
    fn grow(&self) -> Grow {
        let chunks = self.0.clone();
        Box::new(move || {
            let chunk = Box::into_raw(vec![0; CHUNK_BYTES].into_boxed_slice());
            chunks.borrow_mut().push(chunk);
            // SAFETY: fresh memory, referred to once, freed only when the shards are gone.
            Some(unsafe { &mut *chunk })
        })
    }

    /// Frees all chunks. To be called when the shards are gone.
    fn free(&mut self) {
        for chunk in self.0.borrow_mut().drain(..) {
            // SAFETY: it came from a box, and the shards that had it are gone.
            drop(unsafe { Box::from_raw(chunk) });
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.workers.clear();
        self.memory.free();
    }
}

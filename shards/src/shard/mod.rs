//! The shard: events in, effects out.
//!
//! The rim tells it the time, what arrived on which connection and in which mailbox; the shard
//! changes its topics and clients and leaves behind bytes to send, letters for other shards, and
//! [`Effect`]s. It never waits and never calls out, so a turn of it can be replayed from its
//! inputs alone.
//!
//! Reading order: `connection` (a client's life), `commands`, `identify` (and what it makes of the
//! connection), `auth` (who may do what), `publish`, `deliver`, `forward` (other shards), `manage`
//! (what HTTP and emptiness do), `structure` (what of that is written down), `discovery` (what
//! lookup servers are told and asked), `alarm` (time), `deferral` (what is kept back), `transfer`
//! (what goes to other topics), `redrive` (and comes back), `policy` (what operators ask), `limit`
//! (how much there may be), `retain` (what is kept of what is finished), `seek` (and given again),
//! `report`, `drain`, `peek`. Then the disk: `journal` (what of a turn is written down), `share`
//! (who gets the room for that), `promise` (who waits for it), `spill` and `load` (memory and
//! disk), `retire` (places that are given back), `checkpoint` (getting the journal's files back),
//! `restore`.

mod alarm;
mod auth;
mod checkpoint;
mod commands;
mod connection;
mod deferral;
mod deliver;
mod discovery;
mod drain;
mod forward;
mod identify;
mod journal;
mod limit;
mod load;
mod manage;
mod peek;
mod policy;
mod promise;
mod publish;
mod redrive;
mod report;
mod restore;
mod retain;
mod retire;
mod seek;
mod share;
mod spill;
mod structure;
mod transfer;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use hashbrown::HashMap;

use crate::auth::Question;
use crate::channel::Channel;
use crate::client::Client;
use crate::disk::DiskRequest;
use crate::latency::Stopwatch;
use crate::limits::{Durability, Options, SPARE_BUFFER_BYTES_MAX, SPARE_BUFFERS_MAX};
use crate::log::Pool;
use crate::log::pool::Grow;
use crate::mail::{Answer, Letter};
use crate::placement::Placement;
use crate::policy::Retention;
use crate::request::Reply;
use crate::slots::{Key, Slots};
use crate::store::Space;
use crate::topic::Topic;
use crate::upgrade::Upgrade;
use crate::wheel::Wheel;
use crate::wire::errors::ErrorCounts;
use crate::wire::names::Name;

pub use checkpoint::OldFiles;
pub use connection::Departure;
pub use drain::Remaining;
pub use forward::Lane;
pub use identify::Appetite;
pub use journal::Batch;
pub use promise::{Gate, Publishes};
pub use share::Taken;

use checkpoint::Checkpoint;
use deferral::Indexes;
use discovery::Discovery;
use journal::Journal;
use peek::Peeks;
use promise::Promises;
use seek::Seeks;
use spill::Tiers;
use structure::Structure;

/// The time of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic, for every deadline; the same clock for all shards of a process.
    pub mono_ms: u64,
    /// Nanoseconds since the Unix epoch, for timestamps.
    pub wall_ns: i64,
}

/// The rim's name for a client's socket. The shard only gives it back, so that what it says of a
/// client that is gone still reaches the right socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket(pub u64);

/// What the rim is to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Stop reading from it, then [`Shard::depart`] with it and hand it to that worker.
    Move(Socket, u16),
    /// Close it; the shard has forgotten it.
    Close(Socket),
    /// Tell the peer that nothing more comes, but go on reading.
    Finish(Socket),
    /// Read nothing until `Resume`, or until it has moved.
    Pause(Socket),
    /// Read again.
    Resume(Socket),
    /// Everything is sent: put these layers around the socket, send their `OK`s, then say
    /// [`Shard::upgraded`], or [`Shard::upgrade_failed`].
    Upgrade(Socket, Upgrade),
    /// The layers take too long to come.
    UpgradeOverdue(Socket),
    /// It asked for compression and was not given it, for want of memory. It works without.
    Crowded(Socket),
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    /// A consumer has not answered.
    Message { channel: Key, sequence: u64 },
    /// The time of a channel's deferred message has come, or is near.
    Deferred(Key),
    /// A heartbeat, a read deadline, or the end of lingering.
    Client(Key),
    /// A topic has waited long enough for its channels.
    Topic(Key),
    /// A channel's messages for other topics are tried again.
    Transfers(Key),
    /// A topic's oldest message may be too old.
    Age(Key),
    /// A channel's dead letters are brought back, a few at a time.
    Redrive(Key),
    /// What a topic keeps of what is finished may be too old.
    Retention(Key),
}

/// One shard. See the module's text.
#[derive(Debug)]
pub struct Shard {
    options: Options,
    placement: Placement,
    now: Now,
    clients: Slots<Client>,
    topics: Slots<Topic>,
    names: HashMap<Name, Key>,
    channels: Slots<Channel>,
    wheel: Wheel<Alarm>,
    space: Space,
    tiers: Tiers,
    indexes: Indexes,
    journal: Journal,
    promises: Promises,
    checkpoint: Checkpoint,
    peeks: Peeks,
    seeks: Seeks,
    /// Channels that may have something to deliver.
    marked: Vec<Key>,
    /// Channels with messages for other topics.
    transferring: Vec<Key>,
    /// Topics that something happened to.
    touched: Vec<Key>,
    /// Clients with something to send.
    dirty: Vec<Key>,
    effects: Vec<Effect>,
    lanes: Vec<Lane>,
    answers: Vec<Vec<Answer>>,
    letters: VecDeque<(u16, Letter)>,
    replies: VecDeque<(u64, Reply)>,
    questions: VecDeque<(Key, Question)>,
    structure: Structure,
    discovery: Discovery,
    spare_buffers: Vec<Vec<u8>>,
    /// State of the sampler.
    random: u64,
    /// Lower sequence numbers may be those of topics that were deleted: one of the same name,
    /// made after the clock was set back, does not use them again.
    sequence_floor: u64,
    /// What measures messages, where that is wanted.
    stopwatch: Option<Box<dyn Stopwatch>>,
    publishes_refused: u64,
    clients_accepted: u64,
    clients_adopted: u64,
    clients_panicked: u64,
    /// No more messages are taken in.
    draining: bool,
    errors: ErrorCounts,
    /// Journal files that were made free.
    checkpoints: u64,
    /// The disk has less free space than it is to have: publishes are refused, and why.
    floor: Option<String>,
    /// When retained messages last made room for the floor.
    floor_pressed_ms: u64,
}

/// What a shard is made of.
#[derive(Debug)]
pub struct Parts {
    /// The flags.
    pub options: Options,
    /// Where topics live, and which worker this is.
    pub placement: Placement,
    /// How many workers there are, acceptors included.
    pub workers: u16,
    /// The start of time.
    pub now: Now,
    /// Where the sampling of messages starts.
    pub seed: u64,
    /// Whether there is a disk: requests to it are carried out.
    pub disk: bool,
}

impl Shard {
    /// A shard with nothing in it; `grow` supplies memory for its log.
    #[must_use]
    pub fn new(parts: Parts, grow: Grow) -> Shard {
        let Parts { options, placement, workers, now, seed, disk } = parts;
        let workers = usize::from(workers);
        Shard {
            space: Space::new(
                Pool::new(options.memory_limit_bytes, grow),
                options.store_file_bytes,
            ),
            tiers: Tiers::default(),
            indexes: Indexes::default(),
            journal: Journal::new(disk),
            promises: Promises::default(),
            checkpoint: Checkpoint::default(),
            peeks: Peeks::default(),
            seeks: Seeks::default(),
            options,
            placement,
            now,
            clients: Slots::default(),
            topics: Slots::default(),
            names: HashMap::new(),
            channels: Slots::default(),
            wheel: Wheel::new(now.mono_ms),
            marked: Vec::new(),
            transferring: Vec::new(),
            touched: Vec::new(),
            dirty: Vec::new(),
            effects: Vec::new(),
            lanes: (0..workers).map(|_| Lane::default()).collect(),
            answers: (0..workers).map(|_| Vec::new()).collect(),
            letters: VecDeque::new(),
            replies: VecDeque::new(),
            questions: VecDeque::new(),
            structure: Structure::default(),
            discovery: Discovery::default(),
            spare_buffers: Vec::new(),
            random: seed | 1,
            sequence_floor: 0,
            stopwatch: None,
            publishes_refused: 0,
            clients_accepted: 0,
            clients_adopted: 0,
            clients_panicked: 0,
            draining: false,
            errors: ErrorCounts::default(),
            checkpoints: 0,
            floor: None,
            floor_pressed_ms: 0,
        }
    }

    /// Begins a turn: everything until [`Shard::finish_turn`] happens at this time. Fires the
    /// timers that are due.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = Now { mono_ms: now.mono_ms.max(self.now.mono_ms), wall_ns: now.wall_ns };
        self.fire_alarms();
    }

    /// Ends a turn: delivers, batches letters. The effects, letters, replies and dirty clients
    /// are then there to be taken.
    pub fn finish_turn(&mut self) {
        self.deliver_marked();
        self.settle_touched();
        self.step_peeks();
        // What goes on when there is room is written down in the next turn, and synced then.
        self.sync_journal();
        self.move_segments();
        if !self.transferring.is_empty() {
            self.send_transfers();
        }
        // What they write down is written in the next turn, and synced then.
        self.step_seeks();
        self.seal_letters();
    }

    /// The next thing that the disk is asked to do.
    pub fn take_disk_request(&mut self) -> Option<DiskRequest> {
        self.space.requests.pop_front()
    }

    /// Whether the next turn is due at once: something is left to do that nothing will announce.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !(self.marked.is_empty()
            && !self.is_checkpointing()
            && !self.journal.is_due()
            && self.space.requests.is_empty()
            && self.touched.is_empty()
            && self.peeks.is_idle()
            && self.seeks.is_idle()
            && self.transferring.is_empty()
            && self.dirty.is_empty()
            && !self.indexes.has_more_due()
            && self.effects.is_empty()
            && self.letters.is_empty()
            && self.replies.is_empty()
            && self.questions.is_empty()
            && self.answers.iter().all(Vec::is_empty)
            && self.lanes.iter().all(Lane::is_idle))
    }

    /// When the next turn is due if nothing arrives.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let deadlines = [
            self.journal_deadline_ms(),
            self.sync_deadline_ms(),
            self.store_deadline_ms(),
            self.read_deadline_ms(),
            self.checkpoint_deadline_ms(),
        ];
        self.wheel.next_deadline_ms().into_iter().chain(deadlines.into_iter().flatten()).min()
    }

    /// What is to be done with connections, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }

    /// Gives the list of `take_effects` back, so that it is not allocated anew.
    pub fn reuse_effects(&mut self, mut effects: Vec<Effect>) {
        effects.clear();
        if self.effects.is_empty() {
            self.effects = effects;
        }
    }

    /// The next letter for another worker.
    pub fn take_letter(&mut self) -> Option<(u16, Letter)> {
        self.letters.pop_front()
    }

    /// The next reply to what was asked here, with its ticket.
    pub fn take_reply(&mut self) -> Option<(u64, Reply)> {
        self.replies.pop_front()
    }

    /// A connection with bytes to send; `None` when all have been taken.
    pub fn take_dirty(&mut self) -> Option<(Key, Socket)> {
        loop {
            let key = self.dirty.pop()?;
            if let Some(client) = self.clients.get_mut(key) {
                client.dirty = false;
                return Some((key, client.socket));
            }
        }
    }

    /// Connections that this shard drives.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// The topic of this name, created when there is none.
    fn topic(&mut self, name: &Name) -> Key {
        if let Some(&key) = self.names.get(name) {
            return key;
        }
        let key = self.make_topic(name);
        self.await_channels(key);
        key
    }

    fn make_topic(&mut self, name: &Name) -> Key {
        let durability = match self.journal.enabled {
            true => self.options.durability_of(name),
            false => Durability::Memory,
        };
        let mut topic = Topic::new(*name, self.now.wall_ns, self.sequence_floor, durability);
        topic.limit = self.options.defaults.topic;
        topic.bounded = topic.limit.is_set();
        topic.retained.keep = Retention::default().keep(&self.options.defaults.keep, name);
        // That messages of an earlier topic of this name are not its own is written down.
        topic.journaled |= self.space.store.was_used() && topic.is_kept();
        let key = self.topics.insert(topic);
        self.names.insert(*name, key);
        self.structure.note(name);
        self.discovery.note(name);
        self.note_topic_state(key);
        key
    }

    /// The topic of this name as HTTP wrote it.
    fn find_topic(&self, name: &str) -> Option<Key> {
        let name = Name::parse(name.as_bytes())?;
        self.names.get(&name).copied()
    }

    fn mark(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key)
            && !channel.marked
        {
            channel.marked = true;
            self.marked.push(key);
        }
    }

    fn touch(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key)
            && !topic.touched
        {
            topic.touched = true;
            self.touched.push(key);
        }
    }

    /// Marks a client whose output has grown.
    fn soil(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key)
            && !client.dirty
        {
            client.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Takes an empty buffer, warm if there is one.
    fn buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }

    fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if fits && self.spare_buffers.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }

    /// A number from 0 to `below - 1` (xorshift: samples need no better).
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }
}

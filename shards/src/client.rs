//! One connection: who it is, what it has subscribed to, what it waits for.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use crate::auth::{Auth, Grant};
use crate::limits::{OUTPUT_BYTES_PAUSE, Options, PENDING_MAX};
use crate::locality::Locality;
use crate::published::Published;
use crate::shard::{Gate, Socket, Taken};
use crate::slots::Key;
use crate::stats::ClientStats;
use crate::upgrade::{Encryption, Share, Upgrade};
use crate::wheel::TimerId;
use crate::wire::command::{Context, Progress};
use crate::wire::errors::Refusal;
use crate::wire::frame;
use crate::wire::identify::{Identify, Settings};
use crate::wire::names::Name;

/// What the rim knows of a peer when it accepts a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address without the port; empty for a unix socket. The name of a client that does not
    /// IDENTIFY.
    pub ip: String,
    /// `ip:port`, or `@`.
    pub address: String,
}

/// The part of a connection that moves with it from shard to shard.
#[derive(Debug)]
pub struct Session {
    /// Where it comes from.
    pub peer: Peer,
    /// What it said of itself.
    pub identity: Identify,
    /// What was negotiated.
    pub settings: Settings,
    /// The layers around it.
    pub upgrade: Upgrade,
    /// How it is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// Room for what the layers keep.
    pub share: Option<Share>,
    /// What it may do, where that is asked.
    pub auth: Auth,
    /// How near it is.
    pub locality: Locality,
    /// Whether its magic bytes have come.
    pub greeted: bool,
    /// When it connected, seconds since the Unix epoch.
    pub connected_s: i64,
    /// When its last command was complete.
    pub active_ms: u64,
    /// When the next heartbeat is due.
    pub heartbeat_at_ms: u64,
    /// Messages that it published, per topic.
    pub published: Published,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(peer: Peer, now_ms: u64, wall_ns: i64, options: &Options) -> Session {
        let identity = Identify {
            client_id: peer.ip.clone(),
            hostname: peer.ip.clone(),
            ..Identify::default()
        };
        Session {
            peer,
            identity,
            settings: Settings::new(options),
            upgrade: Upgrade::default(),
            encryption: None,
            share: None,
            auth: Auth::default(),
            locality: Locality::default(),
            greeted: false,
            connected_s: wall_ns / 1_000_000_000,
            active_ms: now_ms,
            heartbeat_at_ms: 0,
            published: Published::default(),
        }
    }
}

/// Where in its life a connection is.
#[derive(Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its commands are carried out.
    Open,
    /// It gets these layers as soon as the answer to IDENTIFY is sent; what it sends before that
    /// is thrown away. When the rim has begun, it has until then.
    Upgrading(Upgrade, Option<u64>),
    /// It moves to this worker as soon as its publishes are answered.
    Leaving(u16),
    /// It ends as soon as its publishes are answered and everything is sent.
    Ending(Option<Refusal>),
    /// Refused and told so; what it still sends is thrown away for a moment.
    Lingering,
}

/// What a connection has subscribed to.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The channel, which knows its topic.
    pub channel: Key,
    /// Whether it said CLS.
    pub closing: bool,
}

/// Where publishes to a topic go.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// The topic is here.
    Here(Key),
    /// It belongs to this shard.
    There(u16),
}

/// The answer to a publish, in its place among the others.
#[derive(Debug)]
pub enum Pending {
    /// Another shard has it; the command's name for an error text.
    Asked(&'static str),
    /// It is queued.
    Done,
    /// The frame that answers another command, behind a publish that is not answered.
    Frame(Vec<u8>),
    /// Refused, and the connection with it.
    Refused(Refusal),
}

/// What a client waits for while somebody is asked what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// The answer to AUTH.
    First,
    /// The next command, which its old grant is too old for.
    Again,
}

/// A connection as its shard sees it.
#[derive(Debug)]
pub struct Client {
    /// The rim's name for its socket.
    pub socket: Socket,
    /// What would move with it.
    pub session: Box<Session>,
    /// Where in its life it is.
    pub phase: Phase,
    /// Its channel.
    pub subscription: Option<Subscription>,
    /// RDY.
    pub ready_count: u64,
    /// Messages that it has.
    pub in_flight: u64,
    /// Messages sent to it.
    pub message_count: u64,
    /// Messages that it finished.
    pub finish_count: u64,
    /// Messages that it requeued.
    pub requeue_count: u64,
    /// In its channel's list of consumers that can take more.
    pub queued: bool,
    /// Bytes of an unfinished command, or of everything while it may not go on.
    pub input: Vec<u8>,
    /// Bytes at which it is worth looking at `input` again.
    pub needs: usize,
    /// Bytes that the unfinished command will probably have.
    pub likely: usize,
    /// How far an MPUB at the start of `input` has been checked.
    pub progress: Progress,
    /// Its commands wait; the rim does not read from it.
    pub paused: bool,
    /// Somebody is asked what it may do: its commands wait for that.
    pub inquiry: Option<Inquiry>,
    /// The peer sends no more.
    pub ended: bool,
    /// Bytes to be sent.
    pub output: Vec<u8>,
    /// How many of them the kernel has taken.
    pub sent: usize,
    /// In the list of connections that have something to send.
    pub dirty: bool,
    /// From where on the output waits for a promise to be true.
    pub gate: Gate,
    /// Since when the kernel takes nothing.
    pub stuck_since_ms: Option<u64>,
    /// What it published of late.
    pub taken: Taken,
    /// Where the topics are that it publishes to, by their places in the session.
    pub routes: Vec<Option<Route>>,
    /// Publishes that went to other shards, and those behind them.
    pub pending: VecDeque<Pending>,
    /// Number of the first of them.
    pub first_ticket: u32,
    /// Publishes in a row to one other shard.
    pub streak: (u16, u32),
    /// Fires for the heartbeat, the read deadline, or the end of lingering.
    pub timer: TimerId,
}

impl Client {
    /// A connection that arrives with this.
    #[must_use]
    pub fn new(socket: Socket, session: Box<Session>, output: Vec<u8>) -> Client {
        Client {
            socket,
            session,
            phase: Phase::Open,
            subscription: None,
            ready_count: 0,
            taken: Taken::default(),
            in_flight: 0,
            message_count: 0,
            finish_count: 0,
            requeue_count: 0,
            queued: false,
            input: Vec::new(),
            needs: 0,
            likely: 0,
            progress: Progress::default(),
            paused: false,
            inquiry: None,
            ended: false,
            output,
            sent: 0,
            dirty: false,
            gate: Gate::default(),
            stuck_since_ms: None,
            routes: Vec::new(),
            pending: VecDeque::new(),
            first_ticket: 0,
            streak: (0, 0),
            timer: TimerId::NONE,
        }
    }

    /// What the parser has to know of it.
    #[must_use]
    pub fn context<'a>(&'a self, options: &'a Options) -> Context<'a> {
        let last_topic = self.session.published.last_topic();
        Context { fresh: self.subscription.is_none(), last_topic, options }
    }

    /// Gives it a warm buffer to write into when it has none.
    pub fn lend(&mut self, spare_buffers: &mut Vec<Vec<u8>>) {
        if self.output.capacity() == 0
            && let Some(buffer) = spare_buffers.pop()
        {
            self.output = buffer;
        }
    }

    /// Where the output ends that may be sent already.
    #[must_use]
    pub fn sendable(&self) -> usize {
        self.gate.end(self.output.len())
    }

    /// Whether a message may be sent to it now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.in_flight < self.ready_count && self.phase == Phase::Open && !self.is_full()
    }

    /// Whether so much waits to be sent that nothing is added that can wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.len() - self.sent >= OUTPUT_BYTES_PAUSE
    }

    /// Whether even the errors for a client that never reads have become too many.
    #[must_use]
    pub fn is_brimming(&self) -> bool {
        self.output.len() - self.sent >= 2 * OUTPUT_BYTES_PAUSE
            || self.pending.len() >= 2 * PENDING_MAX
    }

    /// Whether its next command is not its own to send or not ours to expect: answers are owed, or
    /// it is not read.
    #[must_use]
    pub fn waits_for_us(&self) -> bool {
        let waits = matches!(self.phase, Phase::Leaving(_) | Phase::Upgrading(..));
        waits || self.paused || !self.pending.is_empty()
    }

    /// Number of the state as `/stats` shows it (NSQ).
    #[must_use]
    pub fn state(&self) -> u8 {
        match self.subscription {
            None => 0,
            Some(Subscription { closing: false, .. }) => 3,
            Some(Subscription { closing: true, .. }) => 4,
        }
    }

    /// Appends the answers that have come, as far as none is missing before them. The refusal
    /// after which the connection ends, when there is one.
    pub fn settle_pending(&mut self) -> Option<Refusal> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Asked(verb) => {
                    self.pending.push_front(Pending::Asked(verb));
                    return None;
                }
                Pending::Done => self.output.extend_from_slice(frame::OK),
                Pending::Frame(frame) => self.output.extend_from_slice(&frame),
                Pending::Refused(refusal) => {
                    self.pending.clear();
                    return Some(refusal);
                }
            }
            self.first_ticket = self.first_ticket.wrapping_add(1);
        }
        None
    }

    /// Its counters; `topic` picks among the topics that it published to, and it `consumes` that.
    #[must_use]
    pub fn stats(&self, topic: Option<&str>, consumes: Option<(Name, Name)>) -> ClientStats {
        let Session { peer, identity, settings, connected_s, published, .. } = &*self.session;
        let Session { upgrade, encryption, auth, .. } = &*self.session;
        let granted = |text: fn(&Grant) -> &String| {
            auth.grant.as_ref().map(|grant| text(grant).clone()).unwrap_or_default()
        };
        ClientStats {
            client_id: identity.client_id.clone(),
            hostname: identity.hostname.clone(),
            user_agent: identity.user_agent.clone(),
            remote_address: peer.address.clone(),
            state: self.state(),
            ready_count: self.ready_count,
            in_flight_count: self.in_flight,
            message_count: self.message_count,
            finish_count: self.finish_count,
            requeue_count: self.requeue_count,
            connect_ts_s: *connected_s,
            sample_rate: settings.sample_rate,
            compression: upgrade.compression,
            encryption: encryption.clone(),
            authorized: auth.is_granted(),
            auth_identity: granted(|grant| &grant.identity),
            auth_identity_url: granted(|grant| &grant.identity_url),
            topology_region: identity.topology_region.clone(),
            topology_zone: identity.topology_zone.clone(),
            pub_counts: published.count(topic),
            connection: 0,
            is_producer: published.count(None).is_some(),
            consumes,
        }
    }
}

//! Consuming one or several topics from several nsqds, on the tool's own thread.
//!
//! The tool calls [`Consumer::next`] and gets one [`Step`] at a time. Answers to messages are put
//! off until [`Step::Idle`], so that a burst costs a handful of writes.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};

use super::codec::{Command, Message};
use super::connection::{Connection, OpenError};
use super::limits::{EVENTS_WAITING_MAX, EVENTS_WAITING_MIN, NSQDS_MAX, STOP_TIMEOUT};
use super::live::{Live, share_rdy};
use super::log::{Level, Log};
use super::lookup::{Endpoint, Lookup};
use super::options::ConsumerOptions;
use super::peer::{Event, Peer, PeerId};
use super::step::{Delivery, Rest, Sources, Step, Stopper, Subscription};

/// Consumes; see the module's text.
pub struct Consumer {
    groups: Vec<Group>,
    peers: BTreeMap<PeerId, PeerState>,
    peer_id_next: PeerId,
    options: Arc<ConsumerOptions>,
    discovers: bool,
    events: (Sender<Event>, Receiver<Event>),
    // The sender is dropped to wake the threads that sleep.
    stopped: (Option<Sender<()>>, Receiver<()>),
    stop_asked: Arc<AtomicBool>,
    // Messages were handed out since the last `Step::Idle`.
    busy: bool,
    postponed: Option<Event>,
    turn_at: Instant,
    stopping: Option<Stopping>,
}

#[derive(Clone, Copy)]
struct Stopping {
    until: Instant,
    rest: Rest,
}

/// One subscription.
struct Group {
    subscription: Subscription,
    log: Log,
    recheck: Option<Sender<()>>,
}

/// One nsqd of one subscription.
struct PeerState {
    group: usize,
    address: String,
    live: Option<Live>,
}

impl Consumer {
    /// Starts to connect. What is wrong with the arguments is said at once, the rest by `next`.
    pub fn start(
        subscriptions: Vec<Subscription>,
        sources: &Sources,
        options: ConsumerOptions,
    ) -> Result<Consumer, String> {
        let mut consumer = Consumer::new(subscriptions, sources, options);
        for group in 0..consumer.groups.len() {
            match sources {
                Sources::Nsqds(addresses) => {
                    for address in addresses {
                        consumer.add_nsqd(group, address)?;
                    }
                }
                Sources::Lookupds(addresses) => consumer.add_lookup(group, addresses)?,
            }
        }
        Ok(consumer)
    }

    fn new(
        subscriptions: Vec<Subscription>,
        sources: &Sources,
        options: ConsumerOptions,
    ) -> Consumer {
        // With room for all that may be in flight, a slow tool does not keep its connections from
        // answering heartbeats.
        let in_flight_max = options.in_flight_max() as usize;
        let waiting_max = in_flight_max.saturating_mul(subscriptions.len());
        let waiting_max = waiting_max.clamp(EVENTS_WAITING_MIN, EVENTS_WAITING_MAX);
        let groups = subscriptions.into_iter().enumerate().map(|(at, subscription)| {
            let log = Log::new(at + 1, &subscription.topic, &subscription.channel);
            Group { subscription, log, recheck: None }
        });
        let (stop, stopped) = flume::bounded(0);
        Consumer {
            groups: groups.collect(),
            peers: BTreeMap::new(),
            peer_id_next: 0,
            turn_at: Instant::now() + options.rdy_redistribute_interval,
            options: Arc::new(options),
            discovers: matches!(sources, Sources::Lookupds(_)),
            events: flume::bounded(waiting_max),
            stopped: (Some(stop), stopped),
            stop_asked: Arc::default(),
            busy: false,
            postponed: None,
            stopping: None,
        }
    }

    /// For the thread that waits for signals.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(Arc::clone(&self.stop_asked), self.events.0.clone())
    }

    /// Waits for what comes next.
    pub fn next(&mut self) -> Step {
        loop {
            self.take_turns();
            if self.stopping.is_none() && self.stop_asked.load(Ordering::Acquire) {
                self.stop(Rest::Deliver, STOP_TIMEOUT);
            }
            if let Some(stopping) = self.stopping
                && (self.live_count() == 0 || Instant::now() >= stopping.until)
            {
                return Step::Stopped;
            }
            let event = self.postponed.take().or_else(|| self.events.1.try_recv().ok());
            match event {
                Some(Event::Message(id, connection, message)) => {
                    if let Some(delivery) = self.accept(id, connection, message) {
                        return Step::Message(delivery);
                    }
                }
                waiting if self.busy => {
                    // What was handed out is answered before anything else changes.
                    self.busy = false;
                    self.postponed = waiting;
                    return Step::Idle;
                }
                Some(event) => {
                    if let Some(text) = self.apply(event) {
                        return Step::Failed(text);
                    }
                }
                None => {
                    self.flush();
                    self.postponed = self.wait();
                }
            }
        }
    }

    /// Sends the answers that were put off.
    pub fn flush(&self) {
        for live in self.peers.values().filter_map(|peer| peer.live.as_ref()) {
            // A failure closes the connection; its thread reports that.
            let _ = live.connection.flush();
        }
    }

    /// Begins a clean stop: no new messages, then the connections end. `next` says when it is done.
    pub fn stop(&mut self, rest: Rest, timeout: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { until: Instant::now() + timeout, rest });
        self.stopped.0 = None;
        for group in &mut self.groups {
            group.recheck = None;
            group.log.say(Level::Info, format_args!("stopping..."));
        }
        for live in self.peers.values().filter_map(|peer| peer.live.as_ref()) {
            // A failure closes the connection; its thread reports that.
            let _ = live.connection.send(&Command::Cls);
        }
    }

    fn wait(&self) -> Option<Event> {
        let crowded = (0..self.groups.len()).any(|group| self.is_crowded(group));
        let turn = crowded.then_some(self.turn_at);
        let wake_at = turn.into_iter().chain(self.stopping.map(|stopping| stopping.until)).min();
        match wake_at {
            Some(wake_at) => self.events.1.recv_deadline(wake_at).ok(),
            None => self.events.1.recv().ok(),
        }
    }

    /// Whether the message is for the tool. If not, it is answered here.
    fn accept(
        &mut self,
        id: PeerId,
        connection: Arc<Connection>,
        message: Message,
    ) -> Option<Delivery> {
        let peer = self.peers.get_mut(&id)?;
        if let Some(live) = &mut peer.live {
            live.message_came(Instant::now());
        }
        let delivery = Delivery::new(peer.group, message, connection);
        let (attempts, attempts_max) = (delivery.message.attempts, self.options.max_attempts);
        if attempts_max > 0 && attempts > attempts_max {
            let text =
                format_args!("msg {} attempted {attempts} times, giving up", delivery.message.id);
            self.groups[delivery.subscription].log.say(Level::Warning, text);
            delivery.finish();
            return None;
        }
        if self.stopping.is_some_and(|stopping| stopping.rest == Rest::HandBack) {
            delivery.requeue(0);
            return None;
        }
        self.busy = true;
        Some(delivery)
    }

    /// Takes in what a thread told; the text is for a failure that ends everything.
    fn apply(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Connected(id, connection) => self.connected(id, connection),
            Event::Refused(id, error) => return self.refused(id, &error),
            Event::Message(..) => unreachable!("messages are accepted before anything is applied"),
            Event::Drained(id) => self.drained(id),
            Event::Closed(id) => self.closed(id),
            Event::Gone(id) => drop(self.peers.remove(&id)),
            Event::Discovered(group, addresses) => self.discovered(group, &addresses),
            // Only there to wake; `next` looks at what was asked.
            Event::Stop => {}
        }
        None
    }

    fn connected(&mut self, id: PeerId, connection: Arc<Connection>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if self.stopping.is_some() {
            connection.close();
            return;
        }
        let (rdy_max, wanted) = (connection.rdy_max, self.options.in_flight_max());
        if rdy_max < wanted {
            let text = format_args!(
                "({}) max RDY count {rdy_max} < consumer max in flight {wanted}, \
                 truncation possible",
                peer.address
            );
            self.groups[peer.group].log.say(Level::Warning, text);
        }
        peer.live = Some(Live::new(connection, Instant::now()));
        let group = peer.group;
        self.share(group);
    }

    fn refused(&self, id: PeerId, error: &OpenError) -> Option<String> {
        if !self.discovers && error.is_final() {
            return Some(error.to_string());
        }
        if let Some(peer) = self.peers.get(&id) {
            let text = format_args!("({}) error connecting to nsqd - {error}", peer.address);
            self.groups[peer.group].log.say(Level::Error, text);
        }
        None
    }

    fn drained(&self, id: PeerId) {
        if let Some(live) = self.peers.get(&id).and_then(|peer| peer.live.as_ref()) {
            // A failure closes the connection; its thread reports that.
            let _ = live.connection.flush();
            live.connection.finish_sending();
        }
    }

    fn closed(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.live = None;
        let group = peer.group;
        let left = self.live_ids(group).count();
        let text = format_args!("there are {left} connections left alive");
        self.groups[group].log.say(Level::Warning, text);
        if let Some(recheck) = &self.groups[group].recheck {
            // Full means that a poll is due already.
            let _ = recheck.try_send(());
        }
        if self.stopping.is_none() {
            self.share(group);
        }
    }

    fn discovered(&mut self, group: usize, addresses: &[String]) {
        if self.stopping.is_some() {
            return;
        }
        for address in addresses {
            if let Err(error) = self.add_nsqd(group, address) {
                self.say(group, Level::Error, format_args!("({address}) {error}"));
                return;
            }
        }
    }

    fn add_nsqd(&mut self, group: usize, address: &str) -> Result<(), String> {
        let of_group = self.peers.values().filter(|peer| peer.group == group);
        if of_group.clone().any(|peer| peer.address == address) {
            return Ok(());
        }
        if of_group.count() >= NSQDS_MAX {
            return Err(format!("more than {NSQDS_MAX} nsqds for one topic: not connecting"));
        }
        let id = self.peer_id_next;
        self.peer_id_next += 1;
        let Group { subscription, log, .. } = &self.groups[group];
        let peer = Peer {
            id,
            address: address.to_owned(),
            topic: subscription.topic.clone(),
            channel: subscription.channel.clone(),
            options: Arc::clone(&self.options),
            reconnects: !self.discovers,
            log: log.clone(),
            events: self.events.0.clone(),
            stopped: self.stopped.1.clone(),
        };
        spawn(&format!("nsqd {address}"), move || peer.run())?;
        self.peers.insert(id, PeerState { group, address: address.to_owned(), live: None });
        Ok(())
    }

    fn add_lookup(&mut self, group: usize, addresses: &[String]) -> Result<(), String> {
        let (recheck, rechecked) = flume::bounded(1);
        let Group { subscription, log, .. } = &self.groups[group];
        let endpoints = addresses
            .iter()
            .map(|address| Endpoint::new(address, &subscription.topic))
            .collect::<Result<Vec<_>, _>>()?;
        let lookup = Lookup {
            endpoints,
            subscription: group,
            options: Arc::clone(&self.options),
            log: log.clone(),
            events: self.events.0.clone(),
            recheck: rechecked,
        };
        self.groups[group].recheck = Some(recheck);
        spawn("nsqlookupd", move || lookup.run())
    }

    fn live_ids(&self, group: usize) -> impl Iterator<Item = PeerId> {
        let live = self.peers.iter().filter(move |(_, peer)| peer.group == group);
        live.filter(|(_, peer)| peer.live.is_some()).map(|(id, _)| *id)
    }

    fn live_count(&self) -> usize {
        self.peers.values().filter(|peer| peer.live.is_some()).count()
    }

    fn is_crowded(&self, group: usize) -> bool {
        self.live_ids(group).count() > self.options.in_flight_max() as usize
    }

    /// Lets other connections have messages where there are too few for all at once.
    fn take_turns(&mut self) {
        let now = Instant::now();
        if now < self.turn_at || self.stopping.is_some() {
            return;
        }
        self.turn_at = now + self.options.rdy_redistribute_interval;
        for group in 0..self.groups.len() {
            if self.is_crowded(group) {
                self.share(group);
            }
        }
    }

    /// Gives every connection of a subscription its RDY.
    fn share(&mut self, group: usize) {
        let peers = self.peers.values_mut().filter(|peer| peer.group == group);
        let mut live: Vec<&mut Live> = peers.filter_map(|peer| peer.live.as_mut()).collect();
        share_rdy(&mut live, &self.options);
    }

    fn say(&self, group: usize, level: Level, text: Arguments<'_>) {
        self.groups[group].log.say(level, text);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

#[cfg(test)]
mod tests;

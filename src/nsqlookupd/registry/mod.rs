//! Who has which topics and channels: pure state, told the time by its callers.
//!
//! The original keeps a map from (category, key, subkey) to producers and searches all of it for
//! most questions. Here a topic knows its channels and producers, and a producer its topics, so a
//! question costs what its answer is long. A *key* is a topic or channel that exists, be there
//! producers or not; an *entry* is a producer under a key.
//!
//! A producer under a channel's key is under the topic's key, too.

mod changes;
mod show;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use indexmap::IndexMap;
use slab::Slab;

use super::peer::PeerInfo;

use changes::Timer;

/// A moment: for intervals, and for showing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that is never set.
    pub steady_ns: u64,
    /// Nanoseconds since 1970.
    pub unix_ns: i64,
}

/// What the operator chooses.
#[derive(Clone, Copy, Debug)]
pub struct RegistrySettings {
    /// A producer that has not pinged for longer is hidden.
    pub inactive_after_ns: u64,
    /// How long a tombstone hides a producer.
    pub tombstone_ns: u64,
    /// Keys and entries together.
    pub registrations_max: usize,
}

/// A producer's place in the registry, from IDENTIFY until it disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(u32);

/// There is no room for more keys and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a REGISTER added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// The producer was not under the topic's key before.
    pub topic: bool,
    /// The producer was not under the channel's key before.
    pub channel: bool,
}

/// Whose entries were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unregistered {
    /// The topic's.
    pub topic: bool,
    /// Those of these channels.
    pub channels: Vec<Rc<str>>,
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounts {
    /// Producers that have identified themselves.
    pub producers: usize,
    /// Of those, producers that are hidden for their silence.
    pub inactive: usize,
    /// Topics that exist.
    pub topics: usize,
    /// Channels that exist.
    pub channels: usize,
    /// Keys and entries, as `--max-registrations` counts them.
    pub registrations: usize,
    /// Tombstones that hide a producer now.
    pub tombstones: usize,
}

/// The registry.
#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    peers: Slab<Peer>,
    topics: Slab<Topic>,
    /// Only looked up, never walked through.
    names: HashMap<Rc<str>, u32>,
    counts: RegistryCounts,
    /// The number of the last change that somebody may wait for.
    index: u64,
    /// What changes without anybody's doing, and when.
    timers: BTreeSet<(u64, Timer)>,
    watched: HashSet<Rc<str>>,
    changed: Vec<Rc<str>>,
}

#[derive(Debug)]
struct Peer {
    info: PeerInfo,
    /// Its JSON fields, ready to be sent.
    fields: Box<str>,
    seen: Now,
    /// When it is looked at next; `None` for a producer that is inactive.
    timer_ns: Option<u64>,
    topics: BTreeSet<u32>,
}

#[derive(Debug)]
struct Topic {
    name: Rc<str>,
    /// The key exists. Without it there are channels only: an ephemeral topic leaves them behind.
    registered: bool,
    /// By the producers' places.
    producers: Vec<Entry>,
    /// Each with the places of its producers, in order.
    channels: IndexMap<Rc<str>, Vec<u32>>,
    /// The number of its last change.
    index: u64,
}

#[derive(Debug)]
struct Entry {
    peer: u32,
    tombstone: Option<Box<Tombstone>>,
}

/// Stays until the entry goes, though it hides nothing after its time.
#[derive(Clone, Copy, Debug)]
struct Tombstone {
    set_unix_ns: i64,
    until_ns: u64,
}

impl Registry {
    /// Nothing yet. `first_index` should be higher than any that an earlier process gave out.
    pub fn new(settings: RegistrySettings, first_index: u64) -> Registry {
        Registry {
            settings,
            peers: Slab::new(),
            topics: Slab::new(),
            names: HashMap::new(),
            counts: RegistryCounts::default(),
            index: first_index,
            timers: BTreeSet::new(),
            watched: HashSet::new(),
            changed: Vec::new(),
        }
    }

    /// How much there is of what.
    pub fn counts(&self) -> RegistryCounts {
        self.counts
    }

    /// Takes a producer in. (Connections are bounded elsewhere, so it always has room.)
    pub fn identify(&mut self, info: PeerInfo, now: Now) -> PeerKey {
        let fields = info.fields().into_boxed_str();
        let peer = Peer { info, fields, seen: now, timer_ns: None, topics: BTreeSet::new() };
        let key = place(self.peers.insert(peer));
        self.counts.producers += 1;
        self.start_timer(key);
        PeerKey(key)
    }

    /// Notes that a producer is alive, and says for how many nanoseconds nobody knew.
    pub fn ping(&mut self, key: PeerKey, now: Now) -> u64 {
        let peer = &mut self.peers[key.0 as usize];
        let silence_ns = now.steady_ns.saturating_sub(peer.seen.steady_ns);
        peer.seen = now;
        if peer.timer_ns.is_none() {
            self.counts.inactive -= 1;
            self.start_timer(key.0);
            self.touch_topics_of(key.0);
        }
        silence_ns
    }

    /// Puts a producer under a topic's key and perhaps a channel's; creates the keys. Names are
    /// valid. A tombstone that is there stays.
    ///
    /// # Errors
    /// When there are too many registrations; then nothing has changed.
    pub fn register(
        &mut self,
        key: PeerKey,
        topic: &str,
        channel: Option<&str>,
    ) -> Result<Registered, Full> {
        self.make_room(self.registrations_for(Some(key.0), topic, channel))?;
        let at = self.topic_of(topic);
        self.create_key(at);
        let mut added = Registered::default();
        if let Some(channel) = channel {
            let channel = self.channel_of(at, channel);
            let producers = &mut self.topics[at as usize].channels[channel];
            if let Err(position) = producers.binary_search(&key.0) {
                producers.insert(position, key.0);
                self.counts.registrations += 1;
                added.channel = true;
            }
        }
        let producers = &mut self.topics[at as usize].producers;
        if let Err(position) = producers.binary_search_by_key(&key.0, |entry| entry.peer) {
            producers.insert(position, Entry { peer: key.0, tombstone: None });
            self.counts.registrations += 1;
            self.peers[key.0 as usize].topics.insert(at);
            added.topic = true;
            self.touch(at);
        }
        Ok(added)
    }

    /// Takes a producer from a channel's key, or else from a topic's and those of all its
    /// channels. The key stays, unless it is ephemeral and has no producers left.
    pub fn unregister(&mut self, key: PeerKey, topic: &str, channel: Option<&str>) -> Unregistered {
        let Some(&at) = self.names.get(topic) else { return Unregistered::default() };
        match channel {
            Some(channel) => self.unregister_channel(key, at, channel),
            None => self.unregister_topic(key, at),
        }
    }

    fn unregister_channel(&mut self, key: PeerKey, at: u32, channel: &str) -> Unregistered {
        let mut removed = Unregistered::default();
        let topic = &mut self.topics[at as usize];
        let Some((index, name, producers)) = topic.channels.get_full_mut(channel) else {
            return removed;
        };
        if let Ok(position) = producers.binary_search(&key.0) {
            producers.remove(position);
            removed.channels.push(name.clone());
            self.counts.registrations -= 1;
        }
        if producers.is_empty() && is_ephemeral(channel) {
            topic.channels.swap_remove_index(index);
            self.counts.channels -= 1;
            self.counts.registrations -= 1;
            self.forget_if_empty(at);
        }
        removed
    }

    fn unregister_topic(&mut self, key: PeerKey, at: u32) -> Unregistered {
        let mut removed = Unregistered { topic: false, channels: self.leave_channels(key.0, at) };
        removed.topic = self.leave_topic(key.0, at);
        let topic = &mut self.topics[at as usize];
        if topic.registered && topic.producers.is_empty() && is_ephemeral(&topic.name) {
            topic.registered = false;
            self.counts.topics -= 1;
            self.counts.registrations -= 1;
            self.touch(at);
            self.forget_if_empty(at);
        }
        removed
    }

    /// Takes a producer out, from everything. Keys stay. The topics that it was under, each with
    /// what was removed.
    pub fn disconnect(&mut self, key: PeerKey) -> Vec<(Rc<str>, Unregistered)> {
        let topics = std::mem::take(&mut self.peers[key.0 as usize].topics);
        let mut removed = Vec::with_capacity(topics.len());
        for at in topics {
            let channels = self.leave_channels(key.0, at);
            let topic = self.leave_topic(key.0, at);
            let name = self.topics[at as usize].name.clone();
            removed.push((name, Unregistered { topic, channels }));
        }
        self.stop_timer(key.0);
        self.peers.remove(key.0 as usize);
        self.counts.producers -= 1;
        removed
    }

    /// The names of the channels that the producer was under.
    fn leave_channels(&mut self, peer: u32, at: u32) -> Vec<Rc<str>> {
        let mut left = Vec::new();
        for (name, producers) in &mut self.topics[at as usize].channels {
            if let Ok(position) = producers.binary_search(&peer) {
                producers.remove(position);
                self.counts.registrations -= 1;
                left.push(name.clone());
            }
        }
        left
    }

    /// Whether the producer was under the topic's key.
    fn leave_topic(&mut self, peer: u32, at: u32) -> bool {
        let producers = &mut self.topics[at as usize].producers;
        let Ok(position) = producers.binary_search_by_key(&peer, |entry| entry.peer) else {
            return false;
        };
        let entry = producers.remove(position);
        self.counts.registrations -= 1;
        self.peers[peer as usize].topics.remove(&at);
        self.bury(at, &entry);
        self.touch(at);
        true
    }

    /// Creates a topic, and perhaps a channel of it. Names are valid.
    ///
    /// # Errors
    /// When there are too many registrations; then nothing has changed.
    pub fn create(&mut self, topic: &str, channel: Option<&str>) -> Result<(), Full> {
        self.make_room(self.registrations_for(None, topic, channel))?;
        let at = self.topic_of(topic);
        self.create_key(at);
        if let Some(channel) = channel {
            self.channel_of(at, channel);
        }
        Ok(())
    }

    /// Deletes a topic and its channels: `None` when there is none, else whether the topic's key
    /// existed, and the channels.
    pub fn delete_topic(&mut self, topic: &str) -> Option<Unregistered> {
        let at = *self.names.get(topic)?;
        self.touch(at);
        let topic = self.topics.remove(at as usize);
        self.names.remove(&topic.name);
        for entry in &topic.producers {
            self.peers[entry.peer as usize].topics.remove(&at);
            self.bury(at, entry);
        }
        let entries: usize = topic.channels.values().map(Vec::len).sum();
        self.counts.registrations -=
            entries + topic.channels.len() + topic.producers.len() + usize::from(topic.registered);
        self.counts.channels -= topic.channels.len();
        self.counts.topics -= usize::from(topic.registered);
        let channels = topic.channels.into_keys().collect();
        Some(Unregistered { topic: topic.registered, channels })
    }

    /// Deletes a channel. Whether there was one.
    pub fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        let Some(&at) = self.names.get(topic) else { return false };
        let channels = &mut self.topics[at as usize].channels;
        let Some(producers) = channels.swap_remove(channel) else { return false };
        self.counts.channels -= 1;
        self.counts.registrations -= 1 + producers.len();
        self.forget_if_empty(at);
        true
    }

    /// Hides a topic's producers of that name (`<broadcast_address>:<http_port>`) for a while.
    pub fn tombstone(&mut self, topic: &str, node: &str, now: Now) {
        self.advance(now);
        let Some(&at) = self.names.get(topic) else { return };
        let until_ns = now.steady_ns.saturating_add(self.settings.tombstone_ns);
        let fresh = Tombstone { set_unix_ns: now.unix_ns, until_ns };
        let mut touched = false;
        for entry in &mut self.topics[at as usize].producers {
            if self.peers[entry.peer as usize].info.node() != node {
                continue;
            }
            let old = entry.tombstone.replace(Box::new(fresh));
            let timer = Timer::Tombstone { topic: at, peer: entry.peer };
            if old.is_some_and(|old| self.timers.remove(&(old.until_ns, timer))) {
                self.counts.tombstones -= 1;
            }
            if until_ns > now.steady_ns {
                self.timers.insert((until_ns, timer));
                self.counts.tombstones += 1;
                touched = true;
            }
        }
        if touched {
            self.touch(at);
        }
    }

    /// How many keys and entries are missing until these exist, with this producer under them.
    fn registrations_for(&self, peer: Option<u32>, topic: &str, channel: Option<&str>) -> usize {
        let topic = self.names.get(topic).map(|&at| &self.topics[at as usize]);
        let has_key = topic.is_some_and(|topic| topic.registered);
        let has_entry = |peer: u32| {
            topic.is_some_and(|topic| {
                topic.producers.binary_search_by_key(&peer, |entry| entry.peer).is_ok()
            })
        };
        let mut missing = usize::from(!has_key);
        missing += usize::from(peer.is_some_and(|peer| !has_entry(peer)));
        if let Some(channel) = channel {
            let producers = topic.and_then(|topic| topic.channels.get(channel));
            let has_entry =
                |peer: u32| producers.is_some_and(|all| all.binary_search(&peer).is_ok());
            missing += usize::from(producers.is_none());
            missing += usize::from(peer.is_some_and(|peer| !has_entry(peer)));
        }
        missing
    }

    fn make_room(&self, registrations: usize) -> Result<(), Full> {
        let room = self.settings.registrations_max.saturating_sub(self.counts.registrations);
        if registrations <= room { Ok(()) } else { Err(Full) }
    }

    /// The place of a topic, which is made if need be; its key is not.
    fn topic_of(&mut self, name: &str) -> u32 {
        if let Some(&at) = self.names.get(name) {
            return at;
        }
        let name: Rc<str> = name.into();
        let at = place(self.topics.insert(Topic {
            name: name.clone(),
            registered: false,
            producers: Vec::new(),
            channels: IndexMap::new(),
            index: self.index,
        }));
        self.names.insert(name, at);
        at
    }

    fn create_key(&mut self, at: u32) {
        let topic = &mut self.topics[at as usize];
        if !topic.registered {
            topic.registered = true;
            self.counts.topics += 1;
            self.counts.registrations += 1;
            self.touch(at);
        }
    }

    /// The position of a channel, whose key is made if need be.
    fn channel_of(&mut self, at: u32, name: &str) -> usize {
        let channels = &mut self.topics[at as usize].channels;
        if let Some(position) = channels.get_index_of(name) {
            return position;
        }
        self.counts.channels += 1;
        self.counts.registrations += 1;
        channels.insert_full(name.into(), Vec::new()).0
    }

    /// Gives up the place of a topic that has neither a key nor channels.
    fn forget_if_empty(&mut self, at: u32) {
        let topic = &self.topics[at as usize];
        if !topic.registered && topic.channels.is_empty() {
            let topic = self.topics.remove(at as usize);
            assert!(topic.producers.is_empty(), "{} has producers without a key", topic.name);
            self.names.remove(&topic.name);
        }
    }

    /// Removes what a tombstone has in the future.
    fn bury(&mut self, topic: u32, entry: &Entry) {
        let Some(tombstone) = &entry.tombstone else { return };
        let timer = Timer::Tombstone { topic, peer: entry.peer };
        if self.timers.remove(&(tombstone.until_ns, timer)) {
            self.counts.tombstones -= 1;
        }
    }
}

/// A key of a slab. There is not room for so many that 32 bits are too few.
fn place(key: usize) -> u32 {
    u32::try_from(key).expect("connections and registrations are bounded far below 2^32")
}

fn is_ephemeral(name: &str) -> bool {
    name.ends_with("#ephemeral")
}

#[cfg(test)]
mod tests;

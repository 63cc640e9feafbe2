//! The registry as JSON, byte for byte in the original's shape.
//!
//! Names need no escapes: they are valid. Arrays come in the order of creation, as far as nothing
//! was deleted; the original's have none.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::changes::WILDCARD;
use super::{Entry, Now, Peer, Registry, Topic};
use crate::nsqlookupd::peer::push_text;

/// What the original shows as the time of a tombstone that was never set: its clock's year 1.
const NEVER_NS: i64 = -6_795_364_578_871_345_152;

impl Registry {
    /// `/lookup`: a topic's channels, and its producers that are neither silent nor under a
    /// tombstone. `None` when there is no such topic. `*` is all topics.
    pub fn lookup(&self, topic: &str, now: Now) -> Option<String> {
        if topic == WILDCARD {
            return (self.counts.topics > 0).then(|| self.lookup_all(now));
        }
        let &at = self.names.get(topic)?;
        let topic = &self.topics[at as usize];
        if !topic.registered {
            return None;
        }
        let peers_bytes: usize =
            topic.producers.iter().map(|entry| self.peer(entry).fields.len() + 3).sum();
        let names_bytes: usize = topic.channels.keys().map(|name| name.len() + 3).sum();
        let mut out = String::with_capacity(peers_bytes + names_bytes + 32);
        out.push_str("{\"channels\":[");
        push_list(&mut out, topic.channels.keys(), push_name);
        out.push_str("],\"producers\":[");
        let shown = topic.producers.iter().filter(|entry| self.is_shown(entry, now));
        push_list(&mut out, shown.map(|entry| self.peer(entry)), push_peer);
        out.push_str("]}");
        Some(out)
    }

    /// All channels, as often as they are there, and each producer that is shown for some topic.
    fn lookup_all(&self, now: Now) -> String {
        let topics = || self.topics.iter().map(|(_, topic)| topic);
        let mut out = String::from("{\"channels\":[");
        push_list(&mut out, topics().flat_map(|topic| topic.channels.keys()), push_name);
        out.push_str("],\"producers\":[");
        let entries = topics().flat_map(|topic| &topic.producers);
        let shown: BTreeMap<u32, &Peer> = entries
            .filter(|entry| self.is_shown(entry, now))
            .map(|entry| (entry.peer, self.peer(entry)))
            .collect();
        push_list(&mut out, shown.into_values(), push_peer);
        out.push_str("]}");
        out
    }

    /// `/topics`: those that exist, with producers or without.
    pub fn topics(&self) -> String {
        let mut out = String::from("{\"topics\":[");
        push_list(&mut out, self.existing().map(|topic| &topic.name), push_name);
        out.push_str("]}");
        out
    }

    /// `/channels` of a topic, or of all of them for `*`.
    pub fn channels(&self, topic: &str) -> String {
        let mut out = String::from("{\"channels\":[");
        if topic == WILDCARD {
            let channels = self.topics.iter().flat_map(|(_, topic)| topic.channels.keys());
            push_list(&mut out, channels, push_name);
        } else if let Some(&at) = self.names.get(topic) {
            push_list(&mut out, self.topics[at as usize].channels.keys(), push_name);
        }
        out.push_str("]}");
        out
    }

    /// `/nodes`: the producers that are not silent, with their topics and whether a tombstone
    /// hides them there.
    pub fn nodes(&self, now: Now) -> String {
        let mut out = String::from("{\"producers\":[");
        let active = self.peers.iter().filter(|(_, peer)| self.is_active(peer, now));
        push_list(&mut out, active, |out, (key, peer)| {
            out.push('{');
            out.push_str(&peer.fields);
            out.push_str(",\"tombstones\":[");
            let topics = || peer.topics.iter().map(|&at| &self.topics[at as usize]);
            push_list(out, topics(), |out, topic| {
                let hidden = topic.entry(key).is_some_and(|entry| is_hidden(entry, now));
                out.push_str(if hidden { "true" } else { "false" });
            });
            out.push_str("],\"topics\":[");
            push_list(out, topics().map(|topic| &topic.name), push_name);
            out.push_str("]}");
        });
        out.push_str("]}");
        out
    }

    /// `/debug`: every key that has producers, sorted, with all that is known of them.
    pub fn debug(&self) -> String {
        let mut keys: BTreeMap<String, Vec<(&Peer, Option<i64>)>> = BTreeMap::new();
        if !self.peers.is_empty() {
            let peers = self.peers.iter().map(|(_, peer)| (peer, None));
            keys.insert("client::".to_owned(), peers.collect());
        }
        for (_, topic) in &self.topics {
            if !topic.producers.is_empty() {
                let set = |entry: &Entry| entry.tombstone.as_ref().map(|stone| stone.set_unix_ns);
                let entries = topic.producers.iter().map(|entry| (self.peer(entry), set(entry)));
                keys.insert(format!("topic:{}:", topic.name), entries.collect());
            }
            for (name, producers) in topic.channels.iter().filter(|(_, all)| !all.is_empty()) {
                let peers = producers.iter().map(|&key| (&self.peers[key as usize], None));
                keys.insert(format!("channel:{}:{name}", topic.name), peers.collect());
            }
        }
        let mut out = String::from("{");
        push_list(&mut out, keys, |out, (key, producers)| {
            out.push('"');
            out.push_str(&key);
            out.push_str("\":[");
            push_list(out, producers, |out, (peer, set)| push_debug(out, peer, set));
            out.push(']');
        });
        out.push('}');
        out
    }

    fn existing(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().map(|(_, topic)| topic).filter(|topic| topic.registered)
    }

    fn peer(&self, entry: &Entry) -> &Peer {
        &self.peers[entry.peer as usize]
    }

    fn is_shown(&self, entry: &Entry, now: Now) -> bool {
        self.is_active(self.peer(entry), now) && !is_hidden(entry, now)
    }

    fn is_active(&self, peer: &Peer, now: Now) -> bool {
        now.steady_ns.saturating_sub(peer.seen.steady_ns) <= self.settings.inactive_after_ns
    }
}

impl Topic {
    fn entry(&self, peer: usize) -> Option<&Entry> {
        let found = self.producers.binary_search_by_key(&peer, |entry| entry.peer as usize);
        found.ok().map(|position| &self.producers[position])
    }
}

fn is_hidden(entry: &Entry, now: Now) -> bool {
    entry.tombstone.as_ref().is_some_and(|tombstone| now.steady_ns < tombstone.until_ns)
}

/// Appends the items, with commas between them.
fn push_list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut String, T),
) {
    for (number, item) in items.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        push(out, item);
    }
}

fn push_name(out: &mut String, name: impl AsRef<str>) {
    out.push('"');
    out.push_str(name.as_ref());
    out.push('"');
}

fn push_peer(out: &mut String, peer: &Peer) {
    out.push('{');
    out.push_str(&peer.fields);
    out.push('}');
}

fn push_debug(out: &mut String, peer: &Peer, tombstoned: Option<i64>) {
    let info = &peer.info;
    let text = |out: &mut String, name: &str, value: &str| {
        out.push_str(name);
        push_text(out, value);
    };
    text(out, "{\"broadcast_address\":", &info.broadcast_address);
    text(out, ",\"hostname\":", &info.hostname);
    out.push_str(&format!(",\"http_port\":{}", info.http_port));
    text(out, ",\"id\":", &info.remote_address);
    let (seen, tcp) = (peer.seen.unix_ns, info.tcp_port);
    let set = tombstoned.unwrap_or(NEVER_NS);
    // Writing to a string cannot fail.
    let _ = write!(out, ",\"last_update\":{seen},\"tcp_port\":{tcp}");
    let _ = write!(out, ",\"tombstoned\":{},\"tombstoned_at\":{set}", tombstoned.is_some());
    text(out, ",\"topology_region\":", &info.topology_region);
    text(out, ",\"topology_zone\":", &info.topology_zone);
    text(out, ",\"version\":", &info.version);
    out.push('}');
}

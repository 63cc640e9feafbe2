//! What somebody may wait for: each topic has the number of its last change, and the passing of
//! time changes topics, too.
//!
//! A change is what can alter a topic's producers in `/lookup`, or whether there is such a topic.

use std::rc::Rc;

use super::{Now, Registry};

/// The topic that stands for all topics.
pub const WILDCARD: &str = "*";

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A producer has perhaps been silent for too long: a ping since does not move the timer.
    Silent(u32),
    /// A tombstone hides its producer no longer.
    Tombstone {
        /// The topic's place.
        topic: u32,
        /// The producer's place.
        peer: u32,
    },
}

impl Registry {
    /// Lets the time pass. Whatever asks for the present state calls it first.
    pub fn advance(&mut self, now: Now) {
        while let Some(&(at_ns, timer)) = self.timers.first() {
            if at_ns > now.steady_ns {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Silent(peer) => self.look_at(peer, now),
                Timer::Tombstone { topic, .. } => {
                    self.counts.tombstones -= 1;
                    self.touch(topic);
                }
            }
        }
    }

    fn look_at(&mut self, key: u32, now: Now) {
        self.peers[key as usize].timer_ns = None;
        if self.silent_at(key) > now.steady_ns {
            self.start_timer(key);
            return;
        }
        self.counts.inactive += 1;
        self.touch_topics_of(key);
    }

    /// When a producer is inactive unless it pings.
    fn silent_at(&self, key: u32) -> u64 {
        let seen_ns = self.peers[key as usize].seen.steady_ns;
        seen_ns.saturating_add(self.settings.inactive_after_ns).saturating_add(1)
    }

    pub(super) fn start_timer(&mut self, key: u32) {
        let at_ns = self.silent_at(key);
        self.peers[key as usize].timer_ns = Some(at_ns);
        self.timers.insert((at_ns, Timer::Silent(key)));
    }

    /// Forgets the timer of a producer that goes.
    pub(super) fn stop_timer(&mut self, key: u32) {
        match self.peers[key as usize].timer_ns {
            Some(at_ns) => drop(self.timers.remove(&(at_ns, Timer::Silent(key)))),
            None => self.counts.inactive -= 1,
        }
    }

    /// The number of a topic's last change; 0 when there is no such topic. For `*` it is that of
    /// any topic.
    pub fn index_of(&self, topic: &str) -> u64 {
        if topic == WILDCARD {
            return self.index;
        }
        let known = self.names.get(topic).map(|&at| &self.topics[at as usize]);
        known.filter(|topic| topic.registered).map_or(0, |topic| topic.index)
    }

    /// Has the next change of a topic named by [`take_changed`](Registry::take_changed), once.
    pub fn watch(&mut self, topic: &str) {
        if !self.watched.contains(topic) {
            self.watched.insert(topic.into());
        }
    }

    /// Stops watching a topic for which nobody waits any more.
    pub fn unwatch(&mut self, topic: &str) {
        self.watched.remove(topic);
    }

    /// The watched topics that have changed since the last call; they are not watched any more.
    pub fn take_changed(&mut self) -> Vec<Rc<str>> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn touch(&mut self, at: u32) {
        self.index += 1;
        let topic = &mut self.topics[at as usize];
        topic.index = self.index;
        if self.watched.is_empty() {
            return;
        }
        for name in [&*topic.name, WILDCARD] {
            self.changed.extend(self.watched.take(name));
        }
    }

    pub(super) fn touch_topics_of(&mut self, key: u32) {
        let topics = std::mem::take(&mut self.peers[key as usize].topics);
        topics.iter().for_each(|&at| self.touch(at));
        self.peers[key as usize].topics = topics;
    }
}

//! What a seek permits, and what it demands.

use std::collections::HashSet;

use shards::id;
use shards::request::{Sought, Target};

use super::super::disk::Fact;
use super::super::random::Random;
use super::{Entry, Ledger, Outcome, Published, State};

/// Times in records are milliseconds of another clock.
const ROUNDING_MS: u64 = 2;

impl Published {
    /// Whether it is behind a place, as far as that is known.
    fn is_behind(&self, to: Target) -> Option<bool> {
        match to {
            Target::Earliest => Some(true),
            Target::Latest => Some(false),
            Target::Time(time_ns) => {
                (self.timestamp_ns != 0).then_some(self.timestamp_ns >= time_ns)
            }
            Target::Message(sequence) => {
                self.id.and_then(|id| Some(id::any_sequence(id::parse(&id)?) >= sequence))
            }
        }
    }

    /// What it is when it comes again; when that is due is known where the clock never jumps.
    fn again(&self, unsure: bool, jumps: bool) -> Entry {
        let due_ms = self.handed.map_or(0, |(_, ms)| ms) + self.delay_ms;
        let state = match self.delay_ms {
            0 => State::Waiting,
            _ if jumps => State::Deferred(0, u64::MAX),
            _ => State::Deferred(due_ms.saturating_sub(ROUNDING_MS), u64::MAX),
        };
        Entry { state, attempts: 0, unsure, loose: false }
    }
}

impl Ledger {
    /// A message of a topic of which it is known where it is: its sequence number, and when it was
    /// published.
    pub fn any_known(&self, topic: usize, random: &mut Random) -> Option<(u64, i64)> {
        let since = self.deleted[topic];
        let known = self.messages.iter().filter(|message| {
            message.topic == topic && message.id.is_some() && message.since() > since
        });
        let known: Vec<&Published> = known.collect();
        let message = known.get(random.below(known.len().max(1)))?;
        let sequence = id::any_sequence(id::parse(&message.id?)?);
        Some((sequence, message.timestamp_ns))
    }

    /// Whether an operator has paused a channel.
    pub fn is_paused(&self, topic: usize, channel: usize) -> bool {
        let topic = self.topics[topic].as_ref();
        topic.and_then(|topic| topic.channels.get(&channel)).is_some_and(|channel| channel.paused)
    }

    /// A topic has let go of what it kept, because memory or disk was short.
    pub fn pressed(&mut self, topic: &str) {
        self.pressed.extend(self.find_topic(topic));
    }

    /// A channel stands elsewhere. Nothing is under way, and topics keep everything. What was
    /// finished before, and is not any more.
    pub fn sought(
        &mut self,
        topic_index: usize,
        channel_index: usize,
        to: Target,
        sought: Sought,
    ) -> HashSet<Fact> {
        let mut undone = HashSet::new();
        let since = self.deleted[topic_index];
        let ephemeral = self.topic_names[topic_index].ends_with("#ephemeral");
        let Some(topic) = self.topics[topic_index].as_mut() else { return undone };
        let held = &topic.held;
        let Some(channel) = topic.channels.get_mut(&channel_index) else {
            self.complain("a channel that is not there was moved".to_owned());
            return undone;
        };
        channel.emptied = None;
        for (number, message) in (0..).zip(&self.messages) {
            let never = message.outcome == Outcome::Refused || message.handed.is_none();
            if message.topic != topic_index || never || held.get(&number) == Some(&false) {
                continue;
            }
            let behind = message.is_behind(to);
            if sought.forward {
                match behind {
                    Some(true) => {}
                    Some(false) => drop(channel.live.remove(&number)),
                    None => {
                        channel.live.entry(number).and_modify(|entry| entry.unsure = true);
                    }
                }
                continue;
            }
            let doubtful = message.outcome != Outcome::Acknowledged
                || message.since() <= since
                || held.contains_key(&number)
                || self.pressed.contains(&topic_index)
                || self.unkept.contains(&number)
                || self.damaged.contains(&number)
                || ephemeral
                || channel.lossy;
            let again = message.again(doubtful, self.jumps);
            match behind {
                Some(true) => {
                    channel.finished.remove(&number);
                    undone.insert(Fact::Finish(topic_index, channel_index, number));
                    channel.dead.remove(&number);
                    channel.live.insert(number, again);
                }
                Some(false) => {}
                // Nobody has ever had it: it is there already, or was emptied.
                None if !channel.finished.contains(&number) => {
                    // It waits by the wall's clock now.
                    let blurred = |entry: &mut Entry| {
                        if entry.attempts == 0 && matches!(entry.state, State::Deferred(..)) {
                            entry.state = again.state;
                        }
                    };
                    let entry = channel.live.entry(number).and_modify(blurred);
                    entry.or_insert(Entry { unsure: true, ..again });
                }
                None => {}
            }
        }
        for &client in &channel.consumers {
            self.clients[client].last_first_id = [0; 16];
        }
        self.unwritten.retain(|fact| !undone.contains(fact));
        undone
    }
}

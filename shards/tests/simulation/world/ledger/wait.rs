//! Topics that wait for the channels that lookup servers know.

use super::super::End;
use super::{Ledger, Topic};

/// Whether a topic waits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wait {
    /// It did not ask.
    #[default]
    No,
    /// Since this time.
    Since(u64),
    /// It did, when the process ended.
    Before,
    /// It did.
    Over,
    /// It was told its channels, or never asked, but that may be undone: by a power cut, or because
    /// it keeps messages that it kept for a pause of which the end was not written down.
    Doubtful,
}

impl Ledger {
    /// A topic asks for its channels.
    pub fn waits(&mut self, topic: &str, now_ms: u64) {
        let Some(index) = self.find_topic(topic) else { return };
        let topic = self.topics[index].get_or_insert_default();
        if matches!(topic.wait, Wait::Since(_) | Wait::Over) {
            return self.complain(format!("topic {} asks again", self.topic_names[index]));
        }
        let undone = topic.wait == Wait::Doubtful;
        topic.wait = Wait::Since(now_ms);
        topic.doubtful = false;
        if undone {
            topic.take_back();
        } else if topic.has_given() && !topic.taken_back {
            let name = self.topic_names[index];
            self.complain(format!("topic {name} waits though it has given messages to channels"));
        }
    }

    /// A topic that waited was told its channels.
    pub fn found(&mut self, topic: &str, channels: &[&str], now_ms: u64) {
        self.now_ms = now_ms;
        let Some(topic) = self.find_topic(topic) else { return };
        if !self.is_waiting(topic) {
            let text = format!("topic {} still waited", self.topic_names[topic]);
            return self.complain(text);
        }
        for channel in channels {
            let position = self.channel_names.iter().position(|name| name == channel);
            self.create_channel(topic, position.expect("a channel of this world"));
        }
        self.end_wait(topic);
    }

    /// Time is over for topics that have waited so long.
    pub fn end_waits(&mut self, is_picked: impl Fn(&str) -> bool, now_ms: u64, timeout_ms: u64) {
        self.now_ms = now_ms;
        for topic in 0..self.topics.len() {
            let wait = self.topics[topic].as_ref().map(|topic| topic.wait);
            let over = matches!(wait, Some(Wait::Since(since)) if now_ms > since + timeout_ms);
            if over && is_picked(self.topic_names[topic]) {
                self.end_wait(topic);
            }
        }
    }

    /// All shards have ended.
    pub fn forget_waits(&mut self, end: End) {
        for topic in self.topics.iter_mut().flatten() {
            topic.wait = match topic.wait {
                Wait::Since(_) => Wait::Before,
                _ if end == End::PowerCut || topic.was_paused => Wait::Doubtful,
                _ => Wait::No,
            };
        }
    }

    /// Those that waited and keep anything must have asked again.
    pub fn end_old_waits(&mut self) {
        for index in 0..self.topics.len() {
            let Some(topic) = self.topics[index].as_mut() else { continue };
            if topic.wait != Wait::Before {
                continue;
            }
            topic.wait = Wait::Over;
            let sure =
                topic.held.iter().any(|(number, unsure)| !unsure && !self.damaged.contains(number));
            if sure && !topic.paused {
                let name = self.topic_names[index];
                self.complain(format!("topic {name} has forgotten that it waited"));
            }
            self.hand_over(index);
        }
    }

    /// No topic has been made without asking.
    pub fn all_have_asked(&mut self) {
        for index in 0..self.topics.len() {
            let silent = |topic: &Topic| topic.wait == Wait::No && !topic.doubtful;
            if self.topics[index].as_ref().is_some_and(silent) {
                let name = self.topic_names[index];
                self.complain(format!("topic {name} never asked for its channels"));
            }
        }
    }

    fn end_wait(&mut self, topic: usize) {
        if let Some(topic) = self.topics[topic].as_mut() {
            (topic.wait, topic.taken_back) = (Wait::Over, false);
        }
        self.hand_over(topic);
    }

    fn is_waiting(&self, topic: usize) -> bool {
        self.topics[topic].as_ref().is_some_and(Topic::is_waiting)
    }
}

impl Topic {
    /// Whether channels have messages that nobody doubts.
    fn has_given(&self) -> bool {
        let live = self.channels.values().flat_map(|channel| channel.live.values());
        live.into_iter().any(|entry| !entry.unsure)
    }

    /// That messages were given to channels may be undone, and that they were delivered forgotten.
    fn take_back(&mut self) {
        self.taken_back = true;
        let live = self.channels.values_mut().flat_map(|channel| &mut channel.live);
        for (&number, entry) in live {
            entry.unsure = true;
            self.held.insert(number, true);
        }
    }

    /// Whether it keeps its messages until it knows its channels.
    pub fn is_waiting(&self) -> bool {
        matches!(self.wait, Wait::Since(_))
    }

    /// Whether messages go to its channels.
    pub fn flows(&self) -> bool {
        !self.paused && !self.is_waiting() && !self.channels.is_empty()
    }
}

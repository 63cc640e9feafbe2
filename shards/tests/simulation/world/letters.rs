//! Dead letters and bounds: who makes operators want them, bring them back, and look what is there.

use std::collections::HashMap;

use shards::policy::{Change, Limit};
use shards::request::{Publish, Request, TopicAction};

use super::wire::{self, Frame};
use super::{Canary, World, name};

/// Where dead letters go, and the channel from which they are brought back.
const DEAD: &str = "dead";
const BACK: &str = "r";
/// Messages a second that are brought back.
const RATES: [u64; 3] = [20, 1000, 100_000];

/// A bound as it is kept by a shard with this canary.
pub fn bend(limit: Limit, canary: Canary) -> Limit {
    let (times, by) = match canary {
        Canary::LooseBound => (2, 1),
        Canary::TightBound => (1, 2),
        _ => (1, 1),
    };
    Limit {
        max_bytes: limit.max_bytes * times / by,
        max_messages: limit.max_messages * times / by,
        max_age_ms: limit.max_age_ms * times / by,
        ..limit
    }
}

impl World {
    /// The first channel of each topic gives messages up after so many deliveries in vain, or when
    /// it is full.
    pub fn poison(&mut self) {
        let more = u64::from(self.settings.canary == Some(Canary::OneMoreAttempt));
        let Limit { max_messages, max_bytes, max_age_ms, on_full } = self.settings.first;
        let bound = |value: u64| (value > 0).then_some(Some(value));
        let attempts = u64::from(self.settings.attempts);
        let change = Change {
            max_attempts: (attempts > 0).then_some(attempts + more),
            dead_letter_topic: Some(Some(name(DEAD))),
            max_messages: bound(max_messages),
            max_bytes: bound(max_bytes),
            max_age_ms: bound(max_age_ms),
            on_full: Some(Some(on_full)),
            ..Change::default()
        };
        for topic in 0..self.settings.topics.len() {
            let (t, c) = (self.settings.topics[topic], self.settings.channels[0]);
            self.ask_owner(topic, Request::CreateTopic(name(t)));
            self.quiesce();
            self.ask_owner(topic, Request::CreateChannel(name(t), name(c)));
            self.quiesce();
            let change = Box::new(change.clone());
            self.ask_owner(topic, Request::Configure(name(t), Some(name(c)), change));
            self.quiesce();
        }
    }

    /// Dead letters so far.
    pub fn dead_letters(&self) -> usize {
        self.ledger.dead_letters()
    }

    /// An operator brings dead letters back, a few or all, at some rate; or ends that.
    pub(super) fn redrive(&mut self) {
        if self.sabotage_letters() {
            return;
        }
        let rate = match self.random.below(8) {
            0 => 0,
            roll => RATES[roll % RATES.len()],
        };
        let most = if self.random.chance(30) { 3 } else { u64::MAX };
        self.ledger.redriven();
        let owner = self.placement_owner(DEAD);
        let from = self.random.below(self.workers.len());
        self.ask(from, owner, Request::Redrive(name(DEAD), name(BACK), rate, most));
    }

    /// Does to letters what no operator asked, when there is a canary for it.
    fn sabotage_letters(&mut self) -> bool {
        if self.canary_done {
            return false;
        }
        match self.settings.canary {
            Some(Canary::LoseLetters) if self.ledger.dead_letters() > 0 => {
                self.delete_letters();
            }
            Some(Canary::Republish) => {
                let Some((topic, number, size)) = self.ledger.anything_delivered() else {
                    return false;
                };
                self.ledger.redriven();
                let bytes = wire::body(number, size);
                let lengths = vec![bytes.len() as u32];
                let topic_name = name(self.settings.topics[topic]);
                let publish = Publish { topic: topic_name, bytes, lengths, defer_ms: 0 };
                self.ask_owner(topic, Request::Publish(publish));
            }
            _ => return false,
        }
        self.canary_done = true;
        true
    }

    fn delete_letters(&mut self) {
        let owner = self.placement_owner(DEAD);
        self.ask(0, owner, Request::Topic(DEAD.to_owned(), TopicAction::Delete));
        self.quiesce();
    }

    /// What is brought back has to be back before everything is consumed.
    pub(super) fn end_redrives(&mut self) {
        if self.settings.redrives {
            let owner = self.placement_owner(DEAD);
            self.ask(0, owner, Request::Redrive(name(DEAD), name(BACK), 0, 0));
            self.quiesce();
        }
    }

    /// What the ledger knows to be dead is in the dead-letter topic, as it was published; and the
    /// topic goes now.
    pub(super) fn check_letters(&mut self) {
        if !self.settings.has_dead_letters() {
            return;
        }
        let index = self.connect();
        self.ledger.ignore(index);
        let commands = format!("SUB {DEAD} {BACK}\nRDY 2500\n");
        self.write(index, commands.as_bytes(), None);
        // What is in files comes when it was read, and no more at a time than RDY allows.
        let mut letters: HashMap<u32, usize> = HashMap::new();
        let mut idle_rounds = 0;
        while idle_rounds < 20 {
            self.quiesce();
            idle_rounds += 1;
            for frame in std::mem::take(&mut self.connections[index].frames) {
                let Frame::Message(message) = frame else { continue };
                match self.ledger.read_letter(&message.body) {
                    Some(number) => *letters.entry(number).or_default() += 1,
                    None => self.ledger.complain("a dead letter is not what it was".to_owned()),
                }
                self.write(index, &wire::answer("FIN", &message.id, ""), None);
                idle_rounds = 0;
            }
            self.advance(1);
        }
        self.connections[index].reset = true;
        self.buried = letters.values().sum();
        let exact = self.settings.ends.is_empty()
            && !self.settings.sampling
            && self.settings.body_bytes_max < 1000;
        self.ledger.compare_letters(&letters, exact);
        self.delete_letters();
    }
}

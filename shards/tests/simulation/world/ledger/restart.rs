//! What must still be there after the shards have ended, and what may be.

use std::collections::HashSet;

use shards::limits::{Durability, Options};

use super::super::disk::{Fact, Folder, Kept};
use super::super::{End, name};
use super::{Channel, Entry, Ledger, Outcome, State};

/// Times are written down in milliseconds of another clock.
const ROUNDING_MS: u64 = 2;

impl Ledger {
    /// Takes what happened since this was last called to topics that are picked.
    pub fn take_unwritten(
        &mut self,
        is_picked: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = Fact> {
        let names = &self.topic_names;
        let taken = self.unwritten.extract_if(.., |fact| match fact {
            Fact::Finish(topic, ..) | Fact::Channel(topic, _) => is_picked(names[*topic]),
            Fact::Message(_) => false,
        });
        taken.collect::<Vec<Fact>>().into_iter()
    }

    /// All shards have ended, and all connections.
    pub fn restarted(&mut self, end: End, folder: &Folder, options: &Options) {
        self.tick += 1;
        self.tickets.clear();
        for number in 0..self.messages.len() as u32 {
            let message = &self.messages[number as usize];
            if message.outcome == Outcome::Open && message.handed.is_some() {
                self.conclude(number, 1, Outcome::Unknown);
            }
        }
        let numbers = 0..self.messages.len() as u32;
        let copies: HashSet<u32> = numbers.filter(|&number| self.is_copy(number)).collect();
        for index in 0..self.topics.len() {
            if self.topic_names[index].ends_with("#ephemeral") {
                self.topics[index] = None;
                continue;
            }
            let durability = options.durability_of(&name(self.topic_names[index]));
            self.bring_letters_in_doubt(index, end, durability);
            let loss = Loss { end, durability, folder, copies: &copies };
            let messages = (0..).zip(&self.messages).filter(|(_, message)| message.topic == index);
            let unkept = messages.map(|(number, _)| number).filter(|&number| !loss.keeps(number));
            self.unkept.extend(unkept.collect::<Vec<u32>>());
            self.restart_topic(index, loss);
        }
        self.unwritten.clear();
    }

    /// These messages were found after the shards have ended.
    pub fn recovered(&mut self, found: &HashSet<u32>) {
        let mut lost = Vec::new();
        for (topic, name) in self.topics.iter().zip(&self.topic_names) {
            let Some(topic) = topic else { continue };
            let live = topic.channels.values().flat_map(|channel| &channel.live);
            let sure = live.filter(|(_, entry)| !entry.unsure).map(|(number, _)| *number);
            let held = topic.held.iter().filter(|(_, unsure)| !**unsure);
            let all = sure.chain(held.map(|(number, _)| *number));
            let base = |number: &u32| self.messages[*number as usize].base;
            let lost_here = all.filter(|number| !found.contains(&base(number)));
            lost.extend(lost_here.map(|number| (number, *name)));
        }
        for (number, name) in lost {
            self.complain(format!("message {number} of {name} is not found after a restart"));
        }
    }

    /// Dead letters, and that the messages are finished where they were before, last as long as
    /// their topics promise.
    fn bring_letters_in_doubt(&mut self, index: usize, end: End, durability: Durability) {
        let safe = match end {
            End::Stop => true,
            End::Kill => durability != Durability::Memory && !self.faulty,
            End::PowerCut => false,
        };
        let Some(first) = self.topics[index].as_mut().and_then(|topic| topic.channels.get_mut(&0))
        else {
            return;
        };
        // Of what is left some may be dead all the same.
        let max = first.attempts_max;
        let spent = first.live.iter().filter(|(_, entry)| max != 0 && entry.attempts >= max);
        let spent: Vec<u32> = spent.map(|(number, _)| *number).collect();
        first.died.extend(spent);
        if safe {
            return;
        }
        for number in std::mem::take(&mut first.dead) {
            first.died.insert(number);
            first.perhaps(number);
            if end == End::PowerCut && durability == Durability::Synced && !self.faulty {
                first.owed.insert(number);
            }
        }
    }

    fn restart_topic(&mut self, index: usize, loss: Loss<'_>) {
        let names = &self.channel_names;
        let unwritten: HashSet<Fact> = self.unwritten.iter().copied().collect();
        let Some(topic) = self.topics[index].as_mut() else { return };
        topic.channels.retain(|&channel, _| !names[channel].ends_with("#ephemeral"));
        // What could not be written down is forgotten by a crash as well.
        let forgets = loss.end == End::PowerCut || self.faulty && loss.end == End::Kill;
        let begins = |channel: usize| {
            let made = Fact::Channel(index, channel);
            !unwritten.contains(&made) && loss.covers(made) && !loss.promises_nothing()
        };
        for (&number, unsure) in &mut topic.held {
            *unsure |= !loss.keeps(number);
            if *unsure && forgets {
                self.damaged.insert(number);
            }
        }
        // Since when a topic is paused may be forgotten, but not that it is.
        if forgets && topic.paused {
            topic.held.values_mut().for_each(|unsure| *unsure = true);
            let live = topic.channels.values_mut().flat_map(|channel| &mut channel.live);
            for (&number, entry) in live.filter(|(_, entry)| entry.attempts == 0) {
                entry.unsure = true;
                topic.held.insert(number, true);
            }
        }
        let held: Vec<u32> = topic.held.keys().copied().collect();
        for (&channel_index, channel) in &mut topic.channels {
            if forgets {
                held.iter().for_each(|&number| channel.perhaps(number));
            }
            if !begins(channel_index) {
                // Where it began is forgotten.
                for (number, message) in (0..).zip(&self.messages) {
                    if message.topic == index && message.handed.is_some() {
                        channel.perhaps(number);
                    }
                }
            }
            let (vague, unwritten) = (&self.vague, &unwritten);
            let finished_for_good = |number: u32| {
                let fact = Fact::Finish(index, channel_index, number);
                // It may have been kept once before, and come back since.
                let written = !unwritten.contains(&fact) || loss.end == End::Stop;
                !vague.contains(&fact) && written && loss.keeps_finish(fact)
            };
            channel.shaky |= forgets;
            channel.restart(&loss, finished_for_good);
            if topic.paused && !begins(channel_index) {
                // Or all of it is its topic's again.
                channel.live.values_mut().for_each(|entry| entry.unsure = true);
                topic.held.extend(channel.live.keys().map(|&number| (number, true)));
            }
            if forgets {
                let unsure = channel.live.iter().filter(|(_, entry)| entry.unsure);
                self.damaged.extend(unsure.map(|(&number, _)| number));
            }
        }
    }
}

/// What an end takes with it.
struct Loss<'a> {
    end: End,
    durability: Durability,
    folder: &'a Folder,
    /// What was brought back: it was written down before anybody saw it.
    copies: &'a HashSet<u32>,
}

impl Loss<'_> {
    /// Whether a message that was acknowledged is certainly there afterwards.
    fn keeps(&self, number: u32) -> bool {
        if self.copies.contains(&number) && self.end == End::Kill {
            return self.durability != Durability::Memory;
        }
        self.covers(Fact::Message(number))
    }

    /// Nobody said that anything lasts: each time another part of it may be there.
    fn promises_nothing(&self) -> bool {
        self.durability == Durability::Memory && self.end == End::PowerCut
    }

    fn keeps_finish(&self, fact: Fact) -> bool {
        // Of a topic in memory nobody promises anything.
        self.end == End::Stop || (self.durability != Durability::Memory && self.covers(fact))
    }

    fn covers(&self, fact: Fact) -> bool {
        match self.end {
            End::Stop => true,
            End::Kill => self.folder.kept(fact) >= Kept::Written,
            End::PowerCut => self.folder.kept(fact) >= Kept::Synced,
        }
    }
}

impl Channel {
    /// A message may be there.
    fn perhaps(&mut self, number: u32) {
        if !self.finished.contains(&number) {
            let (state, attempts) = (State::Waiting, u16::MAX - 1);
            let entry = Entry { state, attempts, unsure: true, loose: true };
            self.live.entry(number).or_insert(entry);
        }
    }

    fn restart(&mut self, loss: &Loss<'_>, finished_for_good: impl Fn(u32) -> bool) {
        let stopped = loss.end == End::Stop;
        self.consumers.clear();
        self.emptied = None;
        self.seen = None;
        for (&number, entry) in &mut self.live {
            // What was delivered often enough may be a dead letter already.
            let spent = self.attempts_max != 0 && entry.attempts >= self.attempts_max;
            entry.unsure |= spent || !loss.keeps(number);
            entry.loose |= !stopped;
            entry.state = match entry.state {
                State::Waiting | State::InFlight { .. } => State::Waiting,
                // That it was requeued may be forgotten.
                State::Deferred(..) if !stopped && entry.attempts > 0 => {
                    State::Deferred(0, u64::MAX)
                }
                State::Deferred(first_ms, _) => {
                    State::Deferred(first_ms.saturating_sub(ROUNDING_MS), u64::MAX)
                }
            };
        }
        let back = self.finished.extract_if(|&number| !finished_for_good(number));
        let again =
            Entry { state: State::Waiting, attempts: u16::MAX - 1, unsure: true, loose: true };
        self.live.extend(back.map(|number| (number, again)));
    }
}

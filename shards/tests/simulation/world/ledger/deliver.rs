//! Whether a message may be delivered here and now, and is the one that was published.

use super::super::wire;
use super::{Channel, Entry, Ledger, Outcome, Published, State};

impl Channel {
    /// Whether a message is one that may come again.
    fn may_deliver(&self, number: u32, attempts: u16) -> Result<(), String> {
        if self.finished.contains(&number) {
            return Err("delivered after FIN".to_owned());
        }
        if self.dead.contains(&number) {
            return Err("delivered though it is a dead letter".to_owned());
        }
        if self.attempts_max != 0 && attempts > self.attempts_max {
            return Err(format!("delivered more often than {} times", self.attempts_max));
        }
        Ok(())
    }
}

fn is_its_turn(entry: &Entry, now_ms: u64) -> Result<(), String> {
    match entry.state {
        State::InFlight { until_ms, .. } if until_ms > now_ms => {
            Err("delivered while it is in flight".to_owned())
        }
        State::Deferred(due_ms, _) if due_ms > now_ms => {
            Err(format!("delivered {} ms before its time", due_ms - now_ms))
        }
        _ => Ok(()),
    }
}

impl Ledger {
    /// A message stands in a client's output: it must be its turn.
    pub(super) fn deliver(&mut self, index: usize, message: &wire::Message) -> Result<(), String> {
        let now_ms = self.now_ms;
        let place = self.clients[index].subscription.ok_or("delivered to a stranger")?;
        let number = self.recognise(place, message)?;
        let (topic, channel) = place;
        let strays = channel != 0 && self.is_copy(number) && self.may_stray(number, topic);
        self.delivered += 1;
        let published = &self.messages[number as usize];
        let Published { handed, outcome, delay_ms, .. } = *published;
        let client = &mut self.clients[index];
        let topic = self.topics[topic].as_mut().ok_or("delivered from a deleted topic")?;
        let waits = topic.is_waiting();
        let channel = topic.channels.get_mut(&channel).ok_or("delivered from a deleted channel")?;
        if channel.paused {
            return Err("delivered by a paused channel".to_owned());
        }
        let old = channel.live.get(&number).is_some_and(|entry| entry.attempts > 0 || entry.loose);
        if waits && !old {
            return Err("delivered by a topic that waits".to_owned());
        }
        channel.may_deliver(number, message.attempts)?;
        self.bounds.check_age(channel.limit, published, self.wall_ns)?;
        let (turn, handed_ms) = handed.ok_or("delivered before it was published")?;
        let straggles = self.patient && outcome == Outcome::Unknown && turn >= self.rested;
        let under_way = outcome == Outcome::Open || turn == self.tick || straggles;
        let entry = match channel.live.get(&number) {
            Some(entry) => *entry,
            None if under_way || strays => {
                let due_ms = if delay_ms == 0 { 0 } else { handed_ms + delay_ms + 1 };
                Entry {
                    state: State::Deferred(due_ms, due_ms),
                    attempts: 0,
                    unsure: true,
                    loose: false,
                }
            }
            None => return Err("delivered though it is not on the channel".to_owned()),
        };
        is_its_turn(&entry, now_ms)?;
        let mut attempts = entry.attempts + 1;
        if entry.loose {
            attempts = attempts.min(message.attempts);
        }
        let until_ms = now_ms + client.msg_timeout_ms + 1;
        let state = State::InFlight { connection: index, until_ms, since_ms: now_ms };
        let unsure = channel.lossy || channel.drops || self.damaged.contains(&number);
        channel.live.insert(number, Entry { state, attempts, unsure, loose: false });
        if message.attempts != attempts {
            return Err(format!("attempts should be {attempts}"));
        }
        if attempts == 1 && delay_ms == 0 && !entry.loose {
            if message.id <= client.last_first_id {
                return Err("delivered out of order".to_owned());
            }
            client.last_first_id = message.id;
        }
        client.has.insert(number);
        self.check_ready(index)
    }

    /// A client has no more messages than it wanted.
    fn check_ready(&mut self, index: usize) -> Result<(), String> {
        let now_ms = self.now_ms;
        let client = &mut self.clients[index];
        let Some((topic, channel)) = client.subscription else { return Ok(()) };
        let channel = self.topics[topic].as_ref().and_then(|topic| topic.channels.get(&channel));
        let Some(channel) = channel else { return Ok(()) };
        if client.has.len() as u64 <= client.ready {
            // Some of these it may not have any more.
            return Ok(());
        }
        client.has.retain(|number| {
            channel.live.get(number).is_some_and(|entry| {
                matches!(entry.state, State::InFlight { connection, until_ms, .. }
                    if connection == index && until_ms > now_ms)
            })
        });
        // What is lost is not in flight any more, though the client does not know.
        let has = client.has.iter().filter(|number| !self.damaged.contains(number)).count();
        if has as u64 > client.ready && !client.blurred {
            return Err(format!("{has} in flight but RDY is {}", client.ready));
        }
        Ok(())
    }

    /// Which message it is, if it is as it was published.
    fn recognise(&mut self, place: (usize, usize), message: &wire::Message) -> Result<u32, String> {
        let topic = place.0;
        let number = message.body.first_chunk().map_or(u32::MAX, |raw| u32::from_be_bytes(*raw));
        let published = self.messages.get_mut(number as usize).ok_or("nobody published it")?;
        if !wire::is_body(&message.body, number, published.bytes) {
            return Err("the body has changed".to_owned());
        }
        if published.topic != topic {
            return Err("delivered from another topic".to_owned());
        }
        if published.outcome == Outcome::Refused {
            return Err("delivered though it was refused".to_owned());
        }
        if published.id.is_some_and(|id| id != message.id) {
            return match self.ids.get(&(topic, message.id)) {
                Some(&copy) if self.messages[copy as usize].base == number => Ok(copy),
                Some(other) => Err(format!("message {other} has the same id")),
                None => self.is_brought_back(number, place, message),
            };
        }
        published.id = Some(message.id);
        if published.timestamp_ns == 0 {
            published.timestamp_ns = message.timestamp_ns;
        }
        if published.timestamp_ns != message.timestamp_ns {
            return Err("id or timestamp has changed".to_owned());
        }
        match self.ids.insert((topic, message.id), number) {
            Some(other) if other != number => Err(format!("message {other} has the same id")),
            _ => Ok(number),
        }
    }
}

//! Publishing, for clients here and for other shards and HTTP.

use alloc::string::String;

use super::Shard;
use super::share::Publisher;
use crate::auth::Action;
use crate::client::{Pending, Phase, Route};
use crate::limits::Durability;
use crate::log::record::RECORD_BYTES_MAX;
use crate::slots::Key;
use crate::topic::Stamp;
use crate::wire::command::Publish;
use crate::wire::errors::Refusal;
use crate::wire::frame;
use crate::wire::names::Name;

impl Shard {
    /// PUB, MPUB or DPUB. False when the client has to leave or wait first.
    pub(super) fn publish(&mut self, key: Key, publish: &Publish<'_>) -> bool {
        if !self.may(key, publish.verb, Action::Publish(&publish.topic)) {
            return false;
        }
        if let Some(reason) = self.refuses_all() {
            self.refuse(key, publish_failed(publish.verb, &reason));
            return true;
        }
        let Some(route) = self.route(key, &publish.topic) else { return true };
        match route {
            Route::Here(topic) => {
                let bytes = publish.messages.bytes.len();
                if self.has_to_wait(Publisher::Client(key), bytes) {
                    self.wait_for_room(key);
                    return false;
                }
                self.publish_here(key, topic, publish);
            }
            Route::There(owner) if !self.placement.is_shard() || self.should_move(key, owner) => {
                self.leave(key, owner);
                return false;
            }
            Route::There(owner) => {
                if !self.forward_publish(key, owner, publish) {
                    return false;
                }
            }
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.session.published.add(u64::from(publish.messages.count));
        }
        true
    }

    /// Whether the topic that a route leads to is still there.
    fn is_current(&self, route: Route) -> bool {
        match route {
            Route::Here(topic) => self.topics.get(topic).is_some(),
            Route::There(_) => true,
        }
    }

    /// Where a client's publish goes; `None` when the client is gone.
    fn route(&mut self, key: Key, topic: &Name) -> Option<Route> {
        let client = self.clients.get_mut(key)?;
        let (place, is_new) = client.session.published.place(topic);
        if client.routes.len() <= place {
            client.routes.resize(place + 1, None);
        }
        let known = client.routes[place].filter(|_| !is_new);
        if let Some(route) = known
            && self.is_current(route)
        {
            return Some(route);
        }
        let owner = self.placement.owner(topic);
        let route = if owner == self.placement.me {
            Route::Here(self.topic(topic))
        } else {
            Route::There(owner)
        };
        let client = self.clients.get_mut(key)?;
        client.routes[place] = Some(route);
        Some(route)
    }

    fn publish_here(&mut self, key: Key, topic: Key, publish: &Publish<'_>) {
        let durability = match self.append(topic, publish.delay_ms, publish.messages) {
            Ok(durability) => durability,
            Err(reason) => return self.refuse(key, publish_failed(publish.verb, &reason)),
        };
        self.owe_client(key, durability);
        let Some(client) = self.clients.get_mut(key) else { return };
        self.journal.shares.add(&mut client.taken, publish.messages.bytes.len());
        client.streak.1 = 0;
        if !client.pending.is_empty() {
            return client.pending.push_back(Pending::Done);
        }
        client.lend(&mut self.spare_buffers);
        client.output.extend_from_slice(frame::OK);
        self.soil(key);
    }

    /// Queues messages for others than a client of this shard, on a topic that is made if need be.
    ///
    /// # Errors
    /// As [`Shard::append`].
    pub(super) fn append_to<'a>(
        &mut self,
        topic: &Name,
        delay_ms: u64,
        messages: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Durability, String> {
        if let Some(reason) = self.refuses_all() {
            return Err(reason);
        }
        let topic = self.topic(topic);
        self.append(topic, delay_ms, messages)
    }

    /// Queues messages on a topic of this shard. What an answer promises.
    ///
    /// # Errors
    /// Why not, in words. When memory ran out, the messages before the one that had no room stay
    /// queued, as in the original.
    pub(super) fn append<'a>(
        &mut self,
        topic_key: Key,
        delay_ms: u64,
        messages: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Durability, String> {
        let outcome = self.append_noted(topic_key, delay_ms, &[], messages);
        if let Ok(durability) = outcome {
            self.count_publish(durability);
        }
        outcome
    }

    /// The same for messages of which something is noted.
    pub(super) fn append_noted<'a>(
        &mut self,
        topic_key: Key,
        delay_ms: u64,
        note: &[u8],
        messages: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Durability, String> {
        let (timestamp_ns, node_id) = (self.now.wall_ns, self.options.node_id);
        let stamp = Stamp { timestamp_ns, node_id, delay_ms, note };
        let Some(topic) = self.topics.get_mut(topic_key) else { return Err(String::new()) };
        if (topic.full.is_some() || self.floor.is_some())
            && let Some(reason) = self.bound_reason(topic_key)
        {
            return Err(reason);
        }
        let Some(topic) = self.topics.get_mut(topic_key) else { return Err(String::new()) };
        let durability = topic.durability;
        if durability != Durability::Memory {
            if self.journal.trouble.is_some() {
                self.publishes_refused += 1;
                return Err(self.disk_reason());
            }
            self.note_messages(topic_key);
        }
        if delay_ms > 0 && !self.make_room(0) && !(self.press_retained(1) && self.make_room(0)) {
            // The body might still find room, but not where it is noted when it is due.
            self.publishes_refused += 1;
            return Err(self.full_reason());
        }
        let mut refused = None;
        for body in messages {
            let Some(topic) = self.topics.get_mut(topic_key) else { break };
            if durability != Durability::Memory {
                self.journal.shares.coming_bytes += (body.len() + RECORD_BYTES_MAX) as u64;
            }
            if topic.publish(body, stamp, &mut self.space).is_ok() {
                continue;
            }
            self.find_block(body.len() + RECORD_BYTES_MAX);
            let Some(topic) = self.topics.get_mut(topic_key) else { break };
            if topic.publish(body, stamp, &mut self.space).is_err() {
                refused = Some(self.full_reason());
                self.publishes_refused += 1;
                break;
            }
        }
        self.touch(topic_key);
        refused.map_or(Ok(durability), Err)
    }

    /// Sees to it that the next message of this size finds room, if there is any to be had.
    fn find_block(&mut self, bytes: usize) {
        loop {
            if let Some(block) = self.take_block(bytes) {
                return self.space.pool.give_back(block);
            }
            // What nobody waits for is in nobody's way.
            if !self.press_retained(bytes as u64) {
                return;
            }
        }
    }

    /// Makes the topic that a refused MPUB leaves behind. False when the client goes to where the
    /// topic lives first, and is refused there.
    pub(super) fn create_for_refused(&mut self, key: Key, topic: Name) -> bool {
        let owner = self.placement.owner(&topic);
        if owner == self.placement.me {
            self.topic(&topic);
            return true;
        }
        if self.clients.get(key).is_some_and(|client| client.subscription.is_none()) {
            self.leave(key, owner);
            return false;
        }
        self.ask_to_create(owner, topic);
        true
    }

    /// A publish was answered by the shard that has its topic.
    pub(super) fn publish_answered(
        &mut self,
        key: Key,
        first: u32,
        count: u32,
        refused: Option<&str>,
    ) {
        let Some(client) = self.clients.get_mut(key) else { return };
        for ticket in 0..count {
            let index = first.wrapping_add(ticket).wrapping_sub(client.first_ticket);
            let Some(pending) = client.pending.get_mut(index as usize) else { continue };
            if let Pending::Asked(verb) = pending {
                *pending = match refused {
                    None => Pending::Done,
                    Some(reason) => Pending::Refused(publish_failed(verb, reason)),
                };
            }
        }
        let refusal = client.settle_pending();
        let answered = client.pending.is_empty();
        if refusal.is_some() {
            // It comes before whatever else the client was about to leave or end for.
            client.phase = Phase::Open;
        }
        self.soil(key);
        if let Some(refusal) = refusal {
            return self.refuse(key, refusal);
        }
        if answered {
            self.advance_phase(key);
        }
        self.wake(key);
    }
}

/// The refusal of a publish that could not be queued.
fn publish_failed(verb: &str, reason: &str) -> Refusal {
    Refusal::new(format_args!("E_{verb}_FAILED {verb} failed {reason}"))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use std::format;

    use crate::client::Peer;
    use crate::limits::{MOVE_AFTER_FORWARDS, Options};
    use crate::log::pool::CHUNK_BYTES;
    use crate::mail::Letter;
    use crate::placement::Placement;
    use crate::shard::{Effect, Now, Parts, Shard, Socket};
    use crate::wire::frame;
    use crate::wire::names::Name;

    /// Shard `me` of two; topic `t0` lives on the first, `t1` on the second.
    fn shard(me: u16) -> Shard {
        let topic = |name: &str| Name::parse(name.as_bytes()).unwrap();
        let placement = Placement::new(me, 2, &[(topic("t0"), 0), (topic("t1"), 1)]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 2, now: Now::default(), seed: 1, disk: false };
        Shard::new(parts, Box::new(|| Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]))))
    }

    fn publishes(topic: &str, count: u32) -> Vec<u8> {
        format!("PUB {topic}\n\0\0\0\x01x").repeat(count as usize).into_bytes()
    }

    fn letters(from: &mut Shard, to: &mut Shard, me: u16) -> usize {
        from.finish_turn();
        let letters = core::iter::from_fn(|| from.take_letter());
        letters.map(|(_, letter): (u16, Letter)| to.mail(me, letter)).count()
    }

    #[test]
    fn a_producer_moves_to_where_it_keeps_publishing() {
        let (mut here, mut there) = (shard(0), shard(1));
        let client = here.connect(Socket(7), Peer::default());
        let mut input = b"  V2".to_vec();
        // What interrupts the row puts the move off.
        input.extend(publishes("t1", MOVE_AFTER_FORWARDS - 1));
        input.extend(publishes("t0", 1));
        input.extend(publishes("t1", MOVE_AFTER_FORWARDS + 9));
        here.received(client, &input);
        let paused = [Effect::Pause(Socket(7))];
        assert_eq!(here.take_effects(), paused, "it goes when its publishes are answered");
        assert!(here.output(client).is_empty(), "the first publish is not answered yet");
        assert_eq!(letters(&mut here, &mut there, 0), 1);
        assert_eq!(letters(&mut there, &mut here, 1), 1);
        assert_eq!(here.take_effects(), [Effect::Move(Socket(7), 1)]);
        let departure = here.depart(client).unwrap();
        let answered = 2 * MOVE_AFTER_FORWARDS as usize - 1;
        assert_eq!(departure.output, frame::OK.repeat(answered));
        assert_eq!(departure.input, publishes("t1", 10));
        let client = there.adopt(Socket(8), departure);
        there.start(client);
        assert_eq!(there.output(client), frame::OK.repeat(answered + 10));
        assert_eq!((here.client_count(), there.client_count()), (0, 1));
    }

    #[test]
    fn a_consumer_stays_where_it_is() {
        let (mut here, mut there) = (shard(0), shard(1));
        let client = here.connect(Socket(7), Peer::default());
        let input = [b"  V2SUB t0 c\n".to_vec(), publishes("t1", 3 * MOVE_AFTER_FORWARDS)];
        here.received(client, &input.concat());
        letters(&mut here, &mut there, 0);
        letters(&mut there, &mut here, 1);
        assert_eq!(here.take_effects(), []);
        let answers = 1 + 3 * MOVE_AFTER_FORWARDS as usize;
        assert_eq!(here.output(client), frame::OK.repeat(answers));
    }
}

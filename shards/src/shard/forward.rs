//! Other shards: publishes to their topics, answers to theirs, and requests.

use alloc::string::String;
use alloc::vec::Vec;

use super::Shard;
use super::share::Publisher;
use super::spill::Stalled;
use crate::client::Pending;
use crate::limits::{Durability, FORWARD_BYTES_UNANSWERED_MAX, FORWARDS_UNANSWERED_MAX};
use crate::mail::{Answer, Batch, Forward, Letter, Origin};
use crate::request::{Publish, Reply, Request};
use crate::slots::Key;
use crate::stats::ShardGauges;
use crate::wire::command::{self, Messages};
use crate::wire::names::Name;

/// The ticket of a request whose reply nobody waits for.
pub(super) const NOBODY: u64 = u64::MAX;

/// What is under way to one other worker.
#[derive(Debug, Default)]
pub struct Lane {
    /// This turn's publishes.
    batch: Batch,
    /// Publishes not answered yet.
    unanswered: u32,
    /// Their bytes.
    unanswered_bytes: usize,
    /// Clients that wait until there are fewer.
    blocked: Vec<Key>,
}

impl Lane {
    /// Adds what is under way.
    pub(super) fn count(&self, gauges: &mut ShardGauges) {
        gauges.forwards_unanswered += u64::from(self.unanswered);
        gauges.forward_bytes_unanswered += self.unanswered_bytes as u64;
        gauges.forwards_blocked += self.blocked.len() as u64;
    }

    fn is_full(&self) -> bool {
        self.unanswered >= FORWARDS_UNANSWERED_MAX
            || self.unanswered_bytes >= FORWARD_BYTES_UNANSWERED_MAX
    }

    /// Whether nothing waits to be posted.
    pub(super) fn is_idle(&self) -> bool {
        self.batch.forwards.is_empty()
    }

    fn add(&mut self, forward: Forward) {
        self.unanswered += 1;
        self.unanswered_bytes += forward.length as usize;
        self.batch.forwards.push(forward);
    }
}

impl Shard {
    /// Puts a client's publish into the batch for its topic's owner. False when the client has to
    /// wait because too much is under way.
    pub(super) fn forward_publish(
        &mut self,
        key: Key,
        owner: u16,
        publish: &command::Publish<'_>,
    ) -> bool {
        let lane = &mut self.lanes[usize::from(owner)];
        if lane.is_full() {
            if !lane.blocked.contains(&key) {
                lane.blocked.push(key);
            }
            self.pause(key);
            return false;
        }
        let Some(client) = self.clients.get_mut(key) else { return true };
        let ticket = client.first_ticket.wrapping_add(client.pending.len() as u32);
        client.pending.push_back(Pending::Asked(publish.verb));
        lane.batch.bytes.extend_from_slice(publish.messages.bytes);
        lane.add(Forward {
            origin: Origin::Client(key, ticket),
            topic: publish.topic,
            delay_ms: publish.delay_ms,
            count: publish.messages.count,
            length: publish.messages.bytes.len() as u32,
        });
        true
    }

    /// Asks the shard `to` on behalf of HTTP. The reply comes with `ticket`.
    pub fn ask(&mut self, to: u16, ticket: u64, request: Request) {
        if to == self.placement.me {
            return self.answer_request(to, ticket, request);
        }
        match request {
            Request::Publish(publish) => self.forward_from_http(to, ticket, &publish),
            request => self.letters.push_back((to, Letter::Ask(ticket, request))),
        }
    }

    fn forward_from_http(&mut self, to: u16, ticket: u64, publish: &Publish) {
        let lane = &mut self.lanes[usize::from(to)];
        if lane.is_full() {
            let reason = String::from("too many publishes under way");
            self.replies.push_back((ticket, Reply::Refused(reason)));
            return;
        }
        let start = lane.batch.bytes.len();
        for body in publish.bodies() {
            lane.batch.bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            lane.batch.bytes.extend_from_slice(body);
        }
        let length = (lane.batch.bytes.len() - start) as u32;
        lane.add(Forward {
            origin: Origin::Ticket(ticket),
            topic: publish.topic,
            delay_ms: publish.defer_ms,
            count: publish.lengths.len() as u32,
            length,
        });
    }

    /// Puts a message of a channel here into the batch for another topic's owner. False when too
    /// much is under way.
    pub(super) fn forward_transfer(&mut self, owner: u16, forward: Forward, bytes: &[u8]) -> bool {
        let lane = &mut self.lanes[usize::from(owner)];
        if lane.is_full() {
            return false;
        }
        lane.batch.bytes.extend_from_slice(bytes);
        lane.add(forward);
        true
    }

    /// Has a topic created by its owner; whether it was, nobody asks.
    pub(super) fn ask_to_create(&mut self, owner: u16, topic: Name) {
        self.letters.push_back((owner, Letter::Ask(NOBODY, Request::CreateTopic(topic))));
    }

    /// A letter came.
    pub fn mail(&mut self, from: u16, letter: Letter) {
        match letter {
            Letter::Publishes(batch) => {
                let publisher = Publisher::Worker(from);
                if self.is_stalled(from) || self.has_to_wait(publisher, batch.bytes.len()) {
                    return self.tiers.stalled.push_back(Stalled::Batch(from, batch));
                }
                self.publish_batch(from, batch);
            }
            Letter::Answers(answers) => self.answered(from, answers),
            Letter::Ask(ticket, request) => self.answer_request(from, ticket, request),
            Letter::Reply(ticket, reply) => self.replies.push_back((ticket, reply)),
        }
    }

    pub(super) fn publish_batch(&mut self, from: u16, batch: Batch) {
        let mut bytes = &batch.bytes[..];
        self.take_share_of(from, bytes.len());
        for forward in batch.forwards {
            let (mine, rest) = bytes.split_at(forward.length as usize);
            bytes = rest;
            let outcome = if let Origin::Transfer(..) = forward.origin {
                self.receive_transfer(&forward.topic, mine)
            } else {
                let messages = Messages { count: forward.count, bytes: mine };
                self.append_to(&forward.topic, forward.delay_ms, messages)
            };
            let (durability, refused) = match outcome {
                Ok(durability) => (durability, None),
                Err(reason) => (Durability::Memory, Some(reason)),
            };
            if durability != Durability::Memory {
                let answer =
                    Answer { origin: forward.origin, count: 1, bytes: mine.len(), refused };
                self.owe_answer(from, answer, durability);
                continue;
            }
            let answers = &mut self.answers[usize::from(from)];
            if refused.is_none()
                && let Some(last) = answers.last_mut()
                && last.extend(forward.origin, mine.len())
            {
                continue;
            }
            let bytes = mine.len();
            answers.push(Answer { origin: forward.origin, count: 1, bytes, refused });
        }
    }

    fn answered(&mut self, from: u16, answers: Vec<Answer>) {
        for answer in answers {
            let lane = &mut self.lanes[usize::from(from)];
            lane.unanswered -= answer.count;
            lane.unanswered_bytes -= answer.bytes;
            match (answer.origin, answer.refused) {
                (Origin::Client(key, first), refused) => {
                    self.publish_answered(key, first, answer.count, refused.as_deref());
                }
                (Origin::Transfer(key, sequence), refused) => {
                    self.transferred(key, sequence, refused.is_some());
                }
                (Origin::Ticket(ticket), None) => self.replies.push_back((ticket, Reply::Done)),
                (Origin::Ticket(ticket), Some(reason)) => {
                    self.replies.push_back((ticket, Reply::Refused(reason)));
                }
            }
        }
        let lane = &mut self.lanes[usize::from(from)];
        if !lane.is_full() {
            for key in core::mem::take(&mut lane.blocked) {
                self.wake(key);
            }
        }
    }

    /// Turns what gathered in this turn into letters, one of a kind per worker.
    pub(super) fn seal_letters(&mut self) {
        for (to, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.batch.forwards.is_empty() {
                let batch = lane.batch.take();
                self.letters.push_back((to as u16, Letter::Publishes(batch)));
            }
        }
        for (to, answers) in self.answers.iter_mut().enumerate() {
            if !answers.is_empty() {
                let answers = core::mem::take(answers);
                self.letters.push_back((to as u16, Letter::Answers(answers)));
            }
        }
    }
}

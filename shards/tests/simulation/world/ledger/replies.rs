//! Commands and what they are answered, in their order.

use super::super::disk::Fact;
use super::{Expected, Ledger, Outcome, Publishes, State};

/// What a consumer does with a message.
#[derive(Clone, Copy)]
pub enum Answer {
    Finish,
    Requeue(u64),
    Touch,
}

impl Ledger {
    /// FIN, REQ or TOUCH.
    pub(super) fn answered(
        &mut self,
        index: usize,
        verb: &'static str,
        id: [u8; 16],
        answer: Answer,
    ) {
        let done = self.answer(index, id, answer);
        let topic = self.clients[index].subscription.map_or(usize::MAX, |(topic, _)| topic);
        let number = self.ids.get(&(topic, id));
        let expected = match number.is_some_and(|number| self.damaged.contains(number)) {
            true => Expected::Perhaps { verb, id },
            false => Expected::Answer { verb, id, fails: !done },
        };
        self.clients[index].expected.push_back(expected);
    }

    /// Does what an answer to a message does. False when it has to fail.
    fn answer(&mut self, index: usize, id: [u8; 16], answer: Answer) -> bool {
        let (now_ms, max_ms) = (self.now_ms, self.max_msg_timeout_ms);
        let client = &mut self.clients[index];
        let Some((topic, channel_index)) = client.subscription else { return false };
        let Some(&number) = self.ids.get(&(topic, id)) else { return false };
        let entry = self.topics[topic].as_mut();
        let Some(channel) = entry.and_then(|topic| topic.channels.get_mut(&channel_index)) else {
            return false;
        };
        let Some(entry) = channel.live.get_mut(&number) else { return false };
        let State::InFlight { connection, until_ms, since_ms } = entry.state else { return false };
        if connection != index || until_ms <= now_ms {
            return false;
        }
        match answer {
            Answer::Finish => {
                channel.live.remove(&number);
                channel.finished.insert(number);
                let fact = Fact::Finish(topic, channel_index, number);
                self.unwritten.push(fact);
                if client.blurred {
                    self.vague.insert(fact);
                }
                client.has.remove(&number);
                self.finished += 1;
            }
            Answer::Requeue(0) => entry.state = State::Waiting,
            Answer::Requeue(ms) => {
                let due_ms = now_ms + ms + 1;
                entry.state =
                    State::Deferred(due_ms, if client.blurred { u64::MAX } else { due_ms });
            }
            Answer::Touch => {
                let until_ms = (now_ms + client.msg_timeout_ms).min(since_ms + max_ms) + 1;
                entry.state = State::InFlight { connection, until_ms, since_ms };
            }
        }
        true
    }

    /// A response: it must be the one that the next command gets.
    pub(super) fn responded(&mut self, index: usize, body: &[u8]) -> Option<Publishes> {
        match (self.next_expected(index), body) {
            (Some(Expected::Publish { first, count }), b"OK") => {
                self.conclude(first, count, Outcome::Acknowledged);
                return Some((first, count));
            }
            (Some(Expected::Subscribe(topic, channel)), b"OK") => {
                self.subscribed(index, topic, channel);
            }
            (Some(Expected::Ok), b"OK") | (Some(Expected::CloseWait), b"CLOSE_WAIT") => {}
            (expected, body) => {
                let body = String::from_utf8_lossy(body);
                self.complain(format!("connection {index}: {body} instead of {expected:?}"));
            }
        }
        None
    }

    /// The next command that is always answered; those before it must be ones that succeed.
    fn next_expected(&mut self, index: usize) -> Option<Expected> {
        loop {
            match self.clients[index].expected.pop_front()? {
                Expected::Answer { verb, fails: true, id } => {
                    let id = String::from_utf8_lossy(&id);
                    self.complain(format!("connection {index}: {verb} {id} did not fail"));
                }
                Expected::Answer { .. } | Expected::Perhaps { .. } => {}
                other => return Some(other),
            }
        }
    }

    /// An error, after which a client is refused or goes on.
    pub(super) fn failed(&mut self, index: usize, text: &str) {
        let soft = ["FIN", "REQ", "TOUCH"].iter().find(|v| text.starts_with(&format!("E_{v}_")));
        if let Some(&failed) = soft {
            while let Some(expected) = self.clients[index].expected.pop_front() {
                match expected {
                    Expected::Answer { verb, id, fails: true } | Expected::Perhaps { verb, id }
                        if verb == failed
                            && text.contains(String::from_utf8_lossy(&id).as_ref()) =>
                    {
                        return;
                    }
                    Expected::Answer { fails: false, .. } | Expected::Perhaps { .. } => {}
                    other => {
                        let text = format!("connection {index}: {text} instead of {other:?}");
                        return self.complain(text);
                    }
                }
            }
            return self.complain(format!("connection {index}: {text} out of nowhere"));
        }
        // The clock jumped over two heartbeats while a command was half sent.
        if self.jumps && text.contains(" failed to read ") {
            self.clients[index].ended = true;
            return self.nobody_was_told(index);
        }
        if self.faulty && self.is_refused_publish(index, text) {
            self.clients[index].ended = true;
            return self.nobody_was_told(index);
        }
        match self.next_expected(index) {
            Some(Expected::Fatal) => {}
            Some(Expected::Publish { first, count }) if text.contains("limit reached") => {
                if text.contains("limit reached: ") {
                    self.check_refusal(first);
                }
                let outcome = if count == 1 { Outcome::Refused } else { Outcome::Unknown };
                self.conclude(first, count, outcome);
                self.clients[index].ended = true;
            }
            other => self.complain(format!("connection {index}: {text} instead of {other:?}")),
        }
    }

    /// Whether a client is told that the disk failed it.
    fn is_refused_publish(&self, index: usize, text: &str) -> bool {
        let client = &self.clients[index];
        let verbs = ["E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED"];
        let published = |expected: &Expected| matches!(expected, Expected::Publish { .. });
        verbs.iter().any(|verb| text.starts_with(verb))
            && (client.cut || client.expected.iter().any(published))
    }
}

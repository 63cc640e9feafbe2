//! Commands and what they are answered, in their order.

use super::{Expected, Ledger, Outcome, State};

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
        self.clients[index].expected.push_back(Expected::Answer { verb, id, fails: !done });
    }

    /// Does what an answer to a message does. False when it has to fail.
    fn answer(&mut self, index: usize, id: [u8; 16], answer: Answer) -> bool {
        let (now_ms, max_ms) = (self.now_ms, self.max_msg_timeout_ms);
        let client = &mut self.clients[index];
        let Some((topic, channel)) = client.subscription else { return false };
        let Some(&number) = self.ids.get(&(topic, id)) else { return false };
        let Some(channel) = self.topics[topic].as_mut().and_then(|t| t.channels.get_mut(&channel))
        else {
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
    pub(super) fn responded(&mut self, index: usize, body: &[u8]) {
        match (self.next_expected(index), body) {
            (Some(Expected::Publish { first, count }), b"OK") => {
                self.conclude(first, count, Outcome::Acknowledged);
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
    }

    /// The next command that is always answered; those before it must be ones that succeed.
    fn next_expected(&mut self, index: usize) -> Option<Expected> {
        loop {
            match self.clients[index].expected.pop_front()? {
                Expected::Answer { verb, fails: true, id } => {
                    let id = String::from_utf8_lossy(&id);
                    self.complain(format!("connection {index}: {verb} {id} did not fail"));
                }
                Expected::Answer { .. } => {}
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
                    Expected::Answer { verb, id, fails: true }
                        if verb == failed
                            && text.contains(String::from_utf8_lossy(&id).as_ref()) =>
                    {
                        return;
                    }
                    Expected::Answer { fails: false, .. } => {}
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
        match self.next_expected(index) {
            Some(Expected::Fatal) => {}
            Some(Expected::Publish { first, count }) if text.contains("memory limit reached") => {
                let outcome = if count == 1 { Outcome::Refused } else { Outcome::Unknown };
                self.conclude(first, count, outcome);
                self.clients[index].ended = true;
            }
            other => self.complain(format!("connection {index}: {text} instead of {other:?}")),
        }
    }
}

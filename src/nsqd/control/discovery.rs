//! Which channels a new topic is to have: asked of every nsqlookupd that is connected.
//!
//! A question always gets an answer, and in time: what nsqlookupds said by then, be it nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;
use serde::Deserialize;
use shards::slots::Key;
use shards::wire::names::Name;

use super::limits::{CHANNELS_MAX, DIAL_TIMEOUT, QUESTIONS_AT_ONCE};
use super::line::End;
use super::peers::{Peers, settled};
use crate::http::client::{Client, within};
use crate::net::shield::Shielded;

/// A topic that waits.
#[derive(Debug)]
struct Question {
    worker: usize,
    topic: Key,
    name: Name,
    answer_by: Instant,
}

/// All questions of this node.
#[derive(Debug)]
pub struct Questions {
    client: Client,
    peers: Rc<Peers>,
    ends: Rc<Vec<End>>,
    timeout: Duration,
    waiting: RefCell<VecDeque<Question>>,
    running: Cell<usize>,
}

/// The answer of one nsqlookupd.
#[derive(Debug, Deserialize)]
struct Channels {
    channels: Option<Vec<String>>,
}

impl Questions {
    /// No questions yet. Each is answered through its worker's end, after `timeout` at the latest.
    pub fn new(
        client: Client,
        peers: Rc<Peers>,
        ends: Rc<Vec<End>>,
        timeout: Duration,
    ) -> Questions {
        let (waiting, running) = (RefCell::default(), Cell::default());
        Questions { client, peers, ends, timeout, waiting, running }
    }

    /// Questions that are asked, and those that wait for their turn.
    pub fn counts(&self) -> (u64, u64) {
        (self.running.get() as u64, self.waiting.borrow().len() as u64)
    }

    /// A worker's topic waits for its channels.
    pub fn ask(self: &Rc<Self>, worker: usize, topic: Key, name: Name) {
        let answer_by = Instant::now() + self.timeout;
        self.waiting.borrow_mut().push_back(Question { worker, topic, name, answer_by });
        self.start();
    }

    fn start(self: &Rc<Self>) {
        while self.running.get() < QUESTIONS_AT_ONCE {
            let Some(question) = self.waiting.borrow_mut().pop_front() else { return };
            let task = Shielded::new("LOOKUP", self.clone().answer(question, Running::new(self)));
            glommio::spawn_local(task).detach();
        }
    }

    async fn answer(self: Rc<Self>, question: Question, running: Running) {
        let Question { worker, topic, name, answer_by } = question;
        // Who is still being dialled may be the one that knows; but time is left for the others.
        let left = answer_by.saturating_duration_since(Instant::now());
        within(left.min(DIAL_TIMEOUT) / 2, settled(&self.peers)).await;
        let channels = self.find(&name, answer_by).await;
        self.ends[worker].channels(topic, channels);
        drop(running);
        self.start();
    }

    /// The channels that are known elsewhere, but for ephemeral ones: nobody would consume them.
    async fn find(&self, topic: &Name, answer_by: Instant) -> Vec<Name> {
        let addresses = self.peers.http_addresses();
        if addresses.is_empty() {
            tracing::error!(
                "no available nsqlookupd to query for channels to pre-create for topic {topic}"
            );
            return Vec::new();
        }
        let query = topic.as_str().replace('#', "%23");
        let ask = |address: String| {
            let url = format!("http://{address}/channels?topic={query}");
            async move { self.client.get_v1::<Channels>(&url).await.map_err(|e| e.to_string()) }
        };
        let mut found = BTreeSet::new();
        let answers = gather(addresses.iter().cloned().map(ask).collect(), answer_by).await;
        for (answer, address) in answers.into_iter().zip(&addresses) {
            match answer.unwrap_or_else(|| Err("i/o timeout".to_owned())) {
                Ok(answer) => found.extend(names(answer, address)),
                Err(problem) => tracing::warn!(
                    "failed to query nsqlookupd {address} for channels to pre-create for topic \
                     {topic} - {problem}"
                ),
            }
        }
        found.into_iter().collect()
    }
}

/// The names in an answer. What cannot be a channel is left out, and what is too much.
fn names(answer: Channels, address: &str) -> Vec<Name> {
    let mut names = Vec::new();
    for text in answer.channels.unwrap_or_default() {
        match Name::parse(text.as_bytes()) {
            Some(name) if name.is_ephemeral() => {}
            Some(_) if names.len() == CHANNELS_MAX => {
                tracing::warn!(
                    "LOOKUPD({address}): more than {CHANNELS_MAX} channels, others are left out"
                );
                break;
            }
            Some(name) => names.push(name),
            None => tracing::warn!("LOOKUPD({address}): skipping invalid channel {text:?}"),
        }
    }
    names
}

/// What becomes of several futures until a deadline.
async fn gather<F: Future>(work: Vec<F>, until: Instant) -> Vec<Option<F::Output>> {
    let mut done: Vec<Option<F::Output>> = work.iter().map(|_| None).collect();
    let mut work: Vec<Option<Pin<Box<F>>>> = work.into_iter().map(|f| Some(Box::pin(f))).collect();
    let mut timer = Timer::new(until.saturating_duration_since(Instant::now()));
    poll_fn(|cx| {
        for (work, done) in work.iter_mut().zip(&mut done) {
            let Some(running) = work else { continue };
            if let Poll::Ready(output) = running.as_mut().poll(cx) {
                *done = Some(output);
                *work = None;
            }
        }
        if work.iter().all(Option::is_none) {
            return Poll::Ready(());
        }
        Pin::new(&mut timer).poll(cx).map(drop)
    })
    .await;
    done
}

/// A question that is being answered.
struct Running(Rc<Questions>);

impl Running {
    fn new(questions: &Rc<Questions>) -> Running {
        questions.running.set(questions.running.get() + 1);
        Running(questions.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANNELS_MAX, Channels, names};

    fn found(json: &str) -> Vec<String> {
        let answer: Channels = serde_json::from_str(json).unwrap();
        names(answer, "l:1").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn channels_that_make_no_sense_are_left_out() {
        assert_eq!(found(r#"{"channels":["a","b#ephemeral","","a b","c"]}"#), ["a", "c"]);
        assert_eq!(found(r#"{"channels":null}"#), [""; 0]);
        assert_eq!(found(r#"{}"#), [""; 0]);
        assert!(serde_json::from_str::<Channels>(r#"{"channels":[1]}"#).is_err());
        let many: Vec<String> = (0..=CHANNELS_MAX).map(|n| format!("\"c{n}\"")).collect();
        assert_eq!(found(&format!("{{\"channels\":[{}]}}", many.join(","))).len(), CHANNELS_MAX);
    }
}

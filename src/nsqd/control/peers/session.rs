//! One connection with a nsqlookupd, as a state machine: bytes and time in, bytes out.
//!
//! It says who this node is, then registers every topic and channel, then tells what changes.
//! Commands are sent before earlier ones are answered, but not without end. What is still to be
//! told is a set of topics, compared when it is their turn with what the nsqlookupd was told of
//! them: a slow one hears of the outcome, not of every step, and nothing piles up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use shards::metadata::Registration;
use shards::slots::Key;
use shards::wire::names::Name;

use super::answer::{Answers, LookupInfo, Trouble, shown};
use super::registry::Registry;
use crate::nsqd::control::limits::{ANSWER_TIMEOUT, PING_INTERVAL, UNANSWERED_MAX};

const MAGIC: &[u8] = b"  V1";

/// What a nsqlookupd is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Identify,
    Register(Name, Option<Name>),
    Unregister(Name, Option<Name>),
    Ping,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Identify => f.write_str("IDENTIFY"),
            Command::Register(topic, None) => write!(f, "REGISTER {topic}"),
            Command::Register(topic, Some(channel)) => write!(f, "REGISTER {topic} {channel}"),
            Command::Unregister(topic, None) => write!(f, "UNREGISTER {topic}"),
            Command::Unregister(topic, Some(channel)) => write!(f, "UNREGISTER {topic} {channel}"),
            Command::Ping => f.write_str("PING"),
        }
    }
}

/// What the rim may want to know of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It said who it is.
    Identified(LookupInfo),
    /// All that there was to tell is told and answered, for the first time: so many commands.
    Registered(u64),
}

/// See the module's text.
#[derive(Debug)]
pub struct Session {
    output: Vec<u8>,
    answers: Answers,
    /// Commands that were sent and not answered.
    unanswered: VecDeque<Command>,
    /// Commands that are to be sent. They are of few topics.
    queued: VecDeque<Command>,
    /// Topics that may have changed since it was told of them.
    changed: BTreeSet<Name>,
    /// What it was told, or is about to be.
    told: BTreeMap<Name, Registration>,
    identified: bool,
    /// Registrations so far; `None` after the first time that all were answered.
    registered: Option<u64>,
    ping_at: Instant,
    /// The next answer is due.
    answer_by: Option<Instant>,
}

impl Session {
    /// A connection that was just made. `identity` is the body of IDENTIFY.
    pub fn new(identity: &[u8], registry: &Registry, now: Instant) -> Session {
        let mut session = Session {
            output: MAGIC.to_vec(),
            answers: Answers::default(),
            unanswered: VecDeque::new(),
            queued: VecDeque::new(),
            changed: registry.names().collect(),
            told: BTreeMap::new(),
            identified: false,
            registered: Some(0),
            ping_at: now + PING_INTERVAL,
            answer_by: None,
        };
        session.send(Command::Identify, now);
        let length = u32::try_from(identity.len()).expect("who a node is takes few bytes");
        session.output.extend_from_slice(&length.to_be_bytes());
        session.output.extend_from_slice(identity);
        session
    }

    /// A topic, or a channel of it, came or went.
    pub fn changed(&mut self, topic: Name) {
        self.changed.insert(topic);
    }

    /// Bytes arrived.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<News>, Trouble> {
        self.answers.feed(bytes);
        let mut news = Vec::new();
        while let Some(answer) = self.answers.take()? {
            let Some(command) = self.unanswered.pop_front() else {
                return Err(Trouble::Unasked(shown(answer)));
            };
            if command == Command::Identify {
                let info = LookupInfo::parse(answer)?;
                self.identified = true;
                news.push(News::Identified(info));
            } else if answer != b"OK" {
                return Err(Trouble::Refused { command: command.to_string(), text: shown(answer) });
            }
            self.answer_by = (!self.unanswered.is_empty()).then(|| now + ANSWER_TIMEOUT);
        }
        Ok(news)
    }

    /// Says what is to be said by now.
    ///
    /// # Errors
    /// When an answer is overdue.
    pub fn advance(&mut self, registry: &Registry, now: Instant) -> Result<Option<News>, Trouble> {
        if self.answer_by.is_some_and(|by| by <= now) {
            let command = self.unanswered.front().map(Command::to_string).unwrap_or_default();
            return Err(Trouble::Silent(command));
        }
        if !self.identified {
            return Ok(None);
        }
        if self.ping_at <= now {
            self.ping_at = now + PING_INTERVAL;
            self.send(Command::Ping, now);
        }
        while self.unanswered.len() < UNANSWERED_MAX {
            let Some(command) = self.next_command(registry) else { break };
            self.registered = self.registered.map(|count| count + 1);
            self.send(command, now);
        }
        let all_told = self.unanswered.is_empty() && self.changed.is_empty();
        Ok(all_told.then(|| self.registered.take()).flatten().map(News::Registered))
    }

    fn next_command(&mut self, registry: &Registry) -> Option<Command> {
        while self.queued.is_empty() {
            let topic = self.changed.pop_first()?;
            let (before, now) = (self.told.remove(&topic), registry.get(&topic));
            tell(&topic, before.as_ref(), now, &mut self.queued);
            if let Some(now) = now {
                self.told.insert(topic, now.clone());
            }
        }
        self.queued.pop_front()
    }

    fn send(&mut self, command: Command, now: Instant) {
        self.output.extend_from_slice(command.to_string().as_bytes());
        self.output.push(b'\n');
        self.unanswered.push_back(command);
        self.answer_by.get_or_insert(now + ANSWER_TIMEOUT);
    }

    /// Bytes to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many of them were sent.
    pub fn sent(&mut self, count: usize) {
        self.output.drain(..count);
    }

    /// When time alone makes a difference.
    pub fn deadline(&self) -> Instant {
        self.answer_by.map_or(self.ping_at, |by| by.min(self.ping_at))
    }
}

/// The commands that lead from what was told of a topic to what there is.
///
/// A channel's registration implies its topic's, and so it is done without. What has gone is
/// unregistered one by one: with a topic its channels go, but not the keys of ephemeral ones.
fn tell(
    topic: &Name,
    before: Option<&Registration>,
    now: Option<&Registration>,
    commands: &mut VecDeque<Command>,
) {
    // A topic that was made again has nothing in common with the earlier one.
    let same = before.zip(now).is_some_and(|(before, now)| before.topic == now.topic);
    let channels = |of: Option<&Registration>| -> BTreeMap<Name, Key> {
        of.map_or_else(BTreeMap::new, |of| of.channels.iter().copied().collect())
    };
    let (old, new) = (channels(before), channels(now));
    let stays = |(name, key): (&Name, &Key)| same && new.get(name) == Some(key);
    for (channel, key) in &old {
        if !stays((channel, key)) {
            commands.push_back(Command::Unregister(*topic, Some(*channel)));
        }
    }
    if before.is_some() && !same {
        commands.push_back(Command::Unregister(*topic, None));
    }
    if now.is_some() && !same && new.is_empty() {
        commands.push_back(Command::Register(*topic, None));
    }
    for (channel, key) in &new {
        if !same || old.get(channel) != Some(key) {
            commands.push_back(Command::Register(*topic, Some(*channel)));
        }
    }
}

#[cfg(test)]
mod tests;

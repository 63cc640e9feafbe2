//! Connections: two pipes between a client and whichever worker has its socket.

use std::collections::VecDeque;

use shards::limits::Durability;
use shards::slots::Key;

use super::disk::{Fact, Kept};
use super::ledger::Publishes;
use super::wire::{Command, Frame, cut_frame};
use super::{Canary, World, name};

/// Where the server's end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    At(usize, Key),
    Travelling,
    Closed,
}

/// A command in the stream: where it ends, and how long it is.
#[derive(Debug)]
struct Written {
    end: u64,
    length: usize,
    command: Command,
}

/// A frame in a shard's output.
#[derive(Debug)]
struct Mark {
    /// Where in the stream it ends.
    end: u64,
    /// The publish that it acknowledges.
    publish: Option<Publishes>,
    frame: Option<Frame>,
}

/// A connection, both ends of it.
#[derive(Debug)]
pub struct Connection {
    pub place: Place,
    /// Written by the client, not yet received.
    pub to_server: Vec<u8>,
    written: u64,
    handed: u64,
    /// Where in the stream commands end.
    commands: VecDeque<Written>,
    /// Seen in the shard's output and not taken from it yet.
    pub unsent: Vec<u8>,
    /// Frames that end in `unsent`.
    marks: VecDeque<Mark>,
    /// Where in the stream the last of them ends.
    noted: u64,
    /// Where in the stream `unsent` starts.
    sent: u64,
    /// Frames that have arrived and that the client has not looked at.
    pub frames: VecDeque<Frame>,
    /// The shard wants nothing of it for now.
    pub paused: bool,
    /// The kernel takes nothing for it.
    pub stuck: bool,
    pub moving: Option<u16>,
    /// The client said CLS.
    pub closing: bool,
    /// The client sends no more.
    pub ended: bool,
    /// The shard knows that.
    pub end_told: bool,
    /// The client is gone altogether.
    pub reset: bool,
    /// What kind of client it is.
    pub role: super::clients::Role,
}

impl Connection {
    pub fn new(place: Place) -> Connection {
        Connection {
            place,
            to_server: Vec::new(),
            written: 0,
            handed: 0,
            commands: VecDeque::new(),
            unsent: Vec::new(),
            marks: VecDeque::new(),
            noted: 0,
            sent: 0,
            frames: VecDeque::new(),
            paused: false,
            stuck: false,
            moving: None,
            closing: false,
            ended: false,
            end_told: false,
            reset: false,
            role: super::clients::Role::Scripted,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.place == Place::Closed
    }

    pub fn is_at_rest(&self) -> bool {
        self.is_closed() || self.paused || (self.to_server.is_empty() && self.unsent.is_empty())
    }

    /// The shard took back the end of its output, and put something else there. The publishes
    /// that were acknowledged in it.
    fn cut(&mut self, output: &[u8]) -> Vec<Publishes> {
        let same = output.iter().zip(&self.unsent).take_while(|(one, other)| one == other);
        let same_to = self.sent + same.count() as u64;
        let whole = self.marks.iter().take_while(|mark| mark.end <= same_to).count();
        let revoked = self.marks.split_off(whole);
        self.noted = self.marks.back().map_or(self.sent, |mark| mark.end);
        self.unsent.truncate((self.noted - self.sent) as usize);
        revoked.into_iter().filter_map(|mark| mark.publish).collect()
    }

    /// Whether a shard's output may go on where what is known of it ends. All of it is compared
    /// when it is sent.
    fn goes_on(&self, output: &[u8]) -> bool {
        let known = self.unsent.len();
        let end = known.saturating_sub(64)..known;
        output.get(end.clone()) == Some(&self.unsent[end])
    }

    /// Whole frames of which nobody has heard yet.
    fn fresh_frames(&mut self) -> Vec<(Frame, u64)> {
        let from = self.noted.checked_sub(self.sent).expect("a frame is sent when it is whole");
        let mut rest = &self.unsent[from as usize..];
        let mut frames = Vec::new();
        while let Some((frame, length)) = cut_frame(rest) {
            rest = &rest[length..];
            self.noted += length as u64;
            frames.push((frame, self.noted));
        }
        frames
    }

    pub fn activity(&self) -> u64 {
        self.handed + self.unsent.len() as u64 + u64::from(self.is_closed())
    }
}

impl World {
    /// A client writes; `command` is what the ledger learns when the last byte was received.
    pub fn write(&mut self, index: usize, bytes: &[u8], command: Option<Command>) {
        let connection = &mut self.connections[index];
        if connection.is_closed() || connection.ended || connection.reset {
            return;
        }
        connection.to_server.extend_from_slice(bytes);
        connection.written += bytes.len() as u64;
        if let Some(command) = command {
            let (end, length) = (connection.written, bytes.len());
            connection.commands.push_back(Written { end, length, command });
        }
    }

    /// Hands some of what a client wrote to the shard that has its socket.
    pub(super) fn feed(&mut self, worker: usize, index: usize) {
        let connection = &mut self.connections[index];
        let Place::At(_, key) = connection.place else { return };
        let waiting = connection.to_server.len();
        let readable = !connection.paused && connection.moving.is_none();
        if readable && waiting > 0 {
            let bytes = if self.calm || self.random.chance(60) {
                waiting
            } else {
                1 + self.random.below(waiting)
            };
            self.hand(worker, index, key, bytes);
            // Before anything else happens to it, which may throw its answers away.
            self.look(worker);
        }
        let connection = &mut self.connections[index];
        if connection.place != Place::At(worker, key) {
            return;
        }
        if connection.reset {
            self.workers[worker].shard.disconnected(key);
        } else if connection.ended && !connection.end_told && connection.to_server.is_empty() {
            connection.end_told = true;
            self.workers[worker].shard.ended(key);
        } else if connection.stuck && (self.calm || self.random.chance(30)) {
            connection.stuck = false;
            self.workers[worker].shard.writable(key);
        }
    }

    fn hand(&mut self, worker: usize, index: usize, key: Key, bytes: usize) {
        let connection = &mut self.connections[index];
        let rest = connection.to_server.split_off(bytes);
        let mut piece = std::mem::replace(&mut connection.to_server, rest);
        let start = connection.handed;
        connection.handed += bytes as u64;
        let handed = connection.handed;
        while let Some(Written { end, length, command }) =
            self.connections[index].commands.pop_front_if(|written| written.end <= handed)
        {
            let place = (end - start) as usize;
            let whole = place.checked_sub(length).map(|from| from..place);
            if let Command::Publish { first, delay_ms: 1.., .. } = command
                && self.settings.canary == Some(Canary::Early)
            {
                self.ledger.lengthen(first, 100);
            }
            self.ledger.handed(index, &command, self.now.mono_ms);
            if let Some(range) = whole
                && self.loses(index, &command)
            {
                self.canary_done = true;
                piece.drain(range);
            }
        }
        self.workers[worker].shard.received(key, &piece);
    }

    /// Shows the ledger what a shard has for a client.
    pub(super) fn tap(&mut self, worker: usize, index: usize, key: Key) {
        let output = self.workers[worker].shard.whole_output(key);
        let connection = &mut self.connections[index];
        let goes_on = connection.goes_on(output);
        // Nothing at all: a client that the shard has just dropped.
        if output.is_empty() || goes_on && output.len() == connection.unsent.len() {
            return;
        }
        if !goes_on {
            if !self.settings.is_faulty() {
                let text = format!("connection {index}: unsent bytes have changed");
                return self.ledger.complain(text);
            }
            for revoked in connection.cut(output) {
                self.ledger.revoked(revoked);
            }
            self.ledger.cut(index);
        }
        let known = connection.unsent.len();
        connection.unsent.extend_from_slice(&output[known..]);
        self.note(index);
    }

    /// Takes as much of what a shard has for a client as the pipe likes.
    pub(super) fn send(&mut self, worker: usize, index: usize, key: Key) {
        if self.connections[index].is_closed() {
            return;
        }
        self.tap(worker, index, key);
        let connection = &mut self.connections[index];
        let output = self.workers[worker].shard.output(key);
        let waiting = output.len();
        if waiting == 0 {
            return;
        }
        let taken = match self.random.below(20) {
            _ if self.calm => waiting,
            _ if connection.stuck => 0,
            0 => 0,
            1 | 2 => self.random.below(waiting),
            _ => waiting,
        };
        if output[..taken] != connection.unsent[..taken] {
            self.ledger.complain(format!("connection {index}: other bytes than before are sent"));
        }
        connection.stuck = taken < waiting;
        self.workers[worker].shard.sent(key, taken);
        connection.unsent.drain(..taken);
        connection.sent += taken as u64;
        let sent = connection.sent;
        while let Some(mark) = self.connections[index].marks.pop_front_if(|mark| mark.end <= sent) {
            self.connections[index].frames.extend(mark.frame);
            if let Some(publish) = mark.publish {
                self.check_promise(publish);
            }
        }
    }

    /// Somebody is told that messages are queued: as much has to be true as was promised.
    pub(super) fn check_promise(&mut self, publish: Publishes) {
        if self.settings.disk.is_none() {
            return;
        }
        let Some(topic) = self.ledger.promised_topic(publish) else { return };
        let needed = match self.settings.options.durability_of(&name(topic)) {
            Durability::Memory => Kept::Nowhere,
            Durability::Written => Kept::Written,
            Durability::Synced => Kept::Synced,
        };
        let (first, count) = publish;
        for number in first..first + count {
            let kept = self.folder.kept(Fact::Message(number));
            // What everybody has finished need not be kept.
            if kept < needed && self.ledger.is_wanted(number) {
                let text = format!("message {number} of {topic} is acknowledged, but {kept:?}");
                self.ledger.complain(text);
            }
        }
    }

    /// Tells the ledger of frames as soon as they stand in a shard's output.
    fn note(&mut self, index: usize) {
        let (mut frames, ends): (Vec<Frame>, Vec<u64>) =
            self.connections[index].fresh_frames().into_iter().unzip();
        let spoils = self.settings.canary.is_some() && !self.canary_done;
        // The client is not told of what is only the canary's.
        let mut arriving = spoils.then(|| frames.clone().into_iter());
        if spoils {
            self.canary_done = self.spoils_frames(&mut frames, index);
        }
        let last = self.connections[index].noted;
        for (at, frame) in frames.into_iter().enumerate() {
            let publish = self.ledger.produced(index, &frame, self.now.mono_ms);
            let end = ends.get(at).copied().unwrap_or(last);
            let frame = arriving.as_mut().map_or(Some(frame), Iterator::next);
            self.connections[index].marks.push_back(Mark { end, publish, frame });
        }
    }

    /// Whether this command meets its canary.
    fn loses(&mut self, index: usize, command: &Command) -> bool {
        match (self.settings.canary, command) {
            _ if self.canary_done => false,
            (Some(Canary::LoseFinish), Command::Finish(id)) => self.ledger.is_finished(index, id),
            (Some(Canary::LosePublish), Command::Publish { delay_ms: 0, .. }) => {
                let answer = Frame::Response(b"OK".to_vec());
                self.ledger.produced(index, &answer, self.now.mono_ms);
                true
            }
            _ => false,
        }
    }

    fn spoils_frames(&mut self, frames: &mut Vec<Frame>, index: usize) -> bool {
        let message = frames.iter_mut().find_map(|frame| match frame {
            Frame::Message(message) => Some(message),
            _ => None,
        });
        match (self.settings.canary, message) {
            (Some(Canary::SpoilBody), Some(message)) => {
                let last = message.body.len() - 1;
                message.body[last] ^= 0x40;
                last > 3
            }
            (Some(Canary::SameAttempts), Some(message)) if message.attempts > 1 => {
                message.attempts -= 1;
                true
            }
            (Some(Canary::DeliverTwice), Some(message)) => {
                let (again, now_ms) = (message.clone(), self.now.mono_ms);
                self.ledger.produced(index, &Frame::Message(message.clone()), now_ms);
                self.ledger.handed(index, &Command::Finish(again.id), now_ms);
                frames.insert(0, Frame::Message(again));
                true
            }
            (Some(Canary::IgnoreReady), Some(_)) => {
                self.ledger.handed(index, &Command::Ready(0), self.now.mono_ms);
                true
            }
            (Some(Canary::SwapAnswers), _) => {
                let bad = frames.iter().position(|f| matches!(f, Frame::Response(b) if b == b"OK"));
                if let Some(at) = bad {
                    frames[at] = Frame::Response(b"CLOSE_WAIT".to_vec());
                }
                bad.is_some()
            }
            _ => false,
        }
    }
}

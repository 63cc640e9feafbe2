//! Operators who move channels in what their topics keep.
//!
//! It is done when nothing is under way and the channel is paused, so that the ledger knows what
//! was before and what comes after.

use shards::policy::Change;
use shards::request::{
    ChannelAction, Reply, Request, Seek, SeekAction, Sought, Target, TopicAction,
};

use super::{World, name};

impl World {
    /// Moves a channel, or makes one that starts somewhere.
    pub(super) fn seek(&mut self, topic: usize, channel: usize) {
        self.check();
        self.note_pressed();
        let (t, c) = (name(self.settings.topics[topic]), name(self.settings.channels[channel]));
        let creates = self.random.chance(50);
        let exact = !self.settings.ends.is_empty();
        let to = match (self.random.below(5), self.ledger.any_known(topic, &mut self.random)) {
            (0, _) => Target::Latest,
            (1 | 2, Some((id, _))) => Target::Message(id),
            (3, Some((_, timestamp_ns))) if exact => Target::Time(timestamp_ns),
            _ => Target::Earliest,
        };
        let seek = Seek { topic: t, channel: c, to, action: SeekAction::Create };
        if creates && let Some(Reply::Sought(sought)) = self.ask_now(topic, Request::Seek(seek)) {
            // Nobody consumes it yet.
            self.ledger.create_channel(topic, channel);
            let undone = self.ledger.sought(topic, channel, to, sought);
            self.folder.undo(&undone);
            return self.check();
        }
        let paused = self.ledger.is_paused(topic, channel);
        let act = |action| Request::Channel(t, c, action);
        self.ask_owner(topic, act(ChannelAction::Pause));
        self.check();
        let dry = self.seek_to(topic, Seek { action: SeekAction::DryRun, ..seek });
        self.check();
        let done = self.seek_to(topic, Seek { action: SeekAction::Move, ..seek });
        if dry != done {
            self.ledger.complain(format!("{seek:?}: {dry:?} was to be expected, not {done:?}"));
        }
        if let Some(sought) = done {
            let undone = self.ledger.sought(topic, channel, to, sought);
            self.folder.undo(&undone);
        }
        self.check();
        if !paused {
            self.ask_owner(topic, act(ChannelAction::Unpause));
            self.quiesce();
        }
    }

    fn seek_to(&mut self, topic: usize, seek: Seek) -> Option<Sought> {
        match self.ask_now(topic, Request::Seek(seek)) {
            Some(Reply::Sought(sought)) => Some(sought),
            Some(Reply::TopicNotFound | Reply::ChannelNotFound) => None,
            other => {
                self.ledger.complain(format!("{seek:?} was answered by {other:?}"));
                None
            }
        }
    }

    /// What a topic's owner replies, when all has come to rest.
    fn ask_now(&mut self, topic: usize, request: Request) -> Option<Reply> {
        let ticket = self.ask_owner(topic, request);
        self.quiesce();
        self.wait_for_disk();
        let at = self.replies.iter().rposition(|(other, _)| *other == ticket)?;
        Some(self.replies.swap_remove(at).1)
    }

    /// The ledger hears which topics have let go of what they kept, which no start remembers.
    pub(super) fn note_pressed(&mut self) {
        for shard in self.stats() {
            let pressed = shard.topics.iter().filter(|topic| topic.retained_pressed_count > 0);
            pressed.for_each(|topic| self.ledger.pressed(topic.name.as_str()));
        }
    }

    /// Topics keep nothing any more.
    pub(super) fn keep_nothing(&mut self) {
        if !self.settings.options.defaults.keep.is_set() {
            return;
        }
        for topic in ["noise"].into_iter().chain(self.settings.topics.clone()) {
            let (bytes, age) = (Some(Some(0)), Some(Some(0)));
            let change =
                Change { retention_bytes: bytes, retention_age_ms: age, ..Change::default() };
            let owner = self.placement_owner(topic);
            let configure = Request::Configure(name(topic), None, Box::new(change));
            self.ask(0, owner, configure);
            if topic == "noise" {
                let delete = Request::Topic(topic.to_owned(), TopicAction::Delete);
                self.ask(0, owner, delete);
            }
        }
        self.quiesce();
    }
}

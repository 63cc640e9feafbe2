//! One topic of the original becomes one of ours: what each of its channels gets of the messages,
//! and the state that says so.
//!
//! The original keeps a copy of each message for every channel. They have the same id, and become
//! one message here as long as a bounded memory of ids can tell. Sequence numbers are given in
//! this order: the fullest channel's messages, what other channels have besides, and last the
//! topic's own, which no channel has got yet. So channels skip what is not theirs, and the own
//! messages are behind one sequence number.
//!
//! A message that was delivered before is outstanding in its channel, so that its attempts go on.
//! As it lies ahead of the channel's cursor it has to be a deferred one: those are what a cursor
//! passes. Its time has come, and it is not shared, since no other channel has it outstanding.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
use shards::nsq_format::Message;
use shards::wire::names::Name;

/// Messages of a topic that are remembered, to be found again in its other channels.
const REMEMBERED_MAX: usize = 1 << 20;
/// Messages of a takeover whose attempts are kept. A start has to hold these in memory.
const ATTEMPTS_MAX: usize = 1 << 20;
/// Ranges of a channel are put in order whenever they have become twice as many, from here on.
const RANGES_SORTED_MIN: usize = 1 << 16;

/// What there is of a topic already, from an earlier time as ours.
#[derive(Clone, Debug)]
pub struct Existing {
    /// The topic's state.
    pub state: TopicState,
    /// Its channels'.
    pub channels: Vec<(Name, ChannelState)>,
}

impl Existing {
    /// The first message that waits in the topic, if any does.
    pub fn waits_from(&self) -> Option<u64> {
        self.state.handed.filter(|&handed| handed < self.state.head)
    }
}

/// A topic that is being taken over.
pub struct TopicTakeover {
    base: u64,
    next: u64,
    /// Where the topic's own messages start, once it is their turn.
    own_from: Option<u64>,
    channels: Vec<ChannelTakeover>,
    remembered: HashMap<[u8; 16], Remembered>,
    hasher: RandomState,
    /// Messages that another channel had as well.
    pub shared: u64,
}

struct ChannelTakeover {
    name: Name,
    /// Its messages; in order once they are [`sorted`].
    wanted: Vec<Range>,
    /// As many as there were after sorting.
    sorted: usize,
    outstanding: Vec<Outstanding>,
}

/// A message that may be found in another channel.
struct Remembered {
    sequence: u64,
    /// Of timestamp and body.
    print: u64,
    /// The last channel that had it: one that has it twice gets it twice.
    channel: usize,
}

/// How many attempts of a takeover can still be kept.
#[derive(Debug)]
pub struct AttemptsBudget {
    left: usize,
    /// Messages whose attempts are counted from 0 again.
    pub forgotten: u64,
}

impl Default for AttemptsBudget {
    fn default() -> Self {
        AttemptsBudget { left: ATTEMPTS_MAX, forgotten: 0 }
    }
}

impl AttemptsBudget {
    /// Whether one message's attempts can be kept.
    fn spend(&mut self) -> bool {
        let can = self.left > 0;
        self.left -= usize::from(can);
        self.forgotten += u64::from(!can);
        can
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is new, and gets this sequence number.
    New(u64),
    /// It gets this sequence number too, and is to be written as a deferred one.
    Again(u64),
    /// Another channel had it under this one.
    Known(u64),
}

impl TopicTakeover {
    /// A topic whose first message gets the sequence number `base`.
    pub fn new(base: u64) -> TopicTakeover {
        TopicTakeover {
            base,
            next: base,
            own_from: None,
            channels: Vec::new(),
            remembered: HashMap::new(),
            hasher: RandomState::new(),
            shared: 0,
        }
    }

    /// The messages from now on belong to this channel.
    pub fn start_channel(&mut self, name: Name) {
        assert!(self.own_from.is_none(), "the topic's own messages come last");
        let (wanted, outstanding) = (Vec::new(), Vec::new());
        self.channels.push(ChannelTakeover { name, wanted, sorted: 0, outstanding });
    }

    /// The messages from now on belong to the topic.
    pub fn start_own(&mut self) {
        self.own_from = Some(self.next);
        self.remembered = HashMap::new();
    }

    /// Takes a message of the channel or topic that was started last. `more` says whether another
    /// channel may have it too.
    pub fn take(
        &mut self,
        message: &Message<'_>,
        more: bool,
        attempts: &mut AttemptsBudget,
    ) -> Given {
        let at = self.channels.len().wrapping_sub(1);
        if self.own_from.is_some() {
            return Given::New(self.take_sequence());
        }
        if message.attempts > 0 && attempts.spend() {
            let (sequence, attempts) = (self.take_sequence(), message.attempts);
            let channel = &mut self.channels[at];
            channel.want(sequence);
            channel.outstanding.push(Outstanding { sequence, attempts, due_ms: 0 });
            return Given::Again(sequence);
        }
        let given = self.sequence_of(message, at, more);
        let (Given::New(sequence) | Given::Again(sequence) | Given::Known(sequence)) = given;
        self.channels[at].want(sequence);
        given
    }

    fn sequence_of(&mut self, message: &Message<'_>, channel: usize, more: bool) -> Given {
        // The first channel's messages are all new, whatever ids they have.
        let print = if channel > 0 || more { self.print(message) } else { 0 };
        if let Some(known) = self.remembered.get_mut(&message.id)
            && known.print == print
            && known.channel != channel
        {
            known.channel = channel;
            self.shared += 1;
            return Given::Known(known.sequence);
        }
        let sequence = self.take_sequence();
        if more && self.remembered.len() < REMEMBERED_MAX {
            self.remembered.insert(message.id, Remembered { sequence, print, channel });
        }
        Given::New(sequence)
    }

    fn print(&self, message: &Message<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_i64(message.timestamp_ns);
        hasher.write(message.body);
        hasher.finish()
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Whether there were any messages.
    pub fn is_empty(&self) -> bool {
        self.next == self.base
    }

    /// Whether channels had messages.
    pub fn has_channel_messages(&self) -> bool {
        self.own_from.unwrap_or(self.next) > self.base
    }

    /// The states of the topic and of all its channels: those that had messages and those of
    /// `names`. `flows` says whether the topic hands its messages to channels.
    pub fn states(
        self,
        names: &[Name],
        flows: bool,
        existing: Option<&Existing>,
    ) -> (TopicState, Vec<(Name, ChannelState)>) {
        let end = self.own_from.unwrap_or(self.next);
        // What waits in the topic from an earlier time goes to the channels when messages of
        // theirs come behind it.
        let waits = existing.and_then(|existing| existing.waits_from());
        let waits = waits.filter(|_| end == self.base);
        let handed = if flows && end == self.next && waits.is_none() {
            None
        } else {
            Some(waits.unwrap_or(end))
        };
        let state = TopicState { handed, head: self.next };
        let old_channels = existing.map_or(&[][..], |existing| &existing.channels);
        let start = existing.map_or(self.base, |existing| {
            let TopicState { handed, head } = existing.state;
            handed.unwrap_or(head).min(self.base)
        });
        let mut channels: Vec<(Name, ChannelState)> = old_channels.to_vec();
        for name in names.iter().copied().chain(self.channels.iter().map(|channel| channel.name)) {
            if !channels.iter().any(|(other, _)| *other == name) {
                channels.push((name, ChannelState { cursor: start, ..ChannelState::default() }));
            }
        }
        let mut taken = self.channels;
        for (name, state) in &mut channels {
            let found = taken.iter_mut().find(|channel| channel.name == *name);
            let (wanted, mut outstanding) = found.map_or_else(Default::default, |channel| {
                channel.sort();
                (std::mem::take(&mut channel.wanted), std::mem::take(&mut channel.outstanding))
            });
            outstanding.sort_by_key(|message| message.sequence);
            state.skips.extend(others(&wanted, self.base, end));
            state.outstanding.append(&mut outstanding);
            // A channel that waits for nothing older starts at its first message.
            if state.cursor == self.base
                && let Some(first) = state.skips.first().filter(|skip| skip.first == self.base)
            {
                state.cursor = first.last + 1;
                state.skips.remove(0);
            }
        }
        (state, channels)
    }
}

impl ChannelTakeover {
    fn want(&mut self, sequence: u64) {
        match self.wanted.last_mut() {
            Some(last) if last.last + 1 == sequence => last.last = sequence,
            _ => self.wanted.push(Range { first: sequence, last: sequence }),
        }
        if self.wanted.len() >= 2 * self.sorted.max(RANGES_SORTED_MIN) {
            self.sort();
        }
    }

    /// Puts the ranges in order, and makes one of those that touch.
    fn sort(&mut self) {
        self.wanted.sort_unstable();
        self.wanted.dedup_by(|next, previous| {
            let touch = previous.last + 1 == next.first;
            if touch {
                previous.last = next.last;
            }
            touch
        });
        self.sorted = self.wanted.len();
    }
}

/// The ranges between these, from `base` to before `end`.
fn others(wanted: &[Range], base: u64, end: u64) -> Vec<Range> {
    let mut from = base;
    let mut others = Vec::new();
    let behind = Range { first: end, last: end };
    for range in wanted.iter().chain([&behind]) {
        if range.first > from {
            others.push(Range { first: from, last: range.first - 1 });
        }
        from = range.last + 1;
    }
    others
}

#[cfg(test)]
mod tests {
    use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
    use shards::nsq_format::Message;
    use shards::wire::names::Name;

    use super::{AttemptsBudget, Existing, Given, TopicTakeover};

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn message(number: u8, attempts: u16) -> Message<'static> {
        Message { timestamp_ns: 1, attempts, id: [number; 16], body: b"body" }
    }

    /// Two channels: `a` has messages 1 to 5, of which 2 was delivered, `b` has 4, 5 and 6; and
    /// the topic has 7.
    fn topic(budget: &mut AttemptsBudget) -> (TopicTakeover, Vec<Given>) {
        let mut topic = TopicTakeover::new(100);
        let mut given = Vec::new();
        topic.start_channel(name("a"));
        for number in 1..=5 {
            let attempts = if number == 2 { 3 } else { 0 };
            given.push(topic.take(&message(number, attempts), true, budget));
        }
        topic.start_channel(name("b"));
        given.extend([4, 5, 6].map(|number| topic.take(&message(number, 0), false, budget)));
        topic.start_own();
        given.push(topic.take(&message(7, 0), false, budget));
        (topic, given)
    }

    #[test]
    fn channels_skip_what_is_not_theirs() {
        let (topic, given) = topic(&mut AttemptsBudget::default());
        let new = |sequence| Given::New(sequence);
        let mut wanted = vec![new(100), Given::Again(101), new(102), new(103), new(104)];
        wanted.extend([Given::Known(103), Given::Known(104), new(105), new(106)]);
        assert_eq!(given, wanted);
        let (state, channels) = topic.states(&[name("quiet")], true, None);
        assert_eq!(state, TopicState { handed: Some(106), head: 107 });
        let of = |channel: &str| {
            let found = channels.iter().find(|(other, _)| *other == name(channel));
            found.unwrap().1.clone()
        };
        assert_eq!(
            of("a"),
            ChannelState {
                cursor: 100,
                skips: vec![Range { first: 105, last: 105 }],
                outstanding: vec![Outstanding { sequence: 101, attempts: 3, due_ms: 0 }],
                ..ChannelState::default()
            }
        );
        assert_eq!(of("b"), ChannelState { cursor: 103, ..ChannelState::default() });
        assert_eq!(of("quiet"), ChannelState { cursor: 106, ..ChannelState::default() });
    }

    #[test]
    fn attempts_are_kept_while_there_is_room() {
        let mut budget = AttemptsBudget { left: 0, forgotten: 0 };
        let (topic, given) = topic(&mut budget);
        assert_eq!((given[1], budget.forgotten), (Given::New(101), 1));
        let (_, channels) = topic.states(&[], true, None);
        assert!(channels.iter().all(|(_, state)| state.outstanding.is_empty()));
    }

    #[test]
    fn what_was_ours_before_goes_on() {
        let (topic, _) = topic(&mut AttemptsBudget::default());
        let outstanding = vec![Outstanding { sequence: 50, attempts: 1, due_ms: 9 }];
        let skips = vec![Range { first: 62, last: 63 }];
        let old = ChannelState { cursor: 60, skips, outstanding, ..ChannelState::default() };
        let channels = vec![(name("a"), old)];
        let state = TopicState { handed: Some(70), head: 80 };
        let existing = Existing { state, channels };
        let (state, channels) = topic.states(&[name("quiet")], true, Some(&existing));
        assert_eq!(state, TopicState { handed: Some(106), head: 107 });
        let (_, a) = &channels[0];
        assert_eq!(a.cursor, 60);
        assert_eq!(a.skips.iter().map(|skip| skip.first).collect::<Vec<_>>(), [62, 105]);
        assert_eq!(a.outstanding.iter().map(|one| one.sequence).collect::<Vec<_>>(), [50, 101]);
        // What waited in the topic is for all its channels.
        let (_, quiet) = channels.iter().find(|(other, _)| *other == name("quiet")).unwrap();
        assert_eq!((quiet.cursor, quiet.skips[0]), (70, Range { first: 100, last: 105 }));
    }
}

//! Who acts at random: producers, consumers, operators, and clients that make no sense.

use shards::request::{ChannelAction, Publish, Request, TopicAction};

use super::wire::{self, Command, Frame};
use super::{World, name};

/// Steps between two ends of all shards, about.
const STEPS_BETWEEN_ENDS: usize = 300;
/// Shards that there may be after one.
const SHARDS_MAX: usize = 4;

/// What a simulated client does.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Only what a test writes.
    Scripted,
    Producer,
    /// The channel it wants, the messages it has, and those that it had.
    Consumer {
        topic: usize,
        channel: usize,
        has: Vec<[u8; 16]>,
        had: Vec<[u8; 16]>,
    },
    /// Sends noise.
    Garbage,
}

impl World {
    /// Something happens: a client acts, a worker turns, an operator asks, or time passes.
    pub fn step(&mut self) {
        self.steps += 1;
        if !self.settings.ends.is_empty() && self.random.below(STEPS_BETWEEN_ENDS) == 0 {
            let end = self.settings.ends[self.random.below(self.settings.ends.len())];
            let shards = 1 + self.random.below(SHARDS_MAX) as u16;
            return self.restart(end, shards);
        }
        match self.random.below(100) {
            0..45 => {
                let worker = self.random.below(self.workers.len());
                self.turn(worker);
            }
            94.. => self.pass_time(),
            roll if roll + self.settings.operators >= 94 => self.operate(),
            _ => self.act(),
        }
    }

    fn pass_time(&mut self) {
        let ms = match self.random.below(400) {
            0 if self.settings.jumps => 20_000 + self.random.below(50_000) as u64,
            0..4 if self.settings.jumps => 1000 + self.random.below(3000) as u64,
            0..40 => 50 + self.random.below(400) as u64,
            _ => self.random.below(4) as u64,
        };
        self.advance(ms);
        // The wall clock is corrected now and then. Over a restart it is the only one.
        let ends = !self.settings.ends.is_empty() || self.folder.settings.power_cuts;
        let ages = self.settings.has_ages();
        if !ends && !ages && self.random.chance(2) {
            self.now.wall_ns += self.random.below(4_000_000_000) as i64 - 2_000_000_000;
        }
    }

    fn act(&mut self) {
        let live: Vec<usize> = (0..self.workers.len())
            .flat_map(|worker| self.workers[worker].connections.iter().copied())
            .collect();
        if live.len() < self.settings.connections && self.random.chance(30) {
            return self.newcomer();
        }
        if live.is_empty() {
            return;
        }
        let index = live[self.random.below(live.len())];
        self.listen(index);
        match self.connections[index].role.clone() {
            Role::Scripted => {}
            Role::Producer => self.produce(index),
            Role::Consumer { .. } => self.consume(index),
            Role::Garbage => self.babble(index),
        }
        if self.random.chance(1) {
            let connection = &mut self.connections[index];
            if self.random.chance(50) {
                connection.ended = true;
            } else {
                connection.reset = true;
            }
        }
    }

    fn newcomer(&mut self) {
        let index = self.connect();
        match self.random.below(20) {
            0 => {
                self.connections[index].role = Role::Garbage;
                self.ledger.ignore(index);
            }
            1..9 => {
                self.connections[index].role = Role::Producer;
                if self.random.chance(30) {
                    self.identify(index);
                }
            }
            _ => {
                if self.random.chance(40) {
                    self.identify(index);
                }
                let topic = self.random.below(self.settings.topics.len());
                let channel = self.random.below(self.settings.channels.len());
                if self.settings.mixed && self.random.chance(50) {
                    self.produce(index);
                }
                self.subscribe(index, topic, channel);
                self.ready(index, 8);
            }
        }
    }

    fn identify(&mut self, index: usize) {
        let least_ms = self.settings.options.msg_timeout_ms.unsigned_abs().max(1000);
        let msg_timeout_ms = least_ms + self.random.below(500) as u64;
        let sample_rate = if self.settings.sampling && self.random.chance(40) { 50 } else { 0 };
        let json = format!("{{\"msg_timeout\":{msg_timeout_ms},\"sample_rate\":{sample_rate}}}");
        let command = Command::Identify { msg_timeout_ms, sample_rate };
        self.write(index, &wire::identify(&json), Some(command));
    }

    /// SUB.
    pub fn subscribe(&mut self, index: usize, topic: usize, channel: usize) {
        let (t, c) = (self.settings.topics[topic], self.settings.channels[channel]);
        let line = format!("SUB {t} {c}\n");
        self.write(index, line.as_bytes(), Some(Command::Subscribe { topic, channel }));
        self.connections[index].role =
            Role::Consumer { topic, channel, has: Vec::new(), had: Vec::new() };
    }

    /// RDY with a number below `end`.
    fn ready(&mut self, index: usize, end: usize) {
        let count = self.random.below(end) as u64;
        self.set_ready(index, count);
    }

    pub fn set_ready(&mut self, index: usize, count: u64) {
        let line = format!("RDY {count}\n");
        self.write(index, line.as_bytes(), Some(Command::Ready(count)));
    }

    /// PUB, MPUB or DPUB, as `sizes` and `delay_ms` want it.
    pub fn publish(&mut self, index: usize, topic: usize, delay_ms: u64, sizes: &[usize]) {
        let first = self.ledger.number(topic, delay_ms, sizes);
        let bodies: Vec<_> =
            (first..).zip(sizes).map(|(number, &size)| wire::body(number, size)).collect();
        let verb = match sizes.len() {
            _ if delay_ms > 0 => "DPUB",
            1 => "PUB",
            _ => "MPUB",
        };
        let bytes = wire::publish(verb, self.settings.topics[topic], delay_ms, &bodies);
        let count = sizes.len() as u32;
        let command = Command::Publish { verb, topic, first, count, delay_ms };
        self.write(index, &bytes, Some(command));
    }

    fn produce(&mut self, index: usize) {
        for _ in 0..=self.random.below(4) {
            let topic = self.random.below(self.settings.topics.len());
            let size = 4 + self.random.below(self.settings.body_bytes_max);
            match (self.random.below(10), self.settings.deferring) {
                (0..5, Some(delay_ms)) => {
                    let delay_ms = 1 + self.random.below(delay_ms) as u64;
                    self.publish(index, topic, delay_ms, &[size]);
                }
                (0..5, None) => self.publish(index, topic, 0, &[size]),
                (5..7, _) => {
                    let delay_ms = 1 + self.random.below(300) as u64;
                    self.publish(index, topic, delay_ms, &[size]);
                }
                (7..9, _) => {
                    let count = 2 + self.random.below(6);
                    let sizes: Vec<_> = (0..count).map(|more| size.min(4000) + more).collect();
                    self.publish(index, topic, 0, &sizes);
                }
                _ => self.write(index, b"NOP\n", Some(Command::Nothing)),
            }
        }
        // Many in a row for one topic: the connection moves there.
        if self.random.chance(2) {
            let topic = self.random.below(self.settings.topics.len());
            (0..80).for_each(|_| self.publish(index, topic, 0, &[20]));
        }
    }

    /// Takes in what has reached a client.
    pub fn listen(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        while let Some(frame) = connection.frames.pop_front() {
            if let (Frame::Message(message), Role::Consumer { has, .. }) =
                (frame, &mut connection.role)
            {
                has.push(message.id);
            }
        }
    }

    fn consume(&mut self, index: usize) {
        if !self.ledger.is_subscribed(index) {
            return;
        }
        if self.settings.mixed && self.random.chance(20) {
            self.produce(index);
        }
        for _ in 0..=self.random.below(4) {
            match self.random.below(100) {
                0..75 => self.respond(index),
                75..90 => self.ready(index, 8),
                90..96 => self.write(index, b"NOP\n", Some(Command::Nothing)),
                96 if !self.connections[index].closing => {
                    self.connections[index].closing = true;
                    self.write(index, b"CLS\n", Some(Command::Close));
                }
                97 => {
                    self.write(index, b"SUB t0 again\n", Some(Command::Fatal));
                    self.connections[index].ended = true;
                }
                _ => self.respond_wrongly(index),
            }
        }
    }

    /// FIN, REQ or TOUCH for one of a consumer's messages.
    fn respond(&mut self, index: usize) {
        let pick = self.random.below(usize::MAX);
        let Role::Consumer { has, had, .. } = &mut self.connections[index].role else { return };
        if has.is_empty() {
            return;
        }
        let at = pick % has.len();
        let id = has[at];
        let roll = self.random.below(10);
        if roll < 9 {
            has.swap_remove(at);
            had.push(id);
        }
        let (bytes, command) = match roll {
            0..7 => (wire::answer("FIN", &id, ""), Command::Finish(id)),
            7..9 => {
                let ms = if pick.is_multiple_of(3) { 0 } else { pick as u64 % 200 };
                (wire::answer("REQ", &id, &format!(" {ms}")), Command::Requeue(id, ms))
            }
            _ => (wire::answer("TOUCH", &id, ""), Command::Touch(id)),
        };
        self.write(index, &bytes, Some(command));
    }

    /// An answer for a message that the client does not have, any more or at all.
    fn respond_wrongly(&mut self, index: usize) {
        let Role::Consumer { had, .. } = &self.connections[index].role else { return };
        let id = match self.random.below(3) {
            0 => *b"0123456789abcdef",
            1 => *b"NO HEX AT ALL...".first_chunk().expect("16 bytes"),
            _ if had.is_empty() => *b"ffffffffffffffff",
            _ => had[self.random.below(had.len())],
        };
        if id.contains(&b' ') {
            return;
        }
        let (bytes, command) = match self.random.below(3) {
            0 => (wire::answer("FIN", &id, ""), Command::Finish(id)),
            1 => (wire::answer("REQ", &id, " 5"), Command::Requeue(id, 5)),
            _ => (wire::answer("TOUCH", &id, ""), Command::Touch(id)),
        };
        self.write(index, &bytes, Some(command));
    }

    /// Bytes without sense, or nearly sensible ones, for topics that the ledger does not keep.
    fn babble(&mut self, index: usize) {
        let bytes: Vec<u8> = match self.random.below(4) {
            0 => (0..self.random.below(40)).map(|_| self.random.next() as u8).collect(),
            1 => b"PUB noise\n\0\0\0\x03abcMPUB noise\n\0\0\0\x05\0\0\0\x09\0\0\0\x01a".to_vec(),
            2 => b"IDENTIFY\n\0\0\0\x02{}PUB noise\n\0\0".to_vec(),
            _ => b"SUB noise none\nRDY 9\nFIN 0123456789abcdef\nRDY x\n".to_vec(),
        };
        self.write(index, &bytes, None);
    }

    fn operate(&mut self) {
        let topic = self.random.below(self.settings.topics.len());
        let channel = self.random.below(self.settings.channels.len());
        let (t, c) = (self.settings.topics[topic], self.settings.channels[channel]);
        let destructive = self.settings.destructive;
        let topic_action = |action| Request::Topic(t.to_owned(), action);
        let channel_action = |action| Request::Channel(name(t), name(c), action);
        if self.settings.seeks && self.random.chance(15) {
            return self.seek(topic, channel);
        }
        let request = match self.random.below(40) {
            0..4 => Request::CreateTopic(name(t)),
            4..8 => Request::CreateChannel(name(t), name(c)),
            8..11 => topic_action(TopicAction::Pause),
            11..17 => topic_action(TopicAction::Unpause),
            17..20 => channel_action(ChannelAction::Pause),
            20..27 => channel_action(ChannelAction::Unpause),
            27 if destructive => topic_action(TopicAction::Delete),
            28..30 if destructive => topic_action(TopicAction::Empty),
            30..32 if destructive => channel_action(ChannelAction::Empty),
            32 if destructive => channel_action(ChannelAction::Delete),
            32..36 if self.settings.redrives => return self.redrive(),
            _ => return self.publish_over_http(topic),
        };
        self.ask_owner(topic, request);
    }

    fn publish_over_http(&mut self, topic: usize) {
        let (chance, delay_ms, count) = match self.settings.deferring {
            Some(delay_ms) => (80, delay_ms, 40),
            None => (30, 100, 3),
        };
        let deferred = self.random.chance(chance);
        let defer_ms = if deferred { self.random.below(delay_ms) as u64 } else { 0 };
        let sizes: Vec<_> = (0..1 + self.random.below(count)).map(|more| 10 + more).collect();
        let ticket = self.next_ticket + 1;
        let first = self.ledger.number_http(topic, defer_ms, &sizes, ticket);
        let bodies = (first..).zip(&sizes).map(|(number, &size)| wire::body(number, size));
        let bytes: Vec<u8> = bodies.flatten().collect();
        let lengths = sizes.iter().map(|&size| size as u32).collect();
        let topic_name = name(self.settings.topics[topic]);
        let publish = Publish { topic: topic_name, bytes, lengths, defer_ms };
        self.ask_owner(topic, Request::Publish(publish));
    }

    /// Everything is consumed and everybody leaves: nothing may be left behind.
    pub fn wind_up(&mut self) {
        self.folder.heal();
        self.check();
        for index in 0..self.connections.len() {
            self.connections[index].reset = true;
        }
        self.quiesce();
        for topic in 0..self.settings.topics.len() {
            let text = self.settings.topics[topic].to_owned();
            self.ask_owner(topic, Request::Topic(text, TopicAction::Unpause));
            for channel in self.settings.channels.clone() {
                let topic_name = name(self.settings.topics[topic]);
                let request = Request::Channel(topic_name, name(channel), ChannelAction::Unpause);
                self.ask_owner(topic, request);
            }
        }
        self.end_redrives();
        self.check();
        self.drain();
        self.check_letters();
        self.check_emptiness();
    }

    /// Consumers for every channel take all there is.
    fn drain(&mut self) {
        for topic in 0..self.settings.topics.len() {
            for channel in 0..self.settings.channels.len() {
                let (t, c) = (self.settings.topics[topic], self.settings.channels[channel]);
                if c.ends_with("#ephemeral") {
                    // An operator may have made one that nobody consumes.
                    let delete = Request::Channel(name(t), name(c), ChannelAction::Delete);
                    self.ask_owner(topic, delete);
                    continue;
                }
                let index = self.connect();
                self.subscribe(index, topic, channel);
                self.set_ready(index, 2000);
            }
        }
        for _ in 0..40 {
            self.quiesce();
            for index in 0..self.connections.len() {
                self.listen(index);
                let Role::Consumer { has, .. } = &mut self.connections[index].role else {
                    continue;
                };
                for id in std::mem::take(has) {
                    let bytes = wire::answer("FIN", &id, "");
                    self.write(index, &bytes, Some(Command::Finish(id)));
                }
            }
            self.quiesce();
            let deferred_ms = self.settings.deferring.unwrap_or(0) as u64;
            let max_ms = self.settings.options.max_msg_timeout_ms.unsigned_abs();
            self.advance((max_ms / 20).max(deferred_ms / 20));
        }
        self.check();
    }

    fn check_emptiness(&mut self) {
        let left = self.ledger.outstanding();
        if left > 0 {
            self.ledger.complain(format!("{left} messages never came"));
        }
        for index in 0..self.connections.len() {
            self.connections[index].reset = true;
        }
        self.quiesce();
        // Whatever noise made is deleted by its maker.
        let owner = self.placement_owner("noise");
        let delete = Request::Topic("noise".to_owned(), TopicAction::Delete);
        self.ask(0, owner, delete);
        self.quiesce();
        self.keep_nothing();
        let bytes: Vec<u64> = self.stats().iter().map(|s| s.gauges.memory_bytes).collect();
        if bytes.iter().any(|&bytes| bytes > 0) {
            self.ledger.complain(format!("{bytes:?} bytes are never given back"));
        }
        if self.client_count() > 0 {
            self.ledger.complain(format!("{} clients stay", self.client_count()));
        }
        // The last syncs, and what the disk refused before.
        for _ in 0..20 {
            self.advance(500);
            self.quiesce();
        }
        // What could not be read is left for the next start.
        let sound = !self.settings.is_faulty();
        if sound && self.folder.store_files() > usize::from(self.settings.shards) {
            self.ledger.complain("files stay though nothing is left".to_owned());
        }
        if self.has_timers() {
            self.ledger.complain("a timer stays though nothing is left".to_owned());
        }
    }
}

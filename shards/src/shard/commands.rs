//! Carrying out a client's commands, with the original's checks in its order.

use alloc::vec::Vec;

use super::{Effect, Shard};
use crate::auth::Action;
use crate::channel::Channel;
use crate::client::{Pending, Phase, Subscription};
use crate::id;
use crate::latency::Finished;
use crate::limits::MOVE_AFTER_FORWARDS;
use crate::outstanding::Waiting;
use crate::slots::Key;
use crate::wire::command::{Command, Params, Verb, milliseconds, number, too_few};
use crate::wire::errors::{Quoted, Refusal};
use crate::wire::frame;
use crate::wire::names::Name;

/// What became of an answer to a message.
type Answered = Result<(), &'static str>;

const NOT_IN_FLIGHT: &str = "ID not in flight";
const PUT_OFF_MAX_REACHED: &str = "too many messages are put off";
const NOT_OWNED: &str = "client does not own message";

impl Shard {
    /// Carries a command out. False when the client has to leave or wait before it can be: it
    /// stays in the input then.
    pub(super) fn carry_out(&mut self, key: Key, command: Command<'_>) -> bool {
        match command {
            Command::Finish(id) => self.finish(key, id),
            Command::Publish(publish) => return self.publish(key, &publish),
            Command::Answer(verb, params) => self.answer(key, verb, params),
            Command::Ready(count) => self.ready(key, count),
            Command::Nothing => {}
            Command::Subscribe(params) => return self.subscribe(key, params),
            Command::Close => self.close(key),
            Command::Identify(body) => self.identify(key, body),
            Command::Auth(secret) => self.authenticate(key, secret),
        }
        true
    }

    /// Answers a command with a frame, behind the publishes that are not answered yet.
    pub(super) fn respond(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.pending.is_empty() {
            write(&mut client.output);
            return self.soil(key);
        }
        let mut frame = Vec::new();
        write(&mut frame);
        client.pending.push_back(Pending::Frame(frame));
    }

    fn subscribe(&mut self, key: Key, params: Params<'_>) -> bool {
        let (topic, channel) = match self.check_subscribe(key, params) {
            Ok(names) => names,
            Err(refusal) => {
                self.refuse(key, refusal);
                return true;
            }
        };
        if !self.may(key, "SUB", Action::Subscribe(&topic, &channel)) {
            return false;
        }
        let owner = self.placement.owner(&topic);
        if owner != self.placement.me {
            self.leave(key, owner);
            return false;
        }
        if self.clients.get(key).is_some_and(|client| !client.pending.is_empty()) {
            // The answer has its place behind those to the publishes, messages have not.
            self.pause(key);
            return false;
        }
        let topic_key = self.topic(&topic);
        let channel_key = self.channel(topic_key, &channel);
        let consumers = self.channels.get(channel_key).map_or(0, |c| c.clients.len() as u64);
        let max = self.options.max_channel_consumers;
        if max != 0 && consumers >= max {
            let text = format_args!(
                "E_SUB_FAILED SUB failed consumers for {topic}:{channel} exceeds limit of {max}"
            );
            self.refuse(key, Refusal::new(text));
            return true;
        }
        if let Some(channel) = self.channels.get_mut(channel_key) {
            channel.clients.push(key);
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.subscription = Some(Subscription { channel: channel_key, closing: false });
        }
        self.respond(key, |output| output.extend_from_slice(frame::OK));
        true
    }

    fn check_subscribe(&self, key: Key, params: Params<'_>) -> Result<(Name, Name), Refusal> {
        let client = self.clients.get(key);
        let client = client.expect("a command is carried out for a client that is there");
        if client.subscription.is_some() {
            return Err(wrong_state("SUB"));
        }
        if client.session.settings.heartbeat_ms == 0 {
            let text = format_args!("E_INVALID cannot SUB with heartbeats disabled");
            return Err(Refusal::new(text));
        }
        let (Some(topic), Some(channel)) = (params.get(0), params.get(1)) else {
            return Err(too_few("SUB"));
        };
        let topic = Name::parse(topic).ok_or_else(|| {
            let text = Quoted(topic);
            Refusal::new(format_args!("E_BAD_TOPIC SUB topic name {text} is not valid"))
        })?;
        let channel = Name::parse(channel).ok_or_else(|| {
            let text = Quoted(channel);
            Refusal::new(format_args!("E_BAD_CHANNEL SUB channel name {text} is not valid"))
        })?;
        Ok((topic, channel))
    }

    /// Sends a client to the worker where its topic lives, as soon as its publishes are answered.
    pub(super) fn leave(&mut self, key: Key, to: u16) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.phase = Phase::Leaving(to);
        if !client.pending.is_empty() {
            // What it sends meanwhile would only be kept.
            self.effects.push(Effect::Pause(client.socket));
        }
        self.advance_phase(key);
    }

    /// Whether a producer publishes so steadily to another shard that it should live there.
    pub(super) fn should_move(&mut self, key: Key, owner: u16) -> bool {
        let Some(client) = self.clients.get_mut(key) else { return false };
        if client.streak.0 != owner {
            client.streak = (owner, 0);
        }
        client.streak.1 += 1;
        client.subscription.is_none() && client.streak.1 >= MOVE_AFTER_FORWARDS
    }

    fn ready(&mut self, key: Key, count: Option<&[u8]>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(subscription) = client.subscription else {
            return self.refuse(key, wrong_state("RDY"));
        };
        if subscription.closing {
            return;
        }
        let raw = count.unwrap_or(b"1");
        let Some(count) = number(raw) else {
            let text = format_args!("E_INVALID RDY could not parse count ");
            return self.refuse(key, Refusal::new(text).echo(raw));
        };
        let (count, max) = (count.cast_signed(), self.options.max_rdy_count);
        if count < 0 || count > max {
            let text = format_args!("E_INVALID RDY count {count} out of range 0-{max}");
            return self.refuse(key, Refusal::new(text));
        }
        client.ready_count = count.unsigned_abs();
        self.queue_if_ready(key);
    }

    fn close(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        match &mut client.subscription {
            Some(subscription) if !subscription.closing => {
                subscription.closing = true;
                client.ready_count = 0;
                self.respond(key, |output| output.extend_from_slice(frame::CLOSE_WAIT));
            }
            _ => self.refuse(key, wrong_state("CLS")),
        }
    }

    /// FIN in its plain form.
    fn finish(&mut self, key: Key, id: u64) {
        if self.clients.get(key).is_some_and(|client| client.subscription.is_none()) {
            return self.refuse(key, wrong_state("FIN"));
        }
        let answered = match id::sequence(id, self.options.node_id) {
            Some(sequence) => self.finish_message(key, sequence),
            None => Err(NOT_IN_FLIGHT),
        };
        if let Err(reason) = answered {
            self.answer_failed(key, "FIN", &id::text(id), reason);
        }
    }

    /// FIN, REQ or TOUCH with everything checked.
    fn answer(&mut self, key: Key, verb: Verb, params: Params<'_>) {
        let Some(client) = self.clients.get(key) else { return };
        let name = verb.name();
        if client.subscription.is_none() {
            return self.refuse(key, wrong_state(name));
        }
        let (raw_id, raw_delay) = (params.get(0), params.get(1));
        let (Some(raw_id), true) = (raw_id, verb != Verb::Requeue || raw_delay.is_some()) else {
            let text = format_args!("E_INVALID {name} insufficient number of params");
            return self.refuse(key, Refusal::new(text));
        };
        let Ok(id) = <&[u8; 16]>::try_from(raw_id) else {
            return self.refuse(key, Refusal::new(format_args!("E_INVALID invalid message ID")));
        };
        let mut delay_ms = 0;
        if verb == Verb::Requeue {
            let raw = raw_delay.unwrap_or_default();
            let Some(delay) = number(raw) else {
                let text = format_args!("E_INVALID REQ could not parse timeout ");
                return self.refuse(key, Refusal::new(text).echo(raw));
            };
            delay_ms = milliseconds(delay).clamp(0, self.options.max_req_timeout_ms);
        }
        let sequence = id::parse(id).and_then(|id| id::sequence(id, self.options.node_id));
        let answered = match (sequence, verb) {
            (None, _) => Err(NOT_IN_FLIGHT),
            (Some(sequence), Verb::Finish) => self.finish_message(key, sequence),
            (Some(sequence), Verb::Touch) => self.touch_message(key, sequence),
            (Some(sequence), Verb::Requeue) => {
                self.requeue_message(key, sequence, delay_ms.unsigned_abs())
            }
        };
        if let Err(reason) = answered {
            self.answer_failed(key, name, id, reason);
        }
    }

    fn answer_failed(&mut self, key: Key, verb: &str, id: &[u8; 16], reason: &str) {
        let head = Refusal::new(format_args!("E_{verb}_FAILED {verb} ")).echo(id);
        let text = head.echo(b" failed ").echo(reason.as_bytes());
        self.errors.count(text.as_bytes());
        self.respond(key, |output| frame::error(output, text.as_bytes()));
    }

    /// The client's channel, when the message is in flight and the client's.
    fn owned(&mut self, key: Key, sequence: u64) -> Result<(Key, &mut Channel), &'static str> {
        let subscription = self.clients.get(key).and_then(|client| client.subscription);
        let channel_key = subscription.ok_or(NOT_IN_FLIGHT)?.channel;
        let channel = self.channels.get_mut(channel_key).ok_or(NOT_IN_FLIGHT)?;
        let message = channel.outstanding.get_mut(sequence).ok_or(NOT_IN_FLIGHT)?;
        if message.client != key {
            return Err(NOT_OWNED);
        }
        Ok((channel_key, channel))
    }

    fn finish_message(&mut self, key: Key, sequence: u64) -> Answered {
        let (now, watched) = (self.now, self.stopwatch.is_some());
        let (subscribed, channel) = self.owned(key, sequence)?;
        let published = watched.then(|| channel.outstanding.published_ns(sequence)).flatten();
        let message = channel.outstanding.take(sequence).ok_or(NOT_IN_FLIGHT)?;
        let topic_key = channel.topic;
        let processing_ms = now.mono_ms - message.delivered_ms;
        channel.finish_count += 1;
        channel.processing_ms += processing_ms;
        let meter = channel.meter;
        if let (Some(stopwatch), Some(published_ns)) = (&mut self.stopwatch, published) {
            let e2e_ns = now.wall_ns.saturating_sub(published_ns).max(0).unsigned_abs();
            stopwatch.finished(meter, Finished { e2e_ns, processing_ms }, now.mono_ms);
        }
        self.wheel.cancel(message.timer);
        self.finished(topic_key, subscribed, sequence, message.at);
        self.touch(topic_key);
        if let Some(client) = self.clients.get_mut(key) {
            client.in_flight = client.in_flight.saturating_sub(1);
            client.finish_count += 1;
        }
        self.queue_if_ready(key);
        Ok(())
    }

    /// REQ. Where too many messages are put off it fails: the message stays with its consumer
    /// until its time is up, and comes again then.
    fn requeue_message(&mut self, key: Key, sequence: u64, delay_ms: u64) -> Answered {
        let is_full = self.space.put_off >= self.options.put_off_max;
        let (channel_key, channel) = self.owned(key, sequence)?;
        if delay_ms > 0 && is_full {
            return Err(PUT_OFF_MAX_REACHED);
        }
        let message = channel.outstanding.take(sequence).ok_or(NOT_IN_FLIGHT)?;
        channel.requeue_count += 1;
        self.wheel.cancel(message.timer);
        let waiting = Waiting { sequence, at: message.at, attempts: message.attempts, behind: 0 };
        self.give_back(channel_key, waiting, delay_ms);
        if let Some(client) = self.clients.get_mut(key) {
            client.in_flight = client.in_flight.saturating_sub(1);
            client.requeue_count += 1;
        }
        self.queue_if_ready(key);
        Ok(())
    }

    /// TOUCH: the whole time anew, but never beyond the longest since the delivery.
    fn touch_message(&mut self, key: Key, sequence: u64) -> Answered {
        let timeout_ms =
            self.clients.get(key).map_or(0, |client| client.session.settings.msg_timeout_ms);
        let max_ms = self.options.max_msg_timeout_ms.unsigned_abs();
        let now_ms = self.now.mono_ms;
        let (channel, owner) = self.owned(key, sequence)?;
        let message = owner.outstanding.get_mut(sequence).ok_or(NOT_IN_FLIGHT)?;
        let deadline_ms = (now_ms + timeout_ms).min(message.delivered_ms + max_ms);
        let before = message.timer;
        let timer = self.message_alarm(channel, sequence, deadline_ms);
        self.wheel.cancel(before);
        if let Ok((_, channel)) = self.owned(key, sequence)
            && let Some(message) = channel.outstanding.get_mut(sequence)
        {
            message.timer = timer;
        }
        Ok(())
    }

    /// Takes a consumer off its channel; an ephemeral channel goes with its last one.
    pub(super) fn unsubscribe(&mut self, key: Key, channel_key: Key) {
        let Some(channel) = self.channels.get_mut(channel_key) else { return };
        channel.clients.retain(|&client| client != key);
        channel.ready.remove(key);
        if channel.clients.is_empty() && channel.name.is_ephemeral() {
            self.delete_channel(channel_key);
        }
    }

    /// Closes the connections of a channel's consumers.
    pub(super) fn disconnect_all(&mut self, clients: &[Key]) {
        for &key in clients {
            if let Some(client) = self.clients.get_mut(key) {
                client.subscription = None;
            }
            self.drop_client(key);
        }
    }
}

fn wrong_state(verb: &str) -> Refusal {
    Refusal::new(format_args!("E_INVALID cannot {verb} in current state"))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use crate::client::Peer;
    use crate::limits::{OUTPUT_BYTES_PAUSE, Options};
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::shard::{Now, Parts, Shard, Socket};

    /// A client that reads nothing has its messages, and says that it is done with one of them.
    #[test]
    fn a_consumer_whose_output_is_full_can_still_finish() {
        let placement = Placement::new(0, 1, &[]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 1, now: Now::default(), seed: 1, disk: false };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, Box::new(grow));
        let client = shard.connect(Socket(1), Peer::default());
        shard.received(client, b"  V2SUB t c\nRDY 9\n");
        let body = alloc::vec![b'x'; OUTPUT_BYTES_PAUSE - 100];
        for _ in 0..2 {
            shard.received(client, b"PUB t\n");
            shard.received(client, &(body.len() as u32).to_be_bytes());
            shard.received(client, &body);
        }
        shard.finish_turn();
        let output = shard.output(client).to_vec();
        assert!(output.len() > OUTPUT_BYTES_PAUSE);
        // Behind three answers of ten bytes: size, type, timestamp, attempts, then the id.
        let id = &output[30 + 18..][..16];
        shard.received(client, &[b"FIN ", id, b"\nPUB t\n\0\0\0\x01x"].concat());
        let before = output.len();
        assert_eq!(shard.output(client).len(), before, "what is answered waits");
        let finished = shard.clients.get(client).map(|client| client.finish_count);
        assert_eq!(finished, Some(1));
    }
}

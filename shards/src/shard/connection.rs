//! A client's life: arriving, being read from and written to, moving on, ending.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Alarm, Appetite, Effect, Shard, Socket};
use crate::auth::Action;
use crate::client::{Client, Peer, Phase, Session};
use crate::limits::{HEARTBEAT_MS_DEFAULT, LINGER_MS, OUTPUT_BYTES_COMPACT, PENDING_MAX};
use crate::slots::Key;
use crate::wire::command::{Step, multi_publish_topic, parse};
use crate::wire::errors::Refusal;
use crate::wire::frame;

/// The four bytes that every client starts with.
const MAGIC: &[u8; 4] = b"  V2";

/// A connection on its way to another worker.
#[derive(Debug)]
pub struct Departure {
    /// Who it is.
    pub session: Box<Session>,
    /// What it sent and nobody has looked at, or only far enough to know where it belongs.
    pub input: Vec<u8>,
    /// What it is still to be sent.
    pub output: Vec<u8>,
    /// Whether it sends no more.
    pub ended: bool,
}

impl Shard {
    /// A connection was accepted.
    pub fn connect(&mut self, socket: Socket, peer: Peer) -> Key {
        self.clients_accepted += 1;
        let session = Session::new(peer, self.now.mono_ms, self.now.wall_ns, &self.options);
        let key = self.clients.insert(Client::new(socket, Box::new(session), Vec::new()));
        self.set_client_timer(key);
        key
    }

    /// A connection arrives from another worker. What it brings is looked at in [`Shard::start`].
    pub fn adopt(&mut self, socket: Socket, departure: Departure) -> Key {
        self.clients_adopted += 1;
        let Departure { session, input, output, ended } = departure;
        let mut client = Client::new(socket, session, output);
        client.ended = ended;
        client.input = input;
        let unsent = !client.output.is_empty();
        let key = self.clients.insert(client);
        self.set_client_timer(key);
        if unsent {
            self.soil(key);
        }
        key
    }

    /// Carries out what a connection brought with it, or what waited while it was paused.
    pub fn start(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let (input, ended) = (core::mem::take(&mut client.input), client.ended);
        self.received(key, &input);
        self.keep_buffer(input);
        if ended {
            self.ended(key);
        }
    }

    /// The rim has stopped reading from a connection that [`Effect::Move`] named.
    pub fn depart(&mut self, key: Key) -> Option<Departure> {
        let client = self.clients.remove(key)?;
        self.wheel.cancel(client.timer);
        let Client { session, input, mut output, sent, ended, .. } = client;
        output.drain(..sent);
        Some(Departure { session, input, output, ended })
    }

    /// Bytes came.
    pub fn received(&mut self, key: Key, mut bytes: &[u8]) {
        loop {
            let Some(client) = self.clients.get_mut(key) else { return };
            match client.phase {
                Phase::Open if !client.paused => {}
                Phase::Open | Phase::Leaving(_) => {
                    client.input.extend_from_slice(bytes);
                    return;
                }
                // The original forgets at each upgrade what it has read ahead; nothing that came
                // unencrypted may be taken for encrypted.
                Phase::Upgrading(..) | Phase::Ending(_) | Phase::Lingering => return,
            }
            if client.input.is_empty() {
                break;
            }
            // Only what the unfinished command lacks is copied behind it.
            let lack = lacking(client, bytes);
            let (more, rest) = bytes.split_at(lack.min(bytes.len()));
            client.input.extend_from_slice(more);
            bytes = rest;
            if client.input.len() < client.needs {
                return;
            }
            let mut input = core::mem::take(&mut client.input);
            let used = self.run(key, &input);
            input.drain(..used);
            self.keep_input(key, input);
            if bytes.is_empty() {
                return;
            }
        }
        let used = self.run(key, bytes);
        if used < bytes.len() {
            self.keep_rest(key, &bytes[used..]);
        }
    }

    /// Carries commands out, as far as they are whole and the client may go on. The bytes used.
    fn run(&mut self, key: Key, bytes: &[u8]) -> usize {
        let mut used = 0;
        if let Some(client) = self.clients.get_mut(key)
            && !client.session.greeted
        {
            let Some(magic) = bytes.first_chunk::<4>() else {
                client.needs = MAGIC.len();
                client.likely = client.needs;
                return 0;
            };
            if magic != MAGIC {
                self.refuse(key, Refusal::new(format_args!("E_BAD_PROTOCOL")));
                return bytes.len();
            }
            used = MAGIC.len();
            self.greet(key);
        }
        match self.lacks_tls(key) {
            false => self.run_commands::<false>(key, bytes, used),
            true => self.run_commands::<true>(key, bytes, used),
        }
    }

    /// The same for what follows the magic. For connections that lack encryption there is a
    /// version of its own, so that the others pay nothing for it.
    fn run_commands<const LACKS_TLS: bool>(
        &mut self,
        key: Key,
        bytes: &[u8],
        mut used: usize,
    ) -> usize {
        while used < bytes.len() {
            if LACKS_TLS
                && self.appetite(key) == Appetite::Now
                && self.is_refused_without_tls(key, &bytes[used..])
            {
                return bytes.len();
            }
            let Some(client) = self.clients.get_mut(key) else { return bytes.len() };
            if client.phase != Phase::Open || client.paused {
                if matches!(client.phase, Phase::Upgrading(..)) {
                    return bytes.len();
                }
                break;
            }
            let full = client.is_full() || client.pending.len() >= PENDING_MAX;
            let brimming = client.is_brimming();
            let mut progress = core::mem::take(&mut client.progress);
            match parse(&bytes[used..], client.context(&self.options), &mut progress) {
                // Who does not read may still finish what it has; what is answered waits.
                Step::Whole(command, _) if brimming || (full && command.is_answered()) => {
                    self.pause(key);
                    break;
                }
                Step::Whole(command, length) => {
                    client.session.active_ms = self.now.mono_ms;
                    if !self.carry_out(key, command) {
                        break;
                    }
                    used += length;
                }
                Step::Partial(partial) => {
                    client.progress = progress;
                    client.needs = partial.needs;
                    client.likely = partial.likely;
                    // One that may not is told so before its body has come.
                    if self.options.auth_required
                        && let Some(topic) = multi_publish_topic(&bytes[used..])
                    {
                        self.may(key, "MPUB", Action::Publish(&topic));
                    }
                    break;
                }
                Step::Refused(refused) => {
                    if let Some(topic) = refused.creates
                        && !(self.may(key, "MPUB", Action::Publish(&topic))
                            && self.create_for_refused(key, topic))
                    {
                        break;
                    }
                    match refused.refusal {
                        Some(refusal) => self.refuse(key, refusal),
                        None => self.end(key, None),
                    }
                    return bytes.len();
                }
            }
        }
        used
    }

    /// The peer sends no more: what is whole has been carried out, the rest gets its error.
    pub fn ended(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.ended = true;
        match client.phase {
            Phase::Open if client.paused => return,
            Phase::Open => {}
            Phase::Leaving(_) | Phase::Upgrading(..) | Phase::Ending(_) => return,
            Phase::Lingering => return self.drop_client(key),
        }
        let topic = self.clients.get(key).and_then(|client| multi_publish_topic(&client.input));
        if let Some(topic) = topic
            && !self.create_for_refused(key, topic)
        {
            return;
        }
        let refusal = self.cut_off(key);
        self.end(key, refusal);
    }

    /// The error for a client that stopped in the middle of a command.
    pub(super) fn cut_off(&mut self, key: Key) -> Option<Refusal> {
        let client = self.clients.get_mut(key)?;
        if !client.session.greeted {
            return None;
        }
        let mut progress = client.progress;
        match parse(&client.input, client.context(&self.options), &mut progress) {
            Step::Partial(partial) => partial.missing.refusal(),
            Step::Whole(..) | Step::Refused(_) => None,
        }
    }

    /// The socket failed or is gone.
    pub fn disconnected(&mut self, key: Key) {
        self.drop_client(key);
    }

    /// Handling a connection panicked: it ends, the others go on.
    pub fn panicked(&mut self, key: Key) {
        self.clients_panicked += 1;
        self.drop_client(key);
    }

    /// Everything that waits to be sent to a client, or for a promise to be true first.
    #[must_use]
    pub fn whole_output(&self, key: Key) -> &[u8] {
        self.clients.get(key).map_or(&[], |client| &client.output[client.sent..])
    }

    /// Everything that may be sent to a client now.
    #[must_use]
    pub fn output(&self, key: Key) -> &[u8] {
        self.clients.get(key).map_or(&[], |client| &client.output[client.sent..client.sendable()])
    }

    /// The kernel takes bytes for a client again.
    pub fn writable(&mut self, key: Key) {
        self.soil(key);
    }

    /// The kernel took this many bytes of `output`; the rim tries again when it takes more.
    pub fn sent(&mut self, key: Key, bytes: usize) {
        let now_ms = self.now.mono_ms;
        let Some(client) = self.clients.get_mut(key) else { return };
        let was_full = client.is_full();
        client.sent += bytes;
        if client.sent < client.output.len() {
            if client.sent == client.sendable() {
                client.stuck_since_ms = None;
            } else if bytes > 0 || client.stuck_since_ms.is_none() {
                client.stuck_since_ms = Some(now_ms);
            }
            if client.sent >= OUTPUT_BYTES_COMPACT && client.sent * 2 >= client.output.len() {
                client.output.drain(..client.sent);
                client.gate.shift(client.sent);
                client.sent = 0;
            }
        } else {
            client.gate.shift(client.sent);
            client.sent = 0;
            client.stuck_since_ms = None;
            let output = core::mem::take(&mut client.output);
            self.keep_buffer(output);
            self.advance_phase(key);
        }
        if was_full && self.clients.get(key).is_some_and(|client| !client.is_full()) {
            self.queue_if_ready(key);
            self.wake(key);
        }
    }

    /// Refuses a client: the error after all answers, then the end.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal) {
        self.end(key, Some(refusal));
    }

    /// Ends a client when everything for it is sent.
    pub(super) fn end(&mut self, key: Key, refusal: Option<Refusal>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if matches!(client.phase, Phase::Ending(_) | Phase::Lingering) {
            return;
        }
        if let Some(refusal) = &refusal {
            self.errors.count(refusal.as_bytes());
        }
        client.phase = Phase::Ending(refusal);
        if core::mem::take(&mut client.paused) {
            self.effects.push(Effect::Resume(client.socket));
        }
        if client.session.settings.heartbeat_ms == 0 {
            // Without heartbeats nothing else would end a client that does not take its answers.
            let deadline_ms = self.now.mono_ms + HEARTBEAT_MS_DEFAULT;
            client.timer = self.wheel.set(deadline_ms, Alarm::Client(key));
        }
        let input = core::mem::take(&mut client.input);
        self.keep_buffer(input);
        self.advance_phase(key);
    }

    /// Goes on with a client that leaves or ends, as far as nothing is in the way.
    pub(super) fn advance_phase(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if !client.pending.is_empty() || !client.gate.is_open() {
            return;
        }
        match &mut client.phase {
            Phase::Open | Phase::Lingering => {}
            Phase::Leaving(to) => {
                let effect = Effect::Move(client.socket, *to);
                if !self.effects.contains(&effect) {
                    self.effects.push(effect);
                }
            }
            Phase::Upgrading(..) => {
                if client.sent == client.output.len() {
                    self.begin_upgrade(key);
                }
            }
            Phase::Ending(refusal) => {
                if let Some(refusal) = refusal.take() {
                    frame::error(&mut client.output, refusal.as_bytes());
                    // Whoever was refused is told so before the connection is cut.
                    client.ready_count = 0;
                    self.soil(key);
                    return;
                }
                if client.sent < client.output.len() {
                    return;
                }
                if client.ended {
                    return self.drop_client(key);
                }
                client.phase = Phase::Lingering;
                self.effects.push(Effect::Finish(client.socket));
                self.wheel.cancel(client.timer);
                let deadline_ms = self.now.mono_ms + LINGER_MS;
                client.timer = self.wheel.set(deadline_ms, Alarm::Client(key));
            }
        }
    }

    /// Forgets a client. Its messages stay in flight until their time is up, as in the original.
    pub(super) fn drop_client(&mut self, key: Key) {
        let Some(client) = self.clients.remove(key) else { return };
        self.wheel.cancel(client.timer);
        self.effects.push(Effect::Close(client.socket));
        if let Some(subscription) = client.subscription {
            self.unsubscribe(key, subscription.channel);
        }
        self.keep_buffer(client.input);
        self.keep_buffer(client.output);
    }

    /// Lets a client's commands wait.
    pub(super) fn pause(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key)
            && !client.paused
        {
            client.paused = true;
            self.effects.push(Effect::Pause(client.socket));
        }
    }

    /// Lets a client go on when nothing is in its way any more.
    pub(super) fn wake(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let waits = client.is_full() || client.pending.len() >= PENDING_MAX;
        if !client.paused || waits || client.inquiry.is_some() {
            return;
        }
        client.paused = false;
        client.session.active_ms = self.now.mono_ms;
        self.effects.push(Effect::Resume(client.socket));
        self.start(key);
    }

    fn keep_rest(&mut self, key: Key, rest: &[u8]) {
        let mut input = self.buffer();
        input.extend_from_slice(rest);
        self.keep_input(key, input);
    }

    /// Keeps what is left of the input in front of whatever came meanwhile, which is nothing.
    fn keep_input(&mut self, key: Key, input: Vec<u8>) {
        match self.clients.get_mut(key) {
            Some(client)
                if !input.is_empty()
                    && !matches!(client.phase, Phase::Ending(_) | Phase::Lingering) =>
            {
                assert!(client.input.is_empty(), "input is kept in the order in which it came");
                client.input = input;
            }
            _ => self.keep_buffer(input),
        }
    }

    /// The magic has come: heartbeats begin.
    fn greet(&mut self, key: Key) {
        let now_ms = self.now.mono_ms;
        if let Some(client) = self.clients.get_mut(key) {
            client.session.greeted = true;
            client.session.active_ms = now_ms;
            client.session.heartbeat_at_ms = now_ms + client.session.settings.heartbeat_ms;
        }
        self.set_client_timer(key);
    }
}

/// How many of `bytes` belong to the command at the start of the client's input.
fn lacking(client: &Client, bytes: &[u8]) -> usize {
    let lack = client.likely.saturating_sub(client.input.len());
    if lack <= 1 {
        // The line is not whole: its end may be anywhere.
        return memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    }
    lack
}

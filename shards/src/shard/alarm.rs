//! Time: messages whose consumer is late, deferred messages, heartbeats, silent clients.

use super::{Alarm, Effect, Shard};
use crate::client::Phase;
use crate::limits::TIMERS_PER_TURN_MAX;
use crate::outstanding::{InFlight, Waiting};
use crate::slots::Key;
use crate::wheel::TimerId;
use crate::wire::frame;

impl Shard {
    pub(super) fn fire_alarms(&mut self) {
        self.begin_releasing();
        let mut steps = TIMERS_PER_TURN_MAX;
        while let Some(alarm) = self.wheel.pop(self.now.mono_ms, &mut steps) {
            match alarm {
                Alarm::Message { channel, sequence } => self.time_out(channel, sequence),
                Alarm::Deferred(channel) => {
                    if let Some(channel) = self.channels.get_mut(channel) {
                        channel.alarm = TimerId::NONE;
                    }
                    self.release_due(channel, &mut steps);
                }
                Alarm::Client(key) => self.client_alarm(key),
                Alarm::Topic(key) => self.waited_enough(key),
                Alarm::Transfers(key) => self.unblock_transfers(key),
                Alarm::Age(key) => self.age_alarm(key),
                Alarm::Redrive(key) => self.redrive_step(key),
                Alarm::Retention(key) => self.retention_alarm(key),
            }
        }
    }

    /// Nobody answered: the message goes back to its channel. The consumer is not told.
    fn time_out(&mut self, key: Key, sequence: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(message) = channel.outstanding.take(sequence) else { return };
        channel.timeout_count += 1;
        if let Some(client) = self.clients.get_mut(message.client) {
            client.in_flight = client.in_flight.saturating_sub(1);
        }
        self.queue_if_ready(message.client);
        let InFlight { at, attempts, .. } = message;
        self.give_back(key, Waiting { sequence, at, attempts, behind: 0 }, 0);
    }

    fn client_alarm(&mut self, key: Key) {
        let now_ms = self.now.mono_ms;
        let Some(client) = self.clients.get_mut(key) else { return };
        client.timer = TimerId::NONE;
        if client.phase == Phase::Lingering || !client.session.greeted {
            return self.drop_client(key);
        }
        if let Phase::Upgrading(_, Some(by_ms)) = client.phase
            && now_ms >= by_ms
        {
            return self.effects.push(Effect::UpgradeOverdue(client.socket));
        }
        let interval_ms = client.session.settings.heartbeat_ms;
        // Who waits for us is not silent.
        let waits = client.waits_for_us();
        let silent = !waits && now_ms >= client.session.active_ms + 2 * interval_ms;
        let stuck = client.stuck_since_ms.is_some_and(|since_ms| now_ms >= since_ms + interval_ms);
        if stuck {
            return self.drop_client(key);
        }
        if silent {
            return self.silent(key);
        }
        if now_ms >= client.session.heartbeat_at_ms {
            client.session.heartbeat_at_ms = now_ms + interval_ms;
            // Not when much is unsent anyway: the peer is not reading, and would get it late.
            if !client.is_full() && matches!(client.phase, Phase::Open | Phase::Leaving(_)) {
                client.output.extend_from_slice(frame::HEARTBEAT);
                self.soil(key);
            }
        }
        self.set_client_timer(key);
    }

    /// Two intervals without a command: one that is cut off in a body is told so.
    fn silent(&mut self, key: Key) {
        let Some(refusal) = self.cut_off(key) else { return self.drop_client(key) };
        self.refuse(key, refusal);
        // Should it not take even that: the next alarm is the last.
        if let Some(client) = self.clients.get_mut(key) {
            client.session.greeted = false;
        }
        self.set_client_timer(key);
    }

    /// Sets a client's timer for whatever comes next: the end of greeting, a heartbeat, or the
    /// time by which it has to have said something.
    pub(super) fn set_client_timer(&mut self, key: Key) {
        let greeting_ms = self.options.greeting_timeout_ms;
        let Some(client) = self.clients.get_mut(key) else { return };
        self.wheel.cancel(client.timer);
        client.timer = TimerId::NONE;
        let session = &client.session;
        let interval_ms = session.settings.heartbeat_ms;
        let deadline_ms = if !session.greeted {
            self.now.mono_ms + greeting_ms
        } else if let Phase::Upgrading(_, Some(by_ms)) = client.phase {
            by_ms
        } else if interval_ms == 0 {
            return;
        } else if client.waits_for_us() {
            session.heartbeat_at_ms
        } else {
            session.heartbeat_at_ms.min(session.active_ms + 2 * interval_ms)
        };
        let deadline_ms = deadline_ms.max(self.now.mono_ms + 1);
        client.timer = self.wheel.set(deadline_ms, Alarm::Client(key));
    }
}

//! IDENTIFY, and the way to the layers that it asks for: the answer is sent, the rim puts the
//! layers around the socket, and says when they are there or why they are not.

use super::{Effect, Shard};
use crate::client::Phase;
use crate::limits::UPGRADE_MS;
use crate::slots::Key;
use crate::upgrade::{Agreement, Encryption, Upgrade};
use crate::wire::errors::Refusal;
use crate::wire::{frame, identify};

/// Whether bytes of a client are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// They are carried out.
    Now,
    /// They would have to be kept.
    Later,
    /// They would be thrown away.
    Never,
}

impl Shard {
    pub(super) fn identify(&mut self, key: Key, body: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let session = &mut *client.session;
        let asked = match identify::decode(body) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(key, refusal),
        };
        if let Err(refusal) = session.settings.apply(&asked, &self.options) {
            return self.refuse(key, refusal);
        }
        let Agreement { upgrade, share, crowded } = match Upgrade::negotiate(&asked, &self.options)
        {
            Ok(agreement) => agreement,
            Err(refusal) => return self.refuse(key, refusal),
        };
        if upgrade.is_any() && session.upgrade.is_any() {
            // The original would put the new layers beneath or in the place of the old ones.
            return self.upgrade_failed(key, "the connection is upgraded already");
        }
        let negotiates = asked.feature_negotiation;
        let answer = negotiates.then(|| session.settings.answer(&upgrade, &self.options));
        session.identity = asked;
        session.heartbeat_at_ms = self.now.mono_ms + session.settings.heartbeat_ms;
        if upgrade.is_any() {
            session.share = share;
            client.phase = Phase::Upgrading(upgrade, None);
        }
        if crowded {
            self.effects.push(Effect::Crowded(client.socket));
        }
        let body = answer.as_deref().unwrap_or("OK");
        self.respond(key, |output| frame::response(output, body.as_bytes()));
        self.set_client_timer(key);
    }

    /// The answer to IDENTIFY is sent: now it is the rim's turn.
    pub(super) fn begin_upgrade(&mut self, key: Key) {
        let by_ms = self.now.mono_ms + UPGRADE_MS;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Phase::Upgrading(upgrade, begun @ None) = &mut client.phase else { return };
        *begun = Some(by_ms);
        self.effects.push(Effect::Upgrade(client.socket, *upgrade));
        self.set_client_timer(key);
    }

    /// The layers are there, and their `OK`s are sent.
    pub fn upgraded(&mut self, key: Key, encryption: Option<Encryption>) {
        let now_ms = self.now.mono_ms;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Phase::Upgrading(upgrade, Some(_)) = client.phase else { return };
        client.phase = Phase::Open;
        client.session.upgrade = upgrade;
        client.session.encryption = encryption;
        client.session.active_ms = now_ms;
        let ended = client.ended;
        self.set_client_timer(key);
        if ended {
            self.ended(key);
        }
    }

    /// The layers cannot be there; the client is told why, without any layer.
    pub fn upgrade_failed(&mut self, key: Key, reason: &str) {
        let text = format_args!("E_IDENTIFY_FAILED IDENTIFY failed {reason}");
        let now_ms = self.now.mono_ms;
        self.refuse(key, Refusal::new(text));
        if let Some(client) = self.clients.get_mut(key)
            && client.session.settings.heartbeat_ms != 0
        {
            client.session.active_ms = now_ms;
            self.set_client_timer(key);
        }
    }

    /// Whether the client may be given bytes. What it cannot take stays with the layers.
    #[must_use]
    pub fn appetite(&self, key: Key) -> Appetite {
        match self.clients.get(key) {
            None => Appetite::Never,
            Some(client) => match client.phase {
                Phase::Open if !client.paused => Appetite::Now,
                Phase::Open | Phase::Leaving(_) | Phase::Upgrading(..) => Appetite::Later,
                Phase::Ending(_) | Phase::Lingering => Appetite::Never,
            },
        }
    }

    /// Where a client comes from, for the log.
    #[must_use]
    pub fn address(&self, key: Key) -> &str {
        self.clients.get(key).map_or("", |client| &client.session.peer.address)
    }

    /// Whether it sends no more.
    #[must_use]
    pub fn has_ended(&self, key: Key) -> bool {
        self.clients.get(key).is_some_and(|client| client.ended)
    }

    /// Whether a client may do nothing but IDENTIFY, for want of encryption.
    pub(super) fn lacks_tls(&self, key: Key) -> bool {
        self.options.tls_required
            && self.clients.get(key).is_some_and(|client| client.session.encryption.is_none())
    }

    /// Refuses whatever else such a client sends, as soon as its line is whole.
    pub(super) fn is_refused_without_tls(&mut self, key: Key, bytes: &[u8]) -> bool {
        let Some(end) = memchr::memchr(b'\n', bytes) else { return false };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let name = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        if name == b"IDENTIFY" {
            return false;
        }
        let refusal = Refusal::new(format_args!("E_INVALID cannot ")).echo(name);
        self.refuse(key, refusal.echo(b" in current state (TLS required)"));
        true
    }
}

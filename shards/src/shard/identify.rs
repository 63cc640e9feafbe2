//! IDENTIFY, and the way to the layers that it asks for: the answer is sent, the rim puts the
//! layers around the socket, and says when they are there or why they are not.

use super::{Effect, Shard};
use crate::client::Phase;
use crate::limits::UPGRADE_MS;
use crate::locality::Locality;
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
        session.locality = Locality::of(&asked, &self.options);
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

#[cfg(test)]
mod tests {
    use super::{Appetite, Effect, Encryption, Shard, UPGRADE_MS, Upgrade};
    use crate::client::Peer;
    use crate::limits::Options;
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::shard::{Now, Parts, Socket};
    use crate::slots::Key;
    use crate::upgrade::Compression;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    const SOCKET: Socket = Socket(7);

    fn shard(options: Options) -> (Shard, Key) {
        let parts = Parts {
            options,
            placement: Placement::new(0, 1, &[]),
            workers: 1,
            now: Now::default(),
            seed: 1,
            disk: false,
        };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, alloc::boxed::Box::new(grow));
        let client = shard.connect(SOCKET, Peer::default());
        shard.received(client, b"  V2");
        (shard, client)
    }

    fn identify(json: &str) -> Vec<u8> {
        let length = (json.len() as u32).to_be_bytes();
        [b"IDENTIFY\n", &length[..], json.as_bytes()].concat()
    }

    /// Everything that is to be sent, as text, sent.
    fn said(shard: &mut Shard, client: Key) -> String {
        shard.finish_turn();
        let output = String::from_utf8_lossy(shard.output(client)).into_owned();
        shard.sent(client, shard.output(client).len());
        output
    }

    #[test]
    fn layers_come_when_the_answer_is_sent_and_what_came_before_is_dropped() {
        let (mut shard, client) = shard(Options::default());
        let asks = identify(r#"{"feature_negotiation":true,"snappy":true}"#);
        shard.received(client, &[&asks[..], b"PUB early\n\0\0\0\x01x"].concat());
        assert_eq!(shard.take_effects(), []);
        assert_eq!(shard.appetite(client), Appetite::Later);
        // Not everything is sent yet.
        shard.finish_turn();
        let length = shard.output(client).len();
        shard.sent(client, length - 1);
        shard.received(client, b"PUB early\n\0\0\0\x01x");
        assert_eq!(shard.take_effects(), []);
        shard.sent(client, 1);
        let upgrade = Upgrade { tls: false, compression: Compression::Snappy };
        assert_eq!(shard.take_effects(), [Effect::Upgrade(SOCKET, upgrade)]);
        shard.upgraded(client, None);
        assert_eq!(shard.appetite(client), Appetite::Now);
        shard.received(client, b"PUB late\n\0\0\0\x01x");
        assert!(said(&mut shard, client).ends_with("OK"));
        assert_eq!(shard.topics.len(), 1);
    }

    #[test]
    fn a_second_upgrade_is_refused() {
        let (mut shard, client) = shard(Options::default());
        let asks = identify(r#"{"feature_negotiation":true,"deflate":true}"#);
        shard.received(client, &asks);
        said(&mut shard, client);
        shard.upgraded(client, None);
        shard.received(client, &identify(r#"{"feature_negotiation":true}"#));
        assert!(said(&mut shard, client).contains("\"deflate\":false"));
        shard.received(client, &asks);
        let answer = said(&mut shard, client);
        let refused = "E_IDENTIFY_FAILED IDENTIFY failed the connection is upgraded already";
        assert!(answer.ends_with(refused), "{answer}");
    }

    #[test]
    fn a_handshake_has_its_time_whatever_the_heartbeats_are() {
        for heartbeat in ["-1", "0", "1000"] {
            let (mut shard, client) = shard(Options { tls: true, ..Options::default() });
            let json = alloc::format!(
                r#"{{"feature_negotiation":true,"tls_v1":true,"heartbeat_interval":{heartbeat}}}"#
            );
            shard.received(client, &identify(&json));
            said(&mut shard, client);
            assert!(matches!(shard.take_effects()[..], [Effect::Upgrade(..)]));
            for (mono_ms, effects) in
                [(UPGRADE_MS - 1, vec![]), (UPGRADE_MS, vec![Effect::UpgradeOverdue(SOCKET)])]
            {
                shard.begin_turn(Now { mono_ms, wall_ns: 0 });
                assert_eq!(shard.output(client), b"", "nothing is sent meanwhile");
                assert_eq!(shard.take_effects(), effects, "{heartbeat}");
            }
            shard.upgrade_failed(client, "late");
            let answer = said(&mut shard, client);
            assert!(answer.ends_with("E_IDENTIFY_FAILED IDENTIFY failed late"), "{answer}");
            assert_eq!(shard.take_effects(), [Effect::Finish(SOCKET)]);
            assert_eq!(shard.appetite(client), Appetite::Never);
        }
    }

    #[test]
    fn without_encryption_only_identify_is_taken_where_it_is_required() {
        let options = Options { tls: true, tls_required: true, ..Options::default() };
        let (mut shard, client) = shard(options);
        let plain = identify(r#"{"feature_negotiation":true}"#);
        shard.received(client, &[&plain[..], b"NO"].concat());
        assert!(said(&mut shard, client).contains("\"tls_v1\":false"));
        let asks = identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
        shard.received(client, b"P\r\n");
        let answer = said(&mut shard, client);
        assert!(answer.ends_with("E_INVALID cannot NOP in current state (TLS required)"));
        let client = shard.connect(Socket(9), Peer::default());
        shard.received(client, b"  V2");
        shard.received(client, &asks);
        said(&mut shard, client);
        shard.upgraded(client, Some(Encryption::default()));
        shard.received(client, b"PUB t\n\0\0\0\x01x");
        assert!(said(&mut shard, client).ends_with("OK"));
    }
}

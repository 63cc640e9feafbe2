//! Who may do what: AUTH, and the checks before a publish or SUB.
//!
//! The rim is asked, since only it can ask others; a client's commands wait meanwhile. Whatever
//! happens to the question, nothing is allowed without a grant that holds.

use super::Shard;
use crate::auth::{Action, Grant, Question, Secret, Verdict};
use crate::client::{Client, Inquiry};
use crate::slots::Key;
use crate::wire::errors::{Quoted, Refusal};
use crate::wire::frame;
use crate::wire::names::Name;

impl Shard {
    /// AUTH. The answer comes with the verdict.
    pub(super) fn authenticate(&mut self, key: Key, secret: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.session.auth.is_granted() {
            return self.refuse(key, Refusal::new(format_args!("E_INVALID AUTH already set")));
        }
        if !self.options.auth_required {
            return self.refuse(key, Refusal::new(format_args!("E_AUTH_DISABLED AUTH disabled")));
        }
        client.session.auth.secret = Some(Secret::new(secret));
        self.inquire(key, Inquiry::First);
    }

    /// Whether a client may do what it asks for. Otherwise it was refused, or waits until its
    /// grant is renewed: then the command is to be tried again.
    pub(super) fn may(&mut self, key: Key, verb: &str, action: Action<'_>) -> bool {
        !self.options.auth_required || self.is_allowed(key, verb, action)
    }

    fn is_allowed(&mut self, key: Key, verb: &str, action: Action<'_>) -> bool {
        let now_ms = self.now.mono_ms;
        let Some(client) = self.clients.get_mut(key) else { return false };
        let auth = &mut client.session.auth;
        let Some(grant) = &auth.grant else {
            let text = format_args!("E_AUTH_FIRST AUTH required before {verb}");
            self.refuse(key, Refusal::new(text));
            return false;
        };
        if now_ms >= auth.expires_ms {
            self.inquire(key, Inquiry::Again);
            return false;
        }
        let allows = |action| grant.entries > 0 && grant.rules.allow(action);
        if is_cleared(auth.cleared.as_ref(), action) || allows(action) {
            if let Action::Publish(topic) = action {
                auth.cleared = Some(*topic);
            }
            return true;
        }
        self.refuse(key, not_allowed(verb, action));
        false
    }

    /// Has the rim ask what a client may do; it waits for the verdict.
    fn inquire(&mut self, key: Key, inquiry: Inquiry) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(question) = question(client) else { return };
        client.inquiry = Some(inquiry);
        self.questions.push_back((key, question));
        self.pause(key);
    }

    /// The next client that somebody is to be asked about: [`Shard::authorized`] is to be told.
    pub fn take_question(&mut self) -> Option<(Key, Question)> {
        self.questions.pop_front()
    }

    /// What came of a question. The client may be gone.
    pub fn authorized(&mut self, key: Key, verdict: Verdict) {
        let now_ms = self.now.mono_ms;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(inquiry) = client.inquiry.take() else { return };
        let Some(grant) = verdict else {
            return self.refuse(key, Refusal::new(format_args!("E_AUTH_FAILED AUTH failed")));
        };
        let auth = &mut client.session.auth;
        auth.expires_ms = now_ms.saturating_add(grant.ttl_ms);
        auth.cleared = None;
        auth.grant = Some(grant.clone());
        if inquiry == Inquiry::First {
            self.answer_auth(key, &grant);
        }
        self.wake(key);
    }

    fn answer_auth(&mut self, key: Key, grant: &Grant) {
        if grant.entries == 0 {
            let text = format_args!("E_UNAUTHORIZED AUTH no authorizations found");
            return self.refuse(key, Refusal::new(text));
        }
        let answer = grant.answer();
        self.respond(key, |output| frame::response(output, answer.as_bytes()));
    }
}

/// What is asked about a client.
fn question(client: &Client) -> Option<Question> {
    let session = &*client.session;
    let encryption = session.encryption.as_ref();
    Some(Question {
        secret: session.auth.secret.clone()?,
        remote_ip: session.peer.ip.clone(),
        tls: encryption.is_some(),
        common_name: encryption.map(|tls| tls.common_name.clone()).unwrap_or_default(),
    })
}

fn is_cleared(cleared: Option<&Name>, action: Action<'_>) -> bool {
    matches!(action, Action::Publish(topic) if cleared == Some(topic))
}

/// The refusal of what no rule allows; a publish has an empty channel in it.
fn not_allowed(verb: &str, action: Action<'_>) -> Refusal {
    let (topic, channel) = match action {
        Action::Publish(topic) => (topic, &b""[..]),
        Action::Subscribe(topic, channel) => (topic, channel.as_bytes()),
    };
    let (topic, channel) = (Quoted(topic.as_bytes()), Quoted(channel));
    Refusal::new(format_args!("E_UNAUTHORIZED AUTH failed for {verb} on {topic} {channel}"))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use crate::auth::{Action, Grant, Question, Rules};
    use crate::client::Peer;
    use crate::limits::Options;
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::shard::{Effect, Now, Parts, Shard, Socket};
    use crate::slots::Key;

    const SOCKET: Socket = Socket(7);
    const AUTH: &[u8] = b"AUTH\n\0\0\0\x02me";

    /// Allows everything with topics that begin with `a`, and consuming nothing else.
    #[derive(Debug)]
    struct BeginsWithA;

    impl Rules for BeginsWithA {
        fn allow(&self, action: Action<'_>) -> bool {
            let (Action::Publish(topic) | Action::Subscribe(topic, _)) = action;
            topic.as_bytes().starts_with(b"a")
        }
    }

    fn grant(entries: usize) -> Option<Arc<Grant>> {
        let identity = String::from("<m&e>");
        let (identity_url, rules) = (String::new(), Arc::new(BeginsWithA));
        Some(Arc::new(Grant { identity, identity_url, entries, ttl_ms: 1000, rules }))
    }

    fn shard(auth_required: bool) -> (Shard, Key) {
        let parts = Parts {
            options: Options { auth_required, ..Options::default() },
            placement: Placement::new(0, 1, &[]),
            workers: 1,
            now: Now::default(),
            seed: 1,
            disk: false,
        };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, Box::new(grow));
        let peer = Peer { ip: String::from("1.2.3.4"), address: String::from("1.2.3.4:5") };
        let client = shard.connect(SOCKET, peer);
        shard.received(client, b"  V2");
        (shard, client)
    }

    fn said(shard: &mut Shard, client: Key) -> String {
        shard.finish_turn();
        let output = String::from_utf8_lossy(shard.output(client)).into_owned();
        shard.sent(client, shard.output(client).len());
        output
    }

    fn question(shard: &mut Shard, client: Key) -> Option<Question> {
        let (key, question) = shard.take_question()?;
        assert_eq!(key, client);
        Some(question)
    }

    fn authorized() -> (Shard, Key) {
        let (mut shard, client) = shard(true);
        shard.received(client, AUTH);
        assert!(question(&mut shard, client).is_some());
        shard.authorized(client, grant(1));
        assert!(said(&mut shard, client).contains("permission_count\":1}"));
        (shard, client)
    }

    #[test]
    fn commands_wait_for_the_verdict_and_then_go_on() {
        let (mut shard, client) = shard(true);
        shard.received(client, &[AUTH, b"PUB a1\n\0\0\0\x01x"].concat());
        assert_eq!(shard.take_effects(), [Effect::Pause(SOCKET)]);
        let asked = question(&mut shard, client).unwrap();
        assert_eq!((asked.secret.reveal(), asked.remote_ip.as_str()), (&b"me"[..], "1.2.3.4"));
        assert!(!alloc::format!("{asked:?}").contains("me\""), "{asked:?}");
        // Whatever else would let it go on does not.
        shard.wake(client);
        assert_eq!(said(&mut shard, client), "");
        shard.authorized(client, grant(2));
        let answer = said(&mut shard, client);
        assert!(answer.contains(r#"{"identity":"\u003cm\u0026e\u003e","identity_url":"","#));
        assert!(answer.ends_with("OK"), "{answer}");
        assert_eq!(shard.take_effects(), [Effect::Resume(SOCKET)]);
        // A verdict that nobody waits for changes nothing.
        shard.authorized(client, None);
        assert_eq!(said(&mut shard, client), "");
    }

    #[test]
    fn nothing_is_allowed_without_a_grant() {
        for (input, text) in [
            (&b"PUB a\n\0\0\0\x01x"[..], "E_AUTH_FIRST AUTH required before PUB"),
            (b"SUB a c\n", "E_AUTH_FIRST AUTH required before SUB"),
            (b"DPUB a 1\n\0\0\0\x01x", "E_AUTH_FIRST AUTH required before DPUB"),
            // Its body has not come yet.
            (b"MPUB a\n", "E_AUTH_FIRST AUTH required before MPUB"),
            (b"MPUB a\n\0\0\0\0", "E_AUTH_FIRST AUTH required before MPUB"),
        ] {
            let (mut shard, client) = shard(true);
            shard.received(client, input);
            let answer = said(&mut shard, client);
            assert!(answer.ends_with(text), "{answer} {text}");
            assert_eq!(shard.topics.len(), 0);
        }
    }

    #[test]
    fn verdicts_that_grant_nothing_end_the_connection() {
        for (verdict, text) in [
            (None, "E_AUTH_FAILED AUTH failed"),
            (grant(0), "E_UNAUTHORIZED AUTH no authorizations found"),
        ] {
            let (mut shard, client) = shard(true);
            shard.received(client, &[AUTH, b"PUB a\n\0\0\0\x01x"].concat());
            shard.authorized(client, verdict);
            assert!(said(&mut shard, client).ends_with(text));
            assert_eq!(shard.topics.len(), 0);
        }
        let (mut shard, client) = shard(false);
        shard.received(client, AUTH);
        assert!(said(&mut shard, client).ends_with("E_AUTH_DISABLED AUTH disabled"));
        let (mut shard, client) = authorized();
        shard.received(client, AUTH);
        assert!(said(&mut shard, client).ends_with("E_INVALID AUTH already set"));
    }

    #[test]
    fn what_no_rule_allows_is_refused_by_name() {
        for (input, text) in [
            (&b"PUB b\n\0\0\0\x01x"[..], r#"PUB on "b" """#),
            (b"SUB b c#ephemeral\n", r#"SUB on "b" "c#ephemeral""#),
            (b"MPUB b\n", r#"MPUB on "b" """#),
        ] {
            let (mut shard, client) = authorized();
            shard.received(client, b"PUB a\n\0\0\0\x01x");
            assert!(said(&mut shard, client).ends_with("OK"));
            shard.received(client, input);
            let answer = said(&mut shard, client);
            assert!(answer.ends_with(&alloc::format!("E_UNAUTHORIZED AUTH failed for {text}")));
            assert_eq!(shard.topics.len(), 1);
        }
    }

    #[test]
    fn a_grant_that_has_expired_is_renewed_before_the_next_command() {
        let (mut shard, client) = authorized();
        shard.begin_turn(Now { mono_ms: 999, wall_ns: 0 });
        shard.received(client, b"PUB a\n\0\0\0\x01x");
        assert!(said(&mut shard, client).ends_with("OK"));
        assert!(question(&mut shard, client).is_none());
        shard.begin_turn(Now { mono_ms: 1000, wall_ns: 0 });
        shard.received(client, b"NOP\nPUB a\n\0\0\0\x01xPUB a\n\0\0\0\x01y");
        assert_eq!(said(&mut shard, client), "");
        assert!(question(&mut shard, client).is_some());
        shard.authorized(client, grant(1));
        assert_eq!(said(&mut shard, client).matches("OK").count(), 2);
        // The next time it gets nothing, which is said as of any action.
        shard.begin_turn(Now { mono_ms: 2000, wall_ns: 0 });
        shard.received(client, b"SUB b c\n");
        shard.authorized(client, grant(0));
        let answer = said(&mut shard, client);
        assert!(answer.ends_with(r#"E_UNAUTHORIZED AUTH failed for SUB on "b" "c""#), "{answer}");
    }

    #[test]
    fn a_grant_moves_with_its_connection() {
        let (mut here, client) = authorized();
        let (mut there, _) = shard(true);
        let departure = here.depart(client).unwrap();
        there.begin_turn(Now { mono_ms: 500, wall_ns: 0 });
        let client = there.adopt(Socket(9), departure);
        there.received(client, b"SUB a c\n");
        assert!(said(&mut there, client).ends_with("OK"));
        there.begin_turn(Now { mono_ms: 1000, wall_ns: 0 });
        there.received(client, b"PUB a\n\0\0\0\x01x");
        let asked = question(&mut there, client).unwrap();
        assert_eq!(asked.secret.reveal(), b"me");
        there.authorized(client, None);
        assert!(said(&mut there, client).ends_with("E_AUTH_FAILED AUTH failed"));
    }
}

//! What requests of one worker were granted, so that not each of them has to be asked about.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::auth::{Grant, Question};

use super::desk::Answers;
use crate::nsqd::control::auth::Outcome;

/// Grants that are remembered; others are asked for again.
const KNOWN_MAX: usize = 1024;

/// See the module's text. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    answers: Answers<Outcome>,
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Question, Known>,
    asked: Vec<(u64, Question)>,
}

#[derive(Debug)]
struct Known {
    grant: Arc<Grant>,
    since: Instant,
}

impl Known {
    fn holds(&self, now: Instant) -> bool {
        now.duration_since(self.since) < Duration::from_millis(self.grant.ttl_ms)
    }
}

impl Grants {
    /// What somebody may do: as it is known, or as it is asked for.
    pub fn ask(&self, question: Question) -> impl Future<Output = Outcome> + 'static {
        let grants = self.clone();
        async move {
            if let Some(grant) = grants.known(&question) {
                return Outcome::Granted(grant);
            }
            let Some((ticket, answer)) = grants.answers.expect() else { return Outcome::Failed };
            grants.inner.borrow_mut().asked.push((ticket, question.clone()));
            let outcome = answer.await;
            if let Outcome::Granted(grant) = &outcome {
                grants.remember(question, grant.clone());
            }
            outcome
        }
    }

    /// How many answers are kept.
    pub fn count(&self) -> usize {
        self.inner.borrow().known.len()
    }

    /// What is to be asked, by tickets.
    pub fn take_asked(&self) -> Vec<(u64, Question)> {
        std::mem::take(&mut self.inner.borrow_mut().asked)
    }

    /// What came of a question.
    pub fn answer(&self, ticket: u64, outcome: Outcome) {
        self.answers.answer(ticket, outcome);
    }

    fn known(&self, question: &Question) -> Option<Arc<Grant>> {
        let inner = self.inner.borrow();
        let known = inner.known.get(question)?;
        known.holds(Instant::now()).then(|| known.grant.clone())
    }

    fn remember(&self, question: Question, grant: Arc<Grant>) {
        let Inner { known, .. } = &mut *self.inner.borrow_mut();
        let now = Instant::now();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.holds(now));
        }
        if known.len() >= KNOWN_MAX {
            // Who has so many different ones is asked about anew, which is slow and not wrong.
            known.clear();
        }
        known.insert(question, Known { grant, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::{Grants, KNOWN_MAX, Outcome};
    use shards::auth::{Action, Grant, Question, Rules, Secret};
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    #[derive(Debug)]
    struct Nothing;

    impl Rules for Nothing {
        fn allow(&self, _: Action<'_>) -> bool {
            false
        }
    }

    /// Asks; when that is not known it is answered with a grant of this length.
    fn is_known(grants: &Grants, secret: &str, ttl_ms: u64) -> bool {
        let question = Question {
            secret: Secret::new(secret.as_bytes()),
            remote_ip: String::new(),
            tls: false,
            common_name: String::new(),
        };
        let mut waits = pin!(grants.ask(question));
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = waits.as_mut().poll(&mut cx) {
            assert!(matches!(outcome, Outcome::Granted(_)));
            return true;
        }
        let asked = grants.take_asked();
        assert_eq!(asked.len(), 1);
        let (identity, identity_url, rules) = (String::new(), String::new(), Arc::new(Nothing));
        let grant = Grant { identity, identity_url, entries: 1, ttl_ms, rules };
        grants.answer(asked[0].0, Outcome::Granted(Arc::new(grant)));
        assert!(waits.as_mut().poll(&mut cx).is_ready());
        false
    }

    #[test]
    fn grants_are_remembered_as_long_as_they_hold() {
        let grants = Grants::default();
        assert!(!is_known(&grants, "a", 3_600_000));
        assert!(is_known(&grants, "a", 0));
        assert!(!is_known(&grants, "b", 0));
        assert!(!is_known(&grants, "b", 0));
        for number in 0..2 * KNOWN_MAX {
            assert!(!is_known(&grants, &format!("c{number}"), 3_600_000));
            assert!(grants.inner.borrow().known.len() <= KNOWN_MAX);
        }
    }
}

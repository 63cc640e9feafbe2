//! A change of what was said of a topic or channel: checked as a whole, then made as a whole.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};

use super::{AGE_MS_MAX, BACKOFFS_MAX, BYTES_MAX, Limit, MAX_ATTEMPTS, OnFull, Policy};
use crate::wire::names::Name;

/// What is to be different. `None` leaves things as they are; `Some(None)` goes back to the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// See [`super::Bounds`].
    pub max_bytes: Option<Option<u64>>,
    /// See [`super::Bounds`].
    pub max_messages: Option<Option<u64>>,
    /// See [`super::Bounds`].
    pub max_age_ms: Option<Option<u64>>,
    /// See [`super::Bounds`].
    pub on_full: Option<Option<OnFull>>,
    /// See [`Policy`].
    pub dead_letter_topic: Option<Option<Name>>,
    /// See [`Policy`].
    pub max_attempts: Option<u64>,
    /// See [`Policy`].
    pub retry_backoff_ms: Option<Vec<u64>>,
    /// See [`super::Retention`].
    pub retention_bytes: Option<Option<u64>>,
    /// See [`super::Retention`].
    pub retention_age_ms: Option<Option<u64>>,
}

/// Why a change is not made: the parameter, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The parameter's name.
    pub parameter: &'static str,
    /// What it may be, and why not what was asked for.
    pub text: String,
}

impl Problem {
    fn new(parameter: &'static str, text: impl Into<String>) -> Problem {
        Problem { parameter, text: text.into() }
    }
}

fn at_most(parameter: &'static str, value: Option<u64>, most: u64) -> Result<(), Problem> {
    match value.filter(|&value| value > most) {
        Some(value) => Err(Problem::new(parameter, format!("{value} is more than {most}"))),
        None => Ok(()),
    }
}

impl Change {
    /// What is said of a topic or channel after the change. `default` is what holds where nothing
    /// is said.
    ///
    /// # Errors
    /// What is impossible or contradicts something else; nothing is changed then.
    pub fn apply(&self, before: &Policy, topic: &Name, default: &Limit) -> Result<Policy, Problem> {
        let mut policy = before.clone();
        let bounds = &mut policy.bounds;
        set(&mut bounds.max_bytes, self.max_bytes);
        set(&mut bounds.max_messages, self.max_messages);
        set(&mut bounds.max_age_ms, self.max_age_ms);
        set(&mut bounds.on_full, self.on_full);
        set(&mut policy.dead_letter_topic, self.dead_letter_topic);
        set(&mut policy.retention.bytes, self.retention_bytes);
        set(&mut policy.retention.age_ms, self.retention_age_ms);
        if let Some(attempts) = self.max_attempts {
            at_most("max_attempts", Some(attempts), MAX_ATTEMPTS)?;
            policy.max_attempts = attempts as u16;
        }
        if let Some(delays) = &self.retry_backoff_ms {
            policy.retry_backoff_ms.clone_from(delays);
        }
        policy.check(topic, default).map(|()| policy)
    }
}

fn set<T>(value: &mut Option<T>, change: Option<Option<T>>) {
    if let Some(change) = change {
        *value = change;
    }
}

impl Limit {
    /// Whether a channel's bounds can be reached before its topic's.
    ///
    /// # Errors
    /// Which cannot.
    pub fn check_within(&self, topic: &Limit) -> Result<(), Problem> {
        for (parameter, own, most) in [
            ("max_bytes", self.max_bytes, topic.max_bytes),
            ("max_messages", self.max_messages, topic.max_messages),
            ("max_age", self.max_age_ms, topic.max_age_ms),
        ] {
            if most != 0 && own > most {
                let text = format!("{own} is more than the topic's {most}");
                return Err(Problem::new(parameter, text));
            }
        }
        Ok(())
    }
}

impl Policy {
    /// Whether all of it is possible, and goes together, for this topic or a channel of it.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, topic: &Name, default: &Limit) -> Result<(), Problem> {
        let bounds = &self.bounds;
        at_most("max_bytes", bounds.max_bytes, BYTES_MAX)?;
        at_most("max_messages", bounds.max_messages, BYTES_MAX)?;
        at_most("max_age", bounds.max_age_ms, AGE_MS_MAX)?;
        at_most("retention_bytes", self.retention.bytes, BYTES_MAX)?;
        at_most("retention_age", self.retention.age_ms, AGE_MS_MAX)?;
        for (parameter, value) in
            [("retention_bytes", self.retention.bytes), ("retention_age", self.retention.age_ms)]
        {
            if topic.is_ephemeral() && value.is_some_and(|value| value > 0) {
                return Err(Problem::new(parameter, "must be 0: the topic is ephemeral"));
            }
        }
        if self.retry_backoff_ms.len() > BACKOFFS_MAX {
            let text =
                format!("has {} delays, at most {BACKOFFS_MAX}", self.retry_backoff_ms.len());
            return Err(Problem::new("retry_backoff", text));
        }
        for &delay_ms in &self.retry_backoff_ms {
            at_most("retry_backoff", Some(delay_ms), AGE_MS_MAX)?;
        }
        self.check_dead_letters(topic, default)
    }

    fn check_dead_letters(&self, topic: &Name, default: &Limit) -> Result<(), Problem> {
        if let Some(target) = &self.dead_letter_topic {
            if target == topic {
                return Err(Problem::new("dead_letter_topic", "is the topic itself"));
            }
            if target.is_ephemeral() {
                let text = "is ephemeral, and would lose what it is there to keep";
                return Err(Problem::new("dead_letter_topic", text));
            }
            return Ok(());
        }
        if self.max_attempts > 0 {
            return Err(Problem::new("max_attempts", "needs a dead_letter_topic"));
        }
        if self.bounds.limit(default).on_full == OnFull::DeadLetter {
            return Err(Problem::new("on_full", "dead-letter needs a dead_letter_topic"));
        }
        Ok(())
    }
}

/// A circle in where dead letters go: the topics on it, the first one again at its end. `edges`
/// are topics and where their dead letters, or those of their channels, go.
#[must_use]
pub fn circle(edges: &[(Name, Name)], from: &Name) -> Option<Vec<Name>> {
    // Depth first, each topic once.
    let mut way = [from.to_owned()].to_vec();
    let mut seen = Vec::new();
    fn search(
        edges: &[(Name, Name)],
        way: &mut Vec<Name>,
        seen: &mut Vec<Name>,
        home: &Name,
    ) -> bool {
        let Some(&at) = way.last() else { return false };
        for (_, to) in edges.iter().filter(|(source, _)| *source == at) {
            way.push(*to);
            if to == home {
                return true;
            }
            if !seen.contains(to) {
                seen.push(*to);
                if search(edges, way, seen, home) {
                    return true;
                }
            }
            way.pop();
        }
        false
    }
    search(edges, &mut way, &mut seen, from).then_some(way)
}

//! Which topics a connection publishes to, and how many messages went to each.

use alloc::vec::Vec;
use hashbrown::HashMap;

use crate::wire::names::Name;

/// Topics of which a connection's publishes are counted one by one.
const TOPICS_MAX: usize = 64;

/// How many messages a connection published to which topics.
///
/// Each topic has a place, by which the shard remembers more of it. Most connections publish to
/// one topic, or to a few in turn: so the last one is looked at first, then the one behind it.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// In the order in which they were first published to. Beyond so many topics all further ones
    /// share the last place, and the newest has it.
    topics: Vec<(Name, u64)>,
    places: HashMap<Name, usize>,
    /// Where the last one is.
    last: usize,
}

impl Published {
    /// The place of a topic that is about to be published to, and whether it was not there until
    /// now.
    pub fn place(&mut self, topic: &Name) -> (usize, bool) {
        for at in [self.last, self.behind_last()] {
            if self.topics.get(at).is_some_and(|(name, _)| name == topic) {
                self.last = at;
                return (at, false);
            }
        }
        if let Some(&at) = self.places.get(topic) {
            self.last = at;
            return (at, false);
        }
        if self.topics.len() == TOPICS_MAX
            && let Some((name, _)) = self.topics.pop()
        {
            self.places.remove(&name);
        }
        self.last = self.topics.len();
        self.places.insert(*topic, self.last);
        self.topics.push((*topic, 0));
        (self.last, true)
    }

    /// Counts `messages` more for the topic at the last place that was asked for.
    pub fn add(&mut self, messages: u64) {
        if let Some((_, count)) = self.topics.get_mut(self.last) {
            *count += messages;
        }
    }

    /// The topic at the last place that was asked for.
    #[must_use]
    pub fn last_topic(&self) -> Option<&Name> {
        self.topics.get(self.last).map(|(name, _)| name)
    }

    /// The count for `topic`, or for the topic published to last.
    #[must_use]
    pub fn count(&self, topic: Option<&str>) -> Option<(Name, u64)> {
        let counted = |(_, count): &&(Name, u64)| *count > 0;
        let found = match topic {
            Some(topic) => self.topics.iter().find(|(name, _)| name.as_str() == topic),
            None => self.topics.get(self.last),
        };
        let all = self.topics.iter().rev();
        found.filter(counted).or_else(|| all.filter(|_| topic.is_none()).find(counted)).copied()
    }

    fn behind_last(&self) -> usize {
        if self.last + 1 < self.topics.len() { self.last + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn publish(published: &mut Published, topic: &str, messages: u64) -> (usize, bool) {
        let place = published.place(&name(topic));
        published.add(messages);
        place
    }

    #[test]
    fn each_topic_keeps_its_place_and_count() {
        let mut published = Published::default();
        assert_eq!(published.count(None), None);
        for round in 0..3 {
            for (at, topic) in ["a", "b", "c"].into_iter().enumerate() {
                assert_eq!(publish(&mut published, topic, 2), (at, round == 0));
            }
        }
        assert_eq!(publish(&mut published, "b", 1), (1, false));
        assert_eq!(published.last_topic(), Some(&name("b")));
        assert_eq!(published.count(None), Some((name("b"), 7)));
        assert_eq!(published.count(Some("c")), Some((name("c"), 6)));
        assert_eq!(published.count(Some("d")), None);
    }

    #[test]
    fn what_was_refused_is_no_publish() {
        let mut published = Published::default();
        published.place(&name("a"));
        assert_eq!((published.count(None), published.count(Some("a"))), (None, None));
        publish(&mut published, "b", 1);
        published.place(&name("c"));
        assert_eq!(published.count(None), Some((name("b"), 1)));
    }

    #[test]
    fn beyond_the_most_only_the_newest_is_kept() {
        let mut published = Published::default();
        for number in 0..TOPICS_MAX + 9 {
            let at = number.min(TOPICS_MAX - 1);
            assert_eq!(publish(&mut published, &format!("t{number}"), 1), (at, true));
        }
        assert_eq!(published.count(None), Some((name("t72"), 1)));
        assert_eq!(published.count(Some("t71")), None);
        assert_eq!(published.count(Some("t62")), Some((name("t62"), 1)));
        assert_eq!(publish(&mut published, "t0", 1), (0, false));
        assert_eq!(published.count(None), Some((name("t0"), 2)));
        assert_eq!(published.places.len(), TOPICS_MAX);
    }
}

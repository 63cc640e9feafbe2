//! Which messages of a topic belong to one queue, and how often each was delivered.

use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
use shards::sequences::SequenceSet;

/// The messages of one channel, or those that a topic keeps to itself.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Those from here on, to before `to`, were never delivered.
    from: u64,
    to: u64,
    /// Less these, in order.
    skips: &'a [Range],
    /// And these besides, in order.
    outstanding: &'a [Outstanding],
    /// And these, which wait for the time that their records say.
    kept: Option<&'a SequenceSet>,
}

/// What is known of a message that belongs to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How often it was delivered.
    pub attempts: u16,
    /// When it may be delivered again, in milliseconds since the Unix epoch; 0 for at once.
    pub due_ms: u64,
}

impl<'a> Wanted<'a> {
    /// What a channel still has to deliver.
    pub fn of_channel(topic: &TopicState, channel: &'a ChannelState) -> Wanted<'a> {
        Wanted {
            from: channel.cursor,
            to: topic.handed.unwrap_or(topic.head),
            skips: &channel.skips,
            outstanding: &channel.outstanding,
            kept: Some(&channel.kept),
        }
    }

    /// What no channel has got. A topic without channels keeps all that is there.
    pub fn of_topic(topic: &TopicState, has_channels: bool) -> Wanted<'static> {
        let flowing = if has_channels { topic.head } else { 0 };
        let from = topic.handed.unwrap_or(flowing);
        Wanted { from, to: topic.head, skips: &[], outstanding: &[], kept: None }
    }

    /// What is known of a message; `None` when it does not belong to the queue.
    pub fn find(&self, sequence: u64) -> Option<Known> {
        let at = self.outstanding.binary_search_by_key(&sequence, |message| message.sequence);
        if let Ok(at) = at {
            let Outstanding { attempts, due_ms, .. } = self.outstanding[at];
            return Some(Known { attempts, due_ms });
        }
        if self.kept.is_some_and(|kept| kept.contains(sequence)) {
            return Some(Known::default());
        }
        let ahead = (self.from..self.to).contains(&sequence);
        let behind = self.skips.partition_point(|skip| skip.first <= sequence);
        let skipped = self.skips[..behind].last().is_some_and(|skip| skip.last >= sequence);
        (ahead && !skipped).then(Known::default)
    }

    /// Whether a message from `first` to `last` may belong to the queue.
    pub fn may_have(&self, first: u64, last: u64) -> bool {
        let from = self.outstanding.partition_point(|message| message.sequence < first);
        let outstanding = self.outstanding.get(from).is_some_and(|next| next.sequence <= last);
        let kept = self.kept.and_then(|kept| kept.next(first)).is_some_and(|next| next <= last);
        outstanding || kept || first < self.to && last >= self.from
    }
}

#[cfg(test)]
mod tests {
    use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};

    use super::{Known, Wanted};

    fn outstanding(sequence: u64, attempts: u16, due_ms: u64) -> Outstanding {
        Outstanding { sequence, attempts, due_ms }
    }

    #[test]
    fn a_channel_has_what_is_ahead_less_skips_and_what_is_outstanding() {
        let channel = ChannelState {
            cursor: 20,
            skips: vec![Range { first: 22, last: 23 }, Range { first: 28, last: 40 }],
            outstanding: vec![outstanding(5, 2, 0), outstanding(23, 0, 99), outstanding(25, 1, 1)],
            kept: [7, 19, 27].into_iter().collect(),
        };
        let flowing = TopicState { handed: None, head: 30 };
        let wanted = Wanted::of_channel(&flowing, &channel);
        let found: Vec<u64> = (0..50).filter(|&at| wanted.find(at).is_some()).collect();
        assert_eq!(found, [5, 7, 19, 20, 21, 23, 24, 25, 26, 27]);
        assert_eq!(wanted.find(7), Some(Known::default()));
        assert_eq!(wanted.find(5), Some(Known { attempts: 2, due_ms: 0 }));
        assert_eq!(wanted.find(23), Some(Known { attempts: 0, due_ms: 99 }));
        assert_eq!(wanted.find(24), Some(Known::default()));
        for first in 0..50 {
            for last in first..50 {
                let has = (first..=last).any(|at| wanted.find(at).is_some());
                assert!(!has || wanted.may_have(first, last), "{first} to {last}");
            }
        }
        assert!(!wanted.may_have(8, 18) && !wanted.may_have(0, 4) && !wanted.may_have(30, 50));
        let kept = TopicState { handed: Some(21), head: 30 };
        let wanted = Wanted::of_channel(&kept, &channel);
        let found: Vec<u64> = (0..50).filter(|&at| wanted.find(at).is_some()).collect();
        assert_eq!(found, [5, 7, 19, 20, 23, 25, 27]);
    }

    #[test]
    fn a_topic_has_what_it_did_not_hand_over() {
        let count = |handed, has_channels| {
            let wanted = Wanted::of_topic(&TopicState { handed, head: 30 }, has_channels);
            (0..50).filter(|&at| wanted.find(at).is_some()).count()
        };
        assert_eq!(count(Some(20), true), 10);
        assert_eq!(count(Some(20), false), 10);
        assert_eq!(count(None, true), 0);
        assert_eq!(count(None, false), 30);
    }
}

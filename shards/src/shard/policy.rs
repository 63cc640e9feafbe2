//! What operators ask of topics and channels: looked at, changed, and put to use.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Shard;
use crate::policy::{Change, Limit, Policy, Problem};
use crate::request::{Reply, Settings};
use crate::slots::Key;
use crate::wire::names::Name;

impl Shard {
    /// Changes what was said of a topic, or of a channel of it, and tells what holds now.
    pub(super) fn configure(
        &mut self,
        topic: &Name,
        channel: Option<&Name>,
        change: &Change,
    ) -> Reply {
        let (topic_key, channel_key) = match self.find_both(topic, channel) {
            Ok(keys) => keys,
            Err(reply) => return reply,
        };
        let default = self.default_limit(channel.is_some());
        let Some(before) = self.policy_of(topic_key, channel_key) else {
            return Reply::TopicNotFound;
        };
        match change.apply(before, topic, &default) {
            Err(problem) => return Reply::Unacceptable(problem),
            Ok(policy) if policy == *before => {}
            Ok(policy) => {
                if let Err(problem) = self.fits(topic_key, channel_key, &policy) {
                    return Reply::Unacceptable(problem);
                }
                match channel_key {
                    Some(key) => self.set_channel_policy(key, policy),
                    None => self.set_topic_policy(topic_key, policy),
                }
                match channel {
                    Some(channel) => self.note_channel(topic_key, channel),
                    None => self.structure.note(topic),
                }
                self.touch(topic_key);
            }
        }
        self.settings(topic, channel)
    }

    /// What was said of a topic or channel, and what holds.
    pub(super) fn settings(&self, topic: &Name, channel: Option<&Name>) -> Reply {
        let (topic_key, channel_key) = match self.find_both(topic, channel) {
            Ok(keys) => keys,
            Err(reply) => return reply,
        };
        let Some(policy) = self.policy_of(topic_key, channel_key) else {
            return Reply::TopicNotFound;
        };
        let limit = policy.bounds.limit(&self.default_limit(channel.is_some()));
        let keep = policy.retention.keep(&self.options.defaults.keep, topic);
        Reply::Settings(Box::new(Settings { policy: policy.clone(), limit, keep }))
    }

    /// Topics, and where dead letters of theirs and of their channels go.
    pub(super) fn dead_letter_edges(&self) -> Vec<(Name, Name)> {
        let topics = self.topics.iter().map(|(_, topic)| topic);
        let edges = topics.flat_map(|topic| {
            let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
            let of_channels = channels.filter_map(|channel| channel.policy.dead_letter_topic);
            let all = topic.policy.dead_letter_topic.into_iter().chain(of_channels);
            all.map(|target| (topic.name, target))
        });
        edges.collect()
    }

    /// Puts what was said of a topic to use.
    pub(super) fn set_topic_policy(&mut self, key: Key, policy: Policy) {
        let default = self.default_limit(false);
        if let Some(topic) = self.topics.get_mut(key) {
            topic.limit = policy.bounds.limit(&default);
            topic.retained.keep = policy.retention.keep(&self.options.defaults.keep, &topic.name);
            topic.policy = policy;
        }
        self.note_bounds(key);
    }

    /// Puts what was said of a channel to use.
    pub(super) fn set_channel_policy(&mut self, key: Key, policy: Policy) {
        let default = self.default_limit(true);
        if let Some(channel) = self.channels.get_mut(key) {
            channel.limit = policy.bounds.limit(&default);
            channel.policy = policy;
            let topic = channel.topic;
            self.note_bounds(topic);
        }
    }

    pub(super) fn default_limit(&self, of_channel: bool) -> Limit {
        let defaults = &self.options.defaults;
        if of_channel { defaults.channel } else { defaults.topic }
    }

    /// Whether what is said of a channel is within its topic's bounds. Where nothing is said of a
    /// channel, those of its topic hold whatever the default is.
    fn fits(&self, topic: Key, channel: Option<Key>, policy: &Policy) -> Result<(), Problem> {
        let Some(topic) = self.topics.get(topic) else { return Ok(()) };
        let said = |policy: &Policy| policy.bounds.limit(&Limit::default());
        if channel.is_some() {
            return said(policy).check_within(&topic.limit);
        }
        let limit = policy.bounds.limit(&self.default_limit(false));
        let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
        { channels }.try_for_each(|channel| {
            said(&channel.policy).check_within(&limit).map_err(|problem| Problem {
                text: alloc::format!("of channel {}: {}", channel.name, problem.text),
                ..problem
            })
        })
    }

    fn policy_of(&self, topic: Key, channel: Option<Key>) -> Option<&Policy> {
        match channel {
            Some(key) => self.channels.get(key).map(|channel| &channel.policy),
            None => self.topics.get(topic).map(|topic| &topic.policy),
        }
    }

    fn find_both(&self, topic: &Name, channel: Option<&Name>) -> Result<(Key, Option<Key>), Reply> {
        let topic = *self.names.get(topic).ok_or(Reply::TopicNotFound)?;
        let Some(channel) = channel else { return Ok((topic, None)) };
        let channel = self.find_channel(topic, channel).ok_or(Reply::ChannelNotFound)?;
        Ok((topic, Some(channel)))
    }
}

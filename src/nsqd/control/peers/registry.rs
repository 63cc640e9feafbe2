//! All topics and channels of this node, gathered from its shards.

use std::collections::BTreeMap;

use shards::metadata::Registration;
use shards::wire::names::Name;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Registry {
    topics: BTreeMap<Name, Registration>,
}

impl Registry {
    /// A topic is like this now, or gone.
    pub fn set(&mut self, name: Name, topic: Option<Registration>) {
        match topic {
            Some(topic) => self.topics.insert(name, topic),
            None => self.topics.remove(&name),
        };
    }

    /// A topic, if there is one of this name.
    pub fn get(&self, name: &Name) -> Option<&Registration> {
        self.topics.get(name)
    }

    /// The names of all topics.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.topics.keys().copied()
    }
}

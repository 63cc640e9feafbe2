//! How near a consumer is, and those of a channel that can take more, the nearest first.
//!
//! Where the experiment with topology is off, nobody is nearer than others.

use alloc::collections::VecDeque;

use crate::limits::Options;
use crate::slots::Key;
use crate::wire::identify::Identify;

/// How near a consumer is to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locality {
    /// In the same zone.
    Zone,
    /// In the same region.
    Region,
    /// Anywhere.
    #[default]
    Global,
}

impl Locality {
    /// How near somebody is who says this of itself. Zones are compared whatever the regions are,
    /// and so are empty ones (NSQ).
    #[must_use]
    pub fn of(asked: &Identify, options: &Options) -> Locality {
        match options {
            Options { topology_aware: false, .. } => Locality::Global,
            Options { topology_zone, .. } if *topology_zone == asked.topology_zone => {
                Locality::Zone
            }
            Options { topology_region, .. } if *topology_region == asked.topology_region => {
                Locality::Region
            }
            _ => Locality::Global,
        }
    }
}

/// Consumers that can take more, in turn among those that are equally near.
#[derive(Debug, Default)]
pub struct Ready([VecDeque<Key>; 3]);

impl Ready {
    /// Whose turn it is.
    #[must_use]
    pub fn front(&self) -> Option<Key> {
        let Ready(queues) = self;
        queues.iter().find_map(VecDeque::front).copied()
    }

    /// Takes that one out.
    pub fn pop_front(&mut self) {
        let Ready(queues) = self;
        if let Some(queue) = queues.iter_mut().find(|queue| !queue.is_empty()) {
            queue.pop_front();
        }
    }

    /// Puts one behind those that are as near.
    pub fn push_back(&mut self, locality: Locality, key: Key) {
        let Ready(queues) = self;
        queues[locality as usize].push_back(key);
    }

    /// Takes one out, wherever it is.
    pub fn remove(&mut self, key: Key) {
        let Ready(queues) = self;
        queues.iter_mut().for_each(|queue| queue.retain(|&other| other != key));
    }
}

/// Messages given out, by how near those were who got them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalityCounts([u64; 3]);

impl LocalityCounts {
    /// Counts some.
    pub fn add(&mut self, locality: Locality, messages: u64) {
        let LocalityCounts(counts) = self;
        counts[locality as usize] += messages;
    }

    /// How many it were.
    #[must_use]
    pub fn get(&self, locality: Locality) -> u64 {
        let LocalityCounts(counts) = self;
        counts[locality as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{Locality, Ready};
    use crate::limits::Options;
    use crate::slots::Slots;
    use crate::wire::identify::Identify;

    #[test]
    fn the_nearest_have_their_turn_first() {
        let mut slots = Slots::default();
        let [a, b, c, d] = [(); 4].map(|()| slots.insert(()));
        let mut ready = Ready::default();
        assert_eq!(ready.front(), None);
        ready.push_back(Locality::Global, a);
        ready.push_back(Locality::Zone, b);
        ready.push_back(Locality::Region, c);
        ready.push_back(Locality::Zone, d);
        ready.remove(c);
        for key in [b, d, a] {
            assert_eq!(ready.front(), Some(key));
            ready.pop_front();
        }
        assert_eq!(ready.front(), None);
    }

    #[test]
    fn zones_and_regions_are_compared_one_by_one() {
        let options = Options {
            topology_aware: true,
            topology_zone: "z".into(),
            topology_region: "r".into(),
            ..Options::default()
        };
        for (zone, region, locality) in [
            ("z", "r", Locality::Zone),
            ("z", "other", Locality::Zone),
            ("other", "r", Locality::Region),
            ("", "", Locality::Global),
        ] {
            let asked = Identify {
                topology_zone: zone.into(),
                topology_region: region.into(),
                ..Identify::default()
            };
            assert_eq!(Locality::of(&asked, &options), locality, "{zone} {region}");
            let off = Options { topology_aware: false, ..options.clone() };
            assert_eq!(Locality::of(&asked, &off), Locality::Global);
        }
    }
}

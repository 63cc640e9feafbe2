//! Which shard owns a topic: a stable hash of its name, unless the operator says otherwise.

use hashbrown::HashMap;

use crate::wire::names::Name;

/// One worker's view of where topics live. Workers 0 to `shards - 1` own topics; higher numbers
/// are acceptors, which own none.
#[derive(Clone, Debug)]
pub struct Placement {
    /// This worker.
    pub me: u16,
    /// How many workers own topics.
    pub shards: u16,
    overrides: HashMap<Name, u16>,
}

impl Placement {
    /// A placement with `--topic-shard` overrides; each names a shard below `shards`.
    #[must_use]
    pub fn new(me: u16, shards: u16, overrides: &[(Name, u16)]) -> Placement {
        assert!(shards > 0, "somebody owns the topics");
        assert!(overrides.iter().all(|&(_, shard)| shard < shards), "checked when flags are read");
        Placement { me, shards, overrides: overrides.iter().copied().collect() }
    }

    /// The shard that owns a topic.
    #[must_use]
    pub fn owner(&self, topic: &Name) -> u16 {
        if let Some(&shard) = self.overrides.get(topic) {
            return shard;
        }
        (hash(topic.as_bytes()) % u64::from(self.shards)) as u16
    }

    /// Whether this worker owns topics at all.
    #[must_use]
    pub fn is_shard(&self) -> bool {
        self.me < self.shards
    }
}

/// FNV-1a with a final mix, so that names that differ in one digit spread evenly. Files do not
/// depend on it, but operators' expectations do: it never changes.
fn hash(name: &[u8]) -> u64 {
    let fnv = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use super::Placement;
    use crate::wire::names::Name;
    use std::format;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn never_changes() {
        let placement = Placement::new(0, 64, &[]);
        let owners: std::vec::Vec<u16> =
            ["t", "orders", "events.v1", "a#ephemeral"].map(|t| placement.owner(&name(t))).into();
        assert_eq!(owners, [53, 29, 26, 10]);
    }

    #[test]
    fn spreads_evenly() {
        let placement = Placement::new(0, 8, &[]);
        let mut counts = [0; 8];
        for number in 0..8000 {
            counts[usize::from(placement.owner(&name(&format!("topic-{number}"))))] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn operators_have_the_last_word() {
        let free = Placement::new(0, 2, &[]).owner(&name("hot"));
        let placed = Placement::new(0, 2, &[(name("hot"), 1 - free)]);
        assert_eq!(placed.owner(&name("hot")), 1 - free);
    }
}

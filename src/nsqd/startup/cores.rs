//! Which core each shard gets.
//!
//! The process's affinity mask counts, not what the machine has: in a container, or under
//! `taskset`, a thread pinned elsewhere would fail or escape.

use std::io;
use std::path::Path;

/// Where the kernel tells of cores, which glommio reads.
const TOPOLOGY: &str = "/sys/devices/system/cpu";

/// The core of each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePlan {
    /// The number of the core, for shard 0, 1 and so on.
    pub of_shards: Vec<usize>,
    /// Cores that the process may use at once.
    pub usable: usize,
    /// What the operator should hear about.
    pub warnings: Vec<String>,
}

impl CorePlan {
    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.of_shards.len()
    }
}

/// Gives each shard a core of `affinity`. `asked` is `--shards`, 0 for one per usable core;
/// `quota_cores` is the control group's share of processor time.
pub fn plan(
    affinity: &[usize],
    quota_cores: Option<f64>,
    asked: usize,
) -> Result<CorePlan, String> {
    if !Path::new(TOPOLOGY).exists() {
        return Err(format!(
            "there is no {TOPOLOGY}: mount sysfs on /sys, threads are placed by it"
        ));
    }
    if affinity.is_empty() {
        return Err("the process may not run on any core".to_owned());
    }
    let usable = quota_cores.map_or(affinity.len(), |cores| affinity.len().min(whole(cores)));
    let shards = if asked == 0 { usable } else { asked };
    let mut warnings = Vec::new();
    if shards > usable {
        warnings.push(format!(
            "--shards={shards} are more than the {usable} usable cores: shards will wait for \
             each other (--shards=0 takes one per usable core)"
        ));
    }
    let of_shards = affinity.iter().copied().cycle().take(shards).collect();
    Ok(CorePlan { of_shards, usable, warnings })
}

/// The cores in this process's affinity mask, in ascending order.
pub fn affinity() -> Result<Vec<usize>, String> {
    // Room for 8192 cores, more than the kernel can be built for.
    let mut mask = [0_u64; 128];
    // SAFETY: the pointer is valid for writes of the size given, which the kernel never exceeds.
    let failed =
        unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) } != 0;
    if failed {
        return Err(format!("cannot read the affinity mask: {}", io::Error::last_os_error()));
    }
    Ok(cores_of(&mask))
}

fn cores_of(mask: &[u64]) -> Vec<usize> {
    let is_set = |&core: &usize| mask[core / 64] >> (core % 64) & 1 == 1;
    (0..mask.len() * 64).filter(is_set).collect()
}

/// The whole cores that a share of processor time keeps busy, at least one.
fn whole(cores: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion from a float saturates, and a negative quota is no quota"
    )]
    let whole = cores.ceil() as usize;
    whole.max(1)
}

#[cfg(test)]
mod tests {
    use super::{affinity, cores_of, plan};

    #[track_caller]
    fn check(affinity: &[usize], quota: Option<f64>, asked: usize, of_shards: &[usize]) {
        let plan = plan(affinity, quota, asked).unwrap();
        assert_eq!(plan.of_shards, of_shards, "{affinity:?} {quota:?} {asked}");
        assert_eq!(plan.warnings.is_empty(), plan.shards() <= plan.usable, "{:?}", plan.warnings);
    }

    #[test]
    fn one_shard_per_usable_core_by_default() {
        check(&[0, 1, 2, 3], None, 0, &[0, 1, 2, 3]);
        check(&[2, 5, 7], None, 0, &[2, 5, 7]);
        check(&[0, 1, 2, 3], Some(2.0), 0, &[0, 1]);
        check(&[0, 1, 2, 3], Some(1.2), 0, &[0, 1]);
        check(&[0, 1, 2, 3], Some(0.1), 0, &[0]);
        check(&[0, 1], Some(64.0), 0, &[0, 1]);
    }

    #[test]
    fn shards_can_be_asked_for() {
        check(&[0, 1, 2, 3], None, 2, &[0, 1]);
        check(&[4, 6], None, 5, &[4, 6, 4, 6, 4]);
        // The quota limits the time, not the cores: four shards are better on four cores.
        check(&[0, 1, 2, 3], Some(1.0), 4, &[0, 1, 2, 3]);
    }

    #[test]
    fn more_shards_than_cores_is_said() {
        let plan = plan(&[0, 1, 2, 3], Some(2.0), 3).unwrap();
        assert_eq!((plan.usable, plan.warnings.len()), (2, 1));
        assert!(plan.warnings[0].starts_with("--shards=3 are more than the 2 usable cores"));
    }

    #[test]
    fn no_core_is_an_error() {
        assert!(plan(&[], None, 0).is_err());
    }

    #[test]
    fn masks_are_read_over_all_words() {
        assert_eq!(cores_of(&[0b101, 1 << 63, 0]), [0, 2, 127]);
        assert!(!affinity().unwrap().is_empty());
    }
}

//! How much processor time and memory the control group leaves to this process.
//!
//! Versions 1 and 2 are read. A limit of any group on the way to the root holds, so all are
//! looked at; in a container the files lie at the root of the mount.

use std::fs;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";
const OWN_GROUPS: &str = "/proc/self/cgroup";

/// Limits of a control group; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupLimits {
    /// Processor time in cores.
    pub cpu_cores: Option<f64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
}

/// The limits of this process.
pub fn limits() -> CgroupLimits {
    // No such file: no control groups, no limits.
    read(Path::new(MOUNT), &fs::read_to_string(OWN_GROUPS).unwrap_or_default())
}

fn read(mount: &Path, own_groups: &str) -> CgroupLimits {
    let mut limits = CgroupLimits::default();
    for line in own_groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        for directory in directories(mount, controllers, group) {
            limits.cpu_cores = least(limits.cpu_cores, cpu_cores(&directory), f64::min);
            limits.memory_bytes = least(limits.memory_bytes, memory_bytes(&directory), u64::min);
        }
    }
    limits
}

/// The directories of a group and of those above it, wherever they may be mounted.
fn directories(mount: &Path, controllers: &str, group: &str) -> Vec<PathBuf> {
    let mounts: Vec<PathBuf> = if controllers.is_empty() {
        vec![mount.to_owned(), mount.join("unified")]
    } else {
        // `cpu,cpuacct` is mounted under that name, or under each of the two.
        let names = std::iter::once(controllers).chain(controllers.split(','));
        names.map(|name| mount.join(name)).collect()
    };
    let group = Path::new(group.trim_start_matches('/'));
    let above: Vec<&Path> = group.ancestors().collect();
    mounts.iter().flat_map(|mount| above.iter().map(|group| mount.join(group))).collect()
}

fn cpu_cores(directory: &Path) -> Option<f64> {
    let (quota, period) = match number_text(directory, "cpu.max") {
        Some(text) => {
            let (quota, period) = text.split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        None => (
            number_text(directory, "cpu.cfs_quota_us")?,
            number_text(directory, "cpu.cfs_period_us")?,
        ),
    };
    // `max` and -1 mean that there is no limit.
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|&period| period > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one period")]
    Some(quota as f64 / period as f64)
}

fn memory_bytes(directory: &Path) -> Option<u64> {
    ["memory.max", "memory.high", "memory.limit_in_bytes"]
        .iter()
        .filter_map(|file| number_text(directory, file)?.parse().ok())
        .min()
}

fn number_text(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok().map(|text| text.trim().to_owned())
}

fn least<T>(one: Option<T>, other: Option<T>, min: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(min(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{CgroupLimits, read};

    #[track_caller]
    fn check(own: &str, files: &[(&str, &str)], cpu: Option<f64>, memory: Option<u64>) {
        let mount = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = mount.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let expected = CgroupLimits { cpu_cores: cpu, memory_bytes: memory };
        assert_eq!(read(mount.path(), own), expected, "{own} {files:?}");
    }

    #[test]
    fn version_2() {
        check("0::/a/b\n", &[("a/b/cpu.max", "150000 100000\n")], Some(1.5), None);
        check("0::/a/b\n", &[("a/b/cpu.max", "max 100000\n")], None, None);
        check("0::/a\n", &[("a/memory.max", "1073741824\n")], None, Some(1 << 30));
        check("0::/a\n", &[("a/memory.max", "max"), ("a/memory.high", "512")], None, Some(512));
    }

    #[test]
    fn a_group_above_may_be_the_tighter_one() {
        let files = [
            ("a/cpu.max", "200000 100000"),
            ("a/b/cpu.max", "400000 100000"),
            ("a/memory.max", "max"),
            ("a/b/memory.max", "4096"),
        ];
        check("0::/a/b\n", &files, Some(2.0), Some(4096));
        // In a container the path is the host's and the files lie at the root.
        check("0::/host/path\n", &[("cpu.max", "50000 100000")], Some(0.5), None);
    }

    #[test]
    fn version_1() {
        let own = "5:memory:/m\n4:cpu,cpuacct:/c\n0::/x\nbroken\n";
        let files = [
            ("cpu,cpuacct/c/cpu.cfs_quota_us", "300000\n"),
            ("cpu,cpuacct/c/cpu.cfs_period_us", "100000\n"),
            ("memory/m/memory.limit_in_bytes", "2048\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        check(own, &files, Some(3.0), Some(2048));
        let files = [("cpu/c/cpu.cfs_quota_us", "-1\n"), ("cpu/c/cpu.cfs_period_us", "100000\n")];
        check(own, &files, None, None);
        let files = [("cpu/c/cpu.cfs_quota_us", "5"), ("cpu/c/cpu.cfs_period_us", "0")];
        check(own, &files, None, None);
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        check("", &[], None, None);
    }
}

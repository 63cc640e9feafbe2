//! How much memory the messages of all shards may take together.

use std::fs;

/// The least that a shard can work with.
const SHARD_BYTES_MIN: u64 = 4 << 20;

/// A limit and what to say about it.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Memory for messages.
    pub limit_bytes: u64,
    /// What the operator should hear about.
    pub warning: Option<String>,
}

/// What the machine has, or the control group if that is less.
pub fn available_bytes(cgroup_bytes: Option<u64>) -> Result<u64, String> {
    let text = fs::read_to_string("/proc/meminfo")
        .map_err(|error| format!("cannot read /proc/meminfo: {error}; set --memory-limit"))?;
    let machine_bytes =
        total_bytes(&text).ok_or("/proc/meminfo names no MemTotal; set --memory-limit")?;
    Ok(cgroup_bytes.map_or(machine_bytes, |bytes| bytes.min(machine_bytes)))
}

/// The limit that was asked for, or half of what there is.
pub fn limit(asked: Option<u64>, available: u64, shards: usize) -> Result<MemoryLimit, String> {
    let limit_bytes = asked.unwrap_or(available / 2);
    let least = SHARD_BYTES_MIN.saturating_mul(shards as u64);
    if limit_bytes < least {
        return Err(format!(
            "--memory-limit is {} and must be at least {} for {shards} shards (or set fewer \
             --shards)",
            size_text(limit_bytes),
            size_text(least),
        ));
    }
    let warning = (limit_bytes > available).then(|| {
        format!(
            "--memory-limit is {}, but there are only {}: the kernel may kill this process",
            size_text(limit_bytes),
            size_text(available),
        )
    });
    Ok(MemoryLimit { limit_bytes, warning })
}

/// A size as people read it, in powers of 1024.
pub fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            let tenths = (u128::from(bytes) * 10) >> shift;
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return match tenth {
                0 => format!("{whole} {unit}"),
                _ => format!("{whole}.{tenth} {unit}"),
            };
        }
    }
    format!("{bytes} bytes")
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{available_bytes, limit, size_text, total_bytes};

    #[test]
    fn half_of_what_there_is_by_default() {
        assert_eq!(limit(None, 8 << 30, 2).unwrap().limit_bytes, 4 << 30);
        assert_eq!(limit(Some(64 << 20), 8 << 30, 2).unwrap().limit_bytes, 64 << 20);
        assert_eq!(limit(None, 8 << 30, 2).unwrap().warning, None);
    }

    #[test]
    fn too_little_is_refused_and_too_much_is_said() {
        let error = limit(Some(7 << 20), 8 << 30, 2).unwrap_err();
        assert!(error.starts_with("--memory-limit is 7 MiB and must be at least 8 MiB"), "{error}");
        assert!(limit(Some(9 << 30), 8 << 30, 2).unwrap().warning.is_some());
    }

    #[test]
    fn the_tighter_of_machine_and_group_counts() {
        assert_eq!(total_bytes("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert_eq!(total_bytes("MemTotal: many\n"), None);
        assert_eq!(available_bytes(Some(4096)), Ok(4096));
        assert!(available_bytes(None).unwrap() > 1 << 20);
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}

//! The name of this host, and the node id that the original derives from it.

/// The longest host name that Linux allows, and the zero after it.
const HOSTNAME_BYTES_MAX: usize = 65;

/// The number of different node ids.
const NODE_IDS: u32 = 1024;

/// The name that the operating system gives this host.
pub fn hostname() -> String {
    let mut buffer = [0_u8; HOSTNAME_BYTES_MAX];
    // SAFETY: the pointer and the length are those of a live, writable buffer.
    let failed = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len()) } != 0;
    let length = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    if failed || length == 0 {
        return "localhost".to_owned();
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// The node id that the original gives a host of that name.
pub fn default_node_id(hostname: &str) -> i64 {
    i64::from(crc32fast::hash(&md5::compute(hostname.as_bytes()).0) % NODE_IDS)
}

#[cfg(test)]
mod tests {
    use super::{default_node_id, hostname};

    #[test]
    fn node_ids_are_the_originals() {
        // Read from the original's log on a host of that name.
        assert_eq!(default_node_id("vm"), 617);
    }

    #[test]
    fn a_host_has_a_name() {
        let name = hostname();
        assert!(!name.is_empty() && !name.contains('\0'), "{name:?}");
    }
}

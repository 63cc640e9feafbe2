//! What helps against what the system said, for the line with which a program ends.
//!
//! Errors of our own say in their texts what to do; those of the system come in its words, through
//! whatever failed, and what helps depends on these words alone.

/// What the end of a program has in its text, and what helps. The first that fits counts.
const REMEDIES: &[(&str, &str)] = &[
    (
        "possibly in use by another instance",
        "stop that one, or give this one a data path of its own with --data-path",
    ),
    (
        "address already in use",
        "stop what listens there, which `ss -ltnp` names, or set another address",
    ),
    (
        "cannot assign requested address",
        "set an address that this machine has, which `ip address` lists, or 0.0.0.0 for all",
    ),
    ("bind: permission denied", "set a port from 1024 on, or give it CAP_NET_BIND_SERVICE"),
    ("no such host", "set an address that can be resolved here, or a number"),
    ("missing port in address", "write it as <host>:<port>"),
    ("unknown port", "write it as <host>:<port>"),
    ("no space left on device", "make room on that file system, or set another path"),
    ("disk quota exceeded", "make room within the quota, or set another path"),
    ("read-only file system", "mount it for writing, or set another path"),
    (
        "permission denied",
        "give the user that this runs as the right to it (`ls -ld` shows who has it)",
    ),
    ("no such file or directory", "create it, or set the path of one that is there"),
    ("not a directory", "set the path of a directory"),
    ("is a directory", "set the path of a file"),
    ("too many open files", "raise the limit of open files (`ulimit -n`, LimitNOFILE=)"),
    ("cannot allocate memory", "free some memory, or set fewer --shards and less --memory-limit"),
    (
        "failed to parse metadata",
        "mend that file, or move it away: names and pauses are lost with it, messages are not",
    ),
    ("toml: ", "mend that line of the file"),
    ("cannot start a thread", "allow more threads (`ulimit -u`, TasksMax=)"),
    ("cannot start the log", "allow more threads (`ulimit -u`, TasksMax=)"),
    ("cannot start an executor", "raise the limits of locked memory and of open files"),
    ("cannot start a worker", "raise the limits of locked memory and of open files"),
    (
        "failed to build TLS config",
        "see with `openssl x509 -in <file>` and `openssl pkey -in <file>` what is in the files",
    ),
    ("input/output error", "see in the kernel's log (`dmesg`) what is wrong with the disk"),
    ("panicked", "it is a bug: please report it with the lines before this one"),
];

/// What to do, if the text does not say so itself.
pub fn remedy(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let fits = |(said, _): &&(&str, &str)| lower.contains(&said.to_lowercase());
    REMEDIES.iter().find(fits).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::remedy;
    use crate::config::go_text::errno_text;
    use std::io::Error;

    #[test]
    fn what_the_system_says_at_a_start_has_a_remedy() {
        for errno in [
            libc::EADDRINUSE,
            libc::EADDRNOTAVAIL,
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EROFS,
            libc::EACCES,
            libc::ENOENT,
            libc::ENOTDIR,
            libc::EISDIR,
            libc::EMFILE,
            libc::ENOMEM,
            libc::EIO,
        ] {
            let text = errno_text(&Error::from_raw_os_error(errno));
            assert!(remedy(&format!("open /x: {text}")).is_some(), "{text}");
        }
    }

    #[test]
    fn the_nearest_one_is_given() {
        let text = "listen (:80) failed - listen tcp :80: bind: permission denied";
        assert!(remedy(text).unwrap().contains("CAP_NET_BIND_SERVICE"));
        let text = "cannot flock directory /d - resource temporarily unavailable (possibly in use \
                    by another instance of nsqd)";
        assert!(remedy(text).unwrap().contains("--data-path"));
        assert_eq!(remedy("--node-id must be [0,1024)"), None, "it says so itself");
    }
}

//! Names of topics and channels: 1 to 64 bytes of `[.a-zA-Z0-9_-]`, then perhaps `#ephemeral`.

use alloc::string::String;
use core::fmt;

/// The longest name in bytes, suffix included (NSQ's limit).
pub const NAME_BYTES_MAX: usize = 64;

const EPHEMERAL: &[u8] = b"#ephemeral";

/// A valid topic or channel name. Held inline, so that copying one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    // Padding is always zero, and a zero byte is in no name: comparing bytes compares the names.
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl Name {
    /// Reads a name; `None` when NSQ would refuse it.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Name> {
        if raw.is_empty() || raw.len() > NAME_BYTES_MAX {
            return None;
        }
        let stem = raw.strip_suffix(EPHEMERAL).unwrap_or(raw);
        if stem.is_empty() || !stem.iter().all(|&byte| ALLOWED[usize::from(byte)]) {
            return None;
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Name { bytes, len: u8::try_from(raw.len()).ok()? })
    }

    /// The name as it came over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name as text; names are ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Whether it ends in `#ephemeral`: kept in memory only, and removed when nobody uses it.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.as_bytes().ends_with(EPHEMERAL)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl From<&Name> for String {
    fn from(name: &Name) -> String {
        String::from(name.as_str())
    }
}

const ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric() || c == b'.' || c == b'_' || c == b'-';
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::Name;

    fn check(raw: &str, valid: bool) {
        assert_eq!(Name::parse(raw.as_bytes()).is_some(), valid, "{raw:?}");
    }

    #[test]
    fn follows_the_original_rules() {
        check("t", true);
        check("a.B-c_9", true);
        check("t#ephemeral", true);
        check(&"x".repeat(64), true);
        check(&"x".repeat(65), false);
        check(&alloc::format!("{}#ephemeral", "x".repeat(54)), true);
        check(&alloc::format!("{}#ephemeral", "x".repeat(55)), false);
        for bad in ["", "#ephemeral", "a b", "a$b", "t\n", "t#ephemeral#ephemeral", "t#eph", "é"] {
            check(bad, false);
        }
    }

    #[test]
    fn says_whether_it_is_ephemeral() {
        assert!(Name::parse(b"t#ephemeral").is_some_and(|name| name.is_ephemeral()));
        assert!(Name::parse(b"ephemeral").is_some_and(|name| !name.is_ephemeral()));
    }
}

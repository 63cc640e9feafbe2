//! What went wrong on the disk, in words, and how often that is logged.

use std::io;
use std::time::Instant;

use shards::disk::DiskError;

use super::limits::{COMPLAINT_PAUSE, COMPLAINTS_MAX};
use crate::config::go_text::errno_text;

/// An error, with what was done to which file.
pub(super) fn failed(action: &str, file: &str, error: &io::Error) -> DiskError {
    let full = matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT));
    DiskError { full, text: format!("{action} {file}: {}", errno_text(error)) }
}

/// Logs errors once per cause, and not at every retry: a full disk fails every turn, each time
/// with another file.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    known: Vec<Complaint>,
}

#[derive(Debug)]
struct Complaint {
    action: &'static str,
    /// The error's text without the file.
    cause: String,
    logged: Instant,
    /// How often it happened since then.
    unlogged: u64,
}

impl Complaints {
    /// Logs an error of this action if its cause is new.
    pub fn log(&mut self, action: &'static str, error: &DiskError) {
        let text = &error.text;
        let cause = text.rsplit_once(": ").map_or(text.as_str(), |(_, cause)| cause);
        match self.due(action, cause, Instant::now()) {
            Some(0) => tracing::error!("disk: {text}"),
            Some(more) => tracing::error!("disk: {text} (and {more} times since this was logged)"),
            None => {}
        }
    }

    /// Whether a cause is to be logged now, and then how often it was not.
    fn due(&mut self, action: &'static str, cause: &str, now: Instant) -> Option<u64> {
        let same = |known: &&mut Complaint| known.action == action && known.cause == cause;
        if let Some(known) = self.known.iter_mut().find(same) {
            if now.duration_since(known.logged) < COMPLAINT_PAUSE {
                known.unlogged += 1;
                return None;
            }
            known.logged = now;
            return Some(std::mem::take(&mut known.unlogged));
        }
        if self.known.len() == COMPLAINTS_MAX {
            self.known.remove(0);
        }
        let cause = cause.to_owned();
        self.known.push(Complaint { action, cause, logged: now, unlogged: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, Instant};

    use super::{COMPLAINT_PAUSE, COMPLAINTS_MAX, Complaints, failed};

    #[test]
    fn an_error_names_the_file_and_whether_the_disk_is_full() {
        for (errno, full) in [(libc::ENOSPC, true), (libc::EDQUOT, true), (libc::EIO, false)] {
            let error = failed("write", "0000000007.store", &io::Error::from_raw_os_error(errno));
            assert_eq!(error.full, full);
            assert!(error.text.starts_with("write 0000000007.store: "), "{}", error.text);
            assert!(!error.text.contains("os error"), "{}", error.text);
        }
    }

    #[test]
    fn a_cause_is_logged_once_in_a_while() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let full = "no space left on device";
        assert_eq!(complaints.due("write", full, start), Some(0));
        assert_eq!(complaints.due("write", full, start), None);
        assert_eq!(complaints.due("append", full, start), Some(0), "another action");
        assert_eq!(complaints.due("write", "input/output error", start), Some(0), "another error");
        assert_eq!(complaints.due("write", full, start + COMPLAINT_PAUSE / 2), None);
        assert_eq!(complaints.due("write", full, start + COMPLAINT_PAUSE), Some(2));
        let soon = start + COMPLAINT_PAUSE + Duration::from_secs(1);
        assert_eq!(complaints.due("write", full, soon), None);
        for cause in 0..1000 {
            complaints.due("read", &cause.to_string(), soon);
        }
        assert_eq!(complaints.known.len(), COMPLAINTS_MAX);
    }
}

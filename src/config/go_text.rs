//! Words of the operating system as Go prints them, so that fatal lines read like the original's.

use std::io;

/// The text of an error without Rust's `(os error N)`, beginning in lower case.
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match error.raw_os_error() {
        Some(code) => text.trim_end_matches(&format!(" (os error {code})")),
        None => &text,
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::errno_text;

    #[test]
    fn errors_read_as_in_go() {
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(errno_text(&in_use), "address already in use");
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(errno_text(&missing), "no such file or directory");
        assert_eq!(errno_text(&io::Error::other("Odd")), "odd");
    }
}

//! Query strings, read by the original's rules: first value wins, one fault spoils the whole.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;

/// The most parameters that one query may have.
pub const QUERY_PARAMETERS_MAX: usize = 10_000;

/// A query string whose escapes are known to be well formed.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    raw: &'q str,
}

/// Why a query string cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadQuery<'q> {
    /// A `;` that is not escaped: some take it for a separator, so it is refused.
    Semicolon,
    /// A `%` without two hexadecimal digits; the text is what stands there.
    Escape(&'q str),
    /// More than [`QUERY_PARAMETERS_MAX`].
    TooMany,
}

impl fmt::Display for BadQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadQuery::Semicolon => f.write_str("invalid semicolon separator in query"),
            BadQuery::Escape(text) => write!(f, "invalid URL escape {text:?}"),
            BadQuery::TooMany => {
                write!(f, "more than {QUERY_PARAMETERS_MAX} query parameters")
            }
        }
    }
}

impl<'q> Query<'q> {
    /// Checks a raw query string, without its `?`.
    ///
    /// # Errors
    /// When any part of it is malformed, be it asked for later or not.
    pub fn parse(raw: &'q str) -> Result<Query<'q>, BadQuery<'q>> {
        if raw.contains(';') {
            return Err(BadQuery::Semicolon);
        }
        if let Some(text) = bad_escape(raw) {
            return Err(BadQuery::Escape(text));
        }
        if raw.bytes().filter(|&byte| byte == b'&').count() >= QUERY_PARAMETERS_MAX {
            return Err(BadQuery::TooMany);
        }
        Ok(Query { raw })
    }

    /// All parameters with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'q, [u8]>, Cow<'q, [u8]>)> {
        let pairs = self.raw.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        })
    }

    /// The first value of a parameter; `None` when it does not occur, empty when it has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'q, [u8]>> {
        let pairs = self.raw.split('&').filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if *unescape(key) == *name.as_bytes() {
                return Some(unescape(value));
            }
        }
        None
    }
}

/// The first malformed escape of `text`, at most three characters of it.
#[must_use]
pub fn bad_escape(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let end = (at + 3).min(text.len());
            return Some(text.get(at..end).unwrap_or("%"));
        }
    }
    None
}

fn unescape(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().any(|byte| byte == b'+') {
        let spaced: Vec<u8> = text.bytes().map(|c| if c == b'+' { b' ' } else { c }).collect();
        return Cow::Owned(percent_decode(&spaced).collect());
    }
    percent_decode(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::{BadQuery, QUERY_PARAMETERS_MAX, Query};

    fn value(raw: &str, name: &str) -> Option<String> {
        let query = Query::parse(raw).expect("well formed");
        query.get(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn finds_the_first_value() {
        assert_eq!(value("topic=a&topic=b", "topic").as_deref(), Some("a"));
        assert_eq!(value("x=1&topic=a", "topic").as_deref(), Some("a"));
        assert_eq!(value("topic", "topic").as_deref(), Some(""));
        assert_eq!(value("topic=", "topic").as_deref(), Some(""));
        assert_eq!(value("&&topic=a=b", "topic").as_deref(), Some("a=b"));
        assert_eq!(value("Topic=a", "topic"), None);
        assert_eq!(value("", "topic"), None);
    }

    #[test]
    fn undoes_escapes_in_names_and_values() {
        assert_eq!(value("t%6fpic=a%23ephemeral", "topic").as_deref(), Some("a#ephemeral"));
        assert_eq!(value("topic=a+b%2Bc", "topic").as_deref(), Some("a b+c"));
    }

    #[test]
    fn one_fault_spoils_the_whole() {
        assert_eq!(Query::parse("topic=a;b").err(), Some(BadQuery::Semicolon));
        assert_eq!(Query::parse("topic=a&x=%zz").err(), Some(BadQuery::Escape("%zz")));
        assert_eq!(Query::parse("topic=a%f").err(), Some(BadQuery::Escape("%f")));
        let many = "&".repeat(QUERY_PARAMETERS_MAX);
        assert_eq!(Query::parse(&many).err(), Some(BadQuery::TooMany));
        assert!(Query::parse(&many[1..]).is_ok());
    }
}

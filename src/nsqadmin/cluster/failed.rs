//! What was found, and who failed; in the words of the original's messages.

use std::fmt;

use hyper::StatusCode;
use serde::Serialize;

use crate::http::client::V1Error;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// A lookup server.
    #[serde(rename = "nsqlookupd")]
    Lookupd,
    /// A broker.
    #[serde(rename = "nsqd")]
    Nsqd,
}

impl Kind {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lookupd => "nsqlookupd",
            Kind::Nsqd => "nsqd",
        }
    }
}

/// A node that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// What it is.
    pub kind: Kind,
    /// Its HTTP address.
    pub address: String,
    /// Why.
    pub error: String,
    /// The status of its answer, if there was one.
    #[serde(skip)]
    pub status: Option<StatusCode>,
}

impl Failed {
    /// The failure of one request.
    pub fn new(kind: Kind, address: String, error: &V1Error) -> Failed {
        Failed { kind, address, error: error.to_string(), status: error.status() }
    }
}

/// An answer that may lack what some nodes would have said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<T> {
    /// What the others said.
    pub value: T,
    /// Who failed.
    pub failed: Vec<Failed>,
}

impl<T> Found<T> {
    /// Makes something of what was found.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: make(self.value), failed: self.failed }
    }
}

/// Nobody answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Who was asked.
    pub kind: Kind,
    /// All of them.
    pub failed: Vec<Failed>,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to query any {}: {}", self.kind.name(), lines(&self.failed))
    }
}

/// The failures of one stage, a line each.
fn lines(failed: &[Failed]) -> String {
    let lines: Vec<&str> = failed.iter().map(|failed| failed.error.as_str()).collect();
    lines.join("\n")
}

/// `message` of an answer whose stages had these failures; empty when there were none.
pub fn warning(stages: &[&[Failed]]) -> String {
    let texts: Vec<String> =
        stages.iter().filter(|stage| !stage.is_empty()).map(|stage| lines(stage)).collect();
    if texts.is_empty() { String::new() } else { format!("WARNING: {}", texts.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::{Failed, Kind, Unanswered, warning};

    fn failed(address: &str, error: &str) -> Failed {
        Failed {
            kind: Kind::Nsqd,
            address: address.to_owned(),
            error: error.to_owned(),
            status: None,
        }
    }

    #[test]
    fn messages_are_the_originals() {
        let (a, b) = (failed("a:1", "x"), failed("b:1", "y"));
        assert_eq!(warning(&[&[], &[]]), "");
        let stages: [&[Failed]; 3] = [&[a.clone(), b.clone()], &[], std::slice::from_ref(&b)];
        assert_eq!(warning(&stages), "WARNING: x\ny; y");
        let nobody = Unanswered { kind: Kind::Lookupd, failed: vec![a, b] };
        assert_eq!(nobody.to_string(), "failed to query any nsqlookupd: x\ny");
    }
}

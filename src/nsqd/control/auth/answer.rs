//! What an auth server answers: JSON by the rules of Go's decoder, checked, and made into rules.
//!
//! What is wrong is said with the number of the entry and nothing out of it.

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::Regex;
use serde_json::{Map, Value};
use shards::auth::{Action, Grant, Rules};

use super::super::limits::AUTH_PATTERNS_MAX;
use super::pattern;

/// What each entry allows; one is enough.
#[derive(Debug)]
struct Entries(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    topic: Arc<Regex>,
    channels: Vec<Arc<Regex>>,
    publish: bool,
    subscribe: bool,
}

impl Rules for Entries {
    fn allow(&self, action: Action<'_>) -> bool {
        let Entries(entries) = self;
        // For a publish, patterns are held against an empty channel, as in the original.
        let (topic, channel) = match action {
            Action::Publish(topic) => (topic, &b""[..]),
            Action::Subscribe(topic, channel) => (topic, channel.as_bytes()),
        };
        entries.iter().any(|entry| {
            let permitted = match action {
                Action::Publish(_) => entry.publish,
                Action::Subscribe(..) => entry.subscribe,
            };
            permitted
                && entry.topic.is_match(topic.as_bytes())
                && entry.channels.iter().any(|pattern| pattern.is_match(channel))
        })
    }
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8]) -> Result<Grant, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| {
        format!("the answer is no JSON, at line {} column {}", error.line(), error.column())
    })?;
    let fields = object(&answer)?;
    let (identity, identity_url) = (text(fields, "identity")?, text(fields, "identity_url")?);
    let ttl_s = match field(fields, "ttl") {
        None => 0,
        Some(ttl) => ttl.as_i64().ok_or("ttl is no whole number")?,
    };
    let mut patterns = Patterns::default();
    let entries = list(fields, "authorizations")?.iter().enumerate();
    let entries = entries.map(|(index, entry)| {
        patterns.entry(entry).map_err(|problem| format!("authorization {}: {problem}", index + 1))
    });
    let entries = entries.collect::<Result<Vec<Entry>, String>>()?;
    if ttl_s <= 0 {
        return Err(format!("invalid TTL {ttl_s} (must be >0)"));
    }
    Ok(Grant {
        identity: identity.to_owned(),
        identity_url: identity_url.to_owned(),
        entries: entries.len(),
        ttl_ms: ttl_s.unsigned_abs().saturating_mul(1000),
        rules: Arc::new(Entries(entries)),
    })
}

/// The patterns of one answer; many entries have the same ones.
#[derive(Default)]
struct Patterns(HashMap<String, Arc<Regex>>);

impl Patterns {
    fn entry(&mut self, entry: &Value) -> Result<Entry, String> {
        let fields = object(entry)?;
        let mut made = Entry {
            topic: self.compile(text(fields, "topic")?).map_err(|p| format!("topic: {p}"))?,
            channels: Vec::new(),
            publish: false,
            subscribe: false,
        };
        for permission in list(fields, "permissions")? {
            match permission.as_str() {
                Some("publish") => made.publish = true,
                Some("subscribe") => made.subscribe = true,
                _ => return Err("unknown permission".to_owned()),
            }
        }
        for channel in list(fields, "channels")? {
            let channel = match channel {
                Value::Null => "",
                channel => channel.as_str().ok_or("a channel is no text")?,
            };
            made.channels.push(self.compile(channel).map_err(|p| format!("channel: {p}"))?);
        }
        Ok(made)
    }

    fn compile(&mut self, text: &str) -> Result<Arc<Regex>, String> {
        let Patterns(known) = self;
        if let Some(known) = known.get(text) {
            return Ok(known.clone());
        }
        if known.len() == AUTH_PATTERNS_MAX {
            return Err(format!("more than {AUTH_PATTERNS_MAX} different patterns"));
        }
        let pattern = Arc::new(pattern::compile(text)?);
        known.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

/// The fields of an object; of `null` there are none.
fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(&NONE),
        _ => Err("it is no object".to_owned()),
    }
}

/// A field whatever the case of its name, unless it is `null`.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    fields.get(name).or_else(any_case).filter(|value| !value.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match field(fields, name) {
        None => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| format!("{name} is no text")),
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match field(fields, name) {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("{name} is no list")),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use shards::auth::Action;
    use shards::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    /// An answer with this entry, and whether publishing to `topic` and consuming its `channel`
    /// are allowed.
    fn check(entry: &str, topic: &str, channel: &str, outcomes: (bool, bool)) {
        let json = format!("{{\"ttl\":1,\"authorizations\":[{entry}]}}");
        let grant = read(json.as_bytes()).unwrap();
        let (topic, channel) = (name(topic), name(channel));
        let publish = grant.rules.allow(Action::Publish(&topic));
        let subscribe = grant.rules.allow(Action::Subscribe(&topic, &channel));
        assert_eq!((publish, subscribe), outcomes, "{entry} {topic} {channel}");
    }

    #[test]
    fn entries_allow_as_in_the_original() {
        let both = r#""permissions":["publish","subscribe"]"#;
        let all = format!(r#"{{"topic":".*","channels":[".*"],{both}}}"#);
        check(&all, "t", "c", (true, true));
        // Patterns are not anchored.
        let part = format!(r#"{{"topic":"pic","channels":["^$","x"],{both}}}"#);
        check(&part, "topic1", "ax", (true, true));
        check(&part, "topic1", "a", (true, false));
        check(&part, "toc", "ax", (false, false));
        check(&format!(r#"{{"topic":"t","channels":[],{both}}}"#), "t", "c", (false, false));
        check(&format!(r#"{{"topic":"t",{both}}}"#), "t", "c", (false, false));
        check(&format!(r#"{{"topic":"t","channels":["foo"],{both}}}"#), "t", "foo", (false, true));
        check(r#"{"topic":"","channels":[""],"permissions":["publish"]}"#, "t", "c", (true, false));
        check(
            r#"{"topic":"","channels":[""],"permissions":["subscribe"]}"#,
            "t",
            "c",
            (false, true),
        );
        check(r#"{"topic":"","channels":[""]}"#, "t", "c", (false, false));
        check("null", "t", "c", (false, false));
    }

    #[test]
    fn fields_are_found_as_go_finds_them() {
        let json = br#"{"TTL":3600,"Identity":"me","identity_URL":null,"more":[1],
            "Authorizations":[{"Topic":"t","CHANNELS":[null],"permissions":["publish"]}]}"#;
        let grant = read(json).unwrap();
        assert_eq!((grant.identity.as_str(), grant.identity_url.as_str()), ("me", ""));
        assert_eq!((grant.ttl_ms, grant.entries), (3_600_000, 1));
        assert!(grant.rules.allow(Action::Publish(&name("t"))));
        assert_eq!(read(br#"{"ttl":1,"authorizations":null}"#).unwrap().entries, 0);
        assert_eq!(read(br#"{"ttl":9223372036854775807}"#).unwrap().ttl_ms, u64::MAX);
    }

    #[test]
    fn answers_that_make_no_sense_are_refused_without_quoting_them() {
        for wrong in [
            "",
            "s3cret",
            "[]",
            "\"s3cret\"",
            "null",
            "{}",
            r#"{"ttl":0}"#,
            r#"{"ttl":-1}"#,
            r#"{"ttl":1.5}"#,
            r#"{"ttl":"s3cret"}"#,
            r#"{"ttl":1,"identity":["s3cret"]}"#,
            r#"{"ttl":1,"authorizations":"s3cret"}"#,
            r#"{"ttl":1,"authorizations":["s3cret"]}"#,
            r#"{"ttl":1,"authorizations":[{"permissions":["s3cret"]}]}"#,
            r#"{"ttl":1,"authorizations":[{"permissions":[1]}]}"#,
            r#"{"ttl":1,"authorizations":[{"topic":"(s3cret"}]}"#,
            r#"{"ttl":1,"authorizations":[{"channels":["(s3cret"]}]}"#,
            r#"{"ttl":1,"authorizations":[{"channels":[1]}]}"#,
            r#"{"ttl":1} s3cret"#,
        ] {
            let problem = read(wrong.as_bytes()).expect_err(wrong);
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let huge = r#"{"ttl":1,"authorizations":[{"topic":"((a{100}){100}){100}"}]}"#;
        assert!(read(huge.as_bytes()).is_err());
        let channels: Vec<String> = (0..2000).map(|number| format!("\"c{number}\"")).collect();
        let many =
            format!(r#"{{"ttl":1,"authorizations":[{{"channels":[{}]}}]}}"#, channels.join(","));
        assert!(read(many.as_bytes()).unwrap_err().contains("different patterns"));
    }
}

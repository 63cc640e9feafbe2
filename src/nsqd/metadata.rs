//! `nsqd.dat`: the topics and channels that outlive a restart, in the original's own format.
//!
//! It is read before the workers start, and written then, at a clean stop, and whenever topics or
//! channels were created, deleted, paused or unpaused. Reading order: this file (the format),
//! `file` (how it gets onto the disk whole), `keeper` (the thread that the shards report to).

pub mod file;
pub mod keeper;
pub mod policy;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::wire::names::Name;

use crate::config::version::NSQ_VERSION;
use file::MetadataFile;

/// Topics by name, so that what is written does not depend on who reported first.
pub type Topics = BTreeMap<Name, TopicMetadata>;

/// What a start has read.
#[derive(Debug)]
pub struct Loaded {
    /// Where it was read from, and is written to.
    pub file: MetadataFile,
    /// What is in it.
    pub content: Content,
}

/// What a metadata file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Topics with their channels.
    pub topics: Topics,
    /// What was skipped, one line each.
    pub warnings: Vec<String>,
}

/// Reads the metadata of a data path; without a file there is none.
///
/// # Errors
/// A file that cannot be read or makes no sense; the text is the end of the line
/// `failed to load metadata - `.
pub fn load(directory: &Path) -> Result<Loaded, String> {
    let file = MetadataFile::new(directory);
    let path = file.path().display();
    let bytes = file
        .read()
        .map_err(|problem| format!("failed to read metadata from {path} - {problem}"))?;
    let content = match bytes {
        Some(bytes) => parse(&bytes)
            .map_err(|problem| format!("failed to parse metadata in {path} - {problem}"))?,
        None => Content::default(),
    };
    Ok(Loaded { file, content })
}

/// Reads metadata as the original does: `null` and missing are nothing, unknown keys and the
/// version are ignored, keys match in any case, and names that are not valid are skipped.
///
/// # Errors
/// No JSON, or a value of another kind than it should be.
pub fn parse(bytes: &[u8]) -> Result<Content, String> {
    // Like the original: what is not UTF-8 is a replacement character, which no name contains.
    let text = String::from_utf8_lossy(bytes);
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
    })?;
    let mut content = Content::default();
    let Some(root) = object(&value, "the whole")? else { return Ok(content) };
    for topic in list(root, "topics")? {
        let Some((name, topic)) = entry(topic, "topic", &mut content.warnings)? else { continue };
        let mut found = TopicMetadata::new(name);
        found.paused = flag(topic, "paused")?;
        found.policy = policy::read(topic, &name, &format!("topic {name}"))?;
        for channel in list(topic, "channels")? {
            let channel = entry(channel, "channel", &mut content.warnings)?;
            if let Some((channel_name, channel)) = channel {
                let paused = flag(channel, "paused")?;
                let what = format!("channel {name}/{channel_name}");
                let policy = policy::read(channel, &name, &what)?;
                add(
                    &mut found.channels,
                    ChannelMetadata { policy, ..ChannelMetadata::new(channel_name, paused) },
                );
            }
        }
        found.channels.sort_unstable_by_key(|channel| channel.name);
        merge(&mut content.topics, found);
    }
    policy::check_circles(&content.topics)?;
    Ok(content)
}

/// Adds a channel; a second one of its name adds to the first.
fn add(channels: &mut Vec<ChannelMetadata>, channel: ChannelMetadata) {
    match channels.iter_mut().find(|known| known.name == channel.name) {
        Some(known) => {
            known.paused |= channel.paused;
            if known.policy.is_empty() {
                known.policy = channel.policy;
            }
        }
        None => channels.push(channel),
    }
}

/// Adds a topic; a second one of its name adds to the first.
fn merge(topics: &mut Topics, topic: TopicMetadata) {
    let Some(known) = topics.get_mut(&topic.name) else {
        topics.insert(topic.name, topic);
        return;
    };
    known.paused |= topic.paused;
    if known.policy.is_empty() {
        known.policy = topic.policy;
    }
    topic.channels.into_iter().for_each(|channel| add(&mut known.channels, channel));
}

type Object = Map<String, Value>;

/// One topic or channel with its name; `None` when the name is not valid.
fn entry<'v>(
    value: &'v Value,
    what: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<(Name, &'v Object)>, String> {
    let object = object(value, what)?;
    let text = match object.map_or(&Value::Null, |object| field(object, "name")) {
        Value::Null => "",
        Value::String(text) => text,
        other => return Err(unexpected("name", other, "a string")),
    };
    let found = Name::parse(text.as_bytes()).zip(object);
    if found.is_none() {
        warnings.push(format!("skipping creation of invalid {what} {text}"));
    }
    Ok(found)
}

/// An object; `None` for `null`.
fn object<'v>(value: &'v Value, what: &str) -> Result<Option<&'v Object>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Object(object) => Ok(Some(object)),
        other => Err(unexpected(what, other, "an object")),
    }
}

/// A value by its key in any case, `null` when there is none.
fn field<'v>(object: &'v Object, key: &str) -> &'v Value {
    let same = |(found, _): &(&String, &Value)| found.eq_ignore_ascii_case(key);
    object.iter().rfind(same).map_or(&Value::Null, |(_, value)| value)
}

fn list<'v>(object: &'v Object, key: &str) -> Result<&'v [Value], String> {
    match field(object, key) {
        Value::Null => Ok(&[]),
        Value::Array(list) => Ok(list),
        other => Err(unexpected(key, other, "a list")),
    }
}

fn flag(object: &Object, key: &str) -> Result<bool, String> {
    match field(object, key) {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        other => Err(unexpected(key, other, "true or false")),
    }
}

fn unexpected(what: &str, value: &Value, wanted: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("{what} is {kind}, not {wanted}")
}

/// The file, with its keys in the original's order. What is empty is `null`, as Go writes it.
#[derive(Serialize)]
struct FileText<'a> {
    topics: Option<Vec<TopicText<'a>>>,
    version: &'a str,
}

#[derive(Serialize)]
struct TopicText<'a> {
    name: &'a str,
    paused: bool,
    channels: Option<Vec<ChannelText<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shoal: Option<policy::PolicyText>,
}

#[derive(Serialize)]
struct ChannelText<'a> {
    name: &'a str,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shoal: Option<policy::PolicyText>,
}

/// Metadata as it stands in the file. What is ephemeral is left out.
pub fn text(topics: &Topics) -> Vec<u8> {
    let lasting = topics.values().filter(|topic| !topic.name.is_ephemeral());
    let topics = lasting.map(|topic| TopicText {
        name: topic.name.as_str(),
        paused: topic.paused,
        channels: unless_empty(channel_texts(topic)),
        shoal: policy::text(&topic.policy),
    });
    let file = FileText { topics: unless_empty(topics.collect()), version: NSQ_VERSION };
    serde_json::to_vec(&file).expect("text, flags and lists are JSON")
}

fn channel_texts(topic: &TopicMetadata) -> Vec<ChannelText<'_>> {
    let lasting = topic.channels.iter().filter(|channel| !channel.name.is_ephemeral());
    lasting
        .map(|channel| ChannelText {
            name: channel.name.as_str(),
            paused: channel.paused,
            shoal: policy::text(&channel.policy),
        })
        .collect()
}

fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

//! What nodes say about themselves, as far as anybody here wants to know it.
//!
//! Nodes are of many versions, and of two makes: fields may be missing, and lists may be `null`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::stats::TopicStats;

/// `null` is as good as nothing.
pub fn nullable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A number as Go writes it: without a point when it is whole.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub fn go_float<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    // Beyond this a float may not be whole although it looks so.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        return to.serialize_i64(*number as i64);
    }
    to.serialize_f64(*number)
}

/// The time by the calendar.
pub fn unix_seconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// A lookup server's `/topics`.
#[derive(Debug, Deserialize)]
pub struct Topics {
    #[serde(default, deserialize_with = "nullable")]
    pub topics: Vec<String>,
}

/// A lookup server's `/channels`.
#[derive(Debug, Deserialize)]
pub struct Channels {
    #[serde(default, deserialize_with = "nullable")]
    pub channels: Vec<String>,
}

/// A lookup server's `/nodes`.
#[derive(Debug, Deserialize)]
pub struct Nodes {
    #[serde(default, deserialize_with = "nullable")]
    pub producers: Vec<Producer>,
}

/// A lookup server's `/lookup`.
#[derive(Debug, Deserialize)]
pub struct Lookup {
    #[serde(default, deserialize_with = "nullable")]
    pub channels: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub producers: Vec<Producer>,
}

/// A node as a lookup server knows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Producer {
    pub remote_address: String,
    pub hostname: String,
    pub broadcast_address: String,
    pub tcp_port: i64,
    pub http_port: i64,
    pub version: String,
    pub topology_zone: String,
    pub topology_region: String,
    #[serde(deserialize_with = "nullable")]
    pub topics: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub tombstones: Vec<bool>,
}

/// A node's `/info`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeInfo {
    /// The release of NSQ that it is taken for.
    pub version: String,
    /// The machine's name.
    pub hostname: String,
    /// How others reach it.
    pub broadcast_address: String,
    /// Its ports.
    pub tcp_port: i64,
    /// As above.
    pub http_port: i64,
    /// When it was started, by the calendar.
    pub start_time: Option<i64>,
    /// Where it is.
    pub topology_zone: String,
    /// As above.
    pub topology_region: String,
}

/// The names of the topics in a node's `/stats`.
#[derive(Debug, Deserialize)]
pub struct TopicNames {
    #[serde(default, deserialize_with = "nullable")]
    topics: Vec<TopicName>,
}

#[derive(Debug, Deserialize)]
struct TopicName {
    topic_name: String,
}

impl TopicNames {
    /// The names.
    pub fn names(self) -> Vec<String> {
        self.topics.into_iter().map(|topic| topic.topic_name).collect()
    }
}

/// A node's whole `/stats`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStats {
    /// `OK`, or what is wrong.
    pub health: String,
    /// When it was started, by the calendar.
    pub start_time: Option<i64>,
    /// Its topics.
    #[serde(deserialize_with = "nullable")]
    pub topics: Vec<TopicStats>,
    /// Connections that publish.
    #[serde(deserialize_with = "nullable")]
    pub producers: Vec<Value>,
    /// Memory, in its own words.
    pub memory: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::{NodeStats, Nodes, Topics, go_float};

    #[test]
    fn null_is_as_good_as_nothing() {
        assert!(serde_json::from_str::<Topics>("{\"topics\":null}").unwrap().topics.is_empty());
        assert!(serde_json::from_str::<Topics>("{}").unwrap().topics.is_empty());
        let stats = "{\"health\":\"OK\",\"topics\":null,\"producers\":null}";
        assert!(serde_json::from_str::<NodeStats>(stats).unwrap().topics.is_empty());
        let nodes = "{\"producers\":[{\"tombstones\":null,\"http_port\":1,\"new\":{}}]}";
        assert_eq!(serde_json::from_str::<Nodes>(nodes).unwrap().producers[0].http_port, 1);
        assert!(serde_json::from_str::<Topics>("{\"topics\":[1]}").is_err());
    }

    #[test]
    fn whole_numbers_have_no_point() {
        let text = |number: f64| {
            let mut bytes = Vec::new();
            go_float(&number, &mut serde_json::Serializer::new(&mut bytes)).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(text(232_500_000.0), "232500000");
        assert_eq!(text(0.99), "0.99");
        assert_eq!(text(0.0), "0");
        assert_eq!(text(1e300), "1e+300");
    }
}

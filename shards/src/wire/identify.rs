//! IDENTIFY: what a client says of itself, checked, and what it is told in return.
//!
//! The body follows the rules of Go's JSON decoder: keys in any case, unknown ones ignored, the
//! last of several wins, `null` means "not said", and integers must be written as integers.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

use super::errors::Refusal;
use crate::limits::{HEARTBEAT_MS_DEFAULT, OUTPUT_BUFFER_BYTES_DEFAULT, Options};
use crate::upgrade::{Compression, Upgrade};

/// Go's JSON decoder goes no deeper.
const NESTING_MAX: u32 = 10_000;
/// The length of `\uXXXX`.
const ESCAPED_UNIT_BYTES: usize = 6;
/// Percent of messages up to which a client may ask for a sample.
const SAMPLE_RATE_MAX: i32 = 99;

/// What a client may say. Numbers as it said them; 0 where it said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the protocol")]
pub struct Identify {
    pub client_id: String,
    pub hostname: String,
    pub user_agent: String,
    pub feature_negotiation: bool,
    pub heartbeat_interval: i64,
    pub output_buffer_size: i64,
    pub output_buffer_timeout: i64,
    pub tls_v1: bool,
    pub deflate: bool,
    pub deflate_level: i64,
    pub snappy: bool,
    pub sample_rate: i32,
    pub msg_timeout: i64,
    pub topology_region: String,
    pub topology_zone: String,
}

/// What holds for a connection, as negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between heartbeats; 0 for no heartbeats and no deadlines.
    pub heartbeat_ms: u64,
    /// As negotiated; Shoal sends at the end of each turn, which is never later.
    pub output_buffer_bytes: i64,
    /// As negotiated, see above.
    pub output_buffer_timeout_ms: i64,
    /// Time to answer a message.
    pub msg_timeout_ms: u64,
    /// Percent of the channel's messages to deliver, less one; 0 for all of them.
    pub sample_rate: i32,
}

impl Settings {
    /// What holds before IDENTIFY.
    #[must_use]
    pub fn new(options: &Options) -> Settings {
        Settings {
            heartbeat_ms: HEARTBEAT_MS_DEFAULT,
            output_buffer_bytes: OUTPUT_BUFFER_BYTES_DEFAULT,
            output_buffer_timeout_ms: options.output_buffer_timeout_ms,
            msg_timeout_ms: options.msg_timeout_ms.unsigned_abs(),
            sample_rate: 0,
        }
    }

    /// Applies what the client asks for; the fields are checked in the original's order.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn apply(&mut self, asked: &Identify, options: &Options) -> Result<(), Refusal> {
        let bad = |what: &str, value: i64| {
            Refusal::new(format_args!("E_BAD_BODY IDENTIFY {what} ({value}) is invalid"))
        };
        let within = |value, low, high| (low..=high).contains(&value);
        match asked.heartbeat_interval {
            0 => {}
            -1 => self.heartbeat_ms = 0,
            ms if within(ms, 1000, options.max_heartbeat_interval_ms) => {
                self.heartbeat_ms = ms.unsigned_abs();
            }
            ms => return Err(bad("heartbeat interval", ms)),
        }
        let (low, high) =
            (options.min_output_buffer_timeout_ms, options.max_output_buffer_timeout_ms);
        match asked.output_buffer_timeout {
            0 => {}
            -1 => self.output_buffer_timeout_ms = 0,
            ms if within(ms, low, high) => self.output_buffer_timeout_ms = ms,
            ms => return Err(bad("output buffer timeout", ms)),
        }
        match asked.output_buffer_size {
            0 => {}
            -1 => {
                self.output_buffer_bytes = 1;
                self.output_buffer_timeout_ms = 0;
            }
            bytes if within(bytes, 64, options.max_output_buffer_bytes) => {
                self.output_buffer_bytes = bytes;
            }
            bytes => return Err(bad("output buffer size", bytes)),
        }
        if !(0..=SAMPLE_RATE_MAX).contains(&asked.sample_rate) {
            return Err(bad("sample rate", asked.sample_rate.into()));
        }
        self.sample_rate = asked.sample_rate;
        match asked.msg_timeout {
            0 => {}
            ms if within(ms, 1000, options.max_msg_timeout_ms) => {
                self.msg_timeout_ms = ms.unsigned_abs();
            }
            ms => return Err(bad("msg timeout", ms)),
        }
        Ok(())
    }

    /// The answer to a client that negotiates features: compact JSON, keys in NSQ's order.
    #[must_use]
    pub fn answer(&self, upgrade: &Upgrade, options: &Options) -> String {
        alloc::format!(
            "{{\"max_rdy_count\":{},\"version\":\"{}\",\"max_msg_timeout\":{},\"msg_timeout\":{},\
             \"tls_v1\":{},\"deflate\":{},\"deflate_level\":{},\"max_deflate_level\":{},\
             \"snappy\":{},\"sample_rate\":{},\"auth_required\":{},\
             \"output_buffer_size\":{},\"output_buffer_timeout\":{},\
             \"topology_region\":{},\"topology_zone\":{}}}",
            options.max_rdy_count,
            options.version,
            options.max_msg_timeout_ms,
            self.msg_timeout_ms,
            upgrade.tls,
            matches!(upgrade.compression, Compression::Deflate(_)),
            upgrade.deflate_level(options),
            options.max_deflate_level,
            upgrade.compression == Compression::Snappy,
            self.sample_rate,
            options.auth_required,
            self.output_buffer_bytes,
            self.output_buffer_timeout_ms,
            GoString(&options.topology_region),
            GoString(&options.topology_zone),
        )
    }
}

/// A JSON string as Go's encoder writes it: safe inside HTML.
pub struct GoString<'a>(pub &'a str);

impl fmt::Display for GoString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::Value::from(self.0);
        let text = alloc::format!("{json}");
        text.chars().try_for_each(|c| match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", u32::from(c)),
            c => write!(f, "{c}"),
        })
    }
}

/// Decodes the body of IDENTIFY.
///
/// # Errors
/// The refusal for everything that Go's decoder would not take.
pub fn decode(body: &[u8]) -> Result<Identify, Refusal> {
    let refusal = || Refusal::new(format_args!("E_BAD_BODY IDENTIFY failed to decode JSON body"));
    if nesting(body) > NESTING_MAX {
        return Err(refusal());
    }
    let text = String::from_utf8_lossy(body);
    let asked: Result<Option<Identify>, _> = serde_json::from_str(&without_lone_surrogates(&text));
    asked.map(Option::unwrap_or_default).map_err(|_| refusal())
}

/// Half of a UTF-16 pair, escaped, is what Go's decoder takes for U+FFFD and serde's for an error.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut fixed = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(backslash) = json[at..].find('\\') {
        at += backslash;
        match (unit(json, at), unit(json, at + ESCAPED_UNIT_BYTES)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 2 * ESCAPED_UNIT_BYTES,
            (Some(0xd800..=0xdfff), _) => {
                fixed.push_str(&json[copied..at]);
                fixed.push_str("\\ufffd");
                at += ESCAPED_UNIT_BYTES;
                copied = at;
            }
            (Some(_), _) => at += ESCAPED_UNIT_BYTES,
            // Another escape; the backslash at its end is not the beginning of one.
            (None, _) => at += 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    fixed.push_str(&json[copied..]);
    Cow::Owned(fixed)
}

/// The UTF-16 code unit that is escaped as `\uXXXX` at this place.
fn unit(json: &str, at: usize) -> Option<u16> {
    let escaped = json.get(at..at + ESCAPED_UNIT_BYTES)?;
    let digits = escaped.strip_prefix("\\u")?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

/// How deep arrays and objects lie in each other, at most; brackets in texts count only while
/// they are open, which no honest client notices.
fn nesting(json: &[u8]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    for byte in json {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

impl<'de> Deserialize<'de> for Identify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Identify, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Identify;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Identify, A::Error> {
        let mut asked = Identify::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let asked = &mut asked;
            match key.to_ascii_lowercase().as_str() {
                "client_id" => map.next_value_seed(Said(&mut asked.client_id))?,
                "hostname" => map.next_value_seed(Said(&mut asked.hostname))?,
                "user_agent" => map.next_value_seed(Said(&mut asked.user_agent))?,
                "feature_negotiation" => {
                    map.next_value_seed(Said(&mut asked.feature_negotiation))?
                }
                "heartbeat_interval" => {
                    map.next_value_seed(SaidNumber(&mut asked.heartbeat_interval))?
                }
                "output_buffer_size" => {
                    map.next_value_seed(SaidNumber(&mut asked.output_buffer_size))?
                }
                "output_buffer_timeout" => {
                    map.next_value_seed(SaidNumber(&mut asked.output_buffer_timeout))?;
                }
                "tls_v1" => map.next_value_seed(Said(&mut asked.tls_v1))?,
                "deflate" => map.next_value_seed(Said(&mut asked.deflate))?,
                "deflate_level" => map.next_value_seed(SaidNumber(&mut asked.deflate_level))?,
                "snappy" => map.next_value_seed(Said(&mut asked.snappy))?,
                "sample_rate" => map.next_value_seed(SaidNumber(&mut asked.sample_rate))?,
                "msg_timeout" => map.next_value_seed(SaidNumber(&mut asked.msg_timeout))?,
                "topology_region" => map.next_value_seed(Said(&mut asked.topology_region))?,
                "topology_zone" => map.next_value_seed(Said(&mut asked.topology_zone))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(asked)
    }
}

/// A field that keeps its value when the client says `null`.
struct Said<'a, T>(&'a mut T);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Said<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if let Some(value) = Option::<T>::deserialize(deserializer)? {
            *self.0 = value;
        }
        Ok(())
    }
}

/// The same for an integer, whose text decides: `-0` is one, `1.0` and `1e3` are none.
struct SaidNumber<'a, T>(&'a mut T);

impl<'de, T: FromStr> DeserializeSeed<'de> for SaidNumber<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        if text != "null" {
            *self.0 = text.parse().map_err(|_| D::Error::custom("no integer"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Identify, Settings, decode};
    use crate::limits::Options;
    use crate::upgrade::Upgrade;
    use alloc::string::ToString;
    use std::format;

    fn check(body: &str, heartbeat_interval: Option<i64>) {
        let asked = decode(body.as_bytes()).ok().map(|asked| asked.heartbeat_interval);
        assert_eq!(asked, heartbeat_interval, "{body}");
    }

    #[test]
    fn decodes_as_go_does() {
        check("{}", Some(0));
        check(" null ", Some(0));
        check(r#"{"heartbeat_interval": -0 }"#, Some(0));
        check(r#"{"heartbeat_interval":1000}"#, Some(1000));
        check(r#"{"Heartbeat_INTERVAL":1000,"heartbeat_interval":-1}"#, Some(-1));
        check(r#"{"heartbeat_interval":5,"heartbeat_interval":null}"#, Some(5));
        check(r#"{"other":[{"a":1.5e3}],"heartbeat_interval":7} "#, Some(7));
        for bad in ["[]", "1", "{", "{} x", "", r#"{"heartbeat_interval":1000.0}"#] {
            check(bad, None);
        }
        for bad in ["-0.0", "1e3", "\"1000\"", "true", "[]"] {
            check(&format!("{{\"heartbeat_interval\":{bad}}}"), None);
        }
        check(r#"{"sample_rate":2147483648}"#, None);
        check(r#"{"tls_v1":1}"#, None);
    }

    #[test]
    fn half_a_surrogate_pair_is_a_replacement_character() {
        let check = |escaped: &str, client_id: &str| {
            let asked = decode(format!("{{\"client_id\":\"{escaped}\"}}").as_bytes());
            assert_eq!(asked.map(|asked| asked.client_id).ok().as_deref(), Some(client_id));
        };
        check(r"\ud800", "\u{fffd}");
        check(r"a\uDC00b", "a\u{fffd}b");
        check(r"\ud83d\ud83d\ude00", "\u{fffd}😀");
        check(r"\ud800\u0041\ud800\n\\ud800", "\u{fffd}A\u{fffd}\n\\ud800");
        check(r"\\\ud800é", "\\\u{fffd}é");
        for bad in [r"\ud8", r"\ud80g", r"\u+800", r"\"] {
            assert!(decode(format!("{{\"client_id\":\"{bad}\"}}").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_in_the_original_words() {
        let options = Options::default();
        let mut settings = Settings::new(&options);
        assert!(settings.apply(&Identify::default(), &options).is_ok());
        assert_eq!(
            settings.answer(&Upgrade::default(), &options),
            "{\"max_rdy_count\":2500,\"version\":\"1.3.0\",\"max_msg_timeout\":900000,\
             \"msg_timeout\":60000,\"tls_v1\":false,\"deflate\":false,\"deflate_level\":6,\
             \"max_deflate_level\":6,\"snappy\":false,\"sample_rate\":0,\"auth_required\":false,\
             \"output_buffer_size\":16384,\"output_buffer_timeout\":250,\
             \"topology_region\":\"\",\"topology_zone\":\"\"}"
        );
        let zoned = Options { topology_zone: "<a>".to_string(), ..Options::default() };
        assert!(
            settings
                .answer(&Upgrade::default(), &zoned)
                .ends_with("\"topology_zone\":\"\\u003ca\\u003e\"}")
        );
    }
}

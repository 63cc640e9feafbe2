//! The values of flags: what kinds there are, and how the command line spells them.

use super::duration::parse_go_duration;
use super::number::{parse_bytes, parse_go_bool, parse_go_int};
use crate::log::LogLevel;

/// What a flag's values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Bool,
    /// A whole number.
    Int,
    /// A duration with its unit.
    Duration,
    /// A number of bytes, perhaps with `KB`, `MB`, `GB`.
    Bytes,
    /// Any text.
    Text,
    /// Any text, as often as wanted.
    Texts,
    /// Numbers, separated by commas or given several times.
    Floats,
    /// The name of a log level.
    LogLevel,
    /// `true`, `false` or `tcp-https`; alone it means `true`.
    TlsRequired,
    /// `tls1.0` to `tls1.3`.
    TlsVersion,
}

/// A value of a flag.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`].
    Int(i64),
    /// Of [`Kind::Duration`].
    DurationNs(i64),
    /// Of [`Kind::Bytes`].
    Bytes(u64),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Floats`].
    Floats(Vec<f64>),
    /// Of [`Kind::LogLevel`].
    LogLevel(LogLevel),
    /// Of [`Kind::TlsRequired`].
    TlsRequired(TlsRequired),
    /// Of [`Kind::TlsVersion`].
    TlsVersion(TlsVersion),
}

/// Which connections must be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRequired {
    /// None.
    No = 0,
    /// Those of TCP clients; plain HTTP is served.
    ExceptHttp = 1,
    /// All.
    Yes = 2,
}

/// The oldest version of TLS that is spoken; the number is the one in TLS's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.0.
    Tls10 = 769,
    /// TLS 1.1.
    Tls11 = 770,
    /// TLS 1.2.
    Tls12 = 771,
    /// TLS 1.3.
    Tls13 = 772,
}

impl Kind {
    /// Whether the flag may stand alone, without a value.
    pub fn stands_alone(self) -> bool {
        matches!(self, Kind::Bool | Kind::TlsRequired)
    }

    /// What `--help` calls a value of this kind.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Bool => "true|false",
            Kind::Int => "int",
            Kind::Duration => "duration",
            Kind::Bytes => "bytes",
            Kind::Text | Kind::Texts => "value",
            Kind::Floats => "float,...",
            Kind::LogLevel => "level",
            Kind::TlsRequired => "true|false|tcp-https",
            Kind::TlsVersion => "version",
        }
    }

    /// Reads one value as the command line spells it. The error says what is wrong with it.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Bool => {
                parse_go_bool(text).map(Value::Bool).ok_or_else(|| "it is true or false".to_owned())
            }
            Kind::Int => parse_go_int(text)
                .map(Value::Int)
                .ok_or_else(|| "it is not a whole number of 64 bits".to_owned()),
            Kind::Duration => parse_go_duration(text).map(Value::DurationNs),
            Kind::Bytes => parse_bytes(text).map(Value::Bytes).ok_or_else(|| {
                "it is not a number of bytes like 268435456, 512MB or 4GB".to_owned()
            }),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Texts => Ok(Value::Texts(vec![text.to_owned()])),
            Kind::Floats => parse_floats(text).map(Value::Floats),
            Kind::LogLevel => LogLevel::parse(text).map(Value::LogLevel),
            Kind::TlsRequired => TlsRequired::parse(text).map(Value::TlsRequired),
            Kind::TlsVersion => TlsVersion::parse(text).map(Value::TlsVersion),
        }
    }
}

impl Value {
    /// Puts a later use of the same flag on top of this one: lists grow, others are replaced.
    pub fn merge(&mut self, later: Value) {
        match (self, later) {
            (Value::Texts(all), Value::Texts(more)) => all.extend(more),
            (Value::Floats(all), Value::Floats(more)) => {
                all.extend(more);
                all.sort_by(|a, b| b.total_cmp(a));
            }
            (one, later) => *one = later,
        }
    }

    /// Whether it says "no": a feature that is switched off need not exist.
    pub fn is_off(&self) -> bool {
        match self {
            Value::Bool(on) => !on,
            Value::Text(text) => text.is_empty(),
            Value::Texts(texts) => texts.is_empty(),
            Value::Floats(floats) => floats.is_empty(),
            Value::TlsRequired(required) => *required == TlsRequired::No,
            _ => false,
        }
    }

    /// The value as `GET /config/<key>` shows it: durations in nanoseconds, levels and versions as
    /// their numbers, and a whole number without a point, as Go writes it.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Bool(on) => (*on).into(),
            Value::Int(number) | Value::DurationNs(number) => (*number).into(),
            Value::Bytes(bytes) => (*bytes).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Texts(texts) => texts.clone().into(),
            Value::Floats(floats) => floats.iter().map(|&float| float_json(float)).collect(),
            Value::LogLevel(level) => (*level as u8).into(),
            Value::TlsRequired(required) => (*required as u8).into(),
            Value::TlsVersion(version) => (*version as u16).into(),
        }
    }
}

impl TlsRequired {
    /// Reads `tcp-https` or a truth value, in any case.
    pub fn parse(text: &str) -> Result<TlsRequired, String> {
        let lower = text.to_lowercase();
        if lower == "tcp-https" {
            return Ok(TlsRequired::ExceptHttp);
        }
        match parse_go_bool(&lower) {
            Some(true) => Ok(TlsRequired::Yes),
            Some(false) => Ok(TlsRequired::No),
            None => Err("it is true, false or tcp-https".to_owned()),
        }
    }
}

impl TlsVersion {
    /// Its name as an option.
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::Tls10 => "tls1.0",
            TlsVersion::Tls11 => "tls1.1",
            TlsVersion::Tls12 => "tls1.2",
            TlsVersion::Tls13 => "tls1.3",
        }
    }

    /// Reads `tls1.2` and its like, in any case; empty means the default.
    pub fn parse(text: &str) -> Result<TlsVersion, String> {
        match text.to_lowercase().as_str() {
            "" | "tls1.0" => Ok(TlsVersion::Tls10),
            "tls1.1" => Ok(TlsVersion::Tls11),
            "tls1.2" => Ok(TlsVersion::Tls12),
            "tls1.3" => Ok(TlsVersion::Tls13),
            _ => Err(format!("unknown tlsVersionOption {text:?} (tls1.0, tls1.1, tls1.2, tls1.3)")),
        }
    }
}

fn float_json(float: f64) -> serde_json::Value {
    // Percentiles end at 1, so this is the only whole one.
    if float == 1.0 { 1.into() } else { float.into() }
}

/// Numbers separated by commas, the highest first. The error is the part that is no number.
fn parse_floats(text: &str) -> Result<Vec<f64>, String> {
    let read = |part: &str| part.parse::<f64>().map_err(|_| part.to_owned());
    let mut floats = text.split(',').map(read).collect::<Result<Vec<f64>, String>>()?;
    floats.sort_by(|a, b| b.total_cmp(a));
    Ok(floats)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Kind, TlsRequired, TlsVersion, Value};
    use crate::log::LogLevel;

    #[test]
    fn each_kind_reads_its_values() {
        for (kind, text, value) in [
            (Kind::Bool, "f", Value::Bool(false)),
            (Kind::Int, "0x10", Value::Int(16)),
            (Kind::Duration, "2ms", Value::DurationNs(2_000_000)),
            (Kind::Bytes, "2KB", Value::Bytes(2048)),
            (Kind::Text, "", Value::Text(String::new())),
            (Kind::Texts, "a,b", Value::Texts(vec!["a,b".into()])),
            (Kind::Floats, "0.5,1,0.99", Value::Floats(vec![1.0, 0.99, 0.5])),
            (Kind::LogLevel, "WARN", Value::LogLevel(LogLevel::Warn)),
            (Kind::TlsRequired, "TCP-https", Value::TlsRequired(TlsRequired::ExceptHttp)),
            (Kind::TlsRequired, "True", Value::TlsRequired(TlsRequired::Yes)),
            (Kind::TlsVersion, "TLS1.2", Value::TlsVersion(TlsVersion::Tls12)),
            (Kind::TlsVersion, "", Value::TlsVersion(TlsVersion::Tls10)),
        ] {
            assert_eq!(kind.parse(text), Ok(value), "{kind:?} {text}");
        }
    }

    #[test]
    fn each_kind_refuses_what_it_cannot_read() {
        for (kind, text) in [
            (Kind::Bool, "maybe"),
            (Kind::Int, "1.5"),
            (Kind::Duration, "5"),
            (Kind::Bytes, "lots"),
            (Kind::Floats, "0.5, 1"),
            (Kind::LogLevel, "warning"),
            (Kind::TlsRequired, "tcp"),
            (Kind::TlsVersion, "ssl3.0"),
        ] {
            assert!(kind.parse(text).is_err(), "{kind:?} {text}");
        }
    }

    #[test]
    fn lists_grow_and_scalars_are_replaced() {
        let mut list = Value::Texts(vec!["a".into()]);
        list.merge(Value::Texts(vec!["b".into()]));
        assert_eq!(list, Value::Texts(vec!["a".into(), "b".into()]));
        let mut floats = Value::Floats(vec![0.5]);
        floats.merge(Value::Floats(vec![0.9]));
        assert_eq!(floats, Value::Floats(vec![0.9, 0.5]));
        let mut number = Value::Int(1);
        number.merge(Value::Int(2));
        assert_eq!(number, Value::Int(2));
    }

    #[test]
    fn values_are_shown_as_the_original_shows_them() {
        for (value, shown) in [
            (Value::DurationNs(60_000_000_000), json!(60_000_000_000_i64)),
            (Value::LogLevel(LogLevel::Info), json!(2)),
            (Value::TlsVersion(TlsVersion::Tls10), json!(769)),
            (Value::TlsRequired(TlsRequired::Yes), json!(2)),
            (Value::Text(String::new()), json!("")),
            (Value::Texts(vec!["a:1".into(), "b:2".into()]), json!(["a:1", "b:2"])),
            (Value::Floats(vec![1.0, 0.99]), json!([1, 0.99])),
        ] {
            assert_eq!(value.to_json(), shown);
        }
    }
}

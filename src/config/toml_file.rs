//! NSQ's configuration files: flat TOML whose values are bent into shape as the original does.
//!
//! A duration may be a number of milliseconds, a list may be text with commas, a number may be
//! text. One oddity is kept because files in use may depend on it: a *number* where true or false
//! belongs means the opposite of what one expects.

use std::path::Path;

use toml::Value as Toml;

use super::duration::{NS_PER_MS, parse_go_duration};
use super::go_text::errno_text;
use super::number::parse_go_bool;
use super::value::{Kind, Value};

/// Reads a file. The error is the end of a fatal line.
pub fn read(path: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("open {}: {}", path.display(), errno_text(&error)))?;
    text.parse::<toml::Table>().map_err(|error| syntax_error(&text, &error))
}

/// Bends a value of the file into one of the given kind. The error says what is wrong with it.
pub fn coerce(kind: Kind, value: &Toml) -> Result<Value, String> {
    match kind {
        Kind::Bool => coerce_bool(value).map(Value::Bool),
        Kind::Int => coerce_int(value).map(Value::Int),
        Kind::Duration => coerce_duration(value).map(Value::DurationNs),
        Kind::Text => coerce_text(value).map(Value::Text),
        Kind::Texts => coerce_texts(value).map(Value::Texts),
        Kind::Floats => coerce_floats(value).map(Value::Floats),
        Kind::Bytes | Kind::LogLevel | Kind::TlsRequired | Kind::TlsVersion => {
            kind.parse(&plain_text(value))
        }
    }
}

/// A value as text without TOML's quotes; of a list or a table only what it is.
pub fn plain_text(value: &Toml) -> String {
    match value {
        Toml::String(text) => text.clone(),
        Toml::Integer(number) => number.to_string(),
        Toml::Float(number) => number.to_string(),
        Toml::Boolean(on) => on.to_string(),
        Toml::Datetime(time) => time.to_string(),
        Toml::Array(_) | Toml::Table(_) => value.type_str().to_owned(),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            format!("toml: line {line}: {message}")
        }
        None => format!("toml: {message}"),
    }
}

fn coerce_bool(value: &Toml) -> Result<bool, String> {
    match value {
        Toml::Boolean(on) => Ok(*on),
        Toml::String(text) => parse_go_bool(text)
            .ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
        // As the original reads it: zero is true.
        Toml::Integer(number) => Ok(*number == 0),
        other => Err(format!("invalid bool value type {}", other.type_str())),
    }
}

fn coerce_int(value: &Toml) -> Result<i64, String> {
    match value {
        Toml::Integer(number) => Ok(*number),
        Toml::String(text) => {
            text.parse().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        }
        other => Err(format!("invalid int64 value type {}", other.type_str())),
    }
}

fn coerce_duration(value: &Toml) -> Result<i64, String> {
    match value {
        Toml::String(text) => parse_go_duration(text),
        Toml::Integer(ms) => ms
            .checked_mul(NS_PER_MS.cast_signed())
            .ok_or_else(|| format!("{ms} milliseconds are more than 292 years")),
        other => Err(format!("invalid time.Duration value type {}", other.type_str())),
    }
}

fn coerce_text(value: &Toml) -> Result<String, String> {
    match value {
        // Numbers and truth values are taken as they are written.
        Toml::String(_) | Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_) => {
            Ok(plain_text(value))
        }
        other => Err(format!("invalid string value type {}", other.type_str())),
    }
}

fn coerce_texts(value: &Toml) -> Result<Vec<String>, String> {
    match value {
        Toml::String(text) if text.is_empty() => Ok(Vec::new()),
        Toml::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
        Toml::Array(items) => items
            .iter()
            .map(|item| match item {
                Toml::String(text) => Ok(text.clone()),
                other => Err(format!("invalid string value type {} in a list", other.type_str())),
            })
            .collect(),
        other => Err(format!("invalid []string value type {}", other.type_str())),
    }
}

fn coerce_floats(value: &Toml) -> Result<Vec<f64>, String> {
    match value {
        Toml::String(text) if text.is_empty() => Ok(Vec::new()),
        Toml::String(text) => text.split(',').map(coerce_float_text).collect(),
        Toml::Array(items) => items
            .iter()
            .map(|item| match item {
                Toml::Float(number) => Ok(*number),
                Toml::Integer(_) => coerce_float_text(&plain_text(item)),
                other => Err(format!("invalid float64 value type {} in a list", other.type_str())),
            })
            .collect(),
        other => Err(format!("invalid []float64 value type {}", other.type_str())),
    }
}

fn coerce_float_text(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::{coerce, read};
    use crate::config::value::{Kind, TlsRequired, Value};

    fn coerced(kind: Kind, written: &str) -> Result<Value, String> {
        let table: toml::Table = format!("key = {written}").parse().unwrap();
        coerce(kind, &table["key"])
    }

    #[test]
    fn values_are_bent_as_the_original_bends_them() {
        let texts = |texts: &[&str]| Value::Texts(texts.iter().map(ToString::to_string).collect());
        for (kind, written, value) in [
            (Kind::Bool, "true", Value::Bool(true)),
            (Kind::Bool, "\"false\"", Value::Bool(false)),
            (Kind::Bool, "0", Value::Bool(true)),
            (Kind::Bool, "1", Value::Bool(false)),
            (Kind::Bool, "-7", Value::Bool(false)),
            (Kind::Int, "7", Value::Int(7)),
            (Kind::Int, "\"-7\"", Value::Int(-7)),
            (Kind::Duration, "\"1m30s\"", Value::DurationNs(90_000_000_000)),
            (Kind::Duration, "250", Value::DurationNs(250_000_000)),
            (Kind::Text, "\"${HOME}\"", Value::Text("${HOME}".into())),
            (Kind::Text, "5", Value::Text("5".into())),
            (Kind::Texts, "[\"a:1\", \"b:2\"]", texts(&["a:1", "b:2"])),
            (Kind::Texts, "\"a:1,b:2\"", texts(&["a:1", "b:2"])),
            (Kind::Texts, "\"\"", texts(&[])),
            (Kind::Texts, "[]", texts(&[])),
            (Kind::Floats, "[1.0, 0.99]", Value::Floats(vec![1.0, 0.99])),
            (Kind::Floats, "[0.5, 1]", Value::Floats(vec![0.5, 1.0])),
            (Kind::Floats, "\"0.5, 0.99\"", Value::Floats(vec![0.5, 0.99])),
            (Kind::Bytes, "1024", Value::Bytes(1024)),
            (Kind::Bytes, "\"1KB\"", Value::Bytes(1024)),
            (Kind::TlsRequired, "true", Value::TlsRequired(TlsRequired::Yes)),
            (Kind::TlsRequired, "\"tcp-https\"", Value::TlsRequired(TlsRequired::ExceptHttp)),
        ] {
            assert_eq!(coerced(kind, written), Ok(value), "{kind:?} {written}");
        }
    }

    #[test]
    fn the_wrong_type_is_refused() {
        for (kind, written) in [
            (Kind::Bool, "\"yes\""),
            (Kind::Bool, "1.0"),
            (Kind::Int, "true"),
            (Kind::Int, "1.0"),
            (Kind::Int, "\"0x10\""),
            (Kind::Duration, "\"5\""),
            (Kind::Duration, "1.5"),
            (Kind::Duration, "9223372036854775807"),
            (Kind::Text, "[\"a\"]"),
            (Kind::Texts, "[1]"),
            (Kind::Texts, "5"),
            (Kind::Floats, "\"a\""),
            (Kind::Floats, "[\"0.5\"]"),
            (Kind::LogLevel, "2"),
            (Kind::TlsVersion, "\"ssl3.0\""),
        ] {
            assert!(coerced(kind, written).is_err(), "{kind:?} {written}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nsqd.cfg");
        assert_eq!(
            read(&path).unwrap_err(),
            format!("open {}: no such file or directory", path.display())
        );
        std::fs::write(&path, "id = 1\nmsg_timeout =\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.starts_with("toml: line 2: "), "{error}");
        std::fs::write(&path, "id = 1\n[section]\nid = 2\n").unwrap();
        assert_eq!(read(&path).unwrap()["id"].as_integer(), Some(1));
    }
}

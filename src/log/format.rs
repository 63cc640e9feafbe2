//! What a line of the log looks like: NSQ's text, or an object of JSON for machines.

use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Map, Value};

use super::{LogLevel, Precision, time_text};

/// The forms of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As NSQ writes it, so that what reads NSQ's logs reads ours.
    #[default]
    Text,
    /// An object of JSON in each line.
    Json,
}

impl LogFormat {
    /// Reads the name of a form.
    ///
    /// # Errors
    /// What the names are.
    pub fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("--log-format must be text or json, not {text:?}")),
        }
    }
}

/// How all lines of a log are written.
#[derive(Clone, Debug)]
pub struct Style {
    /// What a text line begins with.
    pub prefix: Arc<str>,
    /// Their form.
    pub format: LogFormat,
}

/// What is said in a line: a message, and what belongs to it.
#[derive(Debug, Default)]
pub struct Said {
    /// The message.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(&'static str, Value)>,
}

impl From<&str> for Said {
    fn from(message: &str) -> Said {
        Said { message: message.to_owned(), fields: Vec::new() }
    }
}

impl Style {
    /// The line, of this moment.
    pub fn line(&self, level: LogLevel, said: &Said) -> String {
        self.line_at(&Zoned::now(), level, said)
    }

    fn line_at(&self, now: &Zoned, level: LogLevel, said: &Said) -> String {
        match self.format {
            LogFormat::Text => self.text(now, level, said),
            LogFormat::Json => json(now, level, said),
        }
    }

    fn text(&self, now: &Zoned, level: LogLevel, said: &Said) -> String {
        let (prefix, now) = (&self.prefix, time_text(now, Precision::Microseconds));
        let mut text = said.message.clone();
        for (name, value) in &said.fields {
            match value {
                Value::String(value) => text.push_str(&format!(" {name}={value}")),
                value => text.push_str(&format!(" {name}={value}")),
            }
        }
        // One event is one line: what a client sent cannot forge another.
        if text.contains(char::is_control) {
            text = text.chars().map(escape).collect();
        }
        format!("{prefix}{now} {level}: {text}\n")
    }
}

/// Names of fields come from the program's source; they do not take the place of the first three.
fn json(now: &Zoned, level: LogLevel, said: &Said) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), now.strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string().into());
    line.insert("level".to_owned(), level.name().into());
    line.insert("message".to_owned(), said.message.as_str().into());
    for (name, value) in &said.fields {
        line.entry(*name).or_insert_with(|| value.clone());
    }
    format!("{}\n", Value::Object(line))
}

fn escape(c: char) -> String {
    if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::{Offset, TimeZone};
    use serde_json::{Value, json};

    use super::{LogFormat, Said, Style};
    use crate::log::LogLevel;

    fn line(format: LogFormat, said: &Said) -> String {
        let zone = TimeZone::fixed(Offset::from_seconds(3600).unwrap());
        let now = date(2026, 11, 3).at(7, 11, 41, 407_101_999).to_zoned(zone).unwrap();
        Style { prefix: "[x] ".into(), format }.line_at(&now, LogLevel::Warn, said)
    }

    fn forged() -> Said {
        let message = "bad \n[x] FATAL: forged\x1b[31m ü \"".to_owned();
        let fields = vec![("client", json!("a\nb")), ("bytes", json!(5)), ("level", json!("no"))];
        Said { message, fields }
    }

    #[test]
    fn an_event_is_one_line_whatever_a_client_sent() {
        assert_eq!(
            line(LogFormat::Text, &forged()),
            "[x] 2026/11/03 07:11:41.407101 WARNING: bad \\n[x] FATAL: forged\\u{1b}[31m ü \" \
             client=a\\nb bytes=5 level=no\n"
        );
        let json = line(LogFormat::Json, &forged());
        assert_eq!(json.matches('\n').count(), 1);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json,
            json!({
                "time": "2026-11-03T07:11:41.407101+01:00",
                "level": "warn",
                "message": "bad \n[x] FATAL: forged\u{1b}[31m ü \"",
                "client": "a\nb",
                "bytes": 5,
            })
        );
    }

    #[test]
    fn forms_have_names() {
        assert_eq!(LogFormat::parse("json"), Ok(LogFormat::Json));
        assert_eq!(LogFormat::parse("text"), Ok(LogFormat::Text));
        let error = LogFormat::parse("xml").unwrap_err();
        assert_eq!(error, "--log-format must be text or json, not \"xml\"");
    }
}

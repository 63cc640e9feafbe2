//! `--print-config`: every setting as a line of a configuration file, and where it comes from.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use super::flag::{Default, Flag, Program};
use super::settings::{Settings, Source};
use super::stop::Stop;
use super::value::{TlsRequired, Value};
use crate::http::duration::GoDuration;

/// Where the remarks begin.
const REMARK_COLUMN: usize = 48;

impl Settings {
    /// Ends the program with all settings on standard output, if that was asked for.
    ///
    /// # Errors
    /// The end.
    pub fn print_if_asked(&self, program: &'static Program) -> Result<(), Stop> {
        match self.bool("print-config") {
            true => Err(Stop::Printed(self.printed(program))),
            false => Ok(()),
        }
    }

    /// All settings as a configuration file.
    pub fn printed(&self, program: &'static Program) -> String {
        let mut text = format!("# The settings of {}, and where they come from.\n", program.name);
        for group in program.groups {
            let flags = group.flags.iter().filter(|flag| !flag.deprecated);
            let lines: Vec<String> = flags.filter_map(|flag| self.line(flag)).collect();
            if !lines.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n# {}\n{}", group.title, lines.concat());
            }
        }
        for warning in &self.warnings {
            let _ = write!(text, "\n# warning: {warning}");
        }
        text
    }

    /// `None` for what cannot stand in a file.
    fn line(&self, flag: &'static Flag) -> Option<String> {
        let key = flag.toml_key()?;
        let from = match (self.source(flag.name), flag.default) {
            (Source::Default, Default::Computed(how)) => format!("default: {how}"),
            (Source::Default, _) => "default".to_owned(),
            (Source::File(path), _) => format!("file {path}"),
            (Source::Environment(name), _) => format!("environment {name}"),
            (Source::Flag, _) => format!("flag --{}", flag.name),
        };
        Some(match self.value(flag.name) {
            Some(value) => {
                let setting = format!("{key} = {}", toml(value));
                format!("{setting:<REMARK_COLUMN$} # {from}\n")
            }
            None => format!("{:<REMARK_COLUMN$} # {from}\n", format!("# {key} is not set")),
        })
    }
}

/// A value as it stands in a file.
fn toml(value: &Value) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bytes(bytes) => bytes.to_string(),
        Value::DurationNs(ns) => quoted(&duration(*ns)),
        Value::Text(text) => quoted(text),
        Value::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        // With a point in any case: the original ends at a whole number there.
        Value::Floats(floats) => {
            let floats: Vec<String> = floats.iter().map(|float| format!("{float:?}")).collect();
            format!("[{}]", floats.join(", "))
        }
        Value::LogLevel(level) => quoted(level.name()),
        Value::TlsRequired(TlsRequired::No) => "false".to_owned(),
        Value::TlsRequired(TlsRequired::Yes) => "true".to_owned(),
        Value::TlsRequired(TlsRequired::ExceptHttp) => quoted("tcp-https"),
        Value::TlsVersion(version) => quoted(version.name()),
    }
}

fn duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}", GoDuration(Duration::from_nanos(ns.unsigned_abs())))
}

/// TOML takes what JSON escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The end of `--check`: the plan is on standard output, whatever the log shows.
pub fn checked(plan: &[String]) -> ExitCode {
    tracing::info!("all checks passed");
    for line in plan {
        // Nobody is left to be told that standard output is closed.
        let _ = writeln!(io::stdout(), "{line}");
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::config::nsqd_flags::NSQD;
    use crate::config::settings::Settings;

    fn load(args: &[String], variables: &[(&str, &str)]) -> Settings {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::load_from(&NSQD, &args, variables).unwrap()
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nsqd.cfg");
        std::fs::write(&path, "msg_timeout = 1500\nmax_rdy_count = 5\nsnappy = false").unwrap();
        let flags = ["--max-rdy-count=7".to_owned(), format!("--config={}", path.display())];
        let variables = [("NSQD_SNAPPY", "true"), ("NSQD_MAX_RDY_COUNT", "6")];
        let printed = load(&flags, &variables).printed(&NSQD);
        let line = |key: &str| {
            let start = format!("{key} ");
            let found = printed.lines().find(|line| line.starts_with(&start));
            let words: Vec<&str> = found.unwrap_or_default().split_whitespace().collect();
            words.join(" ")
        };
        assert_eq!(line("max_rdy_count"), "max_rdy_count = 7 # flag --max-rdy-count");
        assert_eq!(line("snappy"), "snappy = true # environment NSQD_SNAPPY");
        let file = format!("msg_timeout = \"1.5s\" # file {}", path.display());
        assert_eq!(line("msg_timeout"), file);
        assert_eq!(line("deflate"), "deflate = true # default");
        assert_eq!(line("# id"), "# id is not set # default: from the host name");
        assert!(!printed.contains("print_config") && !printed.contains("verbose"), "{printed}");
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let flags: Vec<String> = [
            "--log-level=warn",
            "--log-prefix=\"a\\ü\" ",
            "--lookupd-tcp-address=a:1",
            "--lookupd-tcp-address=b:2",
            "--e2e-processing-latency-percentile=1,0.5",
            "--memory-limit=1GB",
            "--tls-required=tcp-https",
            "--tls-min-version=tls1.3",
            "--msg-timeout=1h1m1s",
        ]
        .map(str::to_owned)
        .to_vec();
        let first = load(&flags, &[]);
        let path = directory.path().join("nsqd.cfg");
        std::fs::write(&path, first.printed(&NSQD)).unwrap();
        let again = load(&[format!("--config={}", path.display())], &[]);
        assert_eq!(first.shown(), again.shown());
        assert!(again.warnings.iter().all(|warning| first.warnings.contains(warning)));
    }
}

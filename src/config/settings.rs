//! Every flag's value after the layers: the command line before the environment before the file
//! before the default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::argv;
use super::env;
use super::flag::{Default, Flag, Program, TomlKey};
use super::stop::Stop;
use super::toml_file;
use super::value::{Kind, Value};
use crate::log::LogLevel;

/// The values of all flags of a program.
#[derive(Clone, Debug)]
pub struct Settings {
    settings: Vec<Setting>,
    /// What the operator should hear about, one line each.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug)]
struct Setting {
    flag: &'static Flag,
    /// `None` when nobody gave a value and the default is found out later.
    value: Option<Value>,
    source: Source,
}

/// Who gave a value. A later one beats an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    Default,
    /// The configuration file of this path.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The command line.
    Flag,
}

impl Settings {
    /// Reads the arguments after the program's name, the process's environment, and the file that
    /// they name.
    pub fn load(program: &'static Program, args: &[OsString]) -> Result<Settings, Stop> {
        Settings::load_from(program, args, std::env::vars_os())
    }

    /// The same with another environment.
    pub fn load_from(
        program: &'static Program,
        args: &[OsString],
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Settings, Stop> {
        let given = argv::parse(program, args)?;
        let mut settings = Settings::defaults(program);
        if !given.ignored.is_empty() {
            let ignored = given.ignored.join(" ");
            settings.warnings.push(format!("arguments after the flags are ignored: {ignored}"));
        }
        for (flag, value) in given.values {
            settings.put(flag, value, Source::Flag);
        }
        if settings.bool("version") {
            return Err(Stop::Version((program.version_line)(program.name)));
        }
        let environment = env::read(program, variables)?;
        settings.warnings.extend(environment.warnings);
        for (flag, value, name) in environment.values {
            if *settings.source(flag.name) == Source::Default {
                settings.put(flag, value, Source::Environment(name));
            }
        }
        if program.find("config").is_some() && !settings.text("config").is_empty() {
            let path = settings.text("config");
            let table = toml_file::read(Path::new(&path)).map_err(|problem| {
                Stop::Fatal(format!("failed to load config file {path} - {problem}"))
            })?;
            settings.apply_file(&path, &table)?;
        }
        settings.warn_of_what_has_no_effect();
        Ok(settings)
    }

    /// Nothing but defaults.
    fn defaults(program: &'static Program) -> Settings {
        let settings = program
            .flags()
            .map(|flag| Setting { flag, value: default_value(flag), source: Source::Default })
            .collect();
        Settings { settings, warnings: Vec::new() }
    }

    fn apply_file(&mut self, path: &str, table: &toml::Table) -> Result<(), Stop> {
        for (key, written) in table {
            let Some(at) = self.position_of_key(key) else {
                self.warnings.push(format!("{path}: {key} is no setting and is ignored"));
                continue;
            };
            let flag = self.settings[at].flag;
            // The original looks at these three even when the command line overrides them.
            let checked =
                matches!(flag.kind, Kind::LogLevel | Kind::TlsRequired | Kind::TlsVersion);
            let overridden = self.settings[at].source != Source::Default;
            if overridden && !checked {
                continue;
            }
            let text = toml_file::plain_text(written);
            let value = toml_file::coerce(flag.kind, written).map_err(|problem| {
                if checked {
                    return Stop::Fatal(format!("failed parsing {key} {text}"));
                }
                Stop::Plain(format!(
                    "ERROR: Resolve failed to coerce value {text} for field {key} - {problem}"
                ))
            })?;
            if !overridden {
                self.put(flag, value, Source::File(path.to_owned()));
            }
        }
        Ok(())
    }

    fn warn_of_what_has_no_effect(&mut self) {
        for setting in &self.settings {
            let flag = setting.flag;
            // Whoever writes every default into a file asks for nothing.
            let asks = setting.value.as_ref().is_some_and(|value| !value.is_off())
                && setting.value != default_value(flag);
            if asks && flag.deprecated {
                self.warnings.push(format!("--{} is deprecated: {}", flag.name, flag.help));
            }
        }
    }

    /// Sets a value that was found out at start, or changed while running.
    pub fn set(&mut self, name: &str, value: Value) {
        let at = self.position(name);
        self.settings[at].value = Some(value);
    }

    /// All settings that may stand in a configuration file, by their keys there, as
    /// `GET /config/<key>` shows them.
    pub fn shown(&self) -> BTreeMap<String, serde_json::Value> {
        self.settings
            .iter()
            .filter_map(|setting| {
                let value = setting.value.as_ref().map_or(serde_json::Value::Null, Value::to_json);
                Some((setting.flag.toml_key()?, value))
            })
            .collect()
    }

    /// A truth value.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(on)) => *on,
            other => wrong_kind(name, other),
        }
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Int(number)) => *number,
            other => wrong_kind(name, other),
        }
    }

    /// A whole number, if somebody gave one.
    pub fn int_if_given(&self, name: &str) -> Option<i64> {
        self.value(name).map(|_| self.int(name))
    }

    /// Whether there is a value, be it a default.
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A duration in nanoseconds.
    pub fn duration_ns(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::DurationNs(duration_ns)) => *duration_ns,
            other => wrong_kind(name, other),
        }
    }

    /// A number of bytes, if somebody gave one.
    pub fn bytes_if_given(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            None => None,
            Some(Value::Bytes(bytes)) => Some(*bytes),
            other => wrong_kind(name, other),
        }
    }

    /// Text.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(text)) => text.clone(),
            other => wrong_kind(name, other),
        }
    }

    /// Text, if somebody gave one.
    pub fn text_if_given(&self, name: &str) -> Option<String> {
        self.value(name).map(|_| self.text(name))
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::Texts(texts)) => texts.clone(),
            other => wrong_kind(name, other),
        }
    }

    /// A list of numbers.
    pub fn floats(&self, name: &str) -> Vec<f64> {
        match self.value(name) {
            Some(Value::Floats(floats)) => floats.clone(),
            other => wrong_kind(name, other),
        }
    }

    /// A log level.
    pub fn log_level(&self, name: &str) -> LogLevel {
        match self.value(name) {
            Some(Value::LogLevel(level)) => *level,
            other => wrong_kind(name, other),
        }
    }

    /// The value itself; `None` when it is found out later.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.settings[self.position(name)].value.as_ref()
    }

    /// Who gave a flag its value.
    pub fn source(&self, name: &str) -> &Source {
        &self.settings[self.position(name)].source
    }

    fn put(&mut self, flag: &'static Flag, value: Value, source: Source) {
        let at = self.position(flag.name);
        self.settings[at].value = Some(value);
        self.settings[at].source = source;
    }

    fn position(&self, name: &str) -> usize {
        self.settings
            .iter()
            .position(|setting| setting.flag.name == name)
            .expect("callers name flags of their own program's table")
    }

    fn position_of_key(&self, key: &str) -> Option<usize> {
        self.settings.iter().position(|setting| match setting.flag.toml {
            TomlKey::None => false,
            TomlKey::Named(named) => named == key,
            TomlKey::FlagName => setting.flag.toml_key().as_deref() == Some(key),
        })
    }
}

fn default_value(flag: &Flag) -> Option<Value> {
    match flag.default {
        Default::Text(text) => {
            Some(flag.kind.parse(text).expect("defaults in the tables can be read"))
        }
        Default::Empty if flag.kind == Kind::Floats => Some(Value::Floats(Vec::new())),
        Default::Empty => Some(Value::Texts(Vec::new())),
        Default::Computed(_) => None,
    }
}

fn wrong_kind(name: &str, value: Option<&Value>) -> ! {
    unreachable!("--{name} is read as another kind than its table says: {value:?}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::Settings;
    use crate::config::flag::{Flag, Group, Program};
    use crate::config::stop::Stop;
    use crate::config::value::{Kind, Value};

    static PROGRAM: Program = Program {
        name: "example",
        about: "An example.",
        version_line: |name| format!("{name} v1"),
        groups: &[Group {
            title: "All",
            flags: &[
                Flag::new("version", Kind::Bool, "false", "version").only_flag(),
                Flag::new("config", Kind::Text, "", "file").only_flag(),
                Flag::new("log-level", Kind::LogLevel, "info", "level"),
                Flag::new("node-id", Kind::Int, "", "id").computed("the host").key("id"),
                Flag::new("msg-timeout", Kind::Duration, "1m", "timeout"),
                Flag::list("peer", Kind::Texts, "peers").key("peers"),
                Flag::new("old", Kind::Bool, "false", "use --new").deprecated().only_flag(),
            ],
        }],
    };

    /// A directory that holds a configuration file, and the file.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("example.cfg");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn load(text: &str, args: &[&str]) -> Result<Settings, Stop> {
        let (_directory, path) = file(text);
        let mut all = vec![OsString::from("--config"), path.into_os_string()];
        all.extend(args.iter().map(OsString::from));
        Settings::load(&PROGRAM, &all)
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let settings = load("msg_timeout = \"2s\"\nid = 7\npeers = \"a,b\"", &["-peer=c"]).unwrap();
        assert_eq!(settings.duration_ns("msg-timeout"), 2_000_000_000);
        assert_eq!(settings.int_if_given("node-id"), Some(7));
        assert_eq!(settings.texts("peer"), ["c"]);
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }

    #[test]
    fn a_computed_default_is_unknown_until_it_is_set() {
        let mut settings = load("", &[]).unwrap();
        assert_eq!(settings.int_if_given("node-id"), None);
        settings.set("node-id", Value::Int(617));
        assert_eq!(settings.shown()["id"], 617);
    }

    #[test]
    fn settings_are_shown_under_their_file_keys_only() {
        let shown = load("", &[]).unwrap().shown();
        assert_eq!(shown["msg_timeout"], 60_000_000_000_i64);
        assert_eq!(shown["peers"], serde_json::json!([]));
        let keys: Vec<&str> = shown.keys().map(String::as_str).collect();
        assert_eq!(keys, ["id", "log_level", "msg_timeout", "peers"]);
    }

    #[test]
    fn bad_values_in_the_file_end_as_in_the_original() {
        assert_eq!(
            load("log_level = \"bogus\"", &["--log-level=debug"]).unwrap_err(),
            Stop::Fatal("failed parsing log_level bogus".into())
        );
        let Stop::Plain(text) = load("msg_timeout = \"abc\"", &[]).unwrap_err() else {
            panic!("another end")
        };
        assert_eq!(
            text,
            "ERROR: Resolve failed to coerce value abc for field msg_timeout - \
             time: invalid duration \"abc\""
        );
        // What the command line overrides is not looked at.
        assert!(load("msg_timeout = \"abc\"", &["--msg-timeout=1s"]).is_ok());
    }

    #[test]
    fn a_missing_file_is_fatal() {
        let args = ["-config=/nonexistent/example.cfg".into()];
        let end = Settings::load(&PROGRAM, &args).unwrap_err();
        let text = "failed to load config file /nonexistent/example.cfg - \
                    open /nonexistent/example.cfg: no such file or directory";
        assert_eq!(end, Stop::Fatal(text.into()));
    }

    #[test]
    fn the_version_comes_before_the_file() {
        let args = ["-config=/nonexistent/example.cfg".into(), "-version".into()];
        let end = Settings::load(&PROGRAM, &args).unwrap_err();
        assert_eq!(end, Stop::Version("example v1".into()));
    }

    #[test]
    fn what_has_no_effect_is_said_once() {
        let settings = load("unknown = 1\n[section]\nid = 5", &["--old", "x"]).unwrap();
        let warnings = settings.warnings.join("\n");
        for part in [
            "unknown is no setting",
            "section is no setting",
            "--old is deprecated: use --new",
            "arguments after the flags are ignored: x",
        ] {
            assert_eq!(warnings.matches(part).count(), 1, "{part}: {warnings}");
        }
        assert_eq!(settings.warnings.len(), 4);
        assert!(load("", &["--old=false"]).unwrap().warnings.is_empty());
    }
}

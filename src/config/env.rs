//! Environment variables: what the command line leaves open a daemon takes from its environment,
//! `NSQD_TCP_ADDRESS` for `--tcp-address` of nsqd, and before its file.
//!
//! The original looks at no variable. So a name that means nothing is no error: it is named in a
//! warning, for whoever has mistyped it.

use std::ffi::OsString;

use super::flag::{Flag, Program, TomlKey};
use super::stop::Stop;
use super::value::{Kind, Value};

/// What variables say.
#[derive(Debug, Default)]
pub struct Given {
    /// Flags, their values, and the variables that they come from.
    pub values: Vec<(&'static Flag, Value, String)>,
    /// What the operator should hear about.
    pub warnings: Vec<String>,
}

/// The variable of a flag; `None` where there is none.
#[must_use]
pub fn variable(program: &Program, flag: &Flag) -> Option<String> {
    // Tools have no file either. Flags that only make sense once stay on the command line.
    let is_daemon = program.find("config").is_some();
    let is_setting = flag.toml != TomlKey::None || flag.name == "config";
    (is_daemon && is_setting && !flag.deprecated)
        .then(|| format!("{}{}", prefix(program), upper(flag.name)))
}

/// Reads the variables that are this program's.
///
/// # Errors
/// When a value cannot be read.
pub fn read(
    program: &'static Program,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Given, Stop> {
    let prefix = prefix(program);
    let mut mine: Vec<(String, OsString)> = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(&prefix))
        .collect();
    mine.sort();
    let mut given = Given::default();
    if program.find("config").is_none() {
        return Ok(given);
    }
    for (name, value) in mine {
        let named = |flag: &&Flag| variable(program, flag).is_some_and(|known| known == name);
        match program.flags().find(|flag| named(flag)) {
            Some(flag) => {
                let value = parse(flag, value).map_err(|problem| {
                    Stop::Fatal(format!("the environment variable {name} is wrong: {problem}"))
                })?;
                given.values.push((flag, value, name));
            }
            None if is_of_kubernetes(&name[prefix.len()..]) => {}
            None => given.warnings.push(format!(
                "the environment variable {name} is no setting of {} and is ignored",
                program.name
            )),
        }
    }
    Ok(given)
}

/// Where the command line repeats a flag, a variable has commas.
fn parse(flag: &Flag, value: OsString) -> Result<Value, String> {
    let text = value.into_string().map_err(|_| "it is not valid UTF-8".to_owned())?;
    match flag.kind {
        Kind::Texts if text.is_empty() => Ok(Value::Texts(Vec::new())),
        Kind::Texts => Ok(Value::Texts(text.split(',').map(|part| part.trim().into()).collect())),
        Kind::Floats if text.is_empty() => Ok(Value::Floats(Vec::new())),
        kind => kind
            .parse(&text)
            .map_err(|problem| format!("{text:?} is no value of --{}: {problem}", flag.name)),
    }
}

/// What Kubernetes sets in every container for a service called like the program.
fn is_of_kubernetes(name: &str) -> bool {
    ["SERVICE_HOST", "SERVICE_PORT", "PORT"].contains(&name)
        || name.starts_with("SERVICE_PORT_")
        || name.starts_with("PORT_")
}

fn prefix(program: &Program) -> String {
    format!("{}_", upper(program.name))
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Given, read, variable};
    use crate::config::export::EXPORT;
    use crate::config::nsqadmin_flags::NSQADMIN;
    use crate::config::nsqd_flags::NSQD;
    use crate::config::nsqlookupd::NSQLOOKUPD;
    use crate::config::stop::Stop;
    use crate::config::tail::NSQ_TAIL;
    use crate::config::value::Value;

    fn of_nsqd(variables: &[(&str, &str)]) -> Result<Given, Stop> {
        let variables = variables.iter();
        read(&NSQD, variables.map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn a_variable_sets_a_flag() {
        let given = of_nsqd(&[
            ("NSQD_TCP_ADDRESS", ":1"),
            ("NSQD_LOOKUPD_TCP_ADDRESS", "a:1, b:2"),
            ("NSQD_MSG_TIMEOUT", "2s"),
            ("NSQD_NODE_ID", "7"),
            ("NSQD_DEFLATE", "false"),
            ("NSQD_HTTPS_ADDRESS", ""),
            ("NSQD_CONFIG", "/f"),
            ("NSQLOOKUPD_TCP_ADDRESS", "another program's"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        let values: Vec<(&str, Value)> =
            given.values.iter().map(|(flag, value, _)| (flag.name, value.clone())).collect();
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            values,
            [
                ("config", text("/f")),
                ("deflate", Value::Bool(false)),
                ("https-address", text("")),
                ("lookupd-tcp-address", Value::Texts(vec!["a:1".into(), "b:2".into()])),
                ("msg-timeout", Value::DurationNs(2_000_000_000)),
                ("node-id", Value::Int(7)),
                ("tcp-address", text(":1")),
            ]
        );
        assert!(given.warnings.is_empty(), "{:?}", given.warnings);
    }

    #[test]
    fn names_that_mean_nothing_are_named() {
        let given = of_nsqd(&[
            ("NSQD_TCP_ADRESS", ":1"),
            ("NSQD_VERSION", "1.3.0"),
            ("NSQD_VERBOSE", "1"),
            ("NSQD_PORT", "tcp://10.0.0.1:4150"),
            ("NSQD_PORT_4150_TCP_ADDR", "10.0.0.1"),
            ("NSQD_SERVICE_HOST", "10.0.0.1"),
            ("NSQD_SERVICE_PORT_HTTP", "4151"),
        ])
        .unwrap();
        assert!(given.values.is_empty());
        let names: Vec<&str> =
            given.warnings.iter().filter_map(|warning| warning.split(' ').nth(3)).collect();
        assert_eq!(names, ["NSQD_TCP_ADRESS", "NSQD_VERBOSE", "NSQD_VERSION"]);
    }

    #[test]
    fn a_value_that_cannot_be_read_ends_the_program() {
        for (name, value, text) in [
            ("NSQD_MSG_TIMEOUT", "5", "NSQD_MSG_TIMEOUT is wrong: \"5\" is no value of"),
            ("NSQD_MAX_RDY_COUNT", "", "NSQD_MAX_RDY_COUNT is wrong: \"\" is no value of"),
        ] {
            let Stop::Fatal(problem) = of_nsqd(&[(name, value)]).unwrap_err() else {
                panic!("another end")
            };
            assert!(problem.contains(text), "{problem}");
        }
    }

    #[test]
    fn daemons_have_variables_and_tools_have_none() {
        let name = |program: &'static crate::config::flag::Program, flag| {
            variable(program, program.find(flag).unwrap())
        };
        assert_eq!(name(&NSQLOOKUPD, "tcp-address").unwrap(), "NSQLOOKUPD_TCP_ADDRESS");
        assert_eq!(name(&NSQADMIN, "base-path").unwrap(), "NSQADMIN_BASE_PATH");
        assert_eq!(name(&NSQD, "version"), None);
        assert_eq!(name(&NSQD, "print-config"), None);
        assert_eq!(name(&NSQ_TAIL, "topic"), None);
        assert_eq!(name(&EXPORT, "to"), None);
    }
}

//! The flags and options of `shoal export`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::argv::usage;
use super::flag::{Flag, Group, Program};
use super::settings::Settings;
use super::stop::Stop;
use super::value::Kind::{Bool, Int, Text};
use super::version;

/// `shoal export` as the command line sees it.
pub static EXPORT: Program = Program {
    name: "export",
    about: "Writes the messages of a stopped broker into a data path for the original nsqd.\n\n\
            Nothing changes in the data path that is read. What the original's format has no \
            place for is said: deferred messages come at once.",
    version_line: version::tool_line,
    groups: &[Group { title: "Flags", flags: FLAGS }],
};

const FLAGS: &[Flag] = &[
    Flag::new("version", Bool, "false", "Print the version and exit").only_flag(),
    Flag::new("data-path", Text, "", "The broker's data path; the broker must not run"),
    Flag::new("to", Text, "", "An empty directory; it is made if it does not exist"),
    Flag::new("max-bytes-per-file", Int, "104857600", "Size at which a data file is full"),
];

/// What an export is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// `--data-path`.
    pub data_path: PathBuf,
    /// `--to`.
    pub to: PathBuf,
    /// `--max-bytes-per-file`.
    pub max_bytes_per_file: u64,
}

impl ExportOptions {
    /// Reads the arguments after the program's name. The second part is what to warn of.
    pub fn load(args: &[OsString]) -> Result<(ExportOptions, Vec<String>), Stop> {
        let settings = Settings::load(&EXPORT, args)?;
        let path = |flag: &str| match settings.text(flag) {
            text if text.is_empty() => Err(usage(&EXPORT, &format!("--{flag} required"))),
            text => Ok(PathBuf::from(text)),
        };
        let bytes = settings.int("max-bytes-per-file");
        let max_bytes_per_file = u64::try_from(bytes).ok().filter(|&bytes| bytes > 0);
        let options = ExportOptions {
            data_path: path("data-path")?,
            to: path("to")?,
            max_bytes_per_file: max_bytes_per_file.ok_or_else(|| {
                usage(&EXPORT, &format!("--max-bytes-per-file={bytes} must be at least 1"))
            })?,
        };
        Ok((options, settings.warnings))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::ExportOptions;
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<(ExportOptions, Vec<String>), Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        ExportOptions::load(&args)
    }

    #[test]
    fn options_are_read() {
        let (options, warnings) = load("--data-path=/a -to b/c more").unwrap();
        let (data_path, to) = (PathBuf::from("/a"), PathBuf::from("b/c"));
        assert_eq!(options, ExportOptions { data_path, to, max_bytes_per_file: 100 << 20 });
        assert_eq!(warnings, ["arguments after the flags are ignored: more"]);
        let (options, _) = load("--data-path=/a --to=b --max-bytes-per-file=5").unwrap();
        assert_eq!(options.max_bytes_per_file, 5);
        assert_eq!(load("--version").unwrap_err(), Stop::Version("export v1.3.0".to_owned()));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (line, wanted) in [
            ("", "--data-path required"),
            ("--to=b", "--data-path required"),
            ("--data-path=a", "--to required"),
            ("--data-path=a --to=b --max-bytes-per-file=0", "--max-bytes-per-file=0 must be"),
        ] {
            let Err(Stop::Usage(text)) = load(line) else { panic!("{line} is accepted") };
            assert!(text.starts_with(wanted), "{line}: {text}");
        }
        assert!(matches!(load("--help"), Err(Stop::Help(_))));
    }
}

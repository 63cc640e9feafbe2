//! One flag of a program, and a program's table of them.

use super::value::Kind;

/// A program as the command line sees it.
#[derive(Debug)]
pub struct Program {
    /// What it is called; also the name in `--version` and in usage errors.
    pub name: &'static str,
    /// The first line of `--help`.
    pub about: &'static str,
    /// What `--version` prints, from the name.
    pub version_line: fn(&str) -> String,
    /// Its flags, in the order and under the headings of `--help`.
    pub groups: &'static [Group],
}

/// Flags that stand together in `--help`.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The flags below it.
    pub flags: &'static [Flag],
}

/// Everything there is to know about one flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// What holds when neither the command line nor the file says anything.
    pub default: Default,
    /// One line for `--help`.
    pub help: &'static str,
    /// Its key in a configuration file.
    pub toml: TomlKey,
    /// Accepted, without effect and not in `--help`.
    pub deprecated: bool,
}

/// A flag's value when nobody gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This text, read like one from the command line.
    Text(&'static str),
    /// Found out at start; the text says how, for `--help`.
    Computed(&'static str),
    /// An empty list.
    Empty,
}

/// Where a flag is found in a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TomlKey {
    /// The flag's name with `_` for `-`.
    FlagName,
    /// A key of its own.
    Named(&'static str),
    /// Only on the command line.
    None,
}

impl Program {
    /// All flags, in order.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.groups.iter().flat_map(|group| group.flags)
    }

    /// The flag of that name.
    pub fn find(&self, name: &str) -> Option<&'static Flag> {
        self.flags().find(|flag| flag.name == name)
    }
}

impl Flag {
    /// A flag with a default.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag::with(name, kind, Default::Text(default), help)
    }

    /// A flag that may be given several times; empty by default.
    pub const fn list(name: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag::with(name, kind, Default::Empty, help)
    }

    const fn with(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Flag {
        Flag { name, kind, default, help, toml: TomlKey::FlagName, deprecated: false }
    }

    /// Its default is found out at start, in the way that `how` tells.
    pub const fn computed(mut self, how: &'static str) -> Flag {
        self.default = Default::Computed(how);
        self
    }

    /// Its key in a configuration file is not its name.
    pub const fn key(mut self, key: &'static str) -> Flag {
        self.toml = TomlKey::Named(key);
        self
    }

    /// It cannot stand in a configuration file.
    pub const fn only_flag(mut self) -> Flag {
        self.toml = TomlKey::None;
        self
    }

    /// It is accepted for old command lines and does nothing.
    pub const fn deprecated(mut self) -> Flag {
        self.deprecated = true;
        self
    }

    /// Its key in a configuration file, if it may stand there.
    pub fn toml_key(&self) -> Option<String> {
        match self.toml {
            TomlKey::FlagName => Some(self.name.replace('-', "_")),
            TomlKey::Named(key) => Some(key.to_owned()),
            TomlKey::None => None,
        }
    }
}

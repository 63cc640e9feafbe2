//! What the programs are told: flags in Go's style, environment variables, NSQ's TOML files, and
//! the options from them all.
//!
//! Each flag is one [`flag::Flag`] in a program's table. The parser, `--help`, the TOML keys, the
//! names of variables and the defaults come from that value; [`nsqd::NsqdOptions`],
//! [`nsqlookupd::LookupdOptions`], [`nsqadmin::AdminOptions`], [`tail::TailOptions`] and
//! [`export::ExportOptions`] are what the rest of a program sees. What can go wrong ends as a
//! [`stop::Stop`], which knows its exit code.

pub mod export;
pub mod nsqadmin;
pub mod nsqd;
pub mod nsqlookupd;
pub mod stop;
pub mod tail;

pub mod argv;
pub mod auth_address;
pub mod env;
pub mod flag;
#[cfg(test)]
mod manual;
pub mod print;
pub mod settings;
pub mod toml_file;
pub mod value;

pub mod nsqadmin_flags;
mod nsqd_checks;
pub mod nsqd_flags;
mod nsqd_policy;

pub mod duration;
pub mod go_text;
pub mod host;
pub mod number;
pub mod version;

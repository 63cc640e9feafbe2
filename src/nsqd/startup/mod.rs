//! What happens before the first shard starts: checks with a remedy in each complaint, cores,
//! memory, the lock on the data path and the listeners.
//!
//! [`prepare`] does it all in one go, so that `--check` does exactly what a start does.

pub mod cgroup;
pub mod cores;
pub mod data_path;
mod machine;
pub mod memory;
pub mod progress;
pub mod reception;
pub mod resources;
pub mod tls;

use std::io::ErrorKind::{QuotaExceeded, StorageFull};
use std::path::Path;
use std::sync::Arc;

use shards::limits::Durability;

use super::life::probe;
use super::run::journal_files;
use crate::config::go_text::errno_text;
use crate::config::nsqd::NsqdOptions;
use crate::tls::ServerTls;

use crate::net::listeners::{self, BoundListener};
use cores::CorePlan;
use data_path::DataPathLock;
use resources::Resources;

/// Everything that a start has found and taken hold of.
#[derive(Debug)]
pub struct Prepared {
    /// The core of each shard.
    pub cores: CorePlan,
    /// Memory for the messages of all shards together.
    pub memory_limit_bytes: u64,
    /// The limits of the process, as they are now.
    pub resources: Resources,
    /// Keeps other brokers off the data directory, and names it.
    pub data_path: DataPathLock,
    /// Where TCP clients connect, unless that is switched off.
    pub tcp: Option<BoundListener>,
    /// Where HTTP clients connect, unless that is switched off.
    pub http: Option<BoundListener>,
    /// Where HTTPS clients connect, where there is a certificate.
    pub https: Option<BoundListener>,
    /// What TLS is made of, where there is a certificate.
    pub tls: Option<Arc<ServerTls>>,
    /// What the operator should hear about, one line each.
    pub warnings: Vec<String>,
}

/// Checks and takes everything that the options ask for. The error is the end of the line
/// `failed to instantiate nsqd - `.
pub fn prepare(options: &NsqdOptions) -> Result<Prepared, String> {
    let data_path = DataPathLock::take(&options.data_path)
        .map_err(|problem| format!("failed to lock data-path: {problem}"))?;
    check_writable(data_path.directory())?;
    let tls = tls::load(&options.tls)?;
    let limits = cgroup::limits();
    let cores = cores::plan(&cores::affinity()?, limits.cpu_cores, options.shards)?;
    check_topic_shards(options, cores.shards())?;
    let memory_bytes = memory::available_bytes(limits.memory_bytes)?;
    let memory = memory::limit(options.memory_limit_bytes, memory_bytes, cores.shards())?;
    let resources = resources::raise()?;
    let mut warnings = cores.warnings.clone();
    warnings.extend(memory.warning);
    let journal_files = journal_files(options, cores.shards());
    warnings.extend(resources.check(cores.shards(), options.acceptors, journal_files)?);
    Ok(Prepared {
        cores,
        memory_limit_bytes: memory.limit_bytes,
        resources,
        data_path,
        tcp: listeners::bind("TCP", &options.tcp_address)?,
        http: listeners::bind("HTTP", &options.http_address)?,
        https: match tls {
            Some(_) => listeners::bind_https(&options.https_address)?,
            None => None,
        },
        tls,
        warnings,
    })
}

impl Prepared {
    /// What was found and decided, one line each, for the log and for `--check`.
    pub fn plan_lines(&self, options: &NsqdOptions) -> Vec<String> {
        let shards = self.cores.shards();
        let (have, limit) = (self.cores.usable, self.memory_limit_bytes);
        let directory = self.data_path.directory();
        let mut lines = vec![
            machine::kernel_line(),
            format!("SHARDS: {shards} on cores {:?} ({have} usable)", self.cores.of_shards),
            format!("MEMORY: messages may take {}", memory::size_text(limit)),
            self.resources.line(),
            format!("NSQ: data path {}{}", directory.display(), machine::room_text(directory)),
        ];
        let listeners = [&self.tcp, &self.http, &self.https].into_iter().flatten();
        lines.extend(listeners.map(|bound| format!("{}: bound to {}", bound.name, bound.address)));
        let promise = match options.durability {
            Durability::Memory => "is queued",
            Durability::Written => "survives a crash",
            Durability::Synced => "survives a power cut",
        };
        let journal = memory::size_text(options.journal_limit_bytes);
        lines.push(format!("NSQ: what is answered OK {promise}; journals may take {journal}"));
        let lookupds = options.lookupd_tcp_addresses.iter();
        lines.extend(lookupds.map(|address| format!("LOOKUP: to be told: {address}")));
        lines
    }
}

/// A full disk is no reason not to start: what is there can be served, and makes room.
fn check_writable(directory: &Path) -> Result<(), String> {
    match probe::write(directory) {
        Err(error) if !matches!(error.kind(), StorageFull | QuotaExceeded) => {
            let (shown, error) = (directory.display(), errno_text(&error));
            Err(format!("the data path {shown} cannot be written to: {error}"))
        }
        _ => Ok(()),
    }
}

fn check_topic_shards(options: &NsqdOptions, shards: usize) -> Result<(), String> {
    match options.topic_shards.iter().find(|(_, shard)| *shard >= shards) {
        Some((topic, shard)) => Err(format!(
            "--topic-shard puts {topic} on shard {shard}, but there are {shards} shards, \
             counted from 0"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Prepared, prepare};
    use crate::config::nsqd::NsqdOptions;

    fn options(args: &[OsString]) -> NsqdOptions {
        NsqdOptions::load(args).unwrap()
    }

    fn prepared(directory: &tempfile::TempDir, line: &str) -> Result<Prepared, String> {
        let mut args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        args.push("--data-path".into());
        args.push(directory.path().into());
        prepare(&options(&args))
    }

    #[test]
    fn a_start_takes_everything_and_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let line = "--tcp-address=127.0.0.1:0 --http-address= --shards=2 --memory-limit=64MB";
        let first = prepared(&directory, line).unwrap();
        assert_eq!(first.cores.shards(), 2);
        assert_eq!(first.memory_limit_bytes, 64 << 20);
        assert!(first.http.is_none());
        let plan = first.plan_lines(&options(&[])).join("\n");
        for part in ["KERNEL: Linux", "SHARDS: 2 on", "messages may take 64 MiB", " free\n"] {
            assert!(plan.contains(part), "{part}: {plan}");
        }
        let error = prepared(&directory, line).unwrap_err();
        assert!(error.starts_with("failed to lock data-path: cannot flock directory"), "{error}");
        let port = first.tcp.as_ref().unwrap().port();
        drop(first);
        let again = format!("{line} --tcp-address=127.0.0.1:{port}");
        assert!(prepared(&directory, &again).is_ok());
    }

    #[test]
    fn a_topic_needs_a_shard_that_exists() {
        let directory = tempfile::tempdir().unwrap();
        let line = "--tcp-address= --http-address= --shards=2 --topic-shard=a=2";
        let error = prepared(&directory, line).unwrap_err();
        assert!(error.contains("puts a on shard 2, but there are 2 shards"), "{error}");
    }
}

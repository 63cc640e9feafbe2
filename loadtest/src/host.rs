//! The machine that a result came about on, and the sources it was made from.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The machine, the kernel and the state of the sources.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// `uname -r`.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Its memory.
    pub memory_mib: u64,
    /// Transparent huge pages: the setting in force.
    pub huge_pages: String,
    /// The commit of the sources, with `-dirty` where they were changed.
    pub commit: String,
}

impl Machine {
    /// This machine; what cannot be found out is `unknown`.
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        let in_force = huge_pages.split(['[', ']']).nth(1).unwrap_or("unknown").to_owned();
        Self {
            host: word(&read("/proc/sys/kernel/hostname")),
            kernel: word(&read("/proc/sys/kernel/osrelease")),
            cpu: field(&cpuinfo, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: memory_mib("MemTotal"),
            huge_pages: in_force,
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// What a process may still take without anything being pushed out.
pub fn available_mib() -> u64 {
    memory_mib("MemAvailable")
}

/// The kind of file system that a folder is on.
pub fn file_system(folder: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    // Device, place and kind; the last of the longest places is the one in force.
    let holding = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        folder.starts_with(place).then_some((place.len(), kind))
    });
    holding.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

fn memory_mib(name: &str) -> u64 {
    let text = field(&read("/proc/meminfo"), name).unwrap_or_default();
    let kib = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn commit() -> Option<String> {
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() { head } else { format!("{head}-dirty") })
}

fn git(arguments: &[&str]) -> Option<String> {
    // Of the sources that this program was built from, wherever it is called.
    let sources = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("git").args(["-C", sources]).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

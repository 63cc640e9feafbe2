//! The moment from which the messages are ours, and what follows from it however often a start is
//! interrupted.
//!
//! The plan, a file in the log directory, is that moment: it gets its name by one rename, once
//! everything that it speaks of is on the disk. Each step behind it may have happened already.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{
    create_directory, failed, remove, rename, rename_if_there, sync_directory, write_file,
};
use super::queues::OriginalFile;
use super::writer::WrittenFile;
use super::{LOG_DIRECTORY, UNFINISHED};

const PLAN: &str = ".takeover.plan";
const METADATA: &str = "nsqd.dat";
const BACKUP_PREFIX: &str = "nsq-backup-";
/// Backups within one second that get names of their own.
const SAME_SECOND_MAX: u32 = 1000;

/// What is left to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Log files by their names now and then.
    log: Vec<(String, String)>,
    /// The directory that the original's files go to, in the data path.
    backup: String,
    /// Those files and their lengths. One that has another length now, or is there again, was
    /// written since, by the original: it stays, and is taken over by itself.
    originals: Vec<(String, u64)>,
}

/// The directories of a takeover.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The data path.
    pub data: PathBuf,
    /// Our log files.
    pub log: PathBuf,
}

impl Paths {
    /// Those of this data path.
    pub fn new(data: &Path) -> Paths {
        Paths { data: data.to_owned(), log: data.join(LOG_DIRECTORY) }
    }

    /// Where the original's files are.
    pub fn backup(&self, plan: &Plan) -> PathBuf {
        self.data.join(&plan.backup)
    }

    fn plan(&self) -> PathBuf {
        self.log.join(PLAN)
    }
}

impl Plan {
    /// A plan for these files, with a directory for the backup that is not there yet.
    pub fn new(paths: &Paths, log: &[WrittenFile], originals: &[OriginalFile]) -> Plan {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = |number: u32| match number {
            0 => format!("{BACKUP_PREFIX}{time}"),
            _ => format!("{BACKUP_PREFIX}{time}-{number}"),
        };
        let free = |name: &String| !paths.data.join(name).exists();
        let backup = (0..SAME_SECOND_MAX).map(name).find(free).unwrap_or_else(|| name(0));
        let renames = log.iter().map(|file| (file.unfinished.clone(), file.finished.clone()));
        let lengths = originals.iter().map(|file| (file.name.clone(), file.bytes));
        Plan { log: renames.collect(), backup, originals: lengths.collect() }
    }
}

/// The plan that an earlier start has left; `None` when there is none.
///
/// # Errors
/// It cannot be read, or makes no sense.
pub fn pending(paths: &Paths) -> Result<Option<Plan>, String> {
    let path = paths.plan();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let plan: Plan = serde_json::from_slice(&bytes)
        .map_err(|error| format!("read {}: {error}", path.display()))?;
    let names = plan.log.iter().flat_map(|(from, to)| [from, to]);
    let names = names.chain(plan.originals.iter().map(|(name, _)| name)).chain([&plan.backup]);
    let mut names = names.into_iter();
    if let Some(name) = names.find(|name| name.contains('/') || name.as_str() == "..") {
        return Err(format!("read {}: {name:?} is no file name", path.display()));
    }
    drop(names);
    Ok(Some(plan))
}

/// Makes the plan hold: from here on the messages are ours.
///
/// # Errors
/// What failed. Nothing has happened then, unless only the last step failed.
pub fn commit(paths: &Paths, plan: &Plan) -> Result<(), String> {
    sync_directory(&paths.log)?;
    // The log directory may be new.
    sync_directory(&paths.data)?;
    let unfinished = paths.log.join(format!("{UNFINISHED}plan"));
    write_file(&unfinished, &serde_json::to_vec(plan).expect("names and numbers are JSON"))?;
    rename(&unfinished, &paths.plan())?;
    sync_directory(&paths.log)
}

/// Does what a plan says, as far as it is not done yet.
///
/// # Errors
/// What failed; the next start goes on from there.
pub fn finish(paths: &Paths, plan: &Plan) -> Result<(), String> {
    for (unfinished, finished) in &plan.log {
        rename_if_there(&paths.log.join(unfinished), &paths.log.join(finished))?;
    }
    sync_directory(&paths.log)?;
    let backup = paths.backup(plan);
    create_directory(&backup)?;
    copy_metadata(paths, &backup)?;
    for (name, bytes) in &plan.originals {
        let (from, to) = (paths.data.join(name), backup.join(name));
        let is_it = fs::metadata(&from).is_ok_and(|found| found.len() == *bytes);
        if is_it && !to.exists() {
            rename(&from, &to)?;
        }
    }
    sync_directory(&backup)?;
    sync_directory(&paths.data)?;
    remove(&paths.plan())?;
    sync_directory(&paths.log)
}

/// Removes what a takeover wrote that was never committed.
///
/// # Errors
/// What failed.
pub fn remove_unfinished(paths: &Paths) -> Result<(), String> {
    let entries = match fs::read_dir(&paths.log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("open", &paths.log, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", &paths.log, &error))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The metadata stays in use, so the backup gets a copy, as it was at first.
fn copy_metadata(paths: &Paths, backup: &Path) -> Result<(), String> {
    let (from, to) = (paths.data.join(METADATA), backup.join(METADATA));
    if to.exists() {
        return Ok(());
    }
    let bytes = match fs::read(&from) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", &from, &error)),
    };
    let unfinished = backup.join(format!("{UNFINISHED}{METADATA}"));
    write_file(&unfinished, &bytes)?;
    rename(&unfinished, &to)
}

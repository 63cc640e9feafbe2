//! Free space of the disk that is to stay: watched by a thread, and told to the shards by a flag
//! that each worker reads once in a turn.
//!
//! While there is less, publishes are refused, and `/ping` says why. Consumers go on: what they
//! finish makes room.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::disk::Space;
use super::http::facts::Facts;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Who says so where each shard says what is wrong with it.
const WATCHER: u16 = u16::MAX;

/// Whether there is too little free space.
#[derive(Debug, Default)]
pub struct Floor {
    is_low: AtomicBool,
    /// Free bytes that are to stay; 0 for none.
    least_bytes: u64,
}

impl Floor {
    /// So many bytes are to stay free.
    #[must_use]
    pub fn new(least_bytes: u64) -> Floor {
        Floor { is_low: AtomicBool::new(false), least_bytes }
    }

    /// Free bytes that are to stay; 0 for none.
    #[must_use]
    pub fn least_bytes(&self) -> u64 {
        self.least_bytes
    }

    /// Whether there is less.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Why publishes are refused then.
    #[must_use]
    pub fn text(&self) -> String {
        let limit = shards::request::LIMIT_REACHED;
        format!("{limit}: the disk has less than --min-free-disk={} bytes free", self.least_bytes)
    }
}

/// Begins to watch the disk of a data path, if any space of it is to stay free.
///
/// # Errors
/// A floor that no disk of this size can keep, or a disk that cannot be asked.
pub fn watch(facts: &Arc<Facts>, data_path: &Path) -> Result<(), String> {
    let least_bytes = facts.floor.least_bytes;
    if least_bytes == 0 {
        return Ok(());
    }
    let shown = data_path.display();
    let Space { size_bytes: size, .. } = Space::of(data_path)
        .map_err(|error| format!("cannot ask for the space of {shown} - {error}"))?;
    if least_bytes >= size {
        return Err(format!(
            "--min-free-disk={least_bytes}, but the disk of {shown} has {size} bytes"
        ));
    }
    let (facts, data_path) = (facts.clone(), data_path.to_owned());
    look(&facts, &data_path);
    let watcher = thread::Builder::new().name("floor".to_owned());
    let watching = watcher.spawn(move || {
        loop {
            thread::sleep(LOOK_EVERY);
            look(&facts, &data_path);
        }
    });
    watching.map(|_| ()).map_err(|error| format!("cannot watch the disk - {error}"))
}

fn look(facts: &Facts, data_path: &Path) {
    // A disk that does not answer is not one that is full: writes to it will say what is wrong.
    let Ok(Space { free_bytes: free, .. }) = Space::of(data_path) else { return };
    let is_low = free < facts.floor.least_bytes;
    if facts.floor.is_low.swap(is_low, Ordering::Relaxed) == is_low {
        return;
    }
    let text = facts.floor.text();
    match is_low {
        true => tracing::error!("publishes are refused - {text}"),
        false => tracing::info!("the disk has enough free space again: {free} bytes"),
    }
    facts.health.set(WATCHER, is_low.then_some(text));
}

//! A disk that is only pretended: it knows what was synced and what was not, forgets the rest in a
//! power cut, and fails on demand.
//!
//! It is stricter than most: a new name outlives a cut only when its folder was synced, and what a
//! failed sync covered is never written later, as on Linux, where the pages are clean from then on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::random::Random;

/// What is written or lost as a whole.
const SECTOR: usize = 512;
/// The number of the uppermost folder.
pub const ROOT: u64 = 1;

/// Contents by sector; what is not there is zero.
#[derive(Clone, Default)]
struct Content {
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    length: u64,
}

impl Content {
    fn read(&self, offset: u64, count: usize) -> Vec<u8> {
        let count = count.min(self.length.saturating_sub(offset) as usize);
        let mut out = vec![0; count];
        let mut done = 0;
        while done < count {
            let (sector, from) = split(offset + done as u64);
            let part = (SECTOR - from).min(count - done);
            if let Some(bytes) = self.sectors.get(&sector) {
                out[done..done + part].copy_from_slice(&bytes[from..from + part]);
            }
            done += part;
        }
        out
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (sector, from) = split(offset + done as u64);
            let part = (SECTOR - from).min(data.len() - done);
            let bytes = self.sectors.entry(sector).or_insert([0; SECTOR]);
            bytes[from..from + part].copy_from_slice(&data[done..done + part]);
            done += part;
        }
        self.length = self.length.max(offset + data.len() as u64);
    }

    fn truncate(&mut self, length: u64) {
        if length < self.length {
            let (sector, from) = split(length);
            if let Some(bytes) = self.sectors.get_mut(&sector) {
                bytes[from..].fill(0);
            }
            self.sectors.split_off(&(sector + 1));
        }
        self.length = length;
    }
}

fn split(offset: u64) -> (u64, usize) {
    (offset / SECTOR as u64, (offset % SECTOR as u64) as usize)
}

/// A file or a folder: as the broker sees it, and as it is after a cut.
enum Node {
    File { now: Content, kept: Content, dirty: Vec<u64> },
    Folder { now: BTreeMap<String, u64>, kept: BTreeMap<String, u64> },
}

/// What may go wrong; switched by the test while the disk is in use.
#[derive(Default)]
pub struct Faults {
    /// So many syncs fail with EIO.
    pub syncs: AtomicU32,
    /// All reads of files fail with EIO.
    pub reads: AtomicBool,
    /// How many syncs were asked for.
    pub synced: AtomicU32,
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// It is gone.
    Nothing,
    /// The first part of it is there, in the order in which it was written.
    Prefix,
    /// Any part of it is there.
    Subset,
}

/// Files and folders by number.
pub struct Disk {
    nodes: BTreeMap<u64, Node>,
    last: u64,
}

/// An error number.
pub type Errno = i32;

impl Default for Disk {
    fn default() -> Self {
        let root = Node::Folder { now: BTreeMap::new(), kept: BTreeMap::new() };
        Disk { nodes: BTreeMap::from([(ROOT, root)]), last: ROOT }
    }
}

impl Disk {
    /// Length of a file, or nothing for a folder.
    pub fn length(&self, node: u64) -> Result<Option<u64>, Errno> {
        match self.nodes.get(&node).ok_or(libc::ENOENT)? {
            Node::File { now, .. } => Ok(Some(now.length)),
            Node::Folder { .. } => Ok(None),
        }
    }

    /// The number behind a name.
    pub fn look_up(&self, folder: u64, name: &str) -> Result<u64, Errno> {
        self.names(folder)?.get(name).copied().ok_or(libc::ENOENT)
    }

    /// What is in a folder.
    pub fn names(&self, folder: u64) -> Result<&BTreeMap<String, u64>, Errno> {
        match self.nodes.get(&folder).ok_or(libc::ENOENT)? {
            Node::Folder { now, .. } => Ok(now),
            Node::File { .. } => Err(libc::ENOTDIR),
        }
    }

    fn names_mut(&mut self, folder: u64) -> Result<&mut BTreeMap<String, u64>, Errno> {
        match self.nodes.get_mut(&folder).ok_or(libc::ENOENT)? {
            Node::Folder { now, .. } => Ok(now),
            Node::File { .. } => Err(libc::ENOTDIR),
        }
    }

    /// Makes an empty file or folder.
    pub fn make(&mut self, folder: u64, name: &str, is_folder: bool) -> Result<u64, Errno> {
        if self.look_up(folder, name).is_ok() {
            return Err(libc::EEXIST);
        }
        self.last += 1;
        let number = self.last;
        self.names_mut(folder)?.insert(name.to_string(), number);
        let node = if is_folder {
            Node::Folder { now: BTreeMap::new(), kept: BTreeMap::new() }
        } else {
            Node::File { now: Content::default(), kept: Content::default(), dirty: Vec::new() }
        };
        self.nodes.insert(number, node);
        Ok(number)
    }

    /// Its content stays until the next cut: somebody may have it open.
    pub fn remove(&mut self, folder: u64, name: &str) -> Result<(), Errno> {
        let node = self.look_up(folder, name)?;
        if self.names(node).is_ok_and(|names| !names.is_empty()) {
            return Err(libc::ENOTEMPTY);
        }
        self.names_mut(folder)?.remove(name);
        Ok(())
    }

    /// Gives something another name, in place of what had it before.
    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Errno> {
        let node = self.look_up(from.0, from.1)?;
        self.names_mut(to.0)?.insert(to.1.to_string(), node);
        self.names_mut(from.0)?.remove(from.1);
        Ok(())
    }

    fn file(&mut self, node: u64) -> Result<(&mut Content, &mut Content, &mut Vec<u64>), Errno> {
        match self.nodes.get_mut(&node).ok_or(libc::ENOENT)? {
            Node::File { now, kept, dirty } => Ok((now, kept, dirty)),
            Node::Folder { .. } => Err(libc::EISDIR),
        }
    }

    /// Bytes of a file; fewer at its end.
    pub fn read(&mut self, node: u64, offset: u64, count: usize) -> Result<Vec<u8>, Errno> {
        Ok(self.file(node)?.0.read(offset, count))
    }

    /// Changes a file, for the time being.
    pub fn write(&mut self, node: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let (now, _, dirty) = self.file(node)?;
        now.write(offset, data);
        let last = offset + data.len().max(1) as u64 - 1;
        dirty.extend(split(offset).0..=split(last).0);
        Ok(())
    }

    /// Gives a file another length, for the time being.
    pub fn truncate(&mut self, node: u64, length: u64) -> Result<(), Errno> {
        self.file(node)?.0.truncate(length);
        Ok(())
    }

    /// Makes a file or folder outlive a cut; a sync that fails makes it never outlive one.
    pub fn sync(&mut self, node: u64, fails: bool) -> Result<(), Errno> {
        match self.nodes.get_mut(&node).ok_or(libc::ENOENT)? {
            Node::File { dirty, .. } if fails => dirty.clear(),
            Node::File { now, kept, dirty } => {
                let sectors = std::mem::take(dirty);
                keep(now, kept, &sectors);
                kept.truncate(now.length);
            }
            Node::Folder { .. } if fails => {}
            Node::Folder { now, kept } => *kept = now.clone(),
        }
        if fails { Err(libc::EIO) } else { Ok(()) }
    }

    /// The power is gone and comes again.
    pub fn cut(&mut self, cut: Cut, random: &mut Random) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File { now, kept, dirty } => {
                    let mut sectors = std::mem::take(dirty);
                    match cut {
                        Cut::Nothing => sectors.clear(),
                        Cut::Prefix => sectors.truncate(random.below(sectors.len() + 1)),
                        Cut::Subset => sectors.retain(|_| random.percent(50)),
                    }
                    keep(now, kept, &sectors);
                    *now = kept.clone();
                }
                Node::Folder { now, kept } => {
                    if !matches!(cut, Cut::Nothing) && random.percent(50) {
                        *kept = now.clone();
                    }
                    *now = kept.clone();
                }
            }
        }
        self.collect();
    }

    /// Drops what has no name any more.
    fn collect(&mut self) {
        let mut named = vec![ROOT];
        let mut at = 0;
        while at < named.len() {
            if let Ok(names) = self.names(named[at]) {
                named.extend(names.values().copied());
            }
            at += 1;
        }
        self.nodes.retain(|number, _| named.contains(number));
    }
}

/// Copies sectors to what outlives a cut.
fn keep(now: &Content, kept: &mut Content, sectors: &[u64]) {
    for sector in sectors {
        if let Some(bytes) = now.sectors.get(sector) {
            kept.sectors.insert(*sector, *bytes);
            let end = ((sector + 1) * SECTOR as u64).min(now.length);
            kept.length = kept.length.max(end);
        }
    }
}

impl Faults {
    /// Whether this sync is one of those that fail.
    pub fn sync_fails(&self) -> bool {
        self.synced.fetch_add(1, Ordering::Relaxed);
        let less = |left: u32| left.checked_sub(1);
        self.syncs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

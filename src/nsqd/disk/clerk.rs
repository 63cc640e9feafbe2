//! Makes, removes and reuses files on a thread of its own, for all shards: each takes several
//! waits for the disk, which no shard has the time for.
//!
//! A shard orders a file well before it needs it, through its [`FileDesk`], and the answer comes
//! with a ring of its doorbell. Journal files that are released are kept, a few of them, and used
//! again, the last one first. Orders are carried out in the order in which they come.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use flume::{Receiver, Sender};
use shards::disk::{DiskError, Opened, Role};

use super::errors::Complaints;
use super::folder::Folder;
use super::limits::{JOURNAL_BYTES, SPARES_MAX, STOP_TIMEOUT};
use super::make;
use super::names;
use super::shared::Shared;
use crate::log;
use crate::nsqd::doorbell::Doorbell;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// This shard needs a new file.
    Make { shard: u16, role: Role },
    /// Nobody needs the file any more. It was made in this run of the process.
    Release { number: u32, role: Role },
    /// The same, but it was made earlier, maybe in another way than files are made now.
    Remove { number: u32, role: Role },
    /// The shards have stopped.
    Stop,
}

/// What a shard gets for its order.
#[derive(Debug)]
pub(super) struct Made {
    pub role: Role,
    pub result: Result<(Opened, std::fs::File), DiskError>,
}

/// The thread, as the main thread sees it.
#[derive(Debug)]
pub struct Clerk {
    orders: Sender<Order>,
    finished: Receiver<()>,
}

impl Clerk {
    /// Starts the thread, and gives each shard, in the order of the doorbells, what it orders
    /// through. With `overwrite`, journal files are overwritten once when they are made, which
    /// takes longer and makes every later sync quicker.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        folder: Arc<Folder>,
        overwrite: bool,
        doorbells: &[Doorbell],
    ) -> io::Result<(Clerk, Vec<FileDesk>)> {
        let (orders, ordered) = flume::unbounded();
        let (finish, finished) = flume::bounded(1);
        let mut shards = Vec::new();
        let mut desks = Vec::new();
        let short = Arc::new(AtomicBool::new(false));
        for (shard, doorbell) in (0..).zip(doorbells) {
            let (made, answers) = flume::unbounded();
            shards.push(ToShard { made, doorbell: doorbell.clone() });
            let (orders, first, ready) = (orders.clone(), First::Plain, None);
            let short = short.clone();
            desks.push(FileDesk { shard, orders, answers, first, ready, short });
        }
        let complaints = Complaints::default();
        let spares = Vec::new();
        let mut work = Work { folder, overwrite, shards, spares, short, complaints };
        thread::Builder::new().name("files".to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| work.run(&ordered))).is_err() {
                log::fatal("nsqd", "the thread that makes files panicked");
                std::process::exit(1);
            }
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        })?;
        Ok((Clerk { orders, finished }, desks))
    }

    /// The first hold on a file of an earlier start; see [`Shared`].
    pub fn share(&self, number: u32, role: Role) -> Shared {
        Shared::new(number, role, self.orders.clone())
    }

    /// Carries out what was ordered before, and ends. The shards must have stopped.
    pub fn stop(self) {
        // The thread only ends when it is told to.
        let _ = self.orders.send(Order::Stop);
        if self.finished.recv_timeout(STOP_TIMEOUT).is_err() {
            tracing::warn!("disk: files were not removed in time");
        }
    }
}

/// A shard's way to the thread.
#[derive(Debug)]
pub struct FileDesk {
    shard: u16,
    orders: Sender<Order>,
    answers: Receiver<Made>,
    first: First,
    /// An answer that comes before the others.
    ready: Option<Made>,
    /// There was no space for the last file that was ordered, by whomever.
    short: Arc<AtomicBool>,
}

/// The first journal file, which is made before the shard asks for it: when clients come there may
/// be no descriptor left for it.
#[derive(Debug)]
enum First {
    /// It is made when the shard asks for it, or the shard has asked.
    Plain,
    /// It is being made.
    Ordered,
    /// It is there, or could not be made.
    Made(Made),
}

impl FileDesk {
    /// The shard that it belongs to.
    pub(super) fn shard(&self) -> u16 {
        self.shard
    }

    /// Has the first journal file made.
    pub fn order_first(&mut self) {
        self.send(Order::Make { shard: self.shard, role: Role::Journal });
        self.first = First::Ordered;
    }

    /// Waits until the first journal file is there, or cannot be had, or it takes too long: the
    /// shard then waits for it.
    pub fn wait_for_first(&mut self, deadline: Instant) {
        if let Ok(made) = self.answers.recv_deadline(deadline) {
            self.first = First::Made(made);
        }
    }

    pub(super) fn order(&mut self, role: Role) {
        match (role, std::mem::replace(&mut self.first, First::Plain)) {
            (Role::Journal, First::Ordered) => {}
            (Role::Journal, First::Made(made)) => self.ready = Some(made),
            (_, first) => {
                self.first = first;
                self.send(Order::Make { shard: self.shard, role });
            }
        }
    }

    pub(super) fn release(&self, number: u32, role: Role) {
        self.send(Order::Release { number, role });
    }

    pub(super) fn has_answer(&self) -> bool {
        self.ready.is_some() || !(self.is_early() || self.answers.is_empty())
    }

    pub(super) fn next_answer(&mut self) -> Option<Made> {
        match self.ready.take() {
            None if !self.is_early() => self.answers.try_recv().ok(),
            ready => ready,
        }
    }

    /// Whether the answer that comes next is one that the shard has not asked for yet.
    fn is_early(&self) -> bool {
        matches!(self.first, First::Ordered)
    }

    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    fn send(&self, order: Order) {
        // The thread outlives the shards, or the process is ending.
        let _ = self.orders.send(order);
    }
}

/// The thread's way to a shard.
struct ToShard {
    made: Sender<Made>,
    doorbell: Doorbell,
}

/// The thread.
struct Work {
    folder: Arc<Folder>,
    overwrite: bool,
    shards: Vec<ToShard>,
    /// Journal files to be used again, by the numbers that they had.
    spares: Vec<u32>,
    /// All shards are to know that there was no space for one of them.
    short: Arc<AtomicBool>,
    complaints: Complaints,
}

impl Work {
    fn run(&mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Make { shard, role } => self.make_for(shard, role),
                Order::Release { number, role } => self.release(number, role),
                Order::Remove { number, role } => self.remove(&names::of_file(number, role)),
                Order::Stop => break,
            }
        }
        self.make_room();
    }

    fn make_for(&mut self, shard: u16, role: Role) {
        let mut result = self.make(shard, role);
        if result.as_ref().is_err_and(|error| error.full && self.make_room()) {
            result = self.make(shard, role);
        }
        if let Err(error) = &result {
            self.complaints.log("make", error);
        }
        let is_short = result.as_ref().is_err_and(|error| error.full);
        self.short.store(is_short, Ordering::Relaxed);
        if is_short {
            // One that sleeps may have journals that it does not need.
            self.shards.iter().for_each(|shard| shard.doorbell.ring());
        }
        let ToShard { made, doorbell } = &self.shards[usize::from(shard)];
        // A shard that is gone leaves an empty file, which the next start sees to.
        let _ = made.send(Made { role, result });
        doorbell.ring();
    }

    fn make(&mut self, shard: u16, role: Role) -> Result<(Opened, std::fs::File), DiskError> {
        let header = make::header(&self.folder, role, shard)?;
        let spare = if role == Role::Journal { self.spares.pop() } else { None };
        let file = match spare {
            Some(spare) => make::make_of_spare(&self.folder, spare, &header),
            None => make::make(&self.folder, &header, self.overwrite),
        }?;
        Ok((Opened { number: header.number, nonce: header.nonce }, file))
    }

    /// Gives up the files that are kept to be used again; false if there are none.
    fn make_room(&mut self) -> bool {
        let spares = std::mem::take(&mut self.spares);
        spares.iter().for_each(|&spare| self.remove(&names::of_spare(spare)));
        !spares.is_empty()
    }

    fn release(&mut self, number: u32, role: Role) {
        let name = names::of_file(number, role);
        if role == Role::Store || self.spares.len() == SPARES_MAX || !self.is_usual(&name) {
            return self.remove(&name);
        }
        // The new name must last before the header is written over: a file must never have the
        // name of one journal and the header of another.
        match self.folder.rename(&name, &names::of_spare(number)) {
            Ok(()) => self.spares.push(number),
            Err(error) => {
                self.complaints.log("rename", &error);
                self.remove(&name);
                self.remove(&names::of_spare(number));
            }
        }
    }

    /// Whether a journal file is as long as a new one: a large batch may have made it longer.
    fn is_usual(&self, name: &str) -> bool {
        let found = std::fs::metadata(self.folder.path().join(name));
        found.is_ok_and(|found| found.len() == JOURNAL_BYTES)
    }

    fn remove(&mut self, name: &str) {
        if let Err(error) = self.folder.remove(name) {
            self.complaints.log("remove", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::Arc;

    use shards::disk::Role;

    use super::super::listing;
    use super::{Complaints, Work, names};

    #[test]
    fn what_is_kept_makes_room_when_the_disk_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let count = || fs::read_dir(folder.path()).unwrap().count();
        let mut work = Work {
            folder: folder.clone(),
            overwrite: false,
            shards: Vec::new(),
            spares: Vec::new(),
            short: Arc::default(),
            complaints: Complaints::default(),
        };
        assert!(!work.make_room(), "there is nothing to give up");
        for _ in 0..2 {
            let (opened, _) = work.make(0, Role::Journal).unwrap();
            work.release(opened.number, Role::Journal);
        }
        assert_eq!((work.spares.len(), count()), (1, 1), "the second was made of the first");
        assert!(work.make_room());
        assert_eq!((work.spares.len(), count()), (0, 0));
    }

    #[test]
    fn a_spare_that_is_gone_is_an_error_once() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let mut work = Work {
            folder: folder.clone(),
            overwrite: false,
            shards: Vec::new(),
            spares: vec![9],
            short: Arc::default(),
            complaints: Complaints::default(),
        };
        let error = work.make(0, Role::Journal).unwrap_err();
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(error, super::super::errors::failed("open", &names::of_spare(9), &missing));
        assert!(work.make(0, Role::Journal).is_ok());
    }
}

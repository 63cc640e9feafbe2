//! The end of all shards of a world, and what comes after it.

use std::collections::VecDeque;

use shards::disk::{DiskError, Place as DiskPlace, Role};
use shards::journal::entry::{self, At, Run};
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader};
use shards::metadata::TopicMetadata;
use shards::placement::Placement;
use shards::recover::{self, BlockSink, LogFile, RecoveredTopic};

use shards::shard::OldFiles;

use super::disk::Folder;
use super::pipes::Place;
use super::{ROUNDS_MAX, World};

/// How the shards end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// They are told to stop, and everything is put on the disk.
    Stop,
    /// What was written stays.
    Kill,
    /// What was synced stays.
    PowerCut,
}

impl World {
    /// All shards end, and others, as many as are wanted, go on from the files.
    pub fn restart(&mut self, end: End, shards: u16) {
        self.note_pressed();
        self.hang_up();
        if end == End::Stop {
            self.stop();
        }
        for worker in 0..self.workers.len() {
            self.write_down_metadata(worker);
        }
        // What was on its way to the disk when it ended may have got there.
        for worker in self.workers.drain(..) {
            self.folder.drop_queue(worker.queue);
        }
        self.hear_of_damage();
        self.memory.free();
        if end != End::Kill {
            self.folder.cut_power();
        }
        self.ledger.restarted(end, &self.folder, &self.settings.options);
        self.settings.shards = shards;
        self.placement = Placement::new(0, shards, &[]);
        // It takes a while.
        self.advance(20);
        let topics = self.recover();
        let found = self.folder.messages(topics.topics.iter().flat_map(|topic| &topic.segments));
        self.ledger.recovered(&found);
        self.start(topics);
        self.rediscover(end);
    }

    /// All connections end.
    fn hang_up(&mut self) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.place != Place::Closed {
                connection.place = Place::Closed;
                connection.reset = true;
                self.ledger.closed(index);
            }
        }
        for worker in &mut self.workers {
            worker.connections.clear();
            worker.asks.clear();
            worker.mail.iter_mut().flatten().for_each(VecDeque::clear);
        }
    }

    /// The shards stop on their own.
    fn stop(&mut self) {
        self.folder.heal();
        self.calm = true;
        self.workers.iter_mut().for_each(|worker| worker.shard.begin_stop());
        for round in 0.. {
            for worker in 0..self.workers.len() {
                self.turn(worker);
            }
            let is_idle = |worker: &super::Worker| worker.shard.is_stopped();
            if self.workers.iter().all(is_idle) {
                break;
            }
            if round % 100 == 99 {
                self.advance(500);
            }
            if round == ROUNDS_MAX {
                self.ledger.complain("the shards do not stop".to_owned());
                break;
            }
        }
        self.calm = false;
    }

    /// Reads the files.
    fn recover(&mut self) -> recover::Recovered {
        let metadata: Vec<TopicMetadata> = self.written.values().cloned().collect();
        self.folder.begin_generation();
        let old = std::mem::take(&mut self.folder.files);
        let mut files = Vec::new();
        for (&number, file) in &old {
            match FileHeader::decode(&file.bytes) {
                Ok(header) => files.push(LogFile { header, bytes: &file.bytes[..] }),
                Err(foreign) => {
                    self.ledger.complain(format!("file {number} is {foreign:?}"));
                }
            }
        }
        let mut sink = Sink { folder: &mut self.folder, current: None };
        let keep = Some(self.settings.options.defaults.keep);
        // It may be interrupted: what it wrote stays.
        if sink.folder.interrupts_recovery() {
            recover::recover_kept(&metadata, &files, &mut sink, keep, &mut |_, _| ());
            let written = std::mem::take(&mut sink.folder.files);
            let again = written
                .values()
                .map(|file| LogFile { header: file.header, bytes: &file.bytes[..] });
            files.extend(again);
            sink.current = None;
            sink.folder.begin_generation();
            let recovered =
                recover::recover_kept(&metadata, &files, &mut sink, keep, &mut |_, _| ());
            self.folder.files.extend(written);
            self.folder.files.extend(old);
            return recovered;
        }
        let recovered = recover::recover_kept(&metadata, &files, &mut sink, keep, &mut |_, _| ());
        self.folder.files.extend(old);
        recovered
    }

    /// Makes the shards anew.
    fn start(&mut self, recovered: recover::Recovered) {
        let recover::Recovered { topics, sequence_floor, .. } = recovered;
        let shards = self.settings.shards;
        let mut parts: Vec<Vec<RecoveredTopic>> = (0..shards).map(|_| Vec::new()).collect();
        for topic in topics {
            parts[usize::from(self.placement.owner(&topic.name))].push(topic);
        }
        let with = |role: Role| {
            let files = self.folder.files.iter().filter(|(_, file)| file.header.role == role);
            files.map(|(&number, _)| number).collect()
        };
        let old_files = OldFiles { stores: with(Role::Store), journals: with(Role::Journal) };
        self.folder.share(shards);
        for me in 0..=shards {
            let mut worker = self.worker(me);
            if let Some(topics) = parts.get_mut(usize::from(me)) {
                let of_me = |topic: &&TopicMetadata| self.placement.owner(&topic.name) == me;
                let metadata: Vec<_> = self.written.values().filter(of_me).cloned().collect();
                worker.shard.restore(&metadata);
                worker.shard.metadata_settled(u64::MAX);
                let topics = std::mem::take(topics);
                worker.shard.restore_messages(topics, sequence_floor, old_files.clone());
            }
            self.workers.push(worker);
        }
    }
}

/// Where recovery writes.
struct Sink<'a> {
    folder: &'a mut Folder,
    current: Option<u32>,
}

impl BlockSink for Sink<'_> {
    fn write(&mut self, run: &Run, records: &[u8]) -> Result<DiskPlace, DiskError> {
        let number = match self.current {
            Some(number) => number,
            None => self.folder.make(Role::Store),
        };
        self.current = Some(number);
        let file = self.folder.files.get_mut(&number).expect("it was just made");
        let start = file.bytes.len();
        let at = At { nonce: file.header.nonce, offset: start as u64 };
        entry::run_start(&mut file.bytes, at, run);
        let offset = file.bytes.len();
        file.bytes.extend_from_slice(records);
        entry::run_end(&mut file.bytes, at, run);
        assert!(start >= FILE_HEADER_BYTES && start.is_multiple_of(8));
        Ok(DiskPlace { file: number, offset: offset as u32, bytes: records.len() as u32 })
    }
}

//! From the files of a data path to what each shard starts with.
//!
//! Nothing of an earlier start is removed here: each shard has a hold on every old file until what
//! it took over is written down anew, and longer on those that it still reads from.

use std::path::Path;
use std::time::{Duration, Instant};

use shards::disk::{DiskError, Place, Role};
use shards::journal::entry::Run;
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::placement::Placement;
use shards::recover::{self, BlockSink, LogFile, Recovered, RecoveredTopic, Report};
use shards::shard::OldFiles;

use super::disk::listing::{self, Found};
use super::disk::{BlockWriter, Clerk, Disk, FileDesk, FileReader, Folder, Shared};
use super::doorbell::Doorbell;
use super::metadata::Topics;
use crate::config::nsqd::NsqdOptions;
use shards::limits::Durability;
use std::sync::Arc;

/// How long recovery is quiet before it tells how far it is, and between two such lines.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// How long clients have to wait for the first journal files, which publishers wait for anyway.
const FIRST_FILES_PATIENCE: Duration = Duration::from_secs(5);

/// What the shards start with.
#[derive(Debug)]
pub struct Recovery {
    /// Makes and removes files.
    pub clerk: Clerk,
    /// For each shard.
    pub parts: Vec<Part>,
    /// Lower sequence numbers may have been given.
    pub sequence_floor: u64,
}

/// What one shard starts with.
#[derive(Debug)]
pub struct Part {
    /// Its disk.
    pub disk: Disk,
    /// Its topics.
    pub topics: Vec<RecoveredTopic>,
    /// Files of earlier starts.
    pub old_files: OldFiles,
}

/// Recovers a data path that is locked. The error is a whole line.
pub fn recover(
    options: &NsqdOptions,
    data_path: &Path,
    metadata: &[TopicMetadata],
    placement: &Placement,
    doorbells: &[Doorbell],
) -> Result<Recovery, String> {
    let listing = listing::open(data_path)?;
    let (folder, found) = (listing.folder, listing.files);
    let (recovered, written) = recover_files(options, &folder, &found, metadata)?;
    let synced = options.topic_durability.iter().map(|(_, durability)| *durability);
    let overwrite = synced.chain([options.durability]).any(|of| of == Durability::Synced);
    let (clerk, mut desks) = Clerk::start(folder.clone(), overwrite, doorbells)
        .map_err(|error| format!("cannot start a thread - {error}"))?;
    folder.raise_sequence_floor(recovered.sequence_floor);
    // Before there are clients, who may take all descriptors. On a full disk there is none: then
    // publishes are refused until there is room.
    desks.iter_mut().for_each(FileDesk::order_first);
    let deadline = Instant::now() + FIRST_FILES_PATIENCE;
    desks.iter_mut().for_each(|desk| desk.wait_for_first(deadline));
    let Recovered { topics, sequence_floor, .. } = recovered;
    let found = found.iter().map(|found| (found.number, found.role));
    let files = found.chain(written.into_iter().map(|number| (number, Role::Store)));
    let first = files.map(|(number, role)| clerk.share(number, role)).collect();
    let disks = desks.into_iter().map(|desk| (desk, folder.clone())).collect();
    let parts = share_out(topics, placement, first, disks);
    Ok(Recovery { clerk, parts, sequence_floor })
}

/// What is in the files, and the numbers of those that were written meanwhile.
fn recover_files(
    options: &NsqdOptions,
    folder: &Arc<Folder>,
    found: &[Found],
    metadata: &[TopicMetadata],
) -> Result<(Recovered, Vec<u32>), String> {
    let files = found.iter().map(|found| {
        let bytes = found.open()?;
        Ok(LogFile { header: found.header, bytes })
    });
    let files: Vec<LogFile<FileReader>> = files
        .collect::<Result<_, DiskError>>()
        .map_err(|error| format!("failed to read the journal - {}", error.text))?;
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut progress = |done: u64, of: u64| {
        if told.elapsed() >= PROGRESS_PAUSE {
            told = Instant::now();
            tracing::info!("RECOVERY: {} of {} MiB", done >> 20, of >> 20);
        }
    };
    let mut writer = Sink(Some(BlockWriter::new(folder.clone(), options.max_bytes_per_file)));
    let mut recovered = recover::recover(metadata, &files, &mut writer, &mut progress);
    let written = writer.0.map_or(Ok(Vec::new()), BlockWriter::finish).unwrap_or_else(|error| {
        tracing::error!("RECOVERY: {} - messages are left where they are", error.text);
        recovered = recover::recover(metadata, &files, &mut Sink(None), &mut progress);
        Vec::new()
    });
    tell(&recovered.report, began.elapsed());
    Ok((recovered, written))
}

/// Adds the topics and channels that only the journals know to the metadata. Whether there were
/// any.
pub fn complete(metadata: &mut Topics, parts: &[Part]) -> bool {
    let mut added = false;
    for topic in parts.iter().flat_map(|part| &part.topics) {
        let known = metadata.entry(topic.name).or_insert_with(|| {
            added = true;
            TopicMetadata::new(topic.name)
        });
        for (name, _) in &topic.channels {
            if !known.channels.iter().any(|channel| channel.name == *name) {
                added = true;
                known.channels.push(ChannelMetadata::new(*name, false));
            }
        }
    }
    added
}

/// Says what was found, when there was anything.
fn tell(report: &Report, took: Duration) {
    let Report { files, entries, messages, damaged, records_lost, outstanding_lost, .. } = report;
    if *files > 0 {
        let ms = took.as_millis();
        tracing::info!(
            "RECOVERY: {messages} messages from {entries} entries in {files} files, {ms} ms"
        );
    }
    if *damaged > 0 || *records_lost > 0 || *outstanding_lost > 0 {
        let lost = records_lost + outstanding_lost;
        tracing::error!("RECOVERY: {damaged} damaged places cost {lost} messages");
    }
    for (what, error) in [("write", &report.refused), ("read", &report.read_error)] {
        if let Some(error) = error {
            tracing::error!("RECOVERY: cannot {what} everything - {}", error.text);
        }
    }
}

/// Writes blocks, or refuses to.
struct Sink(Option<BlockWriter>);

impl BlockSink for Sink {
    fn write(&mut self, run: &Run, records: &[u8]) -> Result<Place, DiskError> {
        match &mut self.0 {
            Some(writer) => writer.write(run, records),
            None => Err(DiskError { full: false, text: "nothing is rewritten".to_owned() }),
        }
    }
}

/// The numbers of the files that have this role.
fn of(files: &[Shared], role: Role) -> Vec<u32> {
    files.iter().filter(|file| file.role() == role).map(Shared::number).collect()
}

/// Gives each shard its topics, and a hold on every file.
fn share_out(
    topics: Vec<RecoveredTopic>,
    placement: &Placement,
    first: Vec<Shared>,
    disks: Vec<(FileDesk, Arc<Folder>)>,
) -> Vec<Part> {
    let mut of_shards: Vec<Vec<RecoveredTopic>> = disks.iter().map(|_| Vec::new()).collect();
    for topic in topics {
        of_shards[usize::from(placement.owner(&topic.name))].push(topic);
    }
    let parts = of_shards.into_iter().zip(disks).map(|(topics, (desk, folder))| {
        let shared = first.iter().map(Shared::another).collect();
        let old_files =
            OldFiles { stores: of(&first, Role::Store), journals: of(&first, Role::Journal) };
        Part { disk: Disk::new(folder, desk, shared), topics, old_files }
    });
    let parts = parts.collect();
    first.into_iter().for_each(Shared::release);
    parts
}

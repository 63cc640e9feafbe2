//! From the files of a data path to what each shard starts with.
//!
//! Nothing of an earlier start is removed here: each shard has a hold on every old file until what
//! it took over is written down anew, and longer on those that it still reads from.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use shards::disk::{DiskError, Place, Role};
use shards::journal::entry::Run;
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::placement::Placement;
use shards::recover::{self, BlockSink, LogFile, Recovered, RecoveredTopic, Report};
use shards::shard::OldFiles;

use super::disk::listing::{self, Found};
use super::disk::{BlockWriter, Clerk, Disk, FileDesk, FileReader, Folder, Shared};
use super::doorbell::Doorbell;
use super::metadata::file::is_for_want_of_room;
use super::metadata::{self, Loaded, Topics};
use super::startup::progress::{Progress, Step};
use super::takeover;
use crate::config::nsqd::NsqdOptions;
use shards::limits::Durability;
use std::sync::Arc;

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

/// What is brought back: a data path that is locked.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// How it is to be done.
    pub options: &'a NsqdOptions,
    /// The data path.
    pub directory: &'a Path,
    /// Told how far it is.
    pub progress: &'a Progress,
}

/// Finds out what there was before, and has it written down that it is there. The error is a whole
/// line.
pub fn bring_back(
    ground: Ground<'_>,
    loaded: &mut Loaded,
    placement: &Placement,
    doorbells: &[Doorbell],
) -> Result<Recovery, String> {
    take_over(ground, &mut loaded.content.topics)?;
    let metadata: Vec<TopicMetadata> = loaded.content.topics.values().cloned().collect();
    persist(loaded)?;
    // The last one is that of the worker without topics.
    let doorbells = &doorbells[..usize::from(placement.shards)];
    let recovery = recover(ground, &metadata, placement, doorbells)?;
    // What only the journals know has to be in the file before new journals say anything: they
    // might not come to say it of everything.
    if complete(&mut loaded.content.topics, &recovery.parts) {
        persist(loaded)?;
    }
    Ok(recovery)
}

/// Takes over what the original left in the data path, if there is anything.
fn take_over(ground: Ground<'_>, topics: &mut Topics) -> Result<(), String> {
    let Ground { options, directory, progress } = ground;
    progress.enter(Step::TakingOver);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let request = takeover::Request {
        directory,
        node_id: u64::from(options.node_id),
        max_msg_bytes: options.max_msg_size_bytes as usize,
        max_bytes_per_file: options.max_bytes_per_file,
        now_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        progress,
    };
    takeover::take_over(&request, topics).map(|_| ())
}

/// Writes the metadata, at the start also to see that it can be.
fn persist(loaded: &Loaded) -> Result<(), String> {
    let Loaded { file, content } = loaded;
    tracing::info!("NSQ: persisting topic/channel metadata to {}", file.path().display());
    if let Err(problem) = file.write(&metadata::text(&content.topics)) {
        let problem = format!("failed to persist metadata - {problem}");
        if !is_for_want_of_room(&problem) {
            return Err(problem);
        }
        // What is there can be served; the file is written when there is room.
        tracing::error!("{problem}");
    }
    Ok(())
}

/// Recovers it. The error is a whole line.
fn recover(
    ground: Ground<'_>,
    metadata: &[TopicMetadata],
    placement: &Placement,
    doorbells: &[Doorbell],
) -> Result<Recovery, String> {
    let Ground { options, directory, progress } = ground;
    progress.enter(Step::Reading);
    let listing = listing::open(directory)?;
    let (folder, found) = (listing.folder, listing.files);
    let (recovered, written) = recover_files(ground, &folder, &found, metadata)?;
    progress.enter(Step::Preparing);
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
    Ground { options, progress, .. }: Ground<'_>,
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
    let keep = Some(options.limits.defaults.keep);
    let began = Instant::now();
    let mut progress = |done: u64, of: u64| progress.at(done, of);
    let mut writer = Sink(Some(BlockWriter::new(folder.clone(), options.max_bytes_per_file)));
    let mut recovered = recover::recover_kept(metadata, &files, &mut writer, keep, &mut progress);
    let written = writer.0.map_or(Ok(Vec::new()), BlockWriter::finish).unwrap_or_else(|error| {
        tracing::error!("RECOVERY: {} - messages are left where they are", error.text);
        recovered = recover::recover_kept(metadata, &files, &mut Sink(None), keep, &mut progress);
        Vec::new()
    });
    tell(&recovered.report, began.elapsed());
    Ok((recovered, written))
}

/// Adds the topics and channels that only the journals know to the metadata. Whether there were
/// any.
fn complete(metadata: &mut Topics, parts: &[Part]) -> bool {
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

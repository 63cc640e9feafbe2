//! What lies in the folder, for who wants to know from outside: kinds of files, and their sizes.

use std::fs;
use std::io;
use std::path::Path;

use shards::disk::Role;

use super::listing::FOLDER;
use super::names::{self, Named};

/// Files and their bytes, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderUse {
    journals: (u64, u64),
    stores: (u64, u64),
    spares: (u64, u64),
    bad: (u64, u64),
}

impl FolderUse {
    /// Looks at all files of a data path.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(data_path: &Path) -> io::Result<FolderUse> {
        let mut found = FolderUse::default();
        for entry in fs::read_dir(data_path.join(FOLDER))? {
            let entry = entry?;
            let sizes = match names::read(&entry.file_name()) {
                Named::File(_, Role::Journal) => &mut found.journals,
                Named::File(_, Role::Store) => &mut found.stores,
                Named::Spare => &mut found.spares,
                Named::Bad => &mut found.bad,
                Named::Hidden | Named::Foreign => continue,
            };
            // One that is gone by now was there a moment ago.
            let bytes = entry.metadata().map_or(0, |file| file.len());
            *sizes = (sizes.0 + 1, sizes.1 + bytes);
        }
        Ok(found)
    }

    /// Each kind with the number of its files and their bytes.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, (u64, u64))> {
        let FolderUse { journals, stores, spares, bad } = *self;
        [("journal", journals), ("store", stores), ("spare", spares), ("bad", bad)].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{FOLDER, FolderUse};
    use std::fs;

    #[test]
    fn files_are_counted_by_kind() {
        let directory = tempfile::tempdir().unwrap();
        assert!(FolderUse::read(directory.path()).is_err());
        let folder = directory.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        for (name, bytes) in [
            ("0000000001.journal", 10),
            ("0000000002.journal", 20),
            ("0000000003.store", 5),
            ("0000000004.spare", 1),
            ("0000000005.store.bad", 7),
            (".hidden", 100),
            ("other", 100),
        ] {
            fs::write(folder.join(name), vec![0; bytes]).unwrap();
        }
        let found = FolderUse::read(directory.path()).unwrap();
        let kinds: Vec<_> = found.kinds().collect();
        let expected =
            [("journal", (2, 30)), ("store", (1, 5)), ("spare", (1, 1)), ("bad", (1, 7))];
        assert_eq!(kinds, expected);
    }
}

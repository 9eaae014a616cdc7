//! What survives a restart, on disk.
//!
//! The state directory holds `state.bin`, the node's [`Snapshot`], and may hold `identity.key`. A snapshot is written
//! beside the old one, synced, and renamed over it, so that a crash at any point leaves a whole one, and a disk that is
//! full leaves the old one. The empty file `state.lock` is locked while a node uses the directory, since two would overwrite
//! each other's state. A directory that cannot be written to is read all the same: the node runs from what it holds.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unamed_protocol::Snapshot;

const STATE_FILE: &str = "state.bin";
const LOCK_FILE: &str = "state.lock";

/// A state directory that exists and is this node's own. The last clone gives it free.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: Arc<File>,
}

impl StateDir {
    /// Creates the directory where it is missing, on Unix for its owner only, and locks it.
    ///
    /// # Errors
    /// If it cannot be made or read, or another node uses it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        let lock = open_lock(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another node uses it")),
            // Some network file systems have no locks: better unguarded than unusable.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!("{}: cannot be locked ({error})", path.display());
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) })
    }

    /// The last snapshot. What cannot be read is set aside as `state.bin.bad` with a warning, and the node starts afresh.
    pub(crate) fn load(&self) -> Option<Snapshot> {
        let path = self.path.join(STATE_FILE);
        match read_bounded(&path, Snapshot::BYTES_MAX) {
            Ok(None) => None,
            Ok(Some(bytes)) => {
                Snapshot::decode(&bytes).map_err(|error| self.set_aside(&path, &error.to_string())).ok()
            }
            Err(error) => {
                self.set_aside(&path, &error.to_string());
                None
            }
        }
    }

    fn set_aside(&self, path: &Path, why: &str) {
        let bad = self.path.join("state.bin.bad");
        match fs::rename(path, &bad) {
            Ok(()) => tracing::warn!("{}: {why}; ignored, and kept as {}", path.display(), bad.display()),
            Err(error) => tracing::warn!("{}: {why}; ignored ({error})", path.display()),
        }
    }

    /// Replaces the snapshot atomically and durably.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let new = self.path.join("state.bin.new");
        let renamed =
            write_new(&new, &snapshot.encode()).and_then(|()| fs::rename(&new, self.path.join(STATE_FILE)));
        if renamed.is_err() {
            // On a full disk, half a file takes the place that a later attempt, or somebody else, needs.
            let _ = fs::remove_file(&new);
        }
        renamed.and_then(|()| sync_dir(&self.path))
    }
}

/// The lock file, made where it is missing; in a directory that cannot be written to, whatever can be locked there.
fn open_lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(LOCK_FILE);
    match File::options().create(true).truncate(false).write(true).open(&path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::StorageFull
            ) =>
        {
            let readable = File::open(&path).or_else(|_| File::open(dir)).map_err(|_| error)?;
            tracing::warn!("{}: cannot be written to; what changes there is lost", dir.display());
            Ok(readable)
        }
        opened => opened,
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename or new file in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Other systems cannot open a directory, and need not.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// The content of a regular file of at most `bytes_max` bytes; `None` if there is no file.
pub(crate) fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Looked at before opening: opening a pipe waits for its writer.
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let bound = bytes_max as u64;
    if metadata.len() > bound {
        return Err(io::Error::other(format!("more than {bytes_max} bytes")));
    }
    let mut bytes = Vec::new();
    // The file may have grown since.
    File::open(path)?.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use unamed_protocol::SavedAddress;

    use super::*;

    fn snapshot(boot: u64) -> Snapshot {
        let address = "/ip4/127.0.0.1/tcp/3001/ws".parse().unwrap();
        Snapshot { boot, addresses: vec![SavedAddress { address, tried: true, lost: false }] }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_last_snapshot_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("deep/er")).unwrap();
        assert_eq!(state.load(), None);
        for boot in [1, 2] {
            state.save(&snapshot(boot)).unwrap();
            assert_eq!(state.load(), Some(snapshot(boot)));
        }
        assert_eq!(names(&dir.path().join("deep/er")), ["state.bin", "state.lock"]);
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&snapshot(1)).unwrap();
        fs::write(dir.path().join("state.bin.new"), b"half").unwrap();
        assert_eq!(state.load(), Some(snapshot(1)));
        state.save(&snapshot(2)).unwrap();
        assert_eq!(state.load(), Some(snapshot(2)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_leaves_the_old_snapshot_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&snapshot(1)).unwrap();
        // Opened for writing as any file, and full.
        std::os::unix::fs::symlink("/dev/full", dir.path().join("state.bin.new")).unwrap();
        assert_eq!(state.save(&snapshot(2)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(state.load(), Some(snapshot(1)));
        assert_eq!(names(dir.path()), ["state.bin", "state.lock"]);
        state.save(&snapshot(3)).unwrap();
        assert_eq!(state.load(), Some(snapshot(3)));
    }

    #[test]
    fn bad_files_are_set_aside() {
        let mut cut = snapshot(1).encode();
        cut.pop();
        for content in [Vec::new(), b"garbage".to_vec(), cut, vec![0; Snapshot::BYTES_MAX + 1]] {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::open(dir.path()).unwrap();
            fs::write(dir.path().join("state.bin"), &content).unwrap();
            assert_eq!(state.load(), None);
            assert_eq!(names(dir.path()), ["state.bin.bad", "state.lock"]);
            assert_eq!(fs::read(dir.path().join("state.bin.bad")).unwrap(), content);
            state.save(&snapshot(3)).unwrap();
            assert_eq!(state.load(), Some(snapshot(3)));
        }
    }

    #[test]
    fn a_directory_in_the_place_of_the_file_is_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("state.bin")).unwrap();
        assert_eq!(state.load(), None);
        assert_eq!(names(dir.path()), ["state.bin.bad", "state.lock"]);
    }

    #[test]
    fn a_directory_is_one_node_s_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let clone = first.clone();
        drop(first);
        assert_eq!(StateDir::open(dir.path()).unwrap_err().to_string(), "another node uses it");
        drop(clone);
        assert!(StateDir::open(dir.path()).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(StateDir::open(file.path()).is_err());
        assert!(StateDir::open(&file.path().join("below")).is_err());
    }
}

//! Identity files: the secret key of a node on disk, readable by its owner alone.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use unamed_protocol::{Identity, KeyFileError};

use crate::state::sync_dir;

/// Longest identity file read, bytes; a usual one has 93.
const BYTES_MAX: u64 = 4096;

/// Why an identity file was refused. No file is ever overwritten.
#[derive(Debug)]
pub struct IdentityFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: IdentityFileProblem,
}

/// What is wrong with an identity file.
#[derive(Debug)]
pub enum IdentityFileProblem {
    /// It cannot be read or created.
    Io(io::Error),
    /// It is a symbolic link.
    Symlink,
    /// It is a directory, pipe, or device.
    NotAFile,
    /// It has more bytes than any key file.
    TooLarge,
    /// Others than its owner have access; the Unix mode is given.
    Mode(u32),
    /// It holds no key.
    Key(KeyFileError),
}

impl fmt::Display for IdentityFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            IdentityFileProblem::Io(error) => error.fmt(f),
            IdentityFileProblem::Symlink => f.write_str("an identity file must not be a symbolic link"),
            IdentityFileProblem::NotAFile => f.write_str("not a regular file"),
            IdentityFileProblem::TooLarge => {
                write!(f, "more than {BYTES_MAX} bytes, which is no identity file")
            }
            IdentityFileProblem::Mode(mode) => {
                write!(f, "mode {mode:04o} gives others access to a secret key; chmod it to 0600")
            }
            IdentityFileProblem::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for IdentityFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            IdentityFileProblem::Io(error) => Some(error),
            IdentityFileProblem::Key(error) => Some(error),
            IdentityFileProblem::Symlink
            | IdentityFileProblem::NotAFile
            | IdentityFileProblem::TooLarge
            | IdentityFileProblem::Mode(_) => None,
        }
    }
}

/// Reads an identity file, in the form that libp2p and Kubo use.
///
/// # Errors
/// If it is missing, no regular file, too large, open to others than its owner, or holds no key.
pub fn read_identity(path: &Path) -> Result<Identity, IdentityFileError> {
    read(path).map_err(|problem| IdentityFileError { path: path.to_owned(), problem })
}

/// Reads an identity file, or creates it with a new key where there is none. The flag tells whether it is new.
///
/// The file appears whole, with mode 0600, or not at all, and an existing one is never touched.
///
/// # Errors
/// As [`read_identity`], and if the file cannot be created.
pub fn read_or_create_identity(path: &Path) -> Result<(Identity, bool), IdentityFileError> {
    let missing = |problem: &IdentityFileProblem| matches!(problem, IdentityFileProblem::Io(error) if error.kind() == io::ErrorKind::NotFound);
    let outcome = match read(path) {
        Ok(identity) => Ok((identity, false)),
        Err(problem) if missing(&problem) => match create(path) {
            Ok(identity) => Ok((identity, true)),
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                read(path).map(|identity| (identity, false))
            }
            Err(error) => Err(IdentityFileProblem::Io(error)),
        },
        Err(problem) => Err(problem),
    };
    outcome.map_err(|problem| IdentityFileError { path: path.to_owned(), problem })
}

/// A new identity from the operating system's randomness, kept nowhere.
///
/// # Errors
/// If the operating system gives no randomness.
pub fn new_identity() -> io::Result<Identity> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(Identity::from_seed(seed))
}

fn read(path: &Path) -> Result<Identity, IdentityFileProblem> {
    let metadata = fs::symlink_metadata(path).map_err(IdentityFileProblem::Io)?;
    if metadata.is_symlink() {
        return Err(IdentityFileProblem::Symlink);
    }
    // Looked at before opening: opening a pipe waits for its writer.
    if !metadata.is_file() {
        return Err(IdentityFileProblem::NotAFile);
    }
    if metadata.len() > BYTES_MAX {
        return Err(IdentityFileProblem::TooLarge);
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityFileProblem::Mode(mode));
        }
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(IdentityFileProblem::Io)?.take(BYTES_MAX.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(IdentityFileProblem::Io)?;
    Identity::from_key_file(&bytes).map_err(IdentityFileProblem::Key)
}

fn create(path: &Path) -> io::Result<Identity> {
    let identity = new_identity()?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let key = identity.to_key_file();
    let outcome = write_new(&new, key.as_bytes()).and_then(|()| {
        // A link, unlike a rename, fails where a file exists. Not every file system has links.
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_new(path, key.as_bytes()),
            outcome => outcome,
        }
    });
    let _ = fs::remove_file(&new);
    outcome.and_then(|()| sync_dir(dir)).map(|()| identity)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn write(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_identity_is_private_and_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        let (first, new) = read_or_create_identity(&path).unwrap();
        assert!(new);
        assert_eq!(mode(&path), 0o600);
        let (second, new) = read_or_create_identity(&path).unwrap();
        assert!(!new);
        assert_eq!(first.secret(), second.secret());
        assert_eq!(read_identity(&path).unwrap().secret(), first.secret());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn creating_never_replaces_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        write(&path, b"mine", 0o600);
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_files_are_refused_by_name_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good.key");
        read_or_create_identity(&good).unwrap();
        let key = fs::read(&good).unwrap();
        let (cut, _) = key.split_at(key.len() / 2);
        let cases: [(&str, &[u8], u32, &str); 6] = [
            ("empty.key", b"", 0o600, ""),
            ("garbage.key", b"not a key", 0o600, ""),
            ("cut.key", cut, 0o600, ""),
            ("open.key", &key, 0o644, "mode 0644 gives others access to a secret key; chmod it to 0600"),
            ("group.key", &key, 0o640, "mode 0640 gives others access to a secret key; chmod it to 0600"),
            ("large.key", &[b'A'; 5000], 0o600, "more than 4096 bytes, which is no identity file"),
        ];
        for (name, content, mode, expected) in cases {
            let path = dir.path().join(name);
            write(&path, content, mode);
            let error = read_or_create_identity(&path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
            assert!(error.ends_with(expected), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn links_and_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good.key");
        read_or_create_identity(&good).unwrap();
        let link = dir.path().join("link.key");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        let problem = read_or_create_identity(&link).unwrap_err().problem;
        assert!(matches!(problem, IdentityFileProblem::Symlink));
        let dangling = dir.path().join("dangling.key");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
        let problem = read_or_create_identity(&dangling).unwrap_err().problem;
        assert!(matches!(problem, IdentityFileProblem::Symlink));
        assert!(!dir.path().join("nowhere").exists());
        let problem = read_or_create_identity(dir.path()).unwrap_err().problem;
        assert!(matches!(problem, IdentityFileProblem::NotAFile));
    }
}

//! Keys in files: the only place here that touches the file system.
//!
//! A new file appears whole or not at all, is in safety on the disk when the call returns, and replaces nothing unless
//! that was asked for. Private keys are readable by their owner only, from their first byte on.

use super::error::KeyError;
use super::private::PrivateKey;
use super::public::PublicKey;
use super::text::{Format, KeyText};
use aws_lc_rs::rand;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The names that the original gives to the files of a pair.
pub const PUBLIC_NAME: &str = "public.key";
/// See [`PUBLIC_NAME`].
pub const PRIVATE_NAME: &str = "private.key";

/// No key is longer, in any format.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Permissions of the group and of others.
const OTHERS: u32 = 0o077;

/// What becomes of a file that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced.
    Replace,
}

/// A key, and how well its file is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    text: KeyText,
    mode: u32,
}

impl KeyFile {
    /// Reads a key of any size, for any use, in any format.
    ///
    /// # Errors
    /// [`KeyError`], with the name of the file, if it cannot be read or is no key.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let (bytes, mode) = read(path, MAX_FILE_BYTES)?;
        let text = KeyText::parse(&bytes).map_err(|error| error.in_file(path))?;
        Ok(Self {
            path: path.to_owned(),
            text,
            mode,
        })
    }

    /// The key.
    pub fn text(&self) -> &KeyText {
        &self.text
    }

    /// The key alone.
    pub fn into_text(self) -> KeyText {
        self.text
    }

    /// Passes unless this is a private key that others than the owner of the file can open.
    ///
    /// # Errors
    /// [`KeyError::OpenToOthers`]: an error in secure mode, a warning in classic mode, for the original writes such files.
    pub fn check_guarded(&self) -> Result<(), KeyError> {
        if self.text.is_private() && self.mode & OTHERS != 0 {
            return Err(KeyError::OpenToOthers {
                file: self.path.clone(),
                mode: self.mode,
            });
        }
        Ok(())
    }
}

impl PublicKey {
    /// Reads the identity of a peer from a file in any format.
    ///
    /// # Errors
    /// [`KeyError`], with the name of the file, if it cannot be read or is no such key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let file = KeyFile::read(&path)?;
        file.text
            .public_identity()
            .map_err(|error| error.in_file(path.as_ref()))
    }
}

impl PrivateKey {
    /// Reads one's own identity from a file in any format, which nobody else may open.
    ///
    /// # Errors
    /// [`KeyError`], with the name of the file, if it cannot be read, is no such key, or can be opened by others.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let file = KeyFile::read(&path)?;
        file.check_guarded()?;
        file.text
            .private_identity()
            .map_err(|error| error.in_file(path.as_ref()))
    }
}

impl KeyText {
    /// The files of a pair in `directory`.
    pub fn pair_paths(directory: &Path) -> [PathBuf; 2] {
        [PRIVATE_NAME, PUBLIC_NAME].map(|name| directory.join(name))
    }

    /// Writes `private.key` (mode 0600) and `public.key` into `directory`; of a public key the latter only. Returns what
    /// was written.
    ///
    /// # Errors
    /// [`KeyError::Exists`] or [`KeyError::Write`]; then no new file is there.
    pub fn write_pair(&self, directory: &Path, existing: Existing) -> Result<Vec<PathBuf>, KeyError> {
        let pair = Self::pair_paths(directory);
        let targets = if self.is_private() { &pair[..] } else { &pair[1..] };
        if existing == Existing::Keep {
            check_free(targets)?;
        }
        // Everything that takes space and time comes before the first name.
        let mut drafts = Vec::new();
        for target in targets {
            let (text, mode) = if target.ends_with(PRIVATE_NAME) {
                (self.render(Format::Json), 0o600)
            } else {
                (self.to_public().render(Format::Json), 0o644)
            };
            drafts.push(Draft::new(target, text.as_bytes(), mode)?);
        }
        let mut written: Vec<PathBuf> = Vec::new();
        for draft in drafts {
            let target = draft.target.clone();
            if let Err(error) = draft.publish(existing) {
                if existing == Existing::Keep {
                    // Half a pair helps nobody; these files are ours, for nothing was replaced.
                    for path in &written {
                        let _ = fs::remove_file(path);
                    }
                }
                return Err(error);
            }
            written.push(target);
        }
        sync_directory(directory).map_err(|error| KeyError::write(directory, &error))?;
        Ok(written)
    }
}

/// Passes if none of these files is there.
///
/// # Errors
/// [`KeyError::Exists`] with the first that is.
pub fn check_free(paths: &[PathBuf]) -> Result<(), KeyError> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(KeyError::Exists { file: path.clone() }),
        None => Ok(()),
    }
}

/// The content of a file of `max_bytes` at most, and its permissions.
fn read(path: &Path, max_bytes: usize) -> Result<(Zeroizing<Vec<u8>>, u32), KeyError> {
    let cannot = |error: io::Error| KeyError::read(path, &error);
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode() & 0o7777;
    // Room for all of it at once: what a growing buffer leaves behind is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
    file.take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() > max_bytes {
        return Err(KeyError::UnknownFormat.in_file(path));
    }
    Ok((bytes, mode))
}

/// A file that is whole but for its name. Dropped, it is gone.
struct Draft {
    temporary: PathBuf,
    target: PathBuf,
}

impl Draft {
    fn new(target: &Path, bytes: &[u8], mode: u32) -> Result<Self, KeyError> {
        let cannot = |error: io::Error| KeyError::write(target, &error);
        let name = target.file_name().expect("we chose the name").to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}", random_suffix()?));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .map_err(cannot)?;
        let draft = Self {
            temporary,
            target: target.to_owned(),
        };
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(cannot)?;
        Ok(draft)
    }

    fn publish(self, existing: Existing) -> Result<(), KeyError> {
        let done = match existing {
            Existing::Replace => fs::rename(&self.temporary, &self.target),
            // Unlike a rename, a second name is refused where the name is taken, however late that happened.
            Existing::Keep => fs::hard_link(&self.temporary, &self.target),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyError::Exists {
                file: self.target.clone(),
            }),
            // Some file systems know one name per file only.
            Err(error) if existing == Existing::Keep && has_no_links(&error) => {
                check_free(std::slice::from_ref(&self.target))?;
                self.publish(Existing::Replace)
            }
            Err(error) => Err(KeyError::write(&self.target, &error)),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Already renamed: nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

fn random_suffix() -> Result<String, KeyError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| KeyError::Crypto {
        what: "give random numbers",
    })?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    }))
}

/// A new name lasts once its directory is on the disk.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

//! Where received payload goes.
//!
//! A file appears under its name only when it is whole: until then the payload is in a temporary file beside it, which
//! vanishes with any failure. Devices, FIFOs and standard output take the payload as it comes.

use super::exit::{Exit, Failure};
use super::signals::{Signals, Undo};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, PathPersistError, TempPath};

/// Where payload shall go, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// A file that appears when it is whole, in place of one that may be there.
    File(PathBuf),
    /// A FIFO, a terminal, `/dev/null`.
    Device(PathBuf),
    /// A new numbered file of this directory for each stream.
    Directory(PathBuf),
}

impl Target {
    /// Reads `--output`. With `many` streams to come a directory is needed, and made.
    pub(crate) fn new(output: Option<&str>, many: bool) -> Result<Self, Failure> {
        let Some(path) = output.filter(|path| *path != "-").map(PathBuf::from) else {
            return Ok(Self::Stdout);
        };
        let found = fs::metadata(&path);
        let directory = match &found {
            Ok(found) => found.is_dir(),
            Err(_) => many || path.as_os_str().as_encoded_bytes().ends_with(b"/"),
        };
        if directory {
            fs::create_dir_all(&path)
                .map_err(|error| Failure::io(format!("cannot make {}", path.display()), &error))?;
            return Ok(Self::Directory(path));
        }
        if many {
            return Err(Failure::usage(format!(
                "--keep-open needs a directory, and {} is none",
                path.display()
            )));
        }
        // Names below /dev and /proc stand for what is open already, even where that is a regular file.
        let special = path.starts_with("/dev") || path.starts_with("/proc");
        match found {
            Ok(found) if special || !found.is_file() => Ok(Self::Device(path)),
            _ => Ok(Self::File(path)),
        }
    }

    /// Whether payload goes to standard output, by whatever name.
    pub(crate) fn is_standard_output(&self) -> bool {
        match self {
            Self::Stdout => true,
            Self::Device(path) => {
                let identity = |found: fs::Metadata| (found.dev(), found.ino());
                let own = io::stdout().as_fd().try_clone_to_owned().map(File::from);
                let own = own.and_then(|own| own.metadata());
                own.ok().map(identity) == fs::metadata(path).ok().map(identity)
            }
            Self::File(_) | Self::Directory(_) => false,
        }
    }

    /// Opens it for one stream. May wait for the reader of a FIFO.
    pub(crate) fn open(&self, signals: &Signals) -> Result<Output, Failure> {
        match self {
            Self::Stdout => {
                let copy = io::stdout().as_fd().try_clone_to_owned();
                let file = copy.map_err(|error| Failure::io("cannot use standard output", &error))?;
                Ok(Output {
                    file: file.into(),
                    name: "standard output".into(),
                    whole: None,
                })
            }
            Self::Device(path) => {
                let _waiting = signals.waiting();
                let file = OpenOptions::new()
                    .write(true)
                    .open(path)
                    .map_err(|error| cannot_write(path, &error))?;
                Ok(Output {
                    file,
                    name: path.clone(),
                    whole: None,
                })
            }
            Self::File(path) => {
                // Through a link, it is the file behind it that is replaced.
                let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let temporary = beside(&target).map_err(|error| cannot_write(path, &error))?;
                if let Ok(found) = fs::metadata(&target) {
                    let kept = temporary.as_file().set_permissions(found.permissions());
                    kept.map_err(|error| cannot_write(path, &error))?;
                }
                Ok(Output::whole(temporary, Name::Given(target), path.clone(), signals))
            }
            Self::Directory(path) => {
                let temporary = beside(&path.join("stream")).map_err(|error| cannot_write(path, &error))?;
                Ok(Output::whole(
                    temporary,
                    Name::Numbered(path.clone()),
                    path.clone(),
                    signals,
                ))
            }
        }
    }
}

/// An open output of one stream. Dropped before [`Output::commit`], it leaves no file.
pub(crate) struct Output {
    file: File,
    /// For messages.
    name: PathBuf,
    whole: Option<Whole>,
}

/// A file in the making.
struct Whole {
    temporary: TempPath,
    name: Name,
    _undo: Undo,
}

/// The name that a whole file gets.
enum Name {
    Given(PathBuf),
    Numbered(PathBuf),
}

impl Output {
    fn whole(temporary: NamedTempFile, name: Name, shown: PathBuf, signals: &Signals) -> Self {
        let (file, temporary) = temporary.into_parts();
        let path = temporary.to_path_buf();
        let undo = signals.undo_at_exit(move || {
            // Nothing is left to report to.
            let _ = fs::remove_file(path);
        });
        Self {
            file,
            name: shown,
            whole: Some(Whole {
                temporary,
                name,
                _undo: undo,
            }),
        }
    }

    /// Writes all of `payload`, which then is out of this process.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(payload)
            .and_then(|()| self.file.flush())
            .map_err(|error| {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Failure::new(
                        Exit::OutputGone,
                        "the reader of the output went away before everything was written",
                    )
                } else {
                    cannot_write(&self.name, &error)
                }
            })
    }

    /// The payload is whole: gives the file its name. Returns where it is, if in a file.
    pub(crate) fn commit(self) -> Result<Option<PathBuf>, Failure> {
        let Some(Whole { temporary, name, _undo }) = self.whole else {
            return Ok(None);
        };
        let place = match name {
            Name::Given(path) => temporary.persist(&path).map(|()| path),
            Name::Numbered(directory) => number(temporary, &directory),
        };
        place
            .map(Some)
            .map_err(|failed| cannot_write(&self.name, &failed.error))
    }
}

/// A temporary file in the directory of `target`, with the permissions of a newly made file.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let directory = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut prefix = OsStr::new(".").to_owned();
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .permissions(mode)
        .tempfile_in(directory)
}

/// Moves the file to the first free name `stream-0001`, `stream-0002`, ... A file that is there is never touched.
fn number(mut temporary: TempPath, directory: &Path) -> Result<PathBuf, PathPersistError> {
    for ordinal in 1_u64.. {
        let path = directory.join(format!("stream-{ordinal:04}"));
        match temporary.persist_noclobber(&path) {
            Ok(()) => return Ok(path),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                temporary = failed.path;
            }
            Err(failed) => return Err(failed),
        }
    }
    unreachable!("no directory holds 2^64 files")
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format!("cannot write to {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Console;

    fn signals() -> Signals {
        Signals::watch(&Console::new("test", true)).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_old_content_until_the_new_one_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("it");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let target = Target::new(path.to_str(), false).unwrap();
        let signals = signals();

        let mut dropped = target.open(&signals).unwrap();
        dropped.write(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(dropped);
        assert_eq!(names(place.path()), ["it"]);

        let mut output = target.open(&signals).unwrap();
        output.write(b"new").unwrap();
        assert_eq!(output.commit().unwrap(), Some(fs::canonicalize(&path).unwrap()));
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(place.path()), ["it"]);
    }

    #[test]
    fn numbered_files_never_replace_one_another() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("stream-0001"), "mine").unwrap();
        let target = Target::new(place.path().to_str(), true).unwrap();
        let signals = signals();
        for content in ["a", "b"] {
            let mut output = target.open(&signals).unwrap();
            output.write(content.as_bytes()).unwrap();
            output.commit().unwrap();
        }
        assert_eq!(names(place.path()), ["stream-0001", "stream-0002", "stream-0003"]);
        assert_eq!(fs::read(place.path().join("stream-0001")).unwrap(), b"mine");
        assert_eq!(fs::read(place.path().join("stream-0003")).unwrap(), b"b");
    }

    #[test]
    fn a_link_stays_and_the_file_behind_it_changes() {
        let place = tempfile::tempdir().unwrap();
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let signals = signals();
        let mut output = Target::new(link.to_str(), false).unwrap().open(&signals).unwrap();
        output.write(b"new").unwrap();
        output.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn targets_are_told_apart_by_what_is_there() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("file"), "").unwrap();
        assert_eq!(Target::new(None, true), Ok(Target::Stdout));
        assert_eq!(Target::new(Some("-"), false), Ok(Target::Stdout));
        assert_eq!(
            Target::new(Some("/dev/null"), false),
            Ok(Target::Device("/dev/null".into()))
        );
        assert_eq!(
            Target::new(Some(&path("new")), false),
            Ok(Target::File(path("new").into()))
        );
        assert_eq!(
            Target::new(Some(&path("many")), true),
            Ok(Target::Directory(path("many").into()))
        );
        assert!(place.path().join("many").is_dir());
        assert_eq!(Target::new(Some(&path("file")), true).unwrap_err().exit, Exit::Usage);
        let nowhere = Target::new(Some(&path("no/where")), false)
            .unwrap()
            .open(&signals())
            .err()
            .unwrap();
        assert_eq!(nowhere.exit, Exit::Runtime);
        assert!(
            nowhere.message.ends_with("No such file or directory"),
            "{}",
            nowhere.message
        );
    }
}

//! Trust in the keys of a file or folder.

use super::{Refusal, Verify};
use crate::crypto::identity::{KeyError, PublicKey, parse_list};
use aws_lc_rs::digest::{Context, Digest, SHA256};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A list of 10,000 keys is shorter.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Trusts the keys that stand in a file, or in the files of a folder, at the moment of the question: whoever is added or
/// removed is so for the next handshake.
///
/// A file has lines `ssh-rsa AAAA... comment`, empty lines and `#` comments, or is one public key in JSON or PEM. In a
/// folder, files whose names begin with a dot or end with `~` do not count.
///
/// At the start a bad line is an error. Later, with nobody at the console, it is logged and left out, and the rest of the
/// list counts.
#[derive(Clone, Debug)]
pub struct AuthorizedKeys {
    path: Arc<PathBuf>,
    known: Arc<Mutex<Known>>,
}

/// What was read last, and what it said.
struct Known {
    content: Digest,
    keys: HashSet<PublicKey>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(&self.keys).finish()
    }
}

impl AuthorizedKeys {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    /// [`KeyError`], with file and line, if they cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref().to_owned();
        let (lists, content) = read(&path)?;
        let (keys, mut errors) = parse(&lists);
        if !errors.is_empty() {
            return Err(errors.swap_remove(0));
        }
        Ok(Self {
            path: Arc::new(path),
            known: Arc::new(Mutex::new(Known { content, keys })),
        })
    }

    /// How many keys the list has had when it was read last.
    pub fn count(&self) -> usize {
        self.known.lock().keys.len()
    }
}

impl Verify for AuthorizedKeys {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        let offered = key.fingerprint();
        let refuse = |reason| Err(Refusal::new(reason, offered, Vec::new()));
        // The whole content is compared, not its time stamp: two changes within one tick of the clock are two changes.
        let (lists, content) = match read(&self.path) {
            Ok(read) => read,
            Err(error) => return refuse(format!("the peer's key {offered} cannot be looked up: {error}")),
        };
        let mut known = self.known.lock();
        if known.content.as_ref() != content.as_ref() {
            let (keys, errors) = parse(&lists);
            for error in errors {
                log::warn!("an authorised key is left out: {error}");
            }
            *known = Known { content, keys };
        }
        if known.keys.contains(key) {
            return Ok(());
        }
        refuse(format!(
            "the peer's key {offered} is not among the {} authorised keys of {}",
            known.keys.len(),
            self.path.display()
        ))
    }
}

/// The files with their texts, in the order of their names, and a digest of all.
fn read(path: &Path) -> Result<(Vec<(PathBuf, String)>, Digest), KeyError> {
    let cannot = |error: io::Error| KeyError::read(path, &error);
    let mut files = Vec::new();
    if fs::metadata(path).map_err(cannot)?.is_dir() {
        for entry in fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with('.') && !name.ends_with('~') && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut content = Context::new(&SHA256);
    let mut lists = Vec::new();
    for file in files {
        let text = read_file(&file)?;
        for part in [file.as_os_str().as_encoded_bytes(), text.as_bytes()] {
            content.update(&(part.len() as u64).to_be_bytes());
            content.update(part);
        }
        lists.push((file, text));
    }
    Ok((lists, content.finish()))
}

fn read_file(path: &Path) -> Result<String, KeyError> {
    let cannot = |error: io::Error| KeyError::read(path, &error);
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}

fn parse(lists: &[(PathBuf, String)]) -> (HashSet<PublicKey>, Vec<KeyError>) {
    let (mut keys, mut errors) = (HashSet::new(), Vec::new());
    for (file, text) in lists {
        for entry in parse_list(text) {
            match entry {
                Ok(key) => drop(keys.insert(key)),
                Err(error) => errors.push(error.in_file(file)),
            }
        }
    }
    (keys, errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::identity::testing::{key, text};
    use crate::crypto::identity::{Format, KeyText, Numbers, Use};
    use std::fs;

    fn line(index: usize) -> String {
        text(index, "somebody").line()
    }

    #[test]
    fn a_list_has_lines_comments_and_empty_lines() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("authorized_keys");
        fs::write(&path, format!("# friends\n\n  {}  \r\n{}", line(0), line(1))).unwrap();
        let trust = AuthorizedKeys::open(&path).unwrap();
        assert_eq!(trust.count(), 2);
        assert_eq!(trust.check(key(0).public()), Ok(()));
        assert_eq!(trust.check(key(1).public()), Ok(()));
        let refusal = trust.check(key(2).public()).unwrap_err();
        let offered = key(2).public().fingerprint();
        assert_eq!(refusal.offered(), offered);
        assert_eq!(
            refusal.to_string(),
            format!(
                "the peer's key {offered} is not among the 2 authorised keys of {}",
                path.display()
            )
        );
    }

    #[test]
    fn a_list_is_what_it_is_at_the_moment_of_the_question() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("authorized_keys");
        fs::write(&path, line(0)).unwrap();
        let trust = AuthorizedKeys::open(&path).unwrap();
        let clone = trust.clone();
        // Same length, within the same tick of the clock.
        fs::write(&path, line(1)).unwrap();
        assert!(trust.check(key(0).public()).is_err());
        assert_eq!(clone.check(key(1).public()), Ok(()));
        // A bad line does not keep a removed key alive, nor the good lines out.
        fs::write(&path, format!("ssh-rsa AAAA\n{}\n", line(2))).unwrap();
        assert!(trust.check(key(1).public()).is_err());
        assert_eq!(trust.check(key(2).public()), Ok(()));
        fs::remove_file(&path).unwrap();
        let refusal = trust.check(key(2).public()).unwrap_err().to_string();
        let offered = key(2).public().fingerprint();
        assert_eq!(
            refusal,
            format!(
                "the peer's key {offered} cannot be looked up: cannot read {}: No such file or directory",
                path.display()
            )
        );
    }

    #[test]
    fn a_folder_has_a_file_for_each_key() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        write("anna.key", &text(0, "").to_public().render(Format::Json));
        write("bert.pem", &text(1, "").to_public().render(Format::Pem));
        write(".anna.key.swp", "rubbish");
        write("anna.key~", "rubbish");
        let trust = AuthorizedKeys::open(place.path()).unwrap();
        assert_eq!(trust.check(key(0).public()), Ok(()));
        assert_eq!(trust.check(key(1).public()), Ok(()));
        assert!(trust.check(key(2).public()).is_err());
        write("carla.pub", &line(2));
        assert_eq!(trust.check(key(2).public()), Ok(()));
        fs::remove_file(place.path().join("anna.key")).unwrap();
        assert!(trust.check(key(0).public()).is_err());
    }

    #[test]
    fn a_bad_line_is_reported_with_file_and_number_at_the_start() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("list");
        let classic = KeyText::new(text(1, "").to_public().numbers().clone(), Use::Classic, "");
        let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me";
        let cases = [
            (
                format!("{}\n# x\n{ed25519}\n", line(0)),
                "line 3: a key of the kind ssh-ed25519 cannot be used, only RSA: make a pair with stream-rsagen --out-dir DIR",
            ),
            (
                "\nhello".to_owned(),
                "line 2: not a key: neither JSON nor PEM nor OpenSSH",
            ),
            (
                text(0, "").render(Format::Json).to_string(),
                "this is a private key, and a public one belongs here: give the peer's public.key, and keep private.key \
                 to yourself",
            ),
            (
                classic.render(Format::Json).to_string(),
                "the key is for the classic mode (\"use\": \"classic\"), and the secure mode must not share it: make a \
                 new pair with stream-rsagen --out-dir DIR",
            ),
        ];
        for (content, words) in cases {
            fs::write(&path, content).unwrap();
            let error = AuthorizedKeys::open(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{}: {words}", path.display()));
        }
        fs::write(&path, format!("{}\nssh-rsa AAAA", line(0))).unwrap();
        let error = AuthorizedKeys::open(&path).unwrap_err().to_string();
        let begin = format!("{}: line 2: not an RSA key in OpenSSH: ", path.display());
        assert!(error.starts_with(&begin), "{error}");
        assert!(matches!(classic.numbers(), Numbers::Public(_)));
    }
}

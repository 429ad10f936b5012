//! Trust on first use.

use super::{Refusal, Verify};
use crate::crypto::identity::{Fingerprint, KeyError, KeyText, Numbers, PublicKey, Use, parse_list};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Trusts the key that a peer had the first time, as it stands in a file: one line `host:port ssh-rsa AAAA...` for each
/// peer. A changed key always fails, and only an editor changes a line.
///
/// Several processes may share the file: it is locked while it is read or appended to. Who comes second with another key
/// for the same peer is refused.
#[derive(Clone, Debug)]
pub struct KnownPeers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    peer: String,
    accept_new: bool,
}

/// A line about the peer.
struct Entry {
    line: usize,
    key: PublicKey,
}

/// What the file says about a key.
enum Verdict {
    Known,
    New,
    Changed { line: usize, expected: Vec<Fingerprint> },
}

impl KnownPeers {
    /// `peer` is `HOST:PORT` as the user wrote it. With `accept_new` a peer that is not in the file yet is trusted, and
    /// added once it has proven its key; a changed key always fails. The file need not exist.
    ///
    /// # Errors
    /// [`KeyError`], with file and line, if the file cannot be read; [`KeyError::PeerName`].
    pub fn open(path: impl AsRef<Path>, peer: impl Into<String>, accept_new: bool) -> Result<Self, KeyError> {
        let name: String = peer.into();
        let port = name
            .rsplit_once(':')
            .map(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if name.contains(|c: char| c.is_whitespace() || c.is_control()) || name.starts_with('#') || port != Some(true) {
            return Err(KeyError::PeerName { name });
        }
        let inner = Inner {
            path: path.as_ref().to_owned(),
            // Names of hosts are the same in any case.
            peer: name.to_ascii_lowercase(),
            accept_new,
        };
        inner.entries()?;
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Verify for KnownPeers {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        let verdict = self.inner.entries().map(|entries| judge(&entries, key));
        self.inner.pass(key, verdict)
    }

    fn settle(&self, key: &PublicKey) -> Result<(), Refusal> {
        let verdict = self.inner.remember(key);
        self.inner.pass(key, verdict)
    }
}

impl Inner {
    fn pass(&self, key: &PublicKey, verdict: Result<Verdict, KeyError>) -> Result<(), Refusal> {
        let (offered, peer) = (key.fingerprint(), &self.peer);
        match verdict {
            Ok(Verdict::Known) => Ok(()),
            Ok(Verdict::New) if self.accept_new => Ok(()),
            Ok(Verdict::New) => {
                let reason = format!(
                    "{peer} is not in {}, and has the key {offered}: if that is its fingerprint, connect once with \
                     --accept-new",
                    self.path.display()
                );
                Err(Refusal::new(reason, offered, Vec::new()))
            }
            Ok(Verdict::Changed { line, expected }) => {
                let reason = format!(
                    "the key of {peer} has changed from {} ({} line {line}) to {offered}: somebody may be in between; if \
                     the change is genuine, remove that line",
                    expected[0],
                    self.path.display()
                );
                Err(Refusal::new(reason, offered, expected))
            }
            Err(error) => {
                let reason = format!("the key {offered} of {peer} cannot be looked up: {error}");
                Err(Refusal::new(reason, offered, Vec::new()))
            }
        }
    }

    /// The lines about this peer. No file: none.
    fn entries(&self) -> Result<Vec<Entry>, KeyError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KeyError::read(&self.path, &error)),
        };
        file.lock_shared().map_err(|error| KeyError::read(&self.path, &error))?;
        self.parse(&self.text(&file)?)
    }

    fn text(&self, mut file: &File) -> Result<String, KeyError> {
        let mut text = String::new();
        file.read_to_string(&mut text)
            .map_err(|error| KeyError::read(&self.path, &error))?;
        Ok(text)
    }

    /// Every line must make sense: a damaged one may be the one that matters.
    fn parse(&self, text: &str) -> Result<Vec<Entry>, KeyError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |error: KeyError| error.on_line(index + 1).in_file(&self.path);
            let (peer, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let key = match parse_list(rest).pop() {
                Some(Ok(key)) => key,
                Some(Err(KeyError::OnLine { problem, .. })) => return Err(at(*problem)),
                Some(Err(error)) => return Err(at(error)),
                None => return Err(at(KeyError::UnknownFormat)),
            };
            if peer.eq_ignore_ascii_case(&self.peer) {
                entries.push(Entry { line: index + 1, key });
            }
        }
        Ok(entries)
    }

    /// Adds the key if nothing is known about the peer.
    fn remember(&self, key: &PublicKey) -> Result<Verdict, KeyError> {
        let known = judge(&self.entries()?, key);
        if !matches!(known, Verdict::New) || !self.accept_new {
            // A file that cannot be written does no harm here.
            return Ok(known);
        }
        let cannot = |error: io::Error| KeyError::write(&self.path, &error);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(cannot)?;
        file.lock().map_err(cannot)?;
        // Somebody may have been quicker.
        let text = self.text(&file)?;
        let verdict = judge(&self.parse(&text)?, key);
        if matches!(verdict, Verdict::New) {
            let line = KeyText::new(Numbers::Public(key.rsa().clone()), Use::Identity, "").line();
            let break_first = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            let line = format!("{break_first}{} {line}\n", self.peer);
            (&file).write_all(line.as_bytes()).map_err(cannot)?;
            file.sync_all().map_err(cannot)?;
        }
        Ok(verdict)
    }
}

fn judge(entries: &[Entry], key: &PublicKey) -> Verdict {
    match entries.first() {
        None => Verdict::New,
        Some(_) if entries.iter().any(|entry| entry.key == *key) => Verdict::Known,
        Some(first) => Verdict::Changed {
            line: first.line,
            expected: entries.iter().map(|entry| entry.key.fingerprint()).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::identity::testing::key;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn line(index: usize) -> String {
        KeyText::new(Numbers::Public(key(index).public().rsa().clone()), Use::Identity, "").line()
    }

    #[test]
    fn nothing_is_remembered_before_the_key_is_proven() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("known_peers");
        let trust = KnownPeers::open(&path, "Host.Example:7000", true).unwrap();
        assert_eq!(trust.check(key(0).public()), Ok(()));
        assert!(!path.exists());
        assert_eq!(trust.settle(key(0).public()), Ok(()));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("host.example:7000 {}\n", line(0))
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Known: nothing is added again.
        let strict = KnownPeers::open(&path, "HOST.example:7000", false).unwrap();
        for trust in [&trust, &strict] {
            assert_eq!(trust.check(key(0).public()), Ok(()));
            assert_eq!(trust.settle(key(0).public()), Ok(()));
        }
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_changed_key_always_fails_with_both_fingerprints() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("known_peers");
        let before = format!("# mine\nother:7000 {}\nhost:7000 {}\n", line(2), line(0));
        fs::write(&path, &before).unwrap();
        let [known, offered] = [0, 1].map(|index| key(index).public().fingerprint());
        for accept_new in [false, true] {
            let trust = KnownPeers::open(&path, "host:7000", accept_new).unwrap();
            for refusal in [trust.check(key(1).public()), trust.settle(key(1).public())] {
                let refusal = refusal.unwrap_err();
                assert_eq!((refusal.offered(), refusal.expected()), (offered, &[known][..]));
                assert_eq!(
                    refusal.to_string(),
                    format!(
                        "the key of host:7000 has changed from {known} ({} line 3) to {offered}: somebody may be in \
                         between; if the change is genuine, remove that line",
                        path.display()
                    )
                );
            }
            assert_eq!(trust.check(key(0).public()), Ok(()));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn an_unknown_peer_is_refused_unless_new_ones_are_accepted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("known_peers");
        // The same host on another port is another peer.
        fs::write(&path, format!("host:7001 {}\n", line(0))).unwrap();
        let trust = KnownPeers::open(&path, "host:7000", false).unwrap();
        let refusal = trust.check(key(0).public()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!(
                "host:7000 is not in {}, and has the key {}: if that is its fingerprint, connect once with --accept-new",
                path.display(),
                key(0).public().fingerprint()
            )
        );
        assert_eq!(
            trust.settle(key(0).public()),
            Err(refusal),
            "whoever asks only once, too"
        );
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn many_writers_at_once_lose_no_line_and_agree_on_one_key() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("known_peers");
        // No line end: as after an editor, or a full disk.
        fs::write(&path, format!("first:1 {}", line(2))).unwrap();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16_usize)
                .map(|ordinal| {
                    let (path, host) = (&path, format!("host{}:7000", ordinal / 2));
                    scope.spawn(move || {
                        let trust = KnownPeers::open(path, host, true).unwrap();
                        trust.settle(key(ordinal % 2).public()).is_ok()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        for pair in outcomes.chunks(2) {
            assert!(pair[0] != pair[1], "one of two keys wins: {outcomes:?}");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1 + 8, "{text}");
        KnownPeers::open(&path, "first:1", false)
            .unwrap()
            .check(key(2).public())
            .unwrap();
    }

    #[test]
    fn a_damaged_line_fails_for_every_peer() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("known_peers");
        let trust = KnownPeers::open(&path, "host:7000", true).unwrap();
        for damaged in ["other:1 ssh-rsa AAAA", "other:1", "host:7000 rubbish"] {
            fs::write(&path, format!("host:7000 {}\n{damaged}\n", line(0))).unwrap();
            let begin = format!("{}: line 2: not a", path.display());
            let error = KnownPeers::open(&path, "host:7000", true).unwrap_err().to_string();
            assert!(error.starts_with(&begin), "{error}");
            let refusal = trust.check(key(0).public()).unwrap_err().to_string();
            assert!(refusal.contains(&begin), "{refusal}");
            assert!(trust.settle(key(0).public()).is_err());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_refuses_new_peers_when_they_should_be_remembered() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("no/known_peers");
        let trust = KnownPeers::open(&path, "host:7000", true).unwrap();
        let refusal = trust.settle(key(0).public()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!(
                "the key {} of host:7000 cannot be looked up: cannot write {}: No such file or directory",
                key(0).public().fingerprint(),
                path.display()
            )
        );
    }

    #[test]
    fn a_peer_has_a_host_and_a_port() {
        for name in [
            "",
            "host",
            "host:",
            ":7000",
            "ho st:7000",
            "#host:7000",
            "host:70000",
            "host:7000\n",
        ] {
            let error = KnownPeers::open("/nonexistent", name, true).unwrap_err();
            assert_eq!(error, KeyError::PeerName { name: name.to_owned() });
        }
        assert!(KnownPeers::open("/nonexistent", "[::1]:7000", true).is_ok());
    }
}

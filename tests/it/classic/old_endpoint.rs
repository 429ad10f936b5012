//! Our tools and streams with an old endpoint on the other side: a model of the original in its own language, in a process
//! of its own. Without Python these tests are skipped, and say so; where `CI` is set they fail instead.

use super::payload;
use securestream::classic::{Builder, build_cryptor};
use securestream::identity::{KeyText, Numbers, RsaPrivate, Use, generate_classic};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(100);

fn has_python() -> bool {
    let found = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    assert!(
        found || std::env::var_os("CI").is_none(),
        "python3 is missing, and CI must have it"
    );
    if !found {
        eprintln!("SKIPPED: python3 is not there; no old endpoint to talk to");
    }
    found
}

struct Old(Child);

impl Old {
    fn start(role: &str, kind: &str, job: &str, port: u16, file: &Path, keys: &[PathBuf]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/classic/old_endpoint.py");
        let child = Command::new("python3")
            .args([script, role, kind, job, &port.to_string()])
            .arg(file)
            .args(keys)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The port that it says that it listens on.
    fn port(&mut self) -> u16 {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim().parse().unwrap()
    }

    fn end(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Key files as the original has them: two numbers each.
fn write_key(place: &Path, name: &str, key: &RsaPrivate) -> [PathBuf; 2] {
    let text = KeyText::new(Numbers::Private(key.clone()), Use::Classic, "");
    let directory = place.join(name);
    fs::create_dir(&directory).unwrap();
    let written = text
        .write_pair(&directory, securestream::identity::Existing::Keep)
        .unwrap();
    [written[0].clone(), written[1].clone()]
}

/// A builder of ours, and the key files of the old side.
fn sides(place: &Path, encrypted: bool) -> (Builder, Vec<PathBuf>) {
    if !encrypted {
        return (Builder::new(), Vec::new());
    }
    let (ours, theirs) = (generate_classic(1024).unwrap(), generate_classic(1024).unwrap());
    let [_, our_public] = write_key(place, "ours", &ours);
    let [their_private, _] = write_key(place, "theirs", &theirs);
    let builder = Builder::new().cryptor(build_cryptor(&ours, theirs.public()).unwrap());
    (builder, vec![their_private, our_public])
}

#[test]
fn an_old_sender_reaches_us() {
    if !has_python() {
        return;
    }
    for encrypted in [false, true] {
        for kind in ["tcp", "udp"] {
            let place = tempfile::tempdir().unwrap();
            let (builder, keys) = sides(place.path(), encrypted);
            let bytes = payload(if encrypted { 5000 } else { 200_000 });
            let file = place.path().join("file");
            fs::write(&file, &bytes).unwrap();
            let listener = match kind {
                "tcp" => builder.listen_tcp("127.0.0.1:0"),
                _ => builder.listen_udp("127.0.0.1:0"),
            }
            .unwrap();
            let port = listener.local_addr().unwrap().port();
            let old = Old::start("client", kind, "send", port, &file, &keys);
            let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
            stream.set_read_timeout(Some(WATCHDOG)).unwrap();
            let mut received = vec![0; bytes.len()];
            stream.read_exact(&mut received).unwrap();
            assert!(received == bytes, "{kind}, encrypted: {encrypted}");
            old.end();
            if kind == "tcp" {
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            }
            assert_eq!(stream.stats().auth_failures, 0);
        }
    }
}

#[test]
fn we_reach_an_old_receiver() {
    if !has_python() {
        return;
    }
    for encrypted in [false, true] {
        for kind in ["tcp", "udp"] {
            let place = tempfile::tempdir().unwrap();
            let (builder, keys) = sides(place.path(), encrypted);
            let bytes = payload(if encrypted { 20_000 } else { 300_000 });
            let file = place.path().join("file");
            let mut old = Old::start("server", kind, "receive", 0, &file, &keys);
            let addr = ("127.0.0.1", old.port());
            let mut stream = match kind {
                "tcp" => builder.connect_tcp(addr),
                _ => builder.connect_udp(addr),
            }
            .unwrap();
            stream.write_all(&bytes).unwrap();
            stream.finish(WATCHDOG).unwrap();
            drop(stream);
            old.end();
            assert!(fs::read(&file).unwrap() == bytes, "{kind}, encrypted: {encrypted}");
        }
    }
}

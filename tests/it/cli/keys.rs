//! Keys on the command line: who gets through, who is refused, and what people are told.

use super::tool::{Ended, Tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The options of either carrier.
const CARRIERS: [&[&str]; 2] = [&[], &["--udp"]];

/// A folder with a key pair, made by `stream-rsagen`.
struct Person {
    place: TempDir,
    fingerprint: String,
}

impl Person {
    fn new(name: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().to_str().unwrap();
        let made = ["--bits", "2048", "--out-dir", folder, "--comment", name];
        Tool::run("stream-rsagen", made).assert_code(0);
        let public = place.path().join("public.key");
        let said = Tool::run("stream-rsagen", ["--fingerprint", public.to_str().unwrap()]);
        said.assert_code(0);
        let line = String::from_utf8(said.stdout).unwrap();
        let fingerprint = line.split(' ').nth(1).unwrap().to_owned();
        assert!(fingerprint.starts_with("SHA256:"), "{line}");
        Self { place, fingerprint }
    }

    fn public(&self) -> &str {
        Box::leak(self.path("public.key").into_boxed_str())
    }

    fn private(&self) -> &str {
        Box::leak(self.path("private.key").into_boxed_str())
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Three people with keys, made once.
fn people() -> &'static [Person; 3] {
    static PEOPLE: OnceLock<[Person; 3]> = OnceLock::new();
    PEOPLE.get_or_init(|| ["alice", "bob", "mallory"].map(Person::new))
}

fn receiver(args: &[&str]) -> (Tool, String) {
    let mut all = vec!["--port", "0", "--bind", "127.0.0.1"];
    all.extend(args);
    let mut receiver = Tool::start("stream-receiver", all);
    let port = receiver.port();
    (receiver, port)
}

fn sender(port: &str, args: &[&str]) -> Ended {
    let mut all = vec!["--target-port", port];
    all.extend(args);
    let mut sender = Tool::start("stream-sender", all);
    // Who is refused before the first byte has gone may have left already.
    sender.try_input(b"the payload");
    sender.end()
}

#[track_caller]
fn assert_says(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is missing in:\n{}", ended.stderr);
    }
}

#[test]
fn two_who_know_each_other_need_no_warning() {
    let [alice, bob, _] = people();
    for carrier in CARRIERS {
        let own = ["--priv-key", bob.private(), "--pub-key", alice.public()];
        let (receiver, port) = receiver(&[carrier, &own].concat());
        let own = ["--priv-key", alice.private(), "--pub-key", bob.public()];
        let sent = sender(&port, &[carrier, &own].concat());
        sent.assert_code(0);
        let received = receiver.end();
        received.assert_code(0);
        assert_eq!(received.stdout, b"the payload");
        for said in [&sent.stderr, &received.stderr] {
            assert!(!said.contains("warning"), "{said}");
        }
    }
}

#[test]
fn a_sender_with_a_wrong_key_ends_with_3_and_the_receiver_goes_on_waiting() {
    let [alice, bob, mallory] = people();
    for carrier in CARRIERS {
        let there = tempfile::tempdir().unwrap();
        let output = there.path().join("whole");
        let own = ["--priv-key", bob.private(), "--pub-key", alice.public()];
        let to = ["--output", output.to_str().unwrap()];
        let (mut receiver, port) = receiver(&[carrier, &own, &to].concat());
        let wrong = ["--priv-key", mallory.private(), "--pub-key", bob.public()];
        let refused = sender(&port, &[carrier, &wrong].concat());
        refused.assert_code(3);
        assert_says(&refused, &[&mallory.fingerprint, &alice.fingerprint]);
        let said = receiver.line("was turned away");
        for fingerprint in [&mallory.fingerprint, &alice.fingerprint] {
            assert!(said.contains(fingerprint), "{said}");
        }
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0, "nothing was written");
        let right = ["--priv-key", alice.private(), "--pub-key", bob.public()];
        sender(&port, &[carrier, &right].concat()).assert_code(0);
        receiver.end().assert_code(0);
        assert_eq!(fs::read(&output).unwrap(), b"the payload");
    }
}

#[test]
fn a_sender_that_meets_a_wrong_key_ends_with_3_and_sends_nothing() {
    let [alice, bob, mallory] = people();
    for carrier in CARRIERS {
        let (mut receiver, port) = receiver(&[carrier, &["--priv-key", mallory.private()]].concat());
        let own = ["--priv-key", alice.private(), "--pub-key", bob.public()];
        let refused = sender(&port, &[carrier, &own].concat());
        refused.assert_code(3);
        assert_says(&refused, &[&mallory.fingerprint, &bob.fingerprint]);
        receiver.line("was turned away");
        receiver.signal("TERM");
        let receiver = receiver.end();
        receiver.assert_code(143);
        assert!(receiver.stdout.is_empty());
    }
}

#[test]
fn without_keys_it_is_encrypted_and_both_are_told_that_nobody_is_authenticated() {
    for carrier in CARRIERS {
        let (receiver, port) = receiver(carrier);
        let sent = sender(&port, carrier);
        sent.assert_code(0);
        let received = receiver.end();
        received.assert_code(0);
        assert_eq!(received.stdout, b"the payload");
        let keys = |said: &str| -> Vec<String> {
            let line = said.lines().find(|line| line.contains("NOT authenticated")).unwrap();
            let words = line.split([' ', ',']).filter(|word| word.starts_with("SHA256:"));
            words.map(str::to_owned).collect()
        };
        let (mut theirs, ours) = (keys(&sent.stderr), keys(&received.stderr));
        assert_eq!(ours.len(), 2, "{}", received.stderr);
        theirs.reverse();
        assert_eq!(theirs, ours, "each side tells the two of the other");
    }
}

#[test]
fn one_sided_trust_is_said_by_the_side_that_trusts_anybody() {
    let [_, bob, _] = people();
    let (receiver, port) = receiver(&["--priv-key", bob.private()]);
    let sent = sender(&port, &["--pub-key", bob.public()]);
    sent.assert_code(0);
    assert!(!sent.stderr.contains("NOT authenticated"), "{}", sent.stderr);
    let received = receiver.end();
    received.assert_code(0);
    assert_says(&received, &["NOT authenticated", &bob.fingerprint]);
}

#[test]
fn authorized_keys_are_read_again_when_they_change() {
    let [alice, bob, mallory] = people();
    let place = tempfile::tempdir().unwrap();
    let list = place.path().join("authorized_keys");
    let line = |person: &Person| {
        let exported = Tool::run("stream-rsagen", ["--import", person.public(), "--export", "openssh"]);
        exported.assert_code(0);
        String::from_utf8(exported.stdout).unwrap()
    };
    fs::write(&list, format!("# friends\n\n{}", line(mallory))).unwrap();
    let own = ["--priv-key", bob.private(), "--authorized-keys", list.to_str().unwrap()];
    let (mut receiver, port) = receiver(&own);
    let to_bob = ["--priv-key", alice.private(), "--pub-key", bob.public()];
    let refused = sender(&port, &to_bob);
    refused.assert_code(3);
    assert_says(&refused, &[&alice.fingerprint]);
    receiver.line("was turned away");
    fs::write(&list, format!("{}{}", line(mallory), line(alice))).unwrap();
    sender(&port, &to_bob).assert_code(0);
    receiver.end().assert_code(0);
}

#[test]
fn a_folder_of_public_keys_will_do() {
    let [alice, bob, _] = people();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(alice.public(), folder.path().join("alice.key")).unwrap();
    let own = [
        "--priv-key",
        bob.private(),
        "--authorized-keys",
        folder.path().to_str().unwrap(),
    ];
    let (receiver, port) = receiver(&own);
    sender(&port, &["--priv-key", alice.private(), "--pub-key", bob.public()]).assert_code(0);
    receiver.end().assert_code(0);
}

#[test]
fn a_peer_is_known_after_the_first_time_and_a_changed_key_is_refused() {
    let [_, bob, mallory] = people();
    let place = tempfile::tempdir().unwrap();
    let known = place.path().join("known_peers");
    let known = known.to_str().unwrap();
    let meet = |person: &Person, port: &str, more: &[&str]| {
        let args = [
            "--port",
            port,
            "--bind",
            "127.0.0.1",
            "--udp",
            "--priv-key",
            person.private(),
        ];
        let mut receiver = Tool::start("stream-receiver", args);
        let port = receiver.port();
        let sent = sender(&port, &[&["--udp", "--known-peers", known][..], more].concat());
        (receiver, port, sent)
    };
    let (receiver, port, sent) = meet(bob, "0", &[]);
    sent.assert_code(3);
    assert_says(&sent, &[&bob.fingerprint, "--accept-new"]);
    assert!(!Path::new(known).exists(), "nobody asked to remember him");
    receiver.signal("TERM");
    receiver.end().assert_code(143);
    // The same port again, or it would be another peer.
    let (receiver, _, sent) = meet(bob, &port, &["--accept-new"]);
    sent.assert_code(0);
    receiver.end().assert_code(0);
    let (receiver, _, sent) = meet(bob, &port, &[]);
    sent.assert_code(0);
    receiver.end().assert_code(0);
    let (receiver, _, sent) = meet(mallory, &port, &["--accept-new"]);
    sent.assert_code(3);
    assert_says(&sent, &[&bob.fingerprint, &mallory.fingerprint]);
    receiver.signal("TERM");
    receiver.end().assert_code(143);
}

#[test]
fn options_that_do_not_fit_together_are_usage_errors() {
    let [alice, bob, _] = people();
    let cases: [(&[&str], &str); 3] = [
        (
            &["--plain", "--priv-key", alice.private()],
            "--plain packets have no keys",
        ),
        (&["--accept-new"], "--known-peers FILE"),
        (
            &["--pub-key", bob.public(), "--authorized-keys", "x"],
            "--authorized-keys",
        ),
    ];
    for (args, part) in cases {
        let ended = sender("7000", args);
        ended.assert_code(2);
        assert_says(&ended, &[part]);
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let [alice, bob, _] = people();
    let open = alice.path("open.key");
    fs::copy(alice.private(), &open).unwrap();
    let mode = PermissionsExt::from_mode(0o644);
    fs::set_permissions(&open, mode).unwrap();
    let cases = [
        ("--priv-key", open.as_str(), "run chmod 600 "),
        ("--priv-key", bob.public(), "a private one belongs here"),
        ("--pub-key", bob.private(), "a public one belongs here"),
    ];
    for (option, file, part) in cases {
        let ended = sender("7000", &[option, file]);
        ended.assert_code(3);
        assert_says(&ended, &[file, part]);
    }
    let missing = sender("7000", &["--pub-key", "/nonexistent"]);
    missing.assert_code(1);
    assert_says(&missing, &["cannot read /nonexistent"]);
}

#[test]
fn a_secure_side_and_a_plain_one_tell_each_other_and_end_with_4() {
    for carrier in CARRIERS {
        let (mut receiver, port) = receiver(carrier);
        let plain = sender(&port, &[carrier, &["--plain"]].concat());
        plain.assert_code(4);
        assert_says(&plain, &["the peer speaks secure, this side plain"]);
        receiver.line("the peer speaks plain, this side secure");
        receiver.signal("TERM");
        receiver.end().assert_code(143);
        let (mut receiver, port) = Tool::receiver(carrier);
        let secure = sender(&port, carrier);
        secure.assert_code(4);
        assert_says(&secure, &["the peer speaks plain, this side secure"]);
        receiver.line("the peer speaks secure, this side plain");
        receiver.signal("TERM");
        receiver.end().assert_code(143);
    }
}

#[test]
fn a_key_log_is_written_only_when_asked_for_and_loudly() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("secrets");
    let (receiver, port) = receiver(&[]);
    let env = [("STREAM_KEYLOGFILE", log.to_str().unwrap())];
    let mut sender = Tool::start_with("stream-sender", ["--target-port", &port], &env);
    sender.input(b"x");
    let sender = sender.end();
    sender.assert_code(0);
    receiver.end().assert_code(0);
    assert_says(
        &sender,
        &["warning: STREAM_KEYLOGFILE: the secrets of every connection"],
    );
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("CLIENT_TRAFFIC_SECRET_0 "), "{text}");
}

#[test]
fn the_json_says_who_it_was() {
    let [alice, bob, _] = people();
    let (receiver, port) = receiver(&["--priv-key", bob.private()]);
    let args = ["--priv-key", alice.private(), "--pub-key", bob.public(), "--json"];
    let sent = sender(&port, &args);
    sent.assert_code(0);
    receiver.end().assert_code(0);
    let object: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(object["mode"], "secure");
    assert_eq!(object["peer_fingerprint"], bob.fingerprint.as_str());
    assert_eq!(object["own_fingerprint"], alice.fingerprint.as_str());
    assert_eq!(object["peer_authenticated"], true);
}

#[test]
fn a_receiver_that_was_killed_and_started_again_tells_its_old_sender_at_once() {
    let [alice, bob, _] = people();
    let own = ["--udp", "--priv-key", bob.private(), "--pub-key", alice.public()];
    let (mut killed, port) = receiver(&own);
    let to_bob = ["--udp", "--priv-key", alice.private(), "--pub-key", bob.public()];
    let idle = ["--target-port", &port, "--idle-timeout", "10m"];
    let mut sender = Tool::start("stream-sender", [&to_bob[..], &idle].concat());
    sender.input(b"before");
    killed.output(b"before".len());
    killed.signal("KILL");
    assert_eq!(killed.end().code, None, "a signal ended it");
    let mut again = Tool::start(
        "stream-receiver",
        [&own[..], &["--bind", "127.0.0.1", "--port", &port]].concat(),
    );
    again.port();
    // It may have heard already, if it had to say the first words again.
    sender.try_input(b"after");
    let sender = sender.end();
    sender.assert_code(1);
    assert_says(&sender, &["the peer has lost its state"]);
    again.signal("TERM");
    let again = again.end();
    again.assert_code(143);
    assert!(again.stdout.is_empty());
}

//! `stream-rsagen`, and what OpenSSL and OpenSSH think of its keys.

use super::tool::{Ended, Tool};
use serde_json::{Map, Value};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const RSAGEN: &str = "stream-rsagen";

/// A folder with a new pair of 2048 bits in it, and what the tool said.
struct Pair {
    place: TempDir,
    said: Ended,
}

impl Pair {
    fn new(args: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let said = rsagen(&[&["--bits", "2048", "--out-dir", text(place.path())], args].concat());
        said.assert_code(0);
        Self { place, said }
    }

    fn path(&self, name: &str) -> String {
        text(&self.place.path().join(name)).to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file of its own beside the pair, readable by the owner only.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn rsagen(args: &[&str]) -> Ended {
    Tool::run(RSAGEN, args)
}

/// Standard output of a run that must succeed.
#[track_caller]
fn output(args: &[&str]) -> String {
    let ended = rsagen(args);
    ended.assert_code(0);
    String::from_utf8(ended.stdout).unwrap()
}

/// What a run that must fail says.
#[track_caller]
fn failure(args: &[&str]) -> String {
    let ended = rsagen(args);
    ended.assert_code(1);
    assert!(ended.stdout.is_empty());
    ended.stderr
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn json(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// Whether another program is there to compare with. Where the checks run (`CI` is set) it must be.
fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("-?")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is missing: .ci/run installs it"
        );
        // Past the capture of the test harness, so that it is seen.
        std::io::stderr()
            .write_all(format!("SKIPPED: {program} is not installed\n").as_bytes())
            .unwrap();
    }
    found.is_ok()
}

#[track_caller]
fn foreign(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_new_pair_is_two_files_and_a_fingerprint_on_standard_error() {
    let pair = Pair::new(&["--comment", "anna@host"]);
    assert!(pair.said.stdout.is_empty());
    let fingerprint = output(&["--fingerprint", &pair.path("public.key")]);
    assert_eq!(
        pair.said.stderr,
        format!(
            "wrote {} (keep it to yourself)\nwrote {} (give it to your peers)\n{}",
            pair.path("private.key"),
            pair.path("public.key"),
            fingerprint.trim_end()
        )
    );
    assert!(fingerprint.starts_with("2048 SHA256:"), "{fingerprint}");
    assert!(fingerprint.ends_with(" anna@host (RSA)\n"), "{fingerprint}");
    assert_eq!(output(&["--fingerprint", &pair.path("private.key")]), fingerprint);
    assert_eq!(names(pair.place.path()), ["private.key", "public.key"]);
    assert_eq!(mode(&pair.path("private.key")), 0o600);
    assert_eq!(mode(&pair.path("public.key")) & 0o700, 0o600);

    let (private, public) = (json(&pair.read("private.key")), json(&pair.read("public.key")));
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>().join(" ");
    let mut expected: Vec<_> = "k n e p q dp dq qi v alg use comment".split(' ').collect();
    expected.sort_unstable();
    assert_eq!(keys(&private), expected.join(" "));
    assert_eq!(public["k"].to_string(), "65537");
    assert_eq!(public["n"], private["n"]);
    for file in [&private, &public] {
        assert_eq!((&file["use"], &file["alg"]), (&"identity".into(), &"RSA".into()));
        assert_eq!(file["v"].to_string(), "1");
    }
}

#[test]
fn a_new_pair_has_3072_bits_and_a_classic_one_1024() {
    for (args, bits, usage) in [(&[][..], 3072, "identity"), (&["--use", "classic"], 1024, "classic")] {
        let place = tempfile::tempdir().unwrap();
        // The folder is made.
        let directory = place.path().join("deep/keys");
        let ended = rsagen(&[&["--out-dir", text(&directory)], args].concat());
        ended.assert_code(0);
        let public = text(&directory.join("public.key")).to_owned();
        assert_eq!(json(&fs::read_to_string(&public).unwrap())["use"], usage);
        let fingerprint = output(&["--fingerprint", &public]);
        assert!(fingerprint.starts_with(&format!("{bits} SHA256:")), "{fingerprint}");
        assert!(fingerprint.ends_with(" no comment (RSA)\n"), "{fingerprint}");
    }
}

#[test]
fn what_is_there_is_not_replaced_without_force() {
    let pair = Pair::new(&[]);
    let (private, public) = (pair.read("private.key"), pair.read("public.key"));
    let out = ["--bits", "2048", "--out-dir", text(pair.place.path())];
    assert_eq!(
        failure(&out),
        format!(
            "stream-rsagen: {} exists already, and is not replaced without --force",
            pair.path("private.key")
        )
    );
    fs::remove_file(pair.path("private.key")).unwrap();
    // One of two is enough, and then nothing is written.
    assert!(failure(&out).contains("public.key exists already"));
    let import = [
        "--import",
        &pair.path("public.key"),
        "--out-dir",
        text(pair.place.path()),
    ];
    assert!(failure(&import).contains("public.key exists already"));
    assert_eq!(names(pair.place.path()), ["public.key"]);
    assert_eq!(pair.read("public.key"), public);

    rsagen(&[&out[..], &["--force"]].concat()).assert_code(0);
    assert_ne!(pair.read("public.key"), public);
    assert_ne!(pair.read("private.key"), private);
    assert_eq!(mode(&pair.path("private.key")), 0o600);
    assert_eq!(names(pair.place.path()), ["private.key", "public.key"]);
}

#[test]
fn a_key_that_went_through_all_formats_is_the_same() {
    let pair = Pair::new(&[]);
    for name in ["private.key", "public.key"] {
        let original = pair.read(name);
        let pem = pair.write("a.pem", output(&["--import", &pair.path(name), "--export", "pem"]));
        let openssh = pair.write("b.ssh", output(&["--import", &pem, "--export", "openssh"]));
        let again = pair.write("c.pem", output(&["--import", &openssh, "--export", "pem"]));
        assert_eq!(fs::read(&pem).unwrap(), fs::read(&again).unwrap());
        assert_eq!(output(&["--import", &again, "--export", "json"]), original);
        // Without --export it is the pair; of a public key half of it.
        let there = tempfile::tempdir().unwrap();
        rsagen(&["--import", &openssh, "--out-dir", text(there.path())]).assert_code(0);
        assert_eq!(fs::read_to_string(there.path().join(name)).unwrap(), original);
        let public = fs::read_to_string(there.path().join("public.key")).unwrap();
        assert_eq!(public, pair.read("public.key"));
        assert_eq!(names(there.path()).len(), if name == "private.key" { 2 } else { 1 });
    }
}

#[test]
fn a_comment_goes_where_the_format_has_a_place_for_it() {
    let pair = Pair::new(&["--comment", "über \"Anna\"\n\u{1b}[31m"]);
    let fingerprint = output(&["--fingerprint", &pair.path("public.key")]);
    assert!(fingerprint.ends_with(" über \"Anna\"  [31m (RSA)\n"), "{fingerprint}");
    for name in ["private.key", "public.key"] {
        let openssh = pair.write("x.ssh", output(&["--import", &pair.path(name), "--export", "openssh"]));
        assert_eq!(output(&["--fingerprint", &openssh]), fingerprint);
        assert_eq!(output(&["--import", &openssh, "--export", "json"]), pair.read(name));
        let other = output(&["--import", &openssh, "--export", "json", "--comment", "bert"]);
        assert_eq!(json(&other)["comment"], "bert");
    }
}

#[test]
fn openssh_takes_the_exports_and_agrees_on_the_fingerprint() {
    if !installed("ssh-keygen") {
        return;
    }
    let pair = Pair::new(&["--comment", "anna@host"]);
    let fingerprint = output(&["--fingerprint", &pair.path("private.key")]);
    let line = output(&["--import", &pair.path("public.key"), "--export", "openssh"]);
    let public = pair.write("id.pub", &line);
    assert_eq!(foreign("ssh-keygen", &["-lf", &public]), fingerprint);
    let private = output(&["--import", &pair.path("private.key"), "--export", "openssh"]);
    let private = pair.write("alone", private);
    assert_eq!(foreign("ssh-keygen", &["-lf", &private]), fingerprint);
    assert_eq!(foreign("ssh-keygen", &["-y", "-f", &private]), line);
    // A key without comment is named the same way, and so is one in PEM.
    let pem = output(&["--import", &pair.path("private.key"), "--export", "pem"]);
    let pem = pair.write("id.pem", pem);
    assert_eq!(foreign("ssh-keygen", &["-lf", &pem]), output(&["--fingerprint", &pem]),);
    let spki = output(&["--import", &pair.path("public.key"), "--export", "pem"]);
    let spki = pair.write("spki.pem", spki);
    let converted = foreign("ssh-keygen", &["-i", "-m", "PKCS8", "-f", &spki]);
    assert_eq!(
        converted.trim_end(),
        line.trim_end().strip_suffix(" anna@host").unwrap()
    );
}

#[test]
fn keys_of_openssh_are_taken_unless_they_are_encrypted_or_of_another_kind() {
    if !installed("ssh-keygen") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let key = |name: &str, args: &[&str]| {
        let path = text(&place.path().join(name)).to_owned();
        foreign("ssh-keygen", &[&["-q", "-C", "me@here", "-f", &path], args].concat());
        path
    };
    for format in ["RFC4716", "PEM", "PKCS8"] {
        let rsa = key(format, &["-t", "rsa", "-b", "2048", "-N", "", "-m", format]);
        // Out of sight: `ssh-keygen -l` would take the comment of a private key from there.
        let public = format!("{rsa}-public");
        fs::rename(format!("{rsa}.pub"), &public).unwrap();
        for file in [&rsa, &public] {
            assert_eq!(output(&["--fingerprint", file]), foreign("ssh-keygen", &["-lf", file]));
        }
        let there = tempfile::tempdir().unwrap();
        rsagen(&[
            "--import",
            &rsa,
            "--out-dir",
            text(there.path()),
            "--comment",
            "me@here",
        ])
        .assert_code(0);
        let imported = there.path().join("public.key");
        let line = output(&["--import", text(&imported), "--export", "openssh"]);
        assert_eq!(line, fs::read_to_string(&public).unwrap());
    }
    let secret = key("secret", &["-t", "rsa", "-b", "2048", "-N", "opensesame"]);
    assert_eq!(
        failure(&["--import", &secret]),
        format!(
            "stream-rsagen: {secret}: the key is encrypted: take the passphrase off a copy with ssh-keygen -p -N '' -f COPY"
        )
    );
    for (kind, name) in [("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256")] {
        let other = key(kind, &["-t", kind, "-N", ""]);
        for file in [other.clone(), format!("{other}.pub")] {
            assert_eq!(
                failure(&["--import", &file]),
                format!(
                    "stream-rsagen: {file}: a key of the kind {name} cannot be used, only RSA: make a pair with \
                     stream-rsagen --out-dir DIR"
                )
            );
        }
    }
}

#[test]
fn openssl_takes_the_exports_and_we_take_its_keys() {
    if !installed("openssl") {
        return;
    }
    let pair = Pair::new(&[]);
    let fingerprint = output(&["--fingerprint", &pair.path("private.key")]);
    let pem = output(&["--import", &pair.path("private.key"), "--export", "pem"]);
    let private = pair.write("private.pem", &pem);
    let spki = output(&["--import", &pair.path("public.key"), "--export", "pem"]);
    let public = pair.write("public.pem", &spki);
    assert_eq!(foreign("openssl", &["pkey", "-in", &private, "-pubout"]), spki);
    assert_eq!(foreign("openssl", &["pkey", "-in", &private]), pem);
    assert_eq!(foreign("openssl", &["pkey", "-pubin", "-in", &public, "-pubout"]), spki);
    let check = foreign("openssl", &["rsa", "-in", &private, "-check", "-noout"]);
    assert_eq!(check.trim(), "RSA key ok");

    let old = pair.path("pkcs1.pem");
    foreign("openssl", &["rsa", "-in", &private, "-traditional", "-out", &old]);
    let old_public = pair.path("pkcs1-public.pem");
    foreign(
        "openssl",
        &["rsa", "-in", &private, "-RSAPublicKey_out", "-out", &old_public],
    );
    for file in [&private, &public, &old, &old_public] {
        assert_eq!(output(&["--fingerprint", file]), fingerprint, "{file}");
    }
    assert_eq!(
        output(&["--import", &old, "--export", "json"]),
        pair.read("private.key")
    );

    let words = "the key is encrypted: take the passphrase off a copy with openssl pkey -in FILE -out COPY";
    let secret = pair.path("secret.pem");
    let cipher = ["-aes256", "-passout", "pass:opensesame", "-out", &secret];
    for command in [
        &["pkey", "-in", &private][..],
        &["rsa", "-traditional", "-in", &private],
    ] {
        foreign("openssl", &[command, &cipher].concat());
        assert_eq!(
            failure(&["--import", &secret]),
            format!("stream-rsagen: {secret}: {words}")
        );
    }
    let curve = pair.path("curve.pem");
    foreign("openssl", &["genpkey", "-algorithm", "ED25519", "-out", &curve]);
    assert!(failure(&["--import", &curve]).contains("a key of the kind Ed25519 cannot be used, only RSA"));
}

/// The pair as the original would have written it.
fn bare(pair: &Pair) -> [String; 2] {
    let [private, public] = ["private.key", "public.key"].map(|name| json(&pair.read(name)));
    let place =
        |name, key: &Map<String, Value>| pair.write(name, format!("{{\"k\": {}, \"n\": {}}}", key["k"], key["n"]));
    [place("bare-private.key", &private), place("bare-public.key", &public)]
}

#[test]
fn a_bare_pair_of_enough_bits_can_be_made_an_identity() {
    let pair = Pair::new(&[]);
    let [private, public] = bare(&pair);
    for (file, name) in [(&private, "private.key"), (&public, "public.key")] {
        let upgraded = output(&["--import", file, "--use", "identity", "--export", "json"]);
        let (upgraded, original) = (json(&upgraded), json(&pair.read(name)));
        assert_eq!(upgraded["use"], "identity");
        assert_eq!((&upgraded["n"], &upgraded["k"]), (&original["n"], &original["k"]));
        if name == "private.key" {
            let primes = |key: &Map<String, Value>| {
                let mut primes = [key["p"].to_string(), key["q"].to_string()];
                primes.sort();
                primes
            };
            assert_eq!(primes(&upgraded), primes(&original));
        }
    }
    // Unasked it stays what it was, and says how to change that.
    let there = tempfile::tempdir().unwrap();
    let ended = rsagen(&["--import", &private, "--out-dir", text(there.path())]);
    ended.assert_code(0);
    assert!(
        ended.stderr.starts_with(
            "the key does not say what it is for, so it is one of the classic mode; if it was never used there, --use \
             identity makes it an identity\n"
        ),
        "{}",
        ended.stderr
    );
    let classic = text(&there.path().join("private.key")).to_owned();
    let written = json(&fs::read_to_string(&classic).unwrap());
    assert_eq!(written["use"], "classic");
    assert!(
        ["e", "p", "q", "dp", "dq", "qi", "v", "alg"]
            .iter()
            .all(|field| written.contains_key(*field))
    );
    // Now it says so, and that is final.
    assert_eq!(
        failure(&["--import", &classic, "--use", "identity"]),
        format!(
            "stream-rsagen: {classic}: the key is for the classic mode (\"use\": \"classic\"), and the secure mode must \
             not share it: make a new pair with stream-rsagen --out-dir DIR"
        )
    );
    let identity = pair.path("private.key");
    assert_eq!(
        failure(&["--import", &identity, "--use", "classic"]),
        format!(
            "stream-rsagen: {identity}: the key is an identity (\"use\": \"identity\"), and the classic mode must not \
             share it: make a new pair with stream-rsagen --use classic --out-dir DIR"
        )
    );
}

#[test]
fn a_key_of_the_original_is_taken_as_it_is_and_is_no_identity() {
    // Recorded from the original.
    let private = r#"{"k": 87502739172663205063549575937075457817012914844695811421502698495420784146927220825038244020060609871131233217280247380341313712755206900475744025822394480740168358894693344010010640554139986630369585000130753660156136945072436653491318299250126895811129473, "n": 120547107902943506059233342264107337907878066933844055182271553672210374393281116438462360177051883232244337664191027759763509929614129252759796839221800379454554103232864130667484514292630890858328010623906280786091911447299078203986091181236982607737630437}"#;
    let place = tempfile::tempdir().unwrap();
    let file = text(&place.path().join("old.key")).to_owned();
    fs::write(&file, private).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let ended = rsagen(&["--import", &file, "--out-dir", text(place.path())]);
    ended.assert_code(0);
    let warning = format!(
        "stream-rsagen: warning: {file} is a private key that others can open (mode 0644): run chmod 600 {file}\n"
    );
    assert!(ended.stderr.starts_with(&warning), "{}", ended.stderr);
    let written = json(&fs::read_to_string(place.path().join("private.key")).unwrap());
    assert_eq!(
        (&written["use"], written["e"].to_string()),
        (&"classic".into(), "65537".to_owned())
    );
    assert!(private.contains(&written["k"].to_string()) && private.contains(&written["n"].to_string()));
    let fingerprint = output(&["--fingerprint", &file]);
    assert!(fingerprint.starts_with("855 SHA256:"), "{fingerprint}");
    let said = failure(&["--import", &file, "--use", "identity", "--force"]);
    assert_eq!(
        said.strip_prefix(&warning),
        Some(
            format!(
                "stream-rsagen: {file}: the key has 855 bits, and the secure mode needs 2048 or more: make a new pair \
                 with stream-rsagen --out-dir DIR"
            )
            .as_str()
        )
    );
}

#[test]
fn a_damaged_key_is_refused_with_what_is_wrong() {
    let pair = Pair::new(&[]);
    let whole = json(&pair.read("private.key"));
    let [n, p] = ["n", "p"].map(|field| whole[field].to_string());
    let original = pair.read("private.key");
    let rounded = |field: &str, now: &str| {
        format!(
            "\"{field}\" is {now}, not a whole number: a JSON tool has rewritten the key and lost its digits; copy the \
             original file again"
        )
    };
    let cases = [
        (original.replace(&n, "1.2e+308"), rounded("n", "1.2e+308")),
        (original.replace(&n, "1.0"), rounded("n", "1.0")),
        (
            original.replace(&p, "1.7976931348623157E308"),
            rounded("p", "1.7976931348623157E308"),
        ),
        (original.replace(&p, "null"), rounded("p", "null")),
        (
            original.replace(&n, &format!("\"{n}\"")),
            "not an RSA key in JSON: \"n\" is not a whole number".to_owned(),
        ),
        (
            original.replace(&p, &format!("{p}0")),
            "the numbers of the key do not belong together (n is not p q): copy the original file again".to_owned(),
        ),
        (
            original.replace("\"v\": 1", "\"v\": 2"),
            "the key file has version 2, and only 1 is known here: use a newer stream-rsagen".to_owned(),
        ),
        (
            original.replace("identity", "everything"),
            "not an RSA key in JSON: the use of a key is identity or classic, not 'everything'".to_owned(),
        ),
        (
            "hello".to_owned(),
            "not a key: neither JSON nor PEM nor OpenSSH".to_owned(),
        ),
        (String::new(), "not a key: neither JSON nor PEM nor OpenSSH".to_owned()),
    ];
    for (content, words) in cases {
        let file = pair.write("damaged.key", content);
        assert_eq!(failure(&["--import", &file]), format!("stream-rsagen: {file}: {words}"));
        assert_eq!(
            failure(&["--fingerprint", &file]),
            format!("stream-rsagen: {file}: {words}")
        );
    }
    assert_eq!(
        failure(&["--fingerprint", "/nonexistent"]),
        "stream-rsagen: cannot read /nonexistent: No such file or directory"
    );
    assert_eq!(names(pair.place.path()), ["damaged.key", "private.key", "public.key"]);
}

#[test]
fn a_command_line_of_rsagen_that_makes_no_sense_ends_with_2() {
    let cases: [(&[&str], &str); 9] = [
        (
            &["--export", "pem"],
            "--export converts a key: name it with --import FILE",
        ),
        (
            &["--bits", "2000"],
            "a key has 2048, 3072, 4096 or 8192 bits, not '2000'",
        ),
        (
            &["--bits", "1024"],
            "1024 bits are for --use classic: an identity has 2048, 3072, 4096 or 8192",
        ),
        (
            &["--use", "both"],
            "the use of a key is identity or classic, not 'both'",
        ),
        (
            &["--import", "x", "--export", "der"],
            "a key is written as pem, openssh or json, not as 'der'",
        ),
        (
            &["--import", "x", "--fingerprint", "y"],
            "--fingerprint and --import exclude each other",
        ),
        (
            &["--import", "x", "--bits", "2048"],
            "--import and --bits exclude each other",
        ),
        (
            &["--import", "x", "--export", "pem", "--out-dir", "y"],
            "--export and --out-dir exclude each other",
        ),
        (&["key.pem"], "did you mean --import key.pem?"),
    ];
    for (args, words) in cases {
        let ended = rsagen(args);
        ended.assert_code(2);
        assert!(ended.stderr.contains(words), "{args:?} said: {}", ended.stderr);
        assert!(
            ended
                .stderr
                .ends_with("Try 'stream-rsagen --help' for more information."),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn rsagen_has_help_completions_and_options_from_the_environment() {
    let help = output(&["-h"]);
    for option in [
        "--bits",
        "--out-dir",
        "--use",
        "--comment",
        "--force",
        "--import",
        "--export",
        "--fingerprint",
    ] {
        assert!(help.contains(option), "{option}");
        for shape in ["bash", "zsh", "fish", "man"] {
            let text = output(&["--generate", shape]).replace("\\-", "-");
            assert!(text.contains(option.trim_start_matches('-')), "{shape}: {option}");
        }
    }
    assert_eq!(
        output(&["-V"]),
        format!("stream-rsagen {}\n", env!("CARGO_PKG_VERSION"))
    );
    let place = tempfile::tempdir().unwrap();
    let env = [
        ("STREAM_OUT_DIR", text(place.path())),
        ("STREAM_BITS", "2048"),
        ("STREAM_COMMENT", "env"),
    ];
    let ended = Tool::start_with(RSAGEN, ["-q"], &env).end();
    ended.assert_code(0);
    assert_eq!(ended.stderr, "");
    let private: PathBuf = place.path().join("private.key");
    let fingerprint = output(&["--fingerprint", text(&private)]);
    assert!(
        fingerprint.starts_with("2048 ") && fingerprint.ends_with(" env (RSA)\n"),
        "{fingerprint}"
    );
    // Variables for files to write do not stand in the way of a conversion.
    let args = ["--import", text(&private), "--export", "json"];
    let ended = Tool::start_with(RSAGEN, args, &env[..2]).end();
    ended.assert_code(0);
    assert_eq!(ended.stdout, fs::read(&private).unwrap());
}

//! Keys as their users see them: files in, signatures and refusals out.

use super::testing::{key, text};
use super::*;
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// Made by `ssh-keygen -t rsa -b 2048 -C somebody@host`, and what `ssh-keygen -lf` says of it.
const LINE: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDOvopl9kgk49V0fK3Or6b7hsOEvDhtpGrSVWSutcxP4Xb6iJGBNU/ofsC6KoqwX7Z8KV4EEtMlJYRAr4gtvLxHBg1dZoiPHLLuu537VODsx4fBExjo4xd+kkckdlaH9ybU7UzUpk7xuw090Lz/Yt5g+YmbkJvvJh27qYgYdCETW9s0IjNvLMM1AXaOOdSrpE4ah+Fn29iNwSMcyne+oiucORTypl0iTE9Gv0/+1z7WNW00tFefuxhifz4YckG9V4XNLxv9Qu3EMvP7iXn5F/YVOVOI9JvjJtHJ6jrCwEmi4VsQkLAZtBP4PJM4SpPc0lO3GprkVPwgz3N3rKeC3vC9 somebody@host";
const LISTED: &str = "2048 SHA256:cNsRQ+3mc0+tdRisXEC/hpUJYeWyoXCd3Bx5hdQiFao somebody@host (RSA)";

/// k and n of private keys, recorded from the original.
const ORIGINAL: [(&str, &str, usize); 2] = [
    (
        "87502739172663205063549575937075457817012914844695811421502698495420784146927220825038244020060609871131233217280247380341313712755206900475744025822394480740168358894693344010010640554139986630369585000130753660156136945072436653491318299250126895811129473",
        "120547107902943506059233342264107337907878066933844055182271553672210374393281116438462360177051883232244337664191027759763509929614129252759796839221800379454554103232864130667484514292630890858328010623906280786091911447299078203986091181236982607737630437",
        855,
    ),
    (
        "890840819448360535295860890836109765353892811446044017646097865936733089157548951044367455512709776659957639930240530437559995289664205332387872895922774776551204528531541823538941631163424918970314075499602331875191975161224611824464321",
        "2502380300209472564471511516982817954309634099855959315266054427152529958600929476001659162999291099094459794857475761444864611866246395302527324364346674265428257008436366998223858275547214113732568630752857038142495211538594007130654397",
        789,
    ),
];

fn private_of(text: &KeyText) -> &RsaPrivate {
    match text.numbers() {
        Numbers::Private(key) => key,
        Numbers::Public(_) => panic!("a public key"),
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, content: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join("some.key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }
}

#[test]
fn a_fingerprint_is_that_of_ssh_keygen() {
    let key = KeyText::parse(LINE.as_bytes()).unwrap();
    assert_eq!(key.summary(), LISTED);
    assert_eq!(key.line(), LINE);
    assert_eq!(
        key.public_identity().unwrap().fingerprint().to_string(),
        "SHA256:cNsRQ+3mc0+tdRisXEC/hpUJYeWyoXCd3Bx5hdQiFao"
    );
    assert_eq!(
        key.with_comment("").summary(),
        LISTED.replace("somebody@host", "no comment")
    );
}

#[test]
fn what_an_identity_signs_its_public_key_verifies() {
    let signature = key(0).sign_pss_sha256(b"message").unwrap();
    let verify = |key: &PrivateKey, message: &[u8]| {
        let spki = key.public().spki();
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, spki);
        key.verify(message, &signature).is_ok()
    };
    assert!(verify(&key(0), b"message"));
    assert!(!verify(&key(0), b"massage"));
    assert!(!verify(&key(1), b"message"));
    assert_eq!(signature.len(), 256);
}

#[test]
fn the_reset_key_depends_on_the_key_and_not_on_its_format() {
    let original = text(0, "");
    let reset = key(0).reset_key();
    for format in [Format::Json, Format::Pem, Format::OpenSsh] {
        let again = KeyText::parse(original.render(format).as_bytes()).unwrap();
        assert_eq!(again.private_identity().unwrap().reset_key(), reset, "{format:?}");
    }
    assert_ne!(key(1).reset_key(), reset);
}

#[test]
fn every_format_is_read_back_as_it_was_written() {
    let private = text(0, "two words");
    for key in [private.to_public(), private] {
        for format in [Format::Json, Format::Pem, Format::OpenSsh] {
            let written = key.render(format);
            let read = KeyText::parse(written.as_bytes()).unwrap();
            assert_eq!(read.numbers(), key.numbers());
            assert_eq!(read.usage(), Use::Identity);
            assert_eq!(read.comment(), if format == Format::Pem { "" } else { "two words" });
            assert_eq!(read.render(format), written);
            // As after a Windows editor.
            let windows = format!("\u{feff}{}", written.replace('\n', "\r\n"));
            assert_eq!(KeyText::parse(windows.as_bytes()).unwrap().numbers(), key.numbers());
        }
    }
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let key = key(0);
    let fingerprint = key.public().fingerprint();
    assert_eq!(format!("{key:?}"), format!("PrivateKey({fingerprint})"));
    assert_eq!(format!("{:?}", key.public()), format!("PublicKey({fingerprint})"));
    let numbers = format!("{:?}", key.rsa());
    assert!(!numbers.contains(key.rsa().p().to_decimal().as_str()), "{numbers}");
    assert!(numbers.contains("p: Number(1024 bits)"), "{numbers}");
}

#[test]
fn the_primes_follow_from_the_exponents() {
    let whole = key(0);
    let whole = whole.rsa();
    let found = RsaPrivate::recover(whole.public().clone(), whole.d().clone()).unwrap();
    let sorted = |key: &RsaPrivate| {
        let mut primes = [key.p(), key.q()].map(|prime| prime.bytes().to_vec());
        primes.sort();
        primes
    };
    assert_eq!(sorted(&found), sorted(whole));
    PrivateKey::new(found).unwrap();
    let other = key(1).rsa().d().clone();
    let error = RsaPrivate::recover(whole.public().clone(), other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the numbers of the key do not belong together (the private exponent is not that of the public key): copy the \
         original file again"
    );
}

#[test]
fn keys_of_the_original_are_read_as_classic_and_refused_as_identities() {
    for (k, n, bits) in ORIGINAL {
        let private = KeyText::parse(format!("{{\"k\": {k}, \"n\": {n}}}").as_bytes()).unwrap();
        assert!(private.is_private());
        let key = private_of(&private);
        assert_eq!(key.d().to_decimal().as_str(), k);
        assert_eq!(&*key.p().big() * &*key.q().big(), *key.public().n().big());
        let public = KeyText::parse(format!("{{\"n\":{n},\"k\":65537}}").as_bytes()).unwrap();
        assert_eq!(public.numbers(), private.to_public().numbers());
        assert_eq!((public.usage(), private.usage()), (Use::Classic, Use::Classic));
        let short = KeyError::TooShort { bits };
        assert_eq!(public.public_identity(), Err(short.clone()));
        assert_eq!(private.private_identity().unwrap_err(), short);
        // It can be written and read like any other.
        for format in [Format::Json, Format::Pem, Format::OpenSsh] {
            let again = KeyText::parse(private.render(format).as_bytes()).unwrap();
            assert_eq!(again.numbers(), private.numbers());
        }
    }
}

#[test]
fn a_private_key_that_others_can_open_is_refused_with_the_cure() {
    let place = Place::new();
    let (private, public) = (text(0, ""), text(0, "").to_public());
    for format in [Format::Json, Format::Pem, Format::OpenSsh] {
        for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
            let path = place.write(&private.render(format), mode);
            let error = PrivateKey::load(&path).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "{0} is a private key that others can open (mode {mode:04o}): run chmod 600 {0}",
                    path.display()
                )
            );
        }
        for mode in [0o600, 0o400] {
            let path = place.write(&private.render(format), mode);
            assert_eq!(PrivateKey::load(&path).unwrap().public(), key(0).public());
            assert_eq!(
                PublicKey::load(&path).unwrap_err().to_string(),
                format!(
                    "{}: this is a private key, and a public one belongs here: give the peer's public.key, and keep \
                     private.key to yourself",
                    path.display()
                )
            );
            fs::remove_file(path).unwrap();
        }
        let path = place.write(&public.render(format), 0o644);
        assert_eq!(PublicKey::load(&path).unwrap(), *key(0).public());
        assert_eq!(
            PrivateKey::load(&path).unwrap_err().to_string(),
            format!(
                "{}: this is a public key, and a private one belongs here: give your own private.key",
                path.display()
            )
        );
    }
}

#[test]
fn a_key_for_another_use_is_never_an_identity() {
    let identity = text(0, "");
    let classic = KeyText::new(identity.numbers().clone(), Use::Classic, "");
    let silent = |key: &KeyText| {
        let json = key.render(Format::Json);
        KeyText::parse(json.replace(",\n  \"use\": \"classic\"", "").as_bytes()).unwrap()
    };
    let wrong = KeyError::WrongUse { is: Use::Classic };
    for (key, error) in [(classic.clone(), wrong.clone()), (silent(&classic), KeyError::NoUse)] {
        assert_eq!(key.private_identity().unwrap_err(), error);
        assert_eq!(key.to_public().public_identity().unwrap_err(), error);
    }
    let mut upgraded = silent(&classic);
    upgraded.declare(Use::Identity).unwrap();
    assert!(upgraded.private_identity().is_ok());
    assert_eq!(
        upgraded.declare(Use::Classic),
        Err(KeyError::WrongUse { is: Use::Identity })
    );
    assert_eq!(classic.clone().declare(Use::Identity), Err(wrong));
}

#[test]
fn a_new_identity_has_a_length_that_is_offered() {
    for bits in [0, 1024, 2047, 2049, 16_384] {
        assert_eq!(PrivateKey::generate(bits).unwrap_err(), KeyError::Bits { bits });
    }
}

#[test]
fn an_identity_has_the_usual_exponent_and_a_length_that_all_can_handle() {
    let n = key(0).rsa().public().n().clone();
    let three = RsaPublic::new(n, 3.into()).unwrap();
    assert_eq!(PublicKey::new(three), Err(KeyError::Exponent));
    let odd = |bytes: usize| Number::from_bytes(&vec![0xff; bytes]);
    let of = |bytes| PublicKey::new(RsaPublic::new(odd(bytes), 65_537.into()).unwrap());
    assert_eq!(of(255), Err(KeyError::TooShort { bits: 2040 }));
    assert_eq!(of(256).map(|key| key.bits()), Ok(2048));
    assert_eq!(of(1024).map(|key| key.bits()), Ok(8192));
    assert_eq!(of(1025), Err(KeyError::TooLong { bits: 8200 }));
}

#[test]
fn only_the_one_encoding_of_a_key_is_taken_from_a_handshake() {
    let key = key(0).public().clone();
    let spki = key.spki();
    assert_eq!(PublicKey::from_spki(spki), Ok(key.clone()));
    for end in 0..spki.len() {
        assert!(PublicKey::from_spki(&spki[..end]).is_err(), "{end} bytes");
    }
    for extra in [0, 1, 0xff] {
        assert!(PublicKey::from_spki(&[spki, &[extra]].concat()).is_err());
    }
    for bit in 0..spki.len() * 8 {
        let mut changed = spki.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = PublicKey::from_spki(&changed) {
            assert_ne!(other, key, "bit {bit}");
            assert_ne!(other.fingerprint(), key.fingerprint(), "bit {bit}");
            assert_eq!(other.spki(), changed, "bit {bit}");
        }
    }
}

#[test]
fn a_pair_is_written_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (text(0, "first"), text(1, "second"));
    let written = first.write_pair(place.path(), Existing::Keep).unwrap();
    assert_eq!(written, KeyText::pair_paths(place.path()));
    let [private, public] = KeyText::pair_paths(place.path());
    let taken = second.write_pair(place.path(), Existing::Keep).unwrap_err();
    assert_eq!(taken, KeyError::Exists { file: private.clone() });
    fs::remove_file(&private).unwrap();
    let taken = second.write_pair(place.path(), Existing::Keep).unwrap_err();
    assert_eq!(taken, KeyError::Exists { file: public.clone() });
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    assert_eq!(PublicKey::load(&public).unwrap(), *key(0).public());

    // A link in the way is something, too; what it points to stays.
    std::os::unix::fs::symlink(&public, &private).unwrap();
    assert!(second.write_pair(place.path(), Existing::Keep).is_err());
    second.write_pair(place.path(), Existing::Replace).unwrap();
    assert_eq!(PrivateKey::load(&private).unwrap().public(), key(1).public());
    assert_eq!(PublicKey::load(&public).unwrap(), *key(1).public());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);

    let nowhere = place.path().join("no");
    let error = second.write_pair(&nowhere, Existing::Keep).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write {}: No such file or directory",
            nowhere.join("private.key").display()
        )
    );
}

#[test]
fn a_file_that_is_far_too_long_is_no_key() {
    let place = Place::new();
    let path = place.write(&" ".repeat(100_000), 0o600);
    assert_eq!(KeyFile::read(&path), Err(KeyError::UnknownFormat.in_file(&path)));
}

#[test]
fn json_of_other_shapes_is_refused() {
    let cases = [
        ("{}", "missing field `k`"),
        ("{\"k\": 65537}", "missing field `n`"),
        ("{\"k\": 65537, \"n\": 35, \"n\": 35}", "duplicate field `n`"),
        ("{\"k\": -3, \"n\": 35}", "\"k\" is not a whole number"),
        ("{\"k\": true, \"n\": 35}", "\"k\" is not a whole number"),
        ("{\"k\": [1.5], \"n\": 35}", "\"k\" is not a whole number"),
        ("{\"k\": 3, \"n\": \"1e5\"}", "\"n\" is not a whole number"),
        (
            "{\"k\": 3, \"n\": 35, \"e\": 5}",
            "\"e\" and \"k\" of a public key differ",
        ),
        (
            "{\"k\": 5, \"n\": 35, \"e\": 5, \"p\": 5}",
            "some of p, q, dp, dq, qi are missing",
        ),
        ("{\"k\": 3, \"n\": 35", "EOF while parsing"),
    ];
    for (text, words) in cases {
        let error = KeyText::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("not an RSA key in JSON: "), "{text}: {error}");
        assert!(error.contains(words), "{text}: {error}");
    }
    // What the original ignores, we ignore.
    assert!(KeyText::parse(b"{\"k\": 3, \"n\": 35, \"more\": {\"x\": 1.5}}").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any other digit anywhere in any number is noticed.
    #[test]
    fn a_changed_digit_is_noticed(at in any::<prop::sample::Index>(), digit in 1..10_u8) {
        let json = text(0, "").render(Format::Json);
        let digits: Vec<_> = json.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).collect();
        let (at, old) = digits[at.index(digits.len())];
        let mut changed = json.as_bytes().to_vec();
        changed[at] = b'0' + (old - b'0' + digit) % 10;
        prop_assert!(KeyText::parse(&changed).is_err());
    }

    /// Whatever a file holds, reading it ends, and nothing but a key comes out.
    #[test]
    fn damaged_files_are_errors_and_never_panics(
        format in prop::sample::select(vec![Format::Json, Format::Pem, Format::OpenSsh]),
        private in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let original = if private { text(0, "me") } else { text(0, "me").to_public() };
        let mut bytes = original.render(format).as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(read) = KeyText::parse(&bytes) {
            if private && read.is_private() {
                prop_assert_eq!(read.numbers(), original.numbers());
            }
            let _ = read.summary();
        }
    }

    #[test]
    fn other_texts_are_no_keys(words in "\\PC{0,200}", begin in prop::sample::select(vec![
        "", "{", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-rsa ", "ssh-rsa AAAA",
    ])) {
        let text = format!("{begin}{words}");
        prop_assert!(KeyText::parse(text.as_bytes()).is_err());
        let _ = parse_list(&text);
    }
}

#[test]
fn a_comment_about_pem_does_not_turn_a_list_into_one_key() {
    let list = format!(
        "# paste what stands behind -----BEGIN PUBLIC KEY----- elsewhere\n{}\n",
        text(0, "me").line()
    );
    let keys = parse_list(&list);
    assert_eq!(keys, [Ok(key(0).public().clone())]);
}

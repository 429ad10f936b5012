//! A file with the secrets of all connections, for looking into captures with Wireshark. Off unless asked for by name.
//!
//! Whoever has the file reads everything. The format is the usual one: label, client random, secret, one line each.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use parking_lot::Mutex;
use rustls::KeyLog;

/// Appends secrets to a file.
#[derive(Debug)]
pub struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    /// Opens or creates it, readable for nobody else, and warns.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        #[cfg(unix)]
        if std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0 {
            let reason = "others can read it, and would read all connections: chmod 600 it, or remove it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        log::warn!(
            "the secrets of every connection are written to {}: whoever has that file reads everything",
            path.display()
        );
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::from(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                write!(line, "{byte:02x}").expect("a string takes everything");
            }
        }
        line.push('\n');
        // In one call, so that lines of several processes do not mix.
        if let Err(error) = self.0.lock().write_all(line.as_bytes()) {
            log::warn!("a secret could not be written to the key log: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_others_can_read_gets_no_secrets() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("secrets");
        let log = KeyLogFile::append(&path).expect("a new file");
        log.log("LABEL", &[1, 2], &[3]);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("it is ours");
        let error = KeyLogFile::append(&path).expect_err("others can read it");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "LABEL 0102 03\n");
    }
}

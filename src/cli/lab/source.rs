//! What the lab sends: a file, or bytes made from the seed.

use super::super::exit::Failure;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::{self, Read};

/// What is sent.
pub(super) enum Source {
    File {
        name: String,
        file: File,
        bytes: Option<u64>,
    },
    Generated {
        dice: Box<ChaCha8Rng>,
        left: u64,
    },
}

impl Source {
    /// `size` bytes made from `seed`.
    pub(super) fn generated(size: u64, seed: u64) -> Self {
        Self::Generated {
            dice: Box::new(ChaCha8Rng::seed_from_u64(seed)),
            left: size,
        }
    }

    /// The file called `name`; `-` is standard input.
    pub(super) fn open(name: &str) -> Result<Self, Failure> {
        let path = if name == "-" { "/dev/stdin" } else { name };
        let cannot = |error: &io::Error| Failure::io(format!("cannot open {name}"), error);
        let file = File::open(path).map_err(|error| cannot(&error))?;
        let found = file.metadata().map_err(|error| cannot(&error))?;
        if found.is_dir() {
            return Err(Failure::runtime(format!("cannot send {name}: it is a directory")));
        }
        Ok(Self::File {
            name: name.to_owned(),
            file,
            bytes: found.is_file().then_some(found.len()),
        })
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::File { bytes, .. } => *bytes,
            Self::Generated { left, .. } => Some(*left),
        }
    }

    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
        match self {
            Self::File { name, file, .. } => loop {
                match file.read(chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => {
                        break read.map_err(|error| Failure::io(format!("cannot read {name}"), &error));
                    }
                }
            },
            Self::Generated { dice, left } => {
                let bytes = usize::try_from(*left).map_or(chunk.len(), |left| left.min(chunk.len()));
                dice.fill_bytes(&mut chunk[..bytes]);
                *left -= bytes as u64;
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_as_many_as_asked() {
        let made = |seed| {
            let mut source = Source::Generated {
                dice: Box::new(ChaCha8Rng::seed_from_u64(seed)),
                left: 1000,
            };
            let (mut all, mut chunk) = (Vec::new(), [0; 300]);
            loop {
                match source.read(&mut chunk).unwrap() {
                    0 => break all,
                    bytes => all.extend_from_slice(&chunk[..bytes]),
                }
            }
        };
        assert_eq!(made(7).len(), 1000);
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }
}

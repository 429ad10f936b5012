//! A client that knows its server by its key. See `secure_server.rs`, which makes the keys.

use securestream::identity::{PrivateKey, PublicKey};
use securestream::trust::{Pinned, Trust};
use securestream::{Security, StreamBuilder};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

fn main() -> Result<(), Box<dyn Error>> {
    let own = PrivateKey::load("keys/client/private.key")?;
    let server = PublicKey::load("keys/server/public.key")?;
    let security = Security::secure(own, Trust::Pinned(Pinned::new(server)));

    // Returns when the server has accepted our key, too: nothing is sent to anybody else.
    let mut stream = match StreamBuilder::new(security).udp().connect("127.0.0.1:7000") {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("this is not the server that I know: {error}");
            std::process::exit(3);
        }
        Err(error) => return Err(error.into()),
    };
    stream.write_all(b"Who am I?")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

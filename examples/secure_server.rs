//! A server that knows its clients by their keys: it answers each with its own words, and names the caller.
//!
//! ```sh
//! cargo run --example secure_server            # makes ./keys/{server,client} the first time
//! cargo run --example secure_client
//! ```

use securestream::identity::{Existing, KeyText, Numbers, PrivateKey, PublicKey, Use};
use securestream::trust::{Pinned, Trust};
use securestream::{Security, StreamBuilder};
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    for name in ["server", "client"] {
        make_pair(&Path::new("keys").join(name))?;
    }
    // A real server has its own private key and the client's public one, and nothing else.
    let own = PrivateKey::load("keys/server/private.key")?;
    let client = PublicKey::load("keys/client/public.key")?;
    let security = Security::secure(own, Trust::Pinned(Pinned::new(client)));

    let listener = StreamBuilder::new(security).udp().bind("127.0.0.1:7000")?;
    println!("listening on {}", listener.local_addr()?);
    let refused = listener.incidents();
    for stream in listener.incoming() {
        let mut stream = stream?;
        // Who was turned away meanwhile, and why, with both fingerprints.
        for incident in refused.try_iter() {
            println!("{incident:?}");
        }
        let caller = stream.peer_identity().expect("in secure mode everybody has one");
        let mut question = String::new();
        stream.read_to_string(&mut question)?;
        println!("{} asks: {question}", caller.fingerprint());
        stream.write_all(format!("You said {question:?}, and I know that it was you.").as_bytes())?;
    }
    Ok(())
}

/// What `stream-rsagen --bits 2048 --out-dir FOLDER` does.
fn make_pair(folder: &Path) -> Result<(), Box<dyn Error>> {
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        let key = PrivateKey::generate(2048)?;
        let numbers = Numbers::Private(key.rsa().clone());
        KeyText::new(numbers, Use::Identity, "example").write_pair(folder, Existing::Keep)?;
        println!("made {}", folder.display());
    }
    Ok(())
}

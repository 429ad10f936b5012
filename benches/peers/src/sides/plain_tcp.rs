//! The TCP of the system, in clear.

use super::{any_port, say_listening, tcp};
use crate::Fallible;
use crate::work::Task;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};

pub fn run(task: &Task) -> Fallible<()> {
    if task.is_server() {
        let listener = TcpListener::bind(any_port())?;
        say_listening(listener.local_addr()?)?;
        let (mut stream, _) = listener.accept()?;
        tcp::prepare(&stream)?;
        tcp::receive(&mut stream, task.work)
    } else {
        let mut stream = TcpStream::connect(task.server()?)?;
        tcp::prepare(&stream)?;
        tcp::send(&mut stream, task.work, |stream| {
            stream.shutdown(Shutdown::Write)?;
            // It closes when it has read everything.
            stream.read(&mut [0]).map(|_| ())
        })
    }
}

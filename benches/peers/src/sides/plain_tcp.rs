//! The TCP of the system, in clear.

use super::tcp;
use crate::Fallible;
use crate::work::Task;
use std::io::Read;
use std::net::Shutdown;

pub fn run(task: &Task) -> Fallible<()> {
    if task.is_server() {
        tcp::receive(&mut tcp::accept()?, task.work)
    } else {
        let mut stream = tcp::connect(task.server()?)?;
        tcp::send(&mut stream, task.work, |stream| {
            stream.shutdown(Shutdown::Write)?;
            // It closes when it has read everything.
            stream.read(&mut [0]).map(|_| ())
        })
    }
}

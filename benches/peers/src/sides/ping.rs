//! Question and answer over anything that blocks.

use crate::Fallible;
use crate::meter::{Meter, percentiles};
use crate::work::{PING_BYTES, Report};
use std::io::{Read, Write};
use std::time::Instant;

/// Questions before it counts.
pub const WARM_UP: u32 = 1000;

pub fn ask<S: Read + Write>(stream: &mut S, count: u32) -> Fallible<Report> {
    let mut message = [7; PING_BYTES];
    let mut samples = Vec::with_capacity(count as usize);
    let mut meter = Meter::start();
    for number in 0..WARM_UP + count {
        if number == WARM_UP {
            meter = Meter::start();
        }
        let start = Instant::now();
        stream.write_all(&message)?;
        stream.flush()?;
        stream.read_exact(&mut message)?;
        if number >= WARM_UP {
            samples.push(start.elapsed());
        }
    }
    Ok(summary(meter, &mut samples))
}

pub fn answer<S: Read + Write>(stream: &mut S, count: u32) -> Fallible<Report> {
    let mut message = [0; PING_BYTES];
    let meter = Meter::start();
    for _ in 0..WARM_UP + count {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        stream.flush()?;
    }
    Ok(Report {
        count: u64::from(count),
        ..meter.stop()
    })
}

pub fn summary(meter: Meter, samples: &mut [std::time::Duration]) -> Report {
    let report = meter.stop();
    let (p50_secs, p99_secs) = percentiles(samples);
    Report {
        count: samples.len() as u64,
        p50_secs,
        p99_secs,
        ..report
    }
}

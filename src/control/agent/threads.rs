//! The threads of this process, as Linux tells them. Elsewhere there are none to tell.

use crate::control::report::ThreadReport;
use std::fs;
use std::path::Path;

const MAX_THREADS: usize = 128;

/// All of them, up to a number.
pub(super) fn threads() -> Vec<ThreadReport> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let paths = tasks.filter_map(Result::ok).map(|task| task.path());
    paths.filter_map(|path| thread(&path)).take(MAX_THREADS).collect()
}

fn thread(path: &Path) -> Option<ThreadReport> {
    let read = |name: &str| fs::read_to_string(path.join(name)).ok();
    let stat = read("stat")?;
    // `12 (name) S ...`: a name may have blanks and brackets.
    let (start, rest) = stat.rsplit_once(") ")?;
    let name = start.split_once(" (")?.1;
    let state = rest.split(' ').next()?;
    let nanos = read("schedstat")?.split(' ').next()?.parse::<u64>().ok()?;
    let status = read("status").unwrap_or_default();
    let switches = status.lines().filter(|line| line.contains("ctxt_switches:"));
    let switches = switches.filter_map(|line| line.rsplit('\t').next()?.trim().parse::<u64>().ok());
    Some(ThreadReport {
        name: name.to_owned(),
        cpu_ms: nanos / 1_000_000,
        switches: Some(switches.sum()),
        state: match state {
            "R" => "running",
            "S" | "I" => "waiting",
            "D" => "in the kernel",
            "T" | "t" => "stopped",
            _ => "ended",
        }
        .to_owned(),
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_found_by_its_name() {
        let found = std::thread::Builder::new()
            .name("a (odd) name".to_owned())
            .spawn(threads)
            .unwrap()
            .join()
            .unwrap();
        let own = found.iter().find(|thread| thread.name == "a (odd) name");
        assert_eq!(own.map(|thread| thread.state.as_str()), Some("running"), "{found:?}");
    }
}

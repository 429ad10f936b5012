//! Tests that measure their process, apart from those that run in it at the same time.

use std::process::Command;

/// Runs `body` in a process of its own, so that other tests do not disturb what it counts: starts this test binary
/// again for the one test `name` (its full path).
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    const MARK: &str = "SS_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        // What is freed goes back to the system at once, so that resident memory is memory in use. That holds for all
        // of a page or more: such blocks between small ones in use left gaps of 20 KiB a stream, and more on a busy
        // machine.
        .envs([
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_MMAP_THRESHOLD_", "4096"),
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ])
        .output()
        .expect("the test binary runs again");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    print!("{out}");
    eprint!("{err}");
    assert!(output.status.success(), "the process for {name} failed");
    assert!(out.contains("1 passed"), "no test is called {name}");
}

//! One tool in a process of its own. Whatever is waited for has a deadline, and a process that is forgotten is killed.

use crossbeam_channel::{Receiver, unbounded};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::Builder;
use std::time::Duration;

/// Far beyond what anything here takes: reaching it means that something hangs.
pub(super) const WATCHDOG: Duration = Duration::from_secs(120);

/// A running tool.
pub(super) struct Tool {
    name: &'static str,
    pid: u32,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    lines: Receiver<String>,
    /// Lines of standard error so far.
    said: Vec<String>,
    status: Receiver<ExitStatus>,
    ended: bool,
}

/// How a tool ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None` if a signal killed it.
    pub(super) code: Option<i32>,
    /// What it wrote to standard output, if the test did not read it itself.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(super) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "standard error:\n{}", self.stderr);
    }
}

fn path(name: &str) -> &'static str {
    match name {
        "stream-sender" => env!("CARGO_BIN_EXE_stream-sender"),
        "stream-receiver" => env!("CARGO_BIN_EXE_stream-receiver"),
        "stream-lab" => env!("CARGO_BIN_EXE_stream-lab"),
        "stream-proxy" => env!("CARGO_BIN_EXE_stream-proxy"),
        "stream-controller" => env!("CARGO_BIN_EXE_stream-controller"),
        "stream-ctl" => env!("CARGO_BIN_EXE_stream-ctl"),
        "stream-rsagen" => env!("CARGO_BIN_EXE_stream-rsagen"),
        _ => panic!("no tool is called {name}"),
    }
}

impl Tool {
    /// Starts `name` with pipes on all three standard streams.
    pub(super) fn start<A: AsRef<OsStr>>(name: &'static str, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_with(name, args, &[])
    }

    pub(super) fn start_with<A: AsRef<OsStr>>(
        name: &'static str,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(path(name));
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("STREAM_") || key == "RUST_LOG" {
                command.env_remove(key);
            }
        }
        command.args(args).envs(env.iter().copied());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (say, lines) = unbounded();
        start_thread("stderr", move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let (pid, stdin, stdout) = (child.id(), child.stdin.take(), child.stdout.take());
        let (report, status) = unbounded();
        start_thread("wait", move || {
            let _ = report.send(child.wait().unwrap());
        });
        Self {
            name,
            pid,
            stdin,
            stdout,
            lines,
            said: Vec::new(),
            status,
            ended: false,
        }
    }

    /// Of the process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Runs `name` to its end without input.
    pub(super) fn run<A: AsRef<OsStr>>(name: &'static str, args: impl IntoIterator<Item = A>) -> Ended {
        Self::start(name, args).end()
    }

    /// A receiver on a free port of 127.0.0.1, and that port.
    pub(super) fn receiver(args: &[&str]) -> (Self, String) {
        let mut all = vec!["--port", "0", "--bind", "127.0.0.1", "--plain"];
        all.extend(args);
        let mut receiver = Self::start("stream-receiver", all);
        let port = receiver.port();
        (receiver, port)
    }

    /// A sender to that port of 127.0.0.1.
    pub(super) fn sender(port: &str, args: &[&str]) -> Self {
        let mut all = vec!["--target-port", port, "--plain"];
        all.extend(args);
        Self::start("stream-sender", all)
    }

    /// The port of "listening on 127.0.0.1:7000 (tcp)".
    pub(super) fn port(&mut self) -> String {
        let line = self.line("listening on ");
        let (_, rest) = line.rsplit_once(':').unwrap();
        rest.split_once(' ').unwrap().0.to_owned()
    }

    /// Waits for a line of standard error with `part` in it.
    #[track_caller]
    pub(super) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(WATCHDOG);
            let line =
                line.unwrap_or_else(|_| panic!("{} never said {part:?} but:\n{}", self.name, self.said.join("\n")));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Gives it `bytes` of input now. The pipe stays open.
    pub(super) fn input(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Gives it `bytes` of input, if it is still there to take them.
    pub(super) fn try_input(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// Waits for exactly as many bytes of output.
    #[track_caller]
    pub(super) fn output(&mut self, bytes: usize) -> Vec<u8> {
        let mut stdout = self.stdout.take().unwrap();
        let (give, take) = unbounded();
        start_thread("stdout", move || {
            let mut buffer = vec![0; bytes];
            let read = stdout.read_exact(&mut buffer).map(|()| buffer);
            let _ = give.send((read, stdout));
        });
        let (read, stdout) = take
            .recv_timeout(WATCHDOG)
            .unwrap_or_else(|_| panic!("{} wrote nothing", self.name));
        self.stdout = Some(stdout);
        read.unwrap()
    }

    /// Sends it a signal by name.
    pub(super) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.pid);
        assert!(
            Command::new("sh").args(["-c", &kill]).status().unwrap().success(),
            "{kill}"
        );
    }

    /// Ends its input, and waits for its end.
    #[track_caller]
    pub(super) fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let (give, take) = unbounded();
        if let Some(mut stdout) = self.stdout.take() {
            start_thread("stdout", move || {
                let mut all = Vec::new();
                let _ = stdout.read_to_end(&mut all);
                let _ = give.send(all);
            });
        } else {
            drop(give);
        }
        let Ok(status) = self.status.recv_timeout(WATCHDOG) else {
            panic!("{} does not end; it said:\n{}", self.name, self.said.join("\n"));
        };
        self.ended = true;
        while let Ok(line) = self.lines.recv_timeout(WATCHDOG) {
            self.said.push(line);
        }
        assert!(status.code().is_some() || status.signal().is_some());
        let stdout = take.recv_timeout(WATCHDOG).unwrap_or_default();
        Ended {
            code: status.code(),
            stdout,
            stderr: self.said.join("\n"),
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if !self.ended && self.status.try_recv().is_err() {
            self.signal("KILL");
        }
    }
}

/// A thread that ends when its pipe or its process does.
pub(super) fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) {
    Builder::new().name(name.to_owned()).spawn(body).unwrap();
}

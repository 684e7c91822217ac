//! One `holdfast server` process that ends with this program, however that ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What is run as a server.
#[derive(Debug, Clone)]
pub enum Program {
    /// `holdfast`, at this path.
    Holdfast(PathBuf),
    /// This program itself, which has a server in it whose clock and storage it can choose.
    Own,
}

impl Program {
    /// The program that was built with the tests.
    pub fn built() -> Self {
        Self::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")))
    }

    fn command(&self, config: &Path) -> Command {
        match self {
            Self::Holdfast(path) => {
                let mut command = Command::new(path);
                command.arg("server").arg(format!("-config={}", config.display()));
                command
            }
            Self::Own => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("serve").arg(config);
                command
            }
        }
    }
}

/// A running, stopped or ended server.
pub struct Process {
    child: Child,
    /// The pipe to it closes with this program; then it kills the server.
    guardian: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a server with the configuration `<folder>/<name>.hcl`; it logs to `<folder>/<name>.log`.
    pub fn start(program: &Program, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = program
            .command(&folder.join(format!("{name}.hcl")))
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let guardian = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, guardian, log }
    }

    /// Sends a signal; to a process that has ended, nothing.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).ok();
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end; whether it came in time.
    pub async fn ended(&mut self, patience: Duration) -> bool {
        let begun = tokio::time::Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First the guardian, which must not meet another process of the same number.
        self.guardian.kill().ok();
        self.guardian.wait().ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

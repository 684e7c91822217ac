//! One `holdfast server` process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Http;

/// A running server.
pub struct Node {
    pub name: String,
    child: Child,
    pub http: Http,
    pub banner: Vec<String>,
    log: PathBuf,
}

impl Node {
    /// Starts a server with `storage` (the stanza) on free ports of loopback and waits for its banner.
    pub fn start(folder: &Path, name: &str, storage: &str) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_holdfast")), folder, name, storage)
    }

    /// The same with another program that has holdfast's commands.
    pub fn start_program(program: &Path, folder: &Path, name: &str, storage: &str) -> Self {
        let config = folder.join(format!("{name}.hcl"));
        let listener = r#"listener "tcp" { address = "127.0.0.1:0" cluster_address = "127.0.0.1:0" tls_disable = true }"#;
        std::fs::write(&config, format!("{storage}\n{listener}\nlog_level = \"debug\"\n")).unwrap();
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(program)
            .arg("server")
            .arg(format!("-config={}", config.display()))
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut banner = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let is_last = line.contains("server started");
            banner.push(line);
            if is_last {
                break;
            }
        }
        let url = banner
            .iter()
            .find_map(|line| line.trim().strip_prefix("Api Address: "))
            .unwrap_or_else(|| panic!("{name} did not start: {}", std::fs::read_to_string(&log).unwrap()));
        Self { name: name.to_owned(), http: Http::new(url), child, banner: banner.clone(), log }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Waits for the end; its exit code.
    pub async fn ended(&mut self, patience: Duration) -> Option<i32> {
        let begun = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < patience, "{} did not end in {patience:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The end of its log, for the message of a failed test.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().filter(|line| !line.contains("answered")).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log_tail(60));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

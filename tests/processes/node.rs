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
    /// Its listener for probes and metrics.
    pub probes: Http,
    pub banner: Vec<String>,
    log: PathBuf,
}

impl Node {
    /// Starts a server with `storage` (the stanza, and other settings) on free ports of loopback and waits for its banner.
    pub fn start(folder: &Path, name: &str, storage: &str) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_holdfast")), folder, name, storage)
    }

    /// The same with another program that has holdfast's commands.
    pub fn start_program(program: &Path, folder: &Path, name: &str, storage: &str) -> Self {
        let level = if storage.contains("log_level") { "" } else { "log_level = \"debug\"\n" };
        Self::configure(folder, name, &format!("{storage}\n{level}"));
        Self::run(Command::new(program), folder, name)
    }

    /// Writes the configuration of `name`: `settings`, and listeners for clients, peers and probes on free ports.
    pub fn configure(folder: &Path, name: &str, settings: &str) {
        let listeners = r#"listener "tcp" { address = "127.0.0.1:0" cluster_address = "127.0.0.1:0" tls_disable = true }
telemetry { probe_address = "127.0.0.1:0" }"#;
        std::fs::write(folder.join(format!("{name}.hcl")), format!("{settings}\n{listeners}\n")).unwrap();
    }

    /// Runs `program` (of which `server -config=…` is the rest) with the configuration that was written for `name`.
    pub fn run(mut program: Command, folder: &Path, name: &str) -> Self {
        let config = folder.join(format!("{name}.hcl"));
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = program
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
        let row = |name: &str| banner.iter().find_map(|line| line.trim().strip_prefix(name));
        let url = row("Api Address: ")
            .unwrap_or_else(|| panic!("{name} did not start: {}", std::fs::read_to_string(&log).unwrap()));
        let probes = Http::new(&format!("http://{}", row("Probes: ").expect("probes")));
        Self { name: name.to_owned(), http: Http::new(url), probes, child, banner: banner.clone(), log }
    }

    /// The number of its process.
    #[allow(dead_code, reason = "not every test program asks")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that its process has in use, in MiB.
    pub fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// The value of one of its metrics; zero if it says nothing.
    pub async fn metric(&self, name: &str) -> u64 {
        let Ok(answer) = self.probes.plain("metrics").await else { return 0 };
        let text = answer.body.as_str().unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
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
        // A server that was asked to end waits for its clients to leave: this one closes its idle connections.
        self.http = Http::new(&self.http.url);
        let begun = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < patience, "{} did not end in {patience:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How long it took it last from the look at a free lock until it served, by the times in its log, in milliseconds.
    pub fn last_promotion_ms(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let time = |line: &str| line.split_whitespace().next()?.parse::<jiff::Timestamp>().ok();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("role changed")).collect();
        let end = lines.iter().rposition(|line| line.contains("to=\"active\""))?;
        let begin = lines[..end].iter().rposition(|line| line.contains("to=\"preparing\""))?;
        let took = time(lines[end])?.duration_since(time(lines[begin])?);
        u64::try_from(took.as_millis()).ok()
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

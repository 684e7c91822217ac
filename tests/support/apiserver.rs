//! A real kube-apiserver on loopback for a test: `tests/lab/lab apiserver`, started and ended with the value.
//!
//! For use by several test programs, each of which needs a part of it: `#[path = "support/apiserver.rs"] mod apiserver;`
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// An API server with an etcd of its own. Both end when this is dropped, and also when the test is killed.
pub struct ApiServer {
    child: Child,
    folder: tempfile::TempDir,
    /// Its URL.
    pub url: String,
}

impl ApiServer {
    /// Starts one on free ports and waits until it is ready, which takes two to three seconds.
    ///
    /// # Errors
    /// A text that begins with `lab fault:` if the lab could not bring it up.
    pub fn start() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
        let folder = tempfile::tempdir().map_err(|e| format!("lab fault: no folder: {e}"))?;
        let mut child = Command::new(script)
            .arg("apiserver")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("lab fault: tests/lab/lab does not start: {e}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).ok();
        }
        let Some(url) = line.strip_prefix("ready ").and_then(|rest| rest.split(' ').next()) else {
            let mut why = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut why).ok();
            }
            child.wait().ok();
            return Err(format!("lab fault: the API server does not start: {why}{line}"));
        };
        let url = url.to_owned();
        Ok(Self { child, folder, url })
    }

    /// A kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Ends the API server with SIGKILL and holds it down: connections are refused. etcd and its data stay.
    pub fn stop(&self) {
        std::fs::write(self.folder.path().join("kube-apiserver.hold"), "").expect("a writable folder");
        let pid = self.pid();
        self.signal(Signal::KILL);
        let begun = Instant::now();
        while rustix::process::test_kill_process(pid).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "lab fault: kube-apiserver does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets it come back; it is ready some seconds later.
    pub fn start_again(&self) {
        std::fs::remove_file(self.folder.path().join("kube-apiserver.hold")).ok();
    }

    /// Stops its process where it is: connections hang. Nothing is answered any more when this returns.
    pub fn freeze(&self) {
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        self.signal(Signal::STOP);
        // The signal stops thread after thread.
        let is_stopped = |task: &Path| {
            let status = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            status.rsplit(") ").next().is_none_or(|rest| rest.starts_with('T') || rest.is_empty())
        };
        let begun = Instant::now();
        loop {
            let running = std::fs::read_dir(&tasks).expect("lab fault: kube-apiserver is gone");
            if running.flatten().all(|task| is_stopped(&task.path())) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "lab fault: kube-apiserver does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn pid(&self) -> Pid {
        let text = std::fs::read_to_string(self.folder.path().join("kube-apiserver.pid"));
        let number = text.expect("lab fault: no process id").trim().parse().expect("a number");
        Pid::from_raw(number).expect("not zero")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("lab fault: kube-apiserver is gone");
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let number = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = number {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

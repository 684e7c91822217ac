<<<<<<< HEAD
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
=======
//! A real etcd and kube-apiserver on loopback, for tests that need the Kubernetes API and no nodes.
//!
//! Include it with `#[path = "../support/apiserver.rs"] mod apiserver;`. The servers end with the value that started them,
//! and in any case with the test's process.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::{Client, CustomResourceExt};

use holdfast::crd::{VaultStoreHead, VaultStoreSegment};
use holdfast::k8s::client::{Clients, Source, connect};

/// How long the servers may take to start on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// etcd and kube-apiserver, running.
pub struct ApiServer {
    lab: Child,
    folder: tempfile::TempDir,
}

impl ApiServer {
    /// Starts both on free ports and waits until they are ready. The programs are built first if they are missing, which takes
    /// a quarter of an hour once.
    pub async fn start() -> Self {
        let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
        let prepared = Command::new("bash").arg(&lab).args(["prepare", "programs"]).stdout(Stdio::null()).status();
        assert!(prepared.is_ok_and(|status| status.success()), "the lab's programs cannot be built");
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("lab.log")).expect("a log");
        let child = Command::new("bash")
            .arg(&lab)
            .arg("apiserver")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("bash");
        let mut server = Self { lab: child, folder };
        let ready = async {
            while !server.kubeconfig().exists() {
                if let Ok(Some(status)) = server.lab.try_wait() {
                    panic!("the API server ended with {status}: {}", server.log());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let outcome = tokio::time::timeout(START, ready).await;
        assert!(outcome.is_ok(), "the API server is not ready: {}", server.log());
        server
    }

    /// A kubeconfig with all rights.
>>>>>>> 947e56a (Test storage and lock in Kubernetes against a real API server)
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

<<<<<<< HEAD
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

    /// Stops its process where it is: connections hang.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
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
=======
    /// Clients with all rights.
    pub async fn clients(&self) -> Clients {
        connect(&Source::Kubeconfig(self.kubeconfig())).await.expect("clients")
    }

    /// Clients that act as `user`.
    pub async fn clients_as(&self, user: &str) -> Clients {
        let text = std::fs::read_to_string(self.kubeconfig()).expect("a kubeconfig");
        let mut config: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let users = config["users"].as_array_mut().expect("users");
        for entry in users {
            entry["user"]["as"] = user.into();
        }
        let path = self.folder.path().join(format!("{}.kubeconfig", user.replace(':', "-")));
        std::fs::write(&path, config.to_string()).expect("a kubeconfig");
        connect(&Source::Kubeconfig(path)).await.expect("clients")
    }

    /// Installs the definitions of the storage's kinds and waits until they are served.
    pub async fn install_store(&self) {
        let client = self.clients().await.requests;
        for definition in [VaultStoreHead::crd(), VaultStoreSegment::crd()] {
            install(&client, definition).await;
        }
    }

    /// Sends a signal to kube-apiserver: `STOP`, `CONT`, `KILL` (it is started again).
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("kube-apiserver.pid")).expect("a process id");
        let status = Command::new("kill").args([format!("-{signal}").as_str(), pid.trim()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{signal} {pid}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("lab.log")).unwrap_or_default()
>>>>>>> 947e56a (Test storage and lock in Kubernetes against a real API server)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
<<<<<<< HEAD
        let number = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = number {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}
=======
        let _ = Command::new("kill").arg(self.lab.id().to_string()).status();
        let _ = self.lab.wait();
    }
}

async fn install(client: &Client, definition: CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.metadata.name.clone().expect("a name");
    api.create(&PostParams::default(), &definition).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let established = async {
        loop {
            let found = api.get(&name).await.expect("a definition");
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START, established).await.unwrap_or_else(|_| panic!("{name} is not established"));
}
>>>>>>> 947e56a (Test storage and lock in Kubernetes against a real API server)

//! Real etcd servers on loopback for a test: one, or a cluster of three with TLS and authentication.
//!
//! For use by several test programs, each of which needs a part of it and has [`super::pki`] and [`super::ports`] beside
//! it: `#[path = "support/etcd.rs"] mod etcd; #[path = "support/pki.rs"] mod pki;` and so on.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pki::Pki;
use crate::ports::free_ports;

/// The password of the user `root`.
const ROOT: &str = "root:t0psecret";
/// How long a server may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many members; 0 means one.
    pub members: usize,
    /// Whether clients and peers speak TLS, and clients must show a certificate.
    pub has_tls: bool,
    /// Whether users must log in. `holdfast` with the password `s3cret` may read and write under `/`
    /// followed by any of `paths`.
    pub has_users: bool,
    /// What `holdfast` may read and write.
    pub paths: Vec<String>,
    /// More flags of etcd.
    pub flags: Vec<String>,
}

/// The password of the user `holdfast`, at first.
pub const PASSWORD: &str = "s3cret";

/// Servers that end with this value, and also when the test is killed.
pub struct Etcd {
    folder: PathBuf,
    plan: Plan,
    members: Vec<Member>,
    /// Keys and certificates, with TLS.
    pub pki: Option<Pki>,
    warden: Child,
}

struct Member {
    client_port: u16,
    peer_port: u16,
    child: std::sync::Mutex<Option<Child>>,
}

fn program(name: &str) -> &'static str {
    static PROGRAMS: OnceLock<HashMap<String, String>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/etcd");
        let told = Command::new(script).stderr(Stdio::inherit()).output().expect("tests/servers/etcd");
        assert!(told.status.success(), "tests/servers/etcd cannot provide etcd");
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect()
    });
    programs.get(name).unwrap_or_else(|| panic!("tests/servers/etcd does not name {name}"))
}

impl Etcd {
    /// One server without TLS and users.
    pub fn single() -> Self {
        Self::start(Plan::default())
    }

    /// Three members with TLS and users; `holdfast` may read and write under `paths`.
    pub fn cluster(paths: &[&str]) -> Self {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Self::start(Plan { members: 3, has_tls: true, has_users: true, paths, flags: Vec::new() })
    }

    /// Starts servers and waits until they serve.
    pub fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let pki = plan.has_tls.then(|| Pki::new(&folder.join("pki")));
        let count = plan.members.max(1);
        let ports = free_ports(2 * count);
        let members = ports
            .chunks(2)
            .map(|pair| Member {
                client_port: pair[0],
                peer_port: pair[1],
                child: std::sync::Mutex::default(),
            })
            .collect();
        // Ends the servers and removes the folder when this process is gone, however it ended.
        let script =
            "while read -r pid; do pids=\"$pids $pid\"; done; kill -9 $pids 2>/dev/null; rm -rf \"$1\"";
        let warden = Command::new("bash")
            .args(["-c", script, "warden"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        let mut started = Self { folder, plan, members, pki, warden };
        for index in 0..count {
            started.launch(index);
        }
        for index in 0..count {
            started.wait_until_ready(index);
        }
        if started.plan.has_users {
            started.make_users();
        }
        started
    }

    fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", if self.plan.has_tls { "https" } else { "http" })
    }

    /// The URL of a member.
    pub fn address(&self, index: usize) -> String {
        self.url(self.port(index))
    }

    /// The URLs of all members.
    pub fn addresses(&self) -> Vec<String> {
        (0..self.members.len()).map(|index| self.address(index)).collect()
    }

    /// The port of a member for its clients.
    pub fn port(&self, index: usize) -> u16 {
        self.members[index].client_port
    }

    /// A place for files of the test.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn arguments(&self, index: usize) -> Vec<String> {
        let member = &self.members[index];
        let (client, peer) = (self.url(member.client_port), self.url(member.peer_port));
        let all: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| format!("n{n}={}", self.url(member.peer_port)))
            .collect();
        let data = self.folder.join(format!("n{index}")).display().to_string();
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
        flag("name", &format!("n{index}"));
        flag("data-dir", &data);
        flag("listen-client-urls", &client);
        flag("advertise-client-urls", &client);
        flag("listen-peer-urls", &peer);
        flag("initial-advertise-peer-urls", &peer);
        flag("initial-cluster", &all.join(","));
        flag("initial-cluster-token", &format!("t{}", self.members[0].peer_port));
        flag("heartbeat-interval", "50");
        flag("election-timeout", "500");
        flag("log-level", "error");
        flag("logger", "zap");
        flag("log-outputs", "stderr");
        flag("bcrypt-cost", "4");
        if let Some(pki) = &self.pki {
            for side in ["", "peer-"] {
                flag(&format!("{side}cert-file"), &pki.server.cert.display().to_string());
                flag(&format!("{side}key-file"), &pki.server.key.display().to_string());
                flag(&format!("{side}trusted-ca-file"), &pki.ca.display().to_string());
                flag(&format!("{side}client-cert-auth"), "true");
            }
        }
        arguments.extend(self.plan.flags.clone());
        arguments
    }

    fn launch(&mut self, index: usize) {
        let log = self.folder.join(format!("n{index}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child = Command::new(program("ETCD"))
            .args(self.arguments(index))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd");
        if let Some(pipe) = &mut self.warden.stdin {
            writeln!(pipe, "{}", child.id()).expect("a warden");
        }
        *self.members[index].child.lock().expect("no panic") = Some(child);
    }

    /// Waits until a member serves, which takes a quorum.
    pub fn wait_until_ready(&self, index: usize) {
        let begun = Instant::now();
        while !self.try_ctl(&[index], &["endpoint", "health"]).0 {
            let log = std::fs::read_to_string(self.folder.join(format!("n{index}.log"))).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "etcd n{index} does not become ready:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn make_users(&self) {
        self.ctl(&["user", "add", ROOT]);
        self.ctl(&["user", "grant-role", "root", "root"]);
        self.ctl(&["role", "add", "vault"]);
        for path in &self.plan.paths {
            self.ctl(&["role", "grant-permission", "vault", "--prefix=true", "readwrite", path]);
        }
        self.ctl(&["user", "add", &format!("holdfast:{PASSWORD}")]);
        self.ctl(&["user", "grant-role", "holdfast", "vault"]);
        self.ctl(&["auth", "enable"]);
    }

    /// Runs etcdctl as an administrator; what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let all: Vec<usize> = (0..self.members.len()).collect();
        let (is_done, text) = self.try_ctl(&all, arguments);
        assert!(is_done, "etcdctl {arguments:?}: {text}");
        text
    }

    fn try_ctl(&self, members: &[usize], arguments: &[&str]) -> (bool, String) {
        let endpoints: Vec<String> = members.iter().map(|index| self.address(*index)).collect();
        let mut command = Command::new(program("ETCDCTL"));
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", endpoints.join(",")));
        command.args(["--command-timeout=5s", "--dial-timeout=5s"]);
        if let Some(pki) = &self.pki {
            command.arg("--cacert").arg(&pki.ca).arg("--cert").arg(&pki.server.cert);
            command.arg("--key").arg(&pki.server.key);
        }
        if self.plan.has_users && self.has_auth() {
            command.arg(format!("--user={ROOT}"));
        }
        if arguments == ["auth", "enable"] {
            std::fs::write(self.folder.join("auth"), "").expect("a writable folder");
        }
        let ran = command.args(arguments).stdin(Stdio::null()).output().expect("etcdctl");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        (ran.status.success(), text)
    }

    fn has_auth(&self) -> bool {
        self.folder.join("auth").exists()
    }

    fn pid(&self, index: usize) -> Pid {
        let child = self.members[index].child.lock().expect("no panic");
        let number = child.as_ref().expect("a member that runs").id();
        i32::try_from(number).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&self, index: usize) {
        if let Some(mut child) = self.members[index].child.lock().expect("no panic").take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops a member's process where it is: its connections hang.
    pub fn freeze(&self, index: usize) {
        kill_process(self.pid(index), Signal::STOP).expect("a member that runs");
    }

    /// Lets a frozen member go on.
    pub fn thaw(&self, index: usize) {
        kill_process(self.pid(index), Signal::CONT).expect("a member that runs");
    }

    /// Starts a killed member again, with its data, on its port.
    pub fn restart(&mut self, index: usize) {
        self.kill(index);
        self.launch(index);
    }

    /// The member that leads.
    pub fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            for index in 0..self.members.len() {
                let (is_done, text) = self.try_ctl(&[index], &["endpoint", "status", "--write-out=simple"]);
                // endpoint, id, version, size, whether it leads, …
                if is_done && text.split(", ").nth(4) == Some("true") {
                    return index;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "nobody leads");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.warden.kill().ok();
        self.warden.wait().ok();
        for index in 0..self.members.len() {
            self.kill(index);
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

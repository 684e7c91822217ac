//! Real ZooKeeper servers on loopback for a test: one in the clear, or an ensemble of three with TLS and authentication.
//!
//! For use by several test programs, each of which needs a part of it and has [`super::ports`] beside it:
//! `#[path = "support/zookeeper.rs"] mod server;`
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports::free_ports;

/// How long an ensemble may take to serve on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the ensemble's clients prove themselves with.
pub const CREDENTIAL: &str = "digest:holdfast:s3cret";

/// Servers of one ensemble. They end when this is dropped, and also when the test is killed.
pub struct Ensemble {
    folder: tempfile::TempDir,
    members: Vec<Mutex<Member>>,
    has_tls: bool,
    program: &'static Program,
}

struct Member {
    config: PathBuf,
    /// For clients in the clear.
    port: u16,
    secure_port: u16,
    process: Option<Process>,
}

/// A server, and the shell that ends it when its standard input does.
struct Process {
    shell: Child,
    _stdin: ChildStdin,
    pid: Pid,
}

impl Ensemble {
    /// One server, in the clear.
    pub fn single() -> Self {
        Self::start(program(), 1, false, &[])
    }

    /// One server in the clear that reads requests of at most so many bytes.
    pub fn single_that_reads(bytes: usize) -> Self {
        let properties = vec![format!("-Djute.maxbuffer={bytes}")];
        Self::start(Box::leak(Box::new(Program { properties, ..installed(&[]) })), 1, false, &[])
    }

    /// One server of a version that is too old, in the clear.
    pub fn old() -> Self {
        Self::start(old_program(), 1, false, &[])
    }

    /// One server in the clear, with more lines of configuration.
    pub fn single_with(lines: &[&str]) -> Self {
        Self::start(program(), 1, false, lines)
    }

    /// Three servers, TLS with client certificates between them and towards clients.
    pub fn three() -> Self {
        Self::start(program(), 3, true, &[])
    }

    /// Three servers in the clear, with more lines of configuration.
    pub fn three_with(lines: &[&str]) -> Self {
        Self::start(program(), 3, false, lines)
    }

    fn start(program: &'static Program, count: usize, has_tls: bool, lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if has_tls {
            certificates(folder.path());
        }
        let ports = free_ports(count * 4);
        let members: Vec<Mutex<Member>> = (0..count)
            .map(|index| {
                let config = configure(folder.path(), index, count, has_tls, &ports, lines);
                let (port, secure_port) = (ports[index * 4], ports[index * 4 + 1]);
                Mutex::new(Member { config, port, secure_port, process: None })
            })
            .collect();
        let ensemble = Self { folder, members, has_tls, program };
        for index in 0..count {
            ensemble.launch(index);
        }
        for index in 0..count {
            ensemble.ready(index);
        }
        ensemble
    }

    fn member(&self, index: usize) -> std::sync::MutexGuard<'_, Member> {
        self.members[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many servers there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Where clients reach a server: over TLS if the ensemble has it.
    pub fn address(&self, index: usize) -> String {
        let member = self.member(index);
        format!("127.0.0.1:{}", if self.has_tls { member.secure_port } else { member.port })
    }

    /// Where a server takes clients in the clear.
    pub fn plain_address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.member(index).port)
    }

    /// All servers with commas between them, as `address` takes them.
    pub fn addresses(&self) -> String {
        (0..self.count()).map(|index| self.address(index)).collect::<Vec<_>>().join(",")
    }

    /// A file of the ensemble's folder: `ca.pem`, `client.pem`, `client.key`, `stranger.pem` and so on.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings of TLS and authentication for a `storage` block.
    pub fn settings(&self) -> String {
        if !self.has_tls {
            return String::new();
        }
        let path = |name| self.file(name).display().to_string();
        format!(
            "tls_enabled = true\ntls_ca_file = {:?}\ntls_cert_file = {:?}\ntls_key_file = {:?}\nauth_info = {CREDENTIAL:?}\n",
            path("ca.pem"),
            path("client.pem"),
            path("client.key"),
        )
    }

    /// Ends a server with SIGKILL.
    pub fn kill(&self, index: usize) {
        let mut member = self.member(index);
        if let Some(process) = member.process.take() {
            process.end();
        }
    }

    /// Stops a server where it is: its connections hang.
    pub fn freeze(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let member = self.member(index);
        let process = member.process.as_ref().expect("a server that runs");
        kill_process(process.pid, signal).expect("a server that is there");
    }

    /// Starts a server that was killed, on its data, and waits until it serves.
    pub fn restart(&self, index: usize) {
        self.launch(index);
        self.ready(index);
    }

    /// Starts a server that was killed, and does not wait.
    pub fn launch(&self, index: usize) {
        let mut member = self.member(index);
        assert!(member.process.is_none(), "server {index} runs");
        let log = self.folder.path().join(format!("server-{index}.log"));
        member.process = Some(Process::start(self.program, &member.config, self.count() > 1, &log));
    }

    fn ready(&self, index: usize) {
        let port = self.member(index).port;
        let begun = Instant::now();
        while !four_letters(port, "srvr").contains("Mode: ") {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.file(&format!("server-{index}.log"))).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(30).collect();
                panic!("ZooKeeper {index} does not serve: {end:#?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Which server leads.
    pub fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let leads = |index: &usize| {
                let member = self.member(*index);
                member.process.is_some() && four_letters(member.port, "srvr").contains("Mode: leader")
            };
            if let Some(leader) = (0..self.count()).find(leads) {
                return leader;
            }
            assert!(begun.elapsed() < PATIENCE, "no server leads");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a server answers to a word of four letters.
    pub fn said(&self, index: usize, word: &str) -> String {
        four_letters(self.member(index).port, word)
    }
}

impl Ensemble {
    /// What ZooKeeper's own client prints for a command, through the first server and in the clear.
    pub fn command(&self, command: &[&str]) -> String {
        let program = program();
        let output = Command::new(&program.java)
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &program.classpath])
            .args(["org.apache.zookeeper.ZooKeeperMain", "-server", &self.plain_address(0)])
            .args(command)
            .output()
            .expect("java");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Process {
    fn start(program: &Program, config: &Path, is_ensemble: bool, log: &Path) -> Self {
        let main = if is_ensemble { "quorum.QuorumPeerMain" } else { "ZooKeeperServerMain" };
        let file = fs::File::create(log).expect("a log file");
        // The shell waits for the end of this test, however it comes, and takes the server along.
        let mut shell = Command::new("bash")
            .args(["-c", "\"$@\" </dev/null & echo $! ; read -r ; kill -KILL $! ; wait", "bash"])
            .arg(&program.java)
            .args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &program.classpath])
            .args(&program.properties)
            .arg(format!("org.apache.zookeeper.server.{main}"))
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("bash");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("a process id");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        let stdin = shell.stdin.take().expect("piped");
        Self { shell, _stdin: stdin, pid }
    }

    fn end(mut self) {
        kill_process(self.pid, Signal::KILL).ok();
        drop(self._stdin);
        self.shell.wait().ok();
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for index in 0..self.count() {
            self.kill(index);
        }
    }
}

/// Where a version of the server lies.
struct Program {
    java: String,
    classpath: String,
    properties: Vec<String>,
}

fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| installed(&[]))
}

fn old_program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| installed(&["old"]))
}

fn installed(arguments: &[&str]) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/zookeeper");
    let output = Command::new(script).args(arguments).stderr(Stdio::null()).output().expect("the script");
    assert!(output.status.success(), "tests/servers/zookeeper failed");
    let text = String::from_utf8(output.stdout).expect("text");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("tests/servers/zookeeper names no {name}")).to_owned()
    };
    Program { java: value("JAVA"), classpath: value("CLASSPATH"), properties: Vec::new() }
}

fn four_letters(port: u16, word: &str) -> String {
    let mut text = String::new();
    let limit = Some(Duration::from_secs(2));
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        stream.set_read_timeout(limit).ok();
        stream.write_all(word.as_bytes()).ok();
        stream.read_to_string(&mut text).ok();
    }
    text
}

fn configure(
    folder: &Path,
    index: usize,
    count: usize,
    has_tls: bool,
    ports: &[u16],
    more: &[&str],
) -> PathBuf {
    let data = folder.join(format!("data-{index}"));
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("myid"), (index + 1).to_string()).expect("a file");
    let mut lines = vec![
        "tickTime=200".to_owned(),
        "initLimit=50".to_owned(),
        "syncLimit=20".to_owned(),
        format!("dataDir={}", data.display()),
        format!("clientPort={}", ports[index * 4]),
        "clientPortAddress=127.0.0.1".to_owned(),
        "admin.enableServer=false".to_owned(),
        "maxClientCnxns=0".to_owned(),
        "4lw.commands.whitelist=ruok,srvr,mntr".to_owned(),
    ];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    if count > 1 {
        lines.extend(
            (0..count)
                .map(|n| format!("server.{}=127.0.0.1:{}:{}", n + 1, ports[n * 4 + 2], ports[n * 4 + 3])),
        );
    }
    if has_tls {
        lines.extend([
            format!("secureClientPort={}", ports[index * 4 + 1]),
            "secureClientPortAddress=127.0.0.1".to_owned(),
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned(),
            "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider".to_owned(),
            "sslQuorum=true".to_owned(),
            "ssl.clientAuth=need".to_owned(),
        ]);
        for prefix in ["ssl", "ssl.quorum"] {
            lines.extend([
                format!("{prefix}.keyStore.location={}", folder.join("server.bundle.pem").display()),
                format!("{prefix}.keyStore.type=PEM"),
                format!("{prefix}.trustStore.location={}", folder.join("ca.pem").display()),
                format!("{prefix}.trustStore.type=PEM"),
            ]);
        }
    }
    let config = folder.join(format!("zoo-{index}.cfg"));
    fs::write(&config, lines.join("\n")).expect("a file");
    config
}

/// A CA with a server's certificate, two of clients, and a stranger's CA with a certificate.
fn certificates(folder: &Path) {
    authority(folder, "ca");
    leaf(folder, "ca", "server", "server");
    leaf(folder, "ca", "client", "holdfast");
    leaf(folder, "ca", "other", "other");
    authority(folder, "stranger-ca");
    leaf(folder, "stranger-ca", "stranger", "holdfast");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
    fs::write(folder.join("server.bundle.pem"), read("server.key") + &read("server.pem")).expect("a file");
}

/// A new key for a certificate.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn authority(folder: &Path, name: &str) {
    openssl(folder, &format!("req -x509 {KEY} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"));
}

fn leaf(folder: &Path, authority: &str, name: &str, common: &str) {
    let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
    fs::write(folder.join("leaf.ext"), extensions).expect("a file");
    openssl(folder, &format!("req -new {KEY} -subj /CN={common} -keyout {name}.key -out {name}.csr"));
    let signed = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2");
    openssl(folder, &format!("x509 -req -in {name}.csr {signed} -extfile leaf.ext -out {name}.pem"));
}

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

//! Real Consul agents on loopback for a test: a single server, or a cluster of three with TLS and ACLs. They end with
//! the value, and also when the test is killed.
//!
//! For use by several test programs, each of which needs a part of it and has [`super::ports`] beside it:
//! `#[path = "../support/consul.rs"] mod consul;`
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::ports::free_port;

/// The token that may do everything in a cluster.
pub const MANAGEMENT: &str = "7f3c1f0a-53ad-4a39-9d0b-0d2f1b7a9e11";
/// How long agents may take to be ready on a loaded machine.
const READY: Duration = Duration::from_secs(60);

/// One agent, a server.
pub struct Member {
    /// Port of plain HTTP.
    pub http: u16,
    /// Port of HTTPS; zero if it has none.
    pub https: u16,
    config: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

/// A running agent, and the shell that ends it should this program end without doing so.
struct Process {
    agent: Child,
    guardian: Child,
}

/// Agents that form one cluster.
pub struct Consul {
    program: PathBuf,
    /// Data, configuration and certificates: `ca.pem`, `client.pem`, `client.key`, `stranger-ca.pem`.
    folder: tempfile::TempDir,
    pub members: Vec<Member>,
    management: Option<&'static str>,
}

impl Consul {
    /// One server without TLS and ACLs, ready to serve.
    pub async fn single() -> Self {
        Self::single_with("").await
    }

    /// One server with more configuration.
    pub async fn single_with(more: &str) -> Self {
        let mut consul = Self::prepare(1, None);
        consul.start_all(|_, _| more.to_owned()).await;
        consul
    }

    /// One server without TLS, with ACLs that deny by default.
    pub async fn single_with_acl() -> Self {
        Self::single_with_acl_and("").await
    }

    /// One server without TLS, with ACLs that deny by default and more configuration.
    pub async fn single_with_acl_and(more: &str) -> Self {
        let mut consul = Self::prepare(1, Some(MANAGEMENT));
        consul.start_all(|_, _| format!("{}{more}", acl())).await;
        consul
    }

    /// One agent in development mode.
    pub async fn development() -> Self {
        let mut consul = Self::prepare(1, None);
        consul.members[0].arguments.push("-dev".to_owned());
        consul.start_all(|_, _| String::new()).await;
        consul
    }

    /// Three servers with TLS that want certificates of their clients, and ACLs that deny by default.
    pub async fn cluster() -> Self {
        let mut consul = Self::prepare(3, Some(MANAGEMENT));
        let folder = consul.folder.path().to_owned();
        certificates(&folder);
        for member in &mut consul.members {
            member.https = free_port();
        }
        consul
            .start_all(|member, lan| {
                let at = |name: &str| folder.join(name).display().to_string();
                let peers: Vec<_> = lan.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
                format!(
                    "{}encrypt = \"c2l4dGVlbiBieXRlcyBhcmUgZW5vdWdoIGZvciBpdCE=\"\nca_file = \"{}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
                     verify_incoming = true\nverify_outgoing = true\nverify_server_hostname = true\nretry_join = [{}]\n\
                     retry_interval = \"1s\"\naddresses {{ https = \"127.0.0.1\" }}\n",
                    acl(),
                    at("ca.pem"),
                    at("server.pem"),
                    at("server.key"),
                    peers.join(", "),
                )
                .replace("HTTPS", &member.https.to_string())
            })
            .await;
        consul
    }

    fn prepare(count: usize, management: Option<&'static str>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/consul");
        let output = Command::new(script).stderr(Stdio::inherit()).output().expect("tests/servers/consul");
        let text = String::from_utf8(output.stdout).expect("text");
        let program = text.lines().find_map(|line| line.strip_prefix("CONSUL="));
        let program = PathBuf::from(program.expect("tests/servers/consul names no program"));
        let folder = tempfile::tempdir().expect("a folder");
        let member = |_| Member {
            http: free_port(),
            https: 0,
            config: PathBuf::new(),
            arguments: Vec::new(),
            process: None,
        };
        Self { program, folder, members: (0..count).map(member).collect(), management }
    }

    async fn start_all(&mut self, more: impl Fn(&Member, &[u16]) -> String) {
        let count = self.members.len();
        let ports: Vec<_> = (0..count).map(|_| (free_port(), free_port())).collect();
        let lan: Vec<u16> = ports.iter().map(|(_, lan)| *lan).collect();
        let folder = self.folder.path().to_owned();
        for (n, member) in self.members.iter_mut().enumerate() {
            let https = if member.https == 0 { -1 } else { i32::from(member.https) };
            let data = if member.arguments.is_empty() {
                format!(
                    "data_dir = \"{}\"\nbootstrap_expect = {count}\n",
                    folder.join(format!("n{n}")).display()
                )
            } else {
                String::new()
            };
            let text = format!(
                "server = true\nnode_name = \"n{n}\"\nbind_addr = \"127.0.0.1\"\nclient_addr = \"127.0.0.1\"\n{data}\
                 disable_host_node_id = true\ndisable_update_check = true\nleave_on_terminate = false\n\
                 skip_leave_on_interrupt = true\nperformance {{ raft_multiplier = 1 }}\n\
                 ports {{ http = {} https = {https} server = {} serf_lan = {} serf_wan = -1 dns = -1 grpc = -1 }}\n{}{}",
                member.http,
                ports[n].0,
                ports[n].1,
                limits(&more(member, &lan)),
                more(member, &lan),
            );
            member.config = folder.join(format!("n{n}.hcl"));
            std::fs::write(&member.config, text).expect("a configuration");
        }
        for n in 0..count {
            self.start(n);
        }
        for n in 0..count {
            self.ready(n).await;
        }
    }

    /// Starts a member that does not run, with the data that it has.
    pub fn start(&mut self, n: usize) {
        let member = &mut self.members[n];
        assert!(member.process.is_none(), "the member runs");
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(member.config.with_extension("log"));
        let log = log.expect("a log");
        let agent = Command::new(&self.program)
            .arg("agent")
            .arg(format!("-config-file={}", member.config.display()))
            .arg("-log-level=warn")
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("Consul starts");
        // The pipe closes with this program, however that ends; then nobody else removes the folder.
        let guardian = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\"; sleep 0.2; rm -rf \"$1\"", &agent.id().to_string()])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        member.process = Some(Process { agent, guardian });
    }

    /// Waits until a member answers consistent reads.
    pub async fn ready(&self, n: usize) {
        let begun = Instant::now();
        loop {
            let (status, _) = self.ask(n, "GET", "kv/is-it-ready?consistent", None).await;
            if matches!(status, 200 | 404) {
                return;
            }
            let log =
                std::fs::read_to_string(self.members[n].config.with_extension("log")).unwrap_or_default();
            assert!(begun.elapsed() < READY, "Consul is not ready: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The member that leads.
    pub async fn leader(&self) -> usize {
        for n in 0..self.members.len() {
            let (status, about) = self.ask(n, "GET", "agent/self", None).await;
            if status == 200 && about["Stats"]["consul"]["leader"] == "true" {
                return n;
            }
        }
        panic!("nobody leads");
    }

    /// The addresses of the members as a configuration names them.
    pub fn addresses(&self) -> Vec<String> {
        let address = |member: &Member| match member.https {
            0 => format!("http://127.0.0.1:{}", member.http),
            port => format!("https://127.0.0.1:{port}"),
        };
        self.members.iter().map(address).collect()
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&mut self, n: usize) {
        self.members[n].process.take();
    }

    /// Stops a member where it is: connections hang.
    pub fn freeze(&self, n: usize) {
        self.signal(n, Signal::STOP);
    }

    /// Lets a frozen member go on.
    pub fn thaw(&self, n: usize) {
        self.signal(n, Signal::CONT);
    }

    fn signal(&self, n: usize, signal: Signal) {
        let process = self.members[n].process.as_ref().expect("the member runs");
        kill_process(pid(&process.agent), signal).expect("a signal");
    }

    /// Makes a token with a policy of these rules.
    pub async fn token(&self, name: &str, rules: &str) -> String {
        let policy = json!({"Name": name, "Rules": rules});
        let begun = Instant::now();
        loop {
            let (status, answer) = self.ask(0, "PUT", "acl/policy", Some(&policy)).await;
            // A cluster takes policies a moment after it has a leader.
            if status == 200 {
                break;
            }
            assert!(status == 500 && begun.elapsed() < READY, "{status}: {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.token_of(name).await
    }

    /// Makes another token with a policy that is there.
    pub async fn token_of(&self, policy: &str) -> String {
        let token = json!({"Policies": [{"Name": policy}]});
        let (status, answer) = self.ask(0, "PUT", "acl/token", Some(&token)).await;
        assert_eq!(status, 200, "{answer}");
        answer["SecretID"].as_str().expect("a token").to_owned()
    }

    /// Revokes a token.
    pub async fn revoke(&self, token: &str) {
        let headers = [("x-consul-token", token)];
        let (status, about) = self.call(0, "GET", "acl/token/self", None, &headers).await;
        assert_eq!(status, 200, "{about}");
        let accessor = about["AccessorID"].as_str().expect("an accessor");
        let (status, answer) = self.ask(0, "DELETE", &format!("acl/token/{accessor}"), None).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Asks a member with all rights; status zero: no answer.
    pub async fn ask(&self, n: usize, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(|value| Bytes::from(value.to_string()));
        let headers: Vec<_> = self.management.map(|token| ("x-consul-token", token)).into_iter().collect();
        self.call(n, method, path, body, &headers).await
    }

    /// Stores the content of a key as it is.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) {
        let headers: Vec<_> = self.management.map(|token| ("x-consul-token", token)).into_iter().collect();
        let (status, answer) = self.call(0, "PUT", &format!("kv/{key}"), Some(value.into()), &headers).await;
        assert_eq!((status, &answer), (200, &json!(true)));
    }

    /// A snapshot of everything.
    pub async fn snapshot(&self, n: usize) -> Bytes {
        let url = format!("http://127.0.0.1:{}/v1/snapshot", self.members[n].http);
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        response.into_body().collect().await.expect("a snapshot").to_bytes()
    }

    /// Puts a snapshot back.
    pub async fn restore(&self, n: usize, snapshot: &Bytes) {
        let (status, answer) = self.call(n, "PUT", "snapshot", Some(snapshot.clone()), &[]).await;
        assert_eq!(status, 200, "{answer}");
        self.ready(n).await;
    }

    /// Asks a member; status zero: no answer.
    pub async fn call(
        &self,
        n: usize,
        method: &str,
        path: &str,
        body: Option<Bytes>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}/v1/{path}", self.members[n].http));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).expect("a request");
        let exchange = async {
            let response = client.request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
            Some((status, serde_json::from_slice(&body).unwrap_or_else(|_| text())))
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.ok().flatten();
        answer.unwrap_or((0, Value::Null))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First the guardian, which must not meet another process of the same number.
        self.guardian.kill().ok();
        self.guardian.wait().ok();
        self.agent.kill().ok();
        self.agent.wait().ok();
    }
}

/// All test programs share one address.
fn limits(more: &str) -> &'static str {
    if more.contains("limits {") { "" } else { "limits { http_max_conns_per_client = 1000 }\n" }
}

fn acl() -> String {
    format!(
        "acl {{ enabled = true default_policy = \"deny\" enable_token_persistence = true \
         tokens {{ master = \"{MANAGEMENT}\" agent = \"{MANAGEMENT}\" }} }}\n"
    )
}

fn pid(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id")
}

/// A CA with certificates for servers and a client, and a CA that signed none of them.
fn certificates(folder: &Path) {
    let script = r#"
        set -e
        key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
        ca() { key "$1"; openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 -out "$1.pem"; }
        leaf() {
            key "$1"
            openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:server.dc1.consul\nextendedKeyUsage=serverAuth,clientAuth\n' >"$1.ext"
            openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.pem"
        }
        ca ca
        ca stranger-ca
        leaf server server.dc1.consul ca
        leaf client holdfast ca
        leaf stranger stranger stranger-ca
    "#;
    let output = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

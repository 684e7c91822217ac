//! A real PostgreSQL server on loopback for a test, with TLS and passwords. It ends with the value, and with
//! the test's process.
//!
//! For use by several test programs, each of which needs a part of it and has [`super::ports`] beside it:
//! `#[path = "support/postgresql.rs"] mod postgresql;`
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::ports::free_port;

/// How long a server may take to start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The role that a vault logs in as, and its password.
pub const ROLE: &str = "holdfast";
pub const PASSWORD: &str = "s3cret/p@ss";
/// The password as it stands in a URL.
pub const PASSWORD_ESCAPED: &str = "s3cret%2Fp%40ss";
/// The role that logs in with a certificate alone.
pub const CERTIFICATE_ROLE: &str = "holdfast_cert";
/// The database, which belongs to [`ROLE`].
pub const DATABASE: &str = "vault";

/// A server of its own, with its data.
pub struct Postgresql {
    bin: PathBuf,
    folder: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
    guard: Option<Child>,
}

impl Postgresql {
    /// Starts a server with the roles and the database.
    pub fn start() -> Self {
        let mut server = Self::folder();
        server.run(
            "initdb",
            &[
                "-U",
                "postgres",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
                "--locale=C",
                "-E",
                "UTF8",
                "-D",
            ],
            true,
        );
        pki(&server.folder);
        server.own();
        let hba = format!(
            "local all all trust\nhost all nobody 127.0.0.1/32 reject\nhostssl all {CERTIFICATE_ROLE} 127.0.0.1/32 cert map=c\n\
             host replication all 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        );
        server.write("data/pg_hba.conf", &hba);
        server.write("data/pg_ident.conf", &format!("c holdfast {CERTIFICATE_ROLE}\n"));
        server.configure();
        server.up();
        server.sql(
            "postgres",
            &[
                &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"),
                &format!("CREATE ROLE {CERTIFICATE_ROLE} LOGIN"),
                "CREATE ROLE nobody LOGIN PASSWORD 'x'",
                "CREATE ROLE guest LOGIN PASSWORD 'guest'",
                &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"),
            ],
        );
        server.sql(DATABASE, &[&format!("GRANT CREATE ON SCHEMA public TO {CERTIFICATE_ROLE}")]);
        server
    }

    /// Starts a standby of this server, named `name` to `synchronous_standby_names`.
    pub fn standby(&self, name: &str) -> Self {
        let mut standby = Self::folder();
        let from = format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port);
        standby.run(
            "pg_basebackup",
            &["-c", "fast", "--no-sync", "-X", "stream", "-R", "-d", &from, "-D"],
            true,
        );
        for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
            fs::copy(self.folder.join(name), standby.folder.join(name)).expect("a copy");
        }
        standby.own();
        standby.configure();
        standby.up();
        standby
    }

    fn folder() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/postgresql");
        let found = Command::new(script).stderr(Stdio::inherit()).output().expect("tests/servers/postgresql");
        let found = String::from_utf8(found.stdout).expect("text");
        let bin = found.lines().find_map(|line| line.strip_prefix("POSTGRESQL_BIN=")).expect("no PostgreSQL");
        // The folder outlives this value until the guard has seen the end of the server.
        let folder = tempfile::Builder::new().prefix("holdfast-pg-").tempdir().expect("a folder").keep();
        let server = Self { bin: PathBuf::from(bin), folder, port: free_port(), child: None, guard: None };
        server.own();
        server
    }

    /// The settings of this server, the last lines of its file.
    fn configure(&self) {
        let folder = self.folder.display();
        let path = self.folder.join("data/postgresql.conf");
        let text = fs::read_to_string(&path).expect("a configuration");
        let text = format!(
            "{text}\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{folder}'\nshared_buffers = 32MB\n\
             max_connections = 400\nssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n\
             ssl_ca_file = '{folder}/ca.pem'\nwal_level = replica\n",
            self.port
        );
        fs::write(path, text).expect("a configuration");
    }

    /// Starts the server's process and waits until it answers.
    pub fn up(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = self.program("postgres");
        let child = command
            .arg("-D")
            .arg(self.folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = child.spawn().expect("postgres");
        // When this process ends in whatever way, the pipe does, and the server with it.
        let script = "cat; kill -QUIT $1; for n in 1 2 3 4 5 6 7 8 9; do kill -0 $1 && sleep 0.2; done; kill -KILL $1; rm -rf \"$2\"";
        let guard = Command::new("sh")
            .args(["-c", script, "guard", &child.id().to_string()])
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a guard");
        (self.child, self.guard) = (Some(child), Some(guard));
        let begun = Instant::now();
        let port = self.port.to_string();
        while !succeeds(self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port])) {
            let is_alive =
                self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_none()));
            assert!(is_alive && begun.elapsed() < PATIENCE, "postgres does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the server as a power cut does, and waits for its end.
    pub fn kill(&mut self) {
        for pid in self.processes() {
            kill_process(pid, Signal::KILL).ok();
        }
        self.reap();
    }

    /// Stops all of its processes where they are: connections hang.
    pub fn freeze(&self) {
        self.processes().into_iter().for_each(|pid| kill_process(pid, Signal::STOP).expect("a process"));
    }

    /// Stops the process that lets clients in; sessions that there are go on.
    pub fn freeze_the_door(&self) {
        let door = self.processes().into_iter().next().expect("a server");
        kill_process(door, Signal::STOP).expect("a process");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.processes().into_iter().for_each(|pid| kill_process(pid, Signal::CONT).expect("a process"));
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        self.sql("postgres", &["SELECT pg_promote()"]);
    }

    /// Runs statements as the superuser, each on its own, and returns what the last one gave.
    pub fn sql(&self, database: &str, statements: &[&str]) -> String {
        let mut last = String::new();
        for statement in statements {
            let output = self.psql("postgres", database, statement).output().expect("psql");
            assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
            last = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
        last
    }

    /// A `psql` of `role` that runs `statement`, and those that are added with `-c`.
    pub fn psql(&self, role: &str, database: &str, statement: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-U", role, "-X", "-At"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]).stdin(Stdio::null());
        command
    }

    /// Changes a setting of the server that needs no restart.
    pub fn set(&self, name: &str, value: &str) {
        self.sql("postgres", &[&format!("ALTER SYSTEM SET {name} = {value}"), "SELECT pg_reload_conf()"]);
        let begun = Instant::now();
        let wanted = value.trim_matches('\'');
        while self.sql("postgres", &[&format!("SHOW {name}")]) != wanted {
            assert!(begun.elapsed() < PATIENCE, "{name} does not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A URL without TLS.
    pub fn url(&self) -> String {
        format!("postgres://{ROLE}:{PASSWORD_ESCAPED}@127.0.0.1:{}/{DATABASE}?sslmode=disable", self.port)
    }

    /// A URL with TLS, that trusts this server's CA.
    pub fn tls_url(&self) -> String {
        let ca = self.file("ca.pem");
        format!(
            "postgres://{ROLE}:{PASSWORD_ESCAPED}@localhost:{}/{DATABASE}?sslmode=verify-full&channel_binding=require&sslrootcert={}",
            self.port,
            ca.display()
        )
    }

    /// One of `ca.pem`, `server.pem`, `client.pem`, `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("a file");
    }

    /// Makes the server's user the owner of everything in the folder.
    fn own(&self) {
        if getuid().is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(&self.folder).status();
            assert!(owned.is_ok_and(|status| status.success()), "no user postgres");
            let open = Command::new("chmod").arg("755").arg(&self.folder).status();
            assert!(open.is_ok_and(|status| status.success()));
        }
    }

    /// A program of the package, as a user that is not root: the server insists.
    fn program(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        if !getuid().is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
        command
    }

    fn run(&self, name: &str, args: &[&str], with_data: bool) {
        let mut command = self.program(name);
        command.args(args).stdin(Stdio::null());
        if with_data {
            command.arg(self.folder.join("data"));
        }
        let Output { status, stderr, .. } = command.output().expect("a program of PostgreSQL");
        assert!(status.success(), "{name}: {}", String::from_utf8_lossy(&stderr));
    }

    /// The server's main process, and those that it started.
    fn processes(&self) -> Vec<Pid> {
        let Some(main) = &self.child else { return Vec::new() };
        let main = main.id().to_string();
        let children = Command::new("pgrep").args(["-P", &main]).output().expect("pgrep").stdout;
        let children = String::from_utf8(children).expect("numbers");
        let all = std::iter::once(main.as_str()).chain(children.lines());
        all.filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)).collect()
    }

    fn reap(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.kill().ok();
            guard.wait().ok();
        }
        if let Some(mut child) = self.child.take() {
            child.wait().ok();
        }
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        self.kill();
        // Its children need a moment to see that it is gone.
        for _ in 0..50 {
            if fs::remove_dir_all(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Makes a CA, a server's and a client's certificate in `folder`, and a CA that signed neither.
pub fn pki(folder: &Path) {
    let openssl = |args: &str| {
        let args: Vec<_> = args.split('|').collect();
        let made = Command::new("openssl").args(&args).current_dir(folder).output().expect("openssl");
        assert!(made.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&made.stderr));
    };
    for ca in ["ca", "other"] {
        openssl(&format!(
            "req|-x509|-newkey|ec|-pkeyopt|ec_paramgen_curve:P-256|-nodes|-days|2|-subj|/CN={ca}|-keyout|{ca}.key|-out|{ca}.pem"
        ));
    }
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        openssl(&format!(
            "req|-newkey|ec|-pkeyopt|ec_paramgen_curve:P-256|-nodes|-subj|/CN=holdfast|-keyout|{name}.key|-out|{name}.csr"
        ));
        let extensions = format!("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n");
        fs::write(folder.join("extensions"), extensions).expect("a file");
        openssl(&format!(
            "x509|-req|-in|{name}.csr|-CA|ca.pem|-CAkey|ca.key|-CAcreateserial|-days|2|-extfile|extensions|-out|{name}.pem"
        ));
        fs::set_permissions(
            folder.join(format!("{name}.key")),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .expect("a mode");
    }
}

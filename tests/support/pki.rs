//! Certificates for real servers of a test, made with the `openssl` command.
//!
//! For use by several test programs, each of which needs a part of it: `#[path = "support/pki.rs"] mod pki;`
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of every server: its addresses in tests, and a name that is not one.
const SERVER_NAMES: &str = "DNS:localhost,IP:127.0.0.1,DNS:server.dc1.consul";

/// A certificate chain and its key (PKCS #8), both PEM.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Leaf {
    /// Puts copies of both in place of `self`'s files, as a rotation does.
    pub fn replace_by(&self, other: &Self) {
        for (from, to) in [(&other.cert, &self.cert), (&other.key, &self.key)] {
            let new = to.with_extension("new");
            std::fs::copy(from, &new).expect("a copy");
            std::fs::rename(&new, to).expect("a replaced file");
        }
    }
}

/// A certificate authority in a folder of its own.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
    /// The CA's certificate.
    pub ca: PathBuf,
    /// A server of these tests, which may be a client as well.
    pub server: Leaf,
    /// A client whose common name is `holdfast`.
    pub client: Leaf,
}

impl Pki {
    /// A new authority in `folder`, which is created.
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let ca = issue(folder, "ca", "Holdfast test CA", "basicConstraints = critical,CA:TRUE", false).cert;
        let names = format!("subjectAltName = {SERVER_NAMES}");
        let server = issue(folder, "server", "server", &names, true);
        let client = issue(folder, "client", "holdfast", "", true);
        Self { folder: folder.to_owned(), ca, server, client }
    }

    /// A client with another common name; `name` names its files.
    pub fn client(&self, name: &str, common_name: &str) -> Leaf {
        issue(&self.folder, name, common_name, "", true)
    }

    /// An authority that nobody knows, beside this one.
    pub fn foreign(&self) -> Self {
        Self::new(&self.folder.join("foreign"))
    }
}

fn issue(folder: &Path, name: &str, common_name: &str, extension: &str, is_leaf: bool) -> Leaf {
    let at = |ending: &str| folder.join(format!("{name}.{ending}"));
    let usage = if is_leaf {
        "basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = serverAuth,clientAuth"
    } else {
        "keyUsage = critical,keyCertSign,cRLSign"
    };
    let config = format!(
        "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = more\n[name]\nCN = {common_name}\n[more]\nsubjectKeyIdentifier = hash\n{usage}\n{extension}\n"
    );
    std::fs::write(at("cnf"), config).expect("a writable folder");
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-new", "-sha256", "-days", "30", "-nodes"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.arg("-config").arg(at("cnf")).arg("-keyout").arg(at("key")).arg("-out").arg(at("pem"));
    if is_leaf {
        command.arg("-CA").arg(folder.join("ca.pem")).arg("-CAkey").arg(folder.join("ca.key"));
    }
    let made = command.stdin(Stdio::null()).output().expect("the openssl command");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Leaf { cert: at("pem"), key: at("key") }
}

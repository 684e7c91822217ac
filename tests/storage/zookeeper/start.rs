//! What a person reads when the storage cannot be used.

use std::fmt::Write as _;

use holdfast::vault::physical::{Backend, HaBackend, LockRecord, StorageError, Swap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::Proxy;
use super::server::Ensemble;
use super::world::{World, Writer, blocking, single, three, until};
use crate::ports::free_port;

/// The text of an error with what differs from run to run masked.
fn masked(text: &str, folder: &str) -> String {
    let text = text.replace(folder, "/folder");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let end = at + "127.0.0.1:".len();
        out.push_str(&rest[..end]);
        out.push_str("PORT");
        rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out.split("/vault-").enumerate().fold(String::new(), |out, (n, part)| {
        if n == 0 {
            part.to_owned()
        } else {
            out + "/vault" + part.trim_start_matches(|c: char| c.is_ascii_digit())
        }
    })
}

async fn told(what: &str, world: &World, shown: &mut String, folder: &str) {
    let error = world.try_open().await.err().map(|error| error.to_string());
    let error = error.unwrap_or_else(|| "(goes on trying)".to_owned());
    writeln!(shown, "{what}:\n  {}", masked(&error, folder)).expect("text");
}

/// A server of something else, which answers whatever is said.
async fn something_else() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 64];
            if stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.ok();
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_says_what_to_do() {
    let (single, three) = (single().await, three().await);
    let folder = three.file("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let file = |name: &str| format!("{:?}", three.file(name).display().to_string());
    let tls = |ca: &str, client: &str, more: &str| {
        let identity = match client {
            "" => String::new(),
            name => format!(
                "tls_cert_file = {}\ntls_key_file = {}\n",
                file(&format!("{name}.pem")),
                file(&format!("{name}.key"))
            ),
        };
        format!("tls_enabled = true\ntls_ca_file = {}\n{identity}{more}", file(ca))
    };
    let secure = three.address(0);
    let plain = single.address(0);
    let elsewhere = something_else().await;
    let old = blocking(Ensemble::old).await;
    let discreet = discreet(old.address(0)).await;
    let narrow = blocking(|| Ensemble::single_that_reads(700_000)).await;
    std::fs::write(three.file("auth"), "digest\n").expect("a file");
    let auth_file = format!("auth_info = \"file://{folder}/auth\"");
    // Every resolver takes this for 127.0.0.1.
    let nameless = secure.replace("127.0.0.1", "127.1");
    let cases = [
        ("a CA file that is not there", &secure, tls("none.pem", "client", "")),
        ("a CA that did not sign the server", &secure, tls("stranger-ca.pem", "client", "")),
        (
            "another name in the server's certificate",
            &secure,
            tls("ca.pem", "client", "tls_server_name = \"zk.example.com\""),
        ),
        ("no name", &secure, tls("ca.pem", "client", "tls_server_name = \"not a name\"")),
        ("an address that is no name", &nameless, tls("ca.pem", "client", "")),
        ("no client certificate", &secure, tls("ca.pem", "", "")),
        ("a client certificate of another CA", &secure, tls("ca.pem", "stranger", "")),
        ("TLS to a port without it", &plain, tls("ca.pem", "client", "")),
        ("no TLS to a port with it", &secure, String::new()),
        ("something else", &elsewhere, String::new()),
        ("TLS to something else", &elsewhere, tls("ca.pem", "client", "")),
        ("a scheme that the server does not know", &plain, "auth_info = \"kerberos:me\"".to_owned()),
        ("a credential whose file is not there", &plain, "auth_info = \"file:///nowhere/auth\"".to_owned()),
        ("a credential in a file that is none", &plain, auth_file),
        ("an owner that is none", &plain, "znode_owner = \"digest:me\"".to_owned()),
        ("an identity that is none", &plain, "auth_info = \"ip:127.0.0.1\"".to_owned()),
        ("a version that is too old", &old.address(0), String::new()),
        ("a version that is too old and not told", &discreet, String::new()),
        ("a server that does not read large requests", &narrow.address(0), String::new()),
    ];
    let mut shown = String::new();
    for (what, address, settings) in cases {
        told(what, &World::at(address, &settings), &mut shown, folder).await;
    }
    let theirs = World::at(&plain, "auth_info = \"digest:them:pw\"");
    let theirs_opened = theirs.open().await;
    let mut ours = World::at(&plain, "auth_info = \"digest:us:pw\"");
    ours.config.path = theirs.config.path.clone();
    told("nodes of somebody else", &ours, &mut shown, folder).await;
    ours.config.path.push_str("/below");
    told("a path below nodes of somebody else", &ours, &mut shown, folder).await;
    ours.config.path = theirs.config.path.clone();
    Writer::init(theirs_opened).await;
    told("a store of somebody else", &ours, &mut shown, folder).await;
    insta::assert_snapshot!(shown);
}

/// In front of a server that does not tell its version to everybody.
async fn discreet(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut word = [0; 4];
                client.read_exact(&mut word).await.ok();
                if &word == b"srvr" {
                    let said = b"srvr is not executed because it is not in the whitelist.\n";
                    return client.write_all(said).await.ok();
                }
                let mut server = TcpStream::connect(server).await.ok()?;
                server.write_all(&word).await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok().map(|_| ())
            });
        }
    });
    address
}

/// A lock has no large requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_small_requests_alone_can_hold_a_lock() {
    let narrow = blocking(|| Ensemble::single_that_reads(10_000)).await;
    let world = World::on(&narrow);
    let held = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    assert!(matches!(world.lock().await.swap(None, &held).await, Swap::Swapped(_)));
    let error = world.try_open().await.err().expect("a refusal");
    assert!(error.to_string().contains("jute.maxbuffer"), "{error}");
}

/// Only a connection that is cut at a large request again, while small ones pass, tells of a limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_at_a_large_request_is_waited_for() {
    for (times, refuses_after) in [(1, false), (1, true), (2, true)] {
        let proxy = Proxy::to(single().await.address(0)).await;
        proxy.cut_large(times, refuses_after);
        let backend = World::at(&proxy.address, "").open().await;
        assert_eq!(backend.check().await.is_err(), refuses_after, "{times} times");
        proxy.refuse(false);
        until("the server is back", async || backend.check().await.is_ok()).await;
    }
    let proxy = Proxy::to(single().await.address(0)).await;
    proxy.cut_large(2, false);
    assert!(World::at(&proxy.address, "").try_open().await.is_err(), "a limit looks like this");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_waited_for() {
    let port = free_port();
    let world = World::at(&format!("127.0.0.1:{port}"), "");
    let backend = world.open().await;
    let error = backend.check().await.expect_err("nobody is there");
    let StorageError::Unavailable { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains(&port.to_string()), "{reason}");
}

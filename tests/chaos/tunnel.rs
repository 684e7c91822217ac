//! From plain HTTP on loopback to a server that speaks TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A tunnel. It closes when it is dropped.
pub struct Tunnel {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens a tunnel to `host:port`, whose certificate one of the CAs in `ca_file` signed.
    pub async fn open(target: &str, ca_file: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca_file).expect("the file of the CA") {
            roots.add(certificate.expect("a certificate")).expect("a CA");
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let host = target.rsplit_once(':').expect("host:port").0;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).expect("a host");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(accept(listener, target.to_owned(), name, connector));
        Self { address, task }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: String, name: ServerName<'static>, connector: TlsConnector) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (target, name, connector) = (target.clone(), name.clone(), connector.clone());
        tokio::spawn(async move {
            // Whoever is refused behind the tunnel sees its connection end, and cannot know whether something was sent.
            let Ok(server) = TcpStream::connect(target).await else { return };
            let Ok(mut server) = connector.connect(name, server).await else { return };
            copy_bidirectional(&mut client, &mut server).await.ok();
        });
    }
}

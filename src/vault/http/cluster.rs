//! [`ClusterTls`]: mutual TLS between the nodes of a cluster, from an authority that only unsealed nodes know.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use serde::{Deserialize, Serialize};
use tracing::warn;
use zeroize::ZeroizeOnDrop;

use super::tls::{TlsError, certified, private, provider, roots};
use crate::base::clock::{Clock, UnixMillis};
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::base::task::Shutdown;
use crate::crypto::x509::{Authority, LeafSpec, Usage, Validity, X509Error};

/// The name that every node of a cluster has towards its peers; the authority is what tells clusters apart.
const NODE_NAME: &str = "node.holdfast.internal";
/// What peers speak on a connection, agreed on in the TLS handshake (ALPN, RFC 7301): requests of clients that are sent on,
/// and most questions.
const HTTP: &[u8] = b"http/1.1";
/// The same: [lines](super::line).
pub(super) const LINE: &[u8] = b"holdfast-peer/1";
const DAY: u64 = 86_400;
/// Node certificates bear clocks that are a day apart, either way.
const TOLERANCE_SECONDS: u64 = DAY + 3600;
/// Lifetime of a node certificate besides that tolerance.
const NODE_SECONDS: u64 = DAY;
/// The authority lives as long as the cluster.
const AUTHORITY_SECONDS: u64 = 100 * 365 * DAY;
const AUTHORITY_TOLERANCE_SECONDS: u64 = 365 * DAY;
/// How often the age of the node certificate is looked at.
const LOOK: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Stored {
    certificate: String,
    key: String,
}

/// Makes the authority of a new cluster, in the form that init stores behind the barrier.
///
/// # Errors
/// When the crypto provider fails.
pub fn new_cluster_authority(now: UnixMillis, random: &dyn Random) -> Result<SecretBytes, X509Error> {
    let validity = Validity::around(now, AUTHORITY_TOLERANCE_SECONDS, AUTHORITY_SECONDS);
    let authority = Authority::new_root("holdfast cluster", validity, random)?;
    let stored =
        Stored { certificate: authority.chain_pem()?, key: authority.key_pem()?.expose().to_owned() };
    serde_json::to_vec(&stored).map(SecretBytes::new).map_err(|error| X509Error::Encode(error.to_string()))
}

struct Material {
    authority: SecretBytes,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    asker: Arc<ClientConfig>,
    renew_after: UnixMillis,
}

/// The TLS that this node speaks with its peers; there is none while it is sealed.
#[derive(Default)]
pub struct ClusterTls(ArcSwapOption<Material>);

/// Presents the node's certificate whatever the server asks for.
#[derive(Debug)]
struct NodeCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for NodeCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClusterTls {
    /// Mints a node certificate from `authority` (as made by [`new_cluster_authority`]) and uses it from now on.
    ///
    /// # Errors
    /// When the authority cannot be read or used.
    pub fn install(
        &self,
        authority: &SecretBytes,
        now: UnixMillis,
        random: &dyn Random,
    ) -> Result<(), TlsError> {
        let refused = |error: &dyn std::fmt::Display| TlsError::Refused(error.to_string());
        let stored: Stored = serde_json::from_slice(authority.expose())
            .map_err(|_| TlsError::Refused("the cluster's authority is not readable".to_owned()))?;
        let issuer =
            Authority::from_pem(&stored.certificate, &stored.key).map_err(|error| refused(&error))?;
        let spec = LeafSpec {
            common_name: "holdfast node".to_owned(),
            dns_names: vec![NODE_NAME.to_owned()],
            ip_addresses: Vec::new(),
            usage: Usage::ServerAndClient,
            validity: Validity::around(now, TOLERANCE_SECONDS, NODE_SECONDS + TOLERANCE_SECONDS),
        };
        let leaf = issuer.issue_leaf(&spec, random).map_err(|error| refused(&error))?;
        let certificate = Arc::new(certified(&leaf.chain_pem, private(&leaf.key))?);
        let trusted = Arc::new(roots(&stored.certificate)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trusted), provider())
            .build()
            .map_err(|error| refused(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refused(&error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(super::tls::Certificates::new(CertifiedKey::clone(&certificate))));
        server.alpn_protocols = vec![HTTP.to_vec(), LINE.to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refused(&error))?
            .with_root_certificates(trusted)
            .with_client_cert_resolver(Arc::new(NodeCertificate(certificate)));
        client.alpn_protocols = vec![HTTP.to_vec()];
        let mut asker = client.clone();
        asker.alpn_protocols = vec![LINE.to_vec()];
        // The certificate is a day old at most when it is replaced: half of what its tolerance leaves.
        let renew_after = now.plus_seconds(NODE_SECONDS / 2);
        let material = Material {
            authority: authority.clone(),
            server: Arc::new(server),
            client: Arc::new(client),
            asker: Arc::new(asker),
            renew_after,
        };
        self.0.store(Some(Arc::new(material)));
        Ok(())
    }

    /// Forgets everything: this node is sealed.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// For connections from peers; `None` while sealed.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.0.load().as_ref().map(|material| Arc::clone(&material.server))
    }

    /// For connections to peers that carry HTTP; `None` while sealed.
    pub(super) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.0.load().as_ref().map(|material| Arc::clone(&material.client))
    }

    /// For [lines](super::line) to peers; `None` while sealed.
    pub(super) fn asker(&self) -> Option<Arc<ClientConfig>> {
        self.0.load().as_ref().map(|material| Arc::clone(&material.asker))
    }

    /// Renews the node certificate in time, until `shutdown`.
    pub async fn keep_fresh(&self, clock: &dyn Clock, random: &dyn Random, shutdown: &Shutdown) {
        while shutdown.sleep(LOOK).await {
            let now = clock.unix();
            let due = self.0.load_full().filter(|material| now >= material.renew_after);
            if let Some(material) = due
                && let Err(error) = self.install(&material.authority, now, random)
            {
                warn!(%error, "the node certificate cannot be renewed; the old one stays");
            }
        }
    }
}

/// The name to expect in a peer's certificate.
pub(super) fn node_name() -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(NODE_NAME).map_err(|error| TlsError::Refused(error.to_string()))
}

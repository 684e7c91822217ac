//! One look at the API server: who is there, what this account may do, and whether the kinds are served.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;

use http::Request;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::core::Status;
use kube::{Error, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::describe;
use super::rights::{self, Rights};
use crate::crd::store::{VaultStoreHead, VaultStoreSegment};
use crate::k8s::client::{Clients, Source};
use crate::vault::physical::unusable::Unusable;

/// The oldest version that will do: custom resource definitions as they are now came with it.
const LEAST_VERSION: &str = "1.16";
const LEAST: (u64, u64) = (1, 16);
const SERVICE: &str = "a Kubernetes API server";
/// The CA by which a pod knows the API server.
const POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Most characters of an answer that a message repeats.
const SHOWN: usize = 200;

/// What of the API server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Head, segments and Lease.
    Storage,
    /// The Lease.
    Lock,
}

/// Why a look did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Waiting may help.
    Away(String),
    /// It does not.
    Unusable(Unusable),
    /// It does not, unless what is missing was put there only now.
    Doubtful(Unusable),
}

/// An API server, and where this node's objects lie in it.
pub(super) struct Contact {
    pub(super) clients: Clients,
    /// Its URL.
    pub(super) address: String,
    pub(super) source: Source,
    pub(super) namespace: String,
    /// Of Lease and head.
    pub(super) name: String,
}

impl Contact {
    /// Looks at everything that `scope` needs.
    pub(super) async fn look(&self, scope: Scope) -> Result<(), Trouble> {
        match self.look_once(scope).await {
            // A server that has just started denies until it has read the roles, and says that it is not ready.
            Err(Trouble::Doubtful(_)) if self.is_starting().await => {
                Err(Trouble::Away("it is not ready".to_owned()))
            }
            other => other,
        }
    }

    async fn look_once(&self, scope: Scope) -> Result<(), Trouble> {
        self.meet().await?;
        self.demand(scope).await?;
        let name = self.name.as_str();
        let mut wishes = vec![Rights::to::<Lease>(Some(name), &["watch"])];
        let mut absent = Vec::new();
        if scope == Scope::Storage {
            wishes.push(Rights::to::<VaultStoreHead>(Some(name), &["watch"]));
            if !self.finds::<VaultStoreHead>().await? {
                absent.push(Rights::to::<VaultStoreHead>(None, &["create"]));
            }
            // No segment has the head's name: this only shows whether there are segments at all.
            self.finds::<VaultStoreSegment>().await?;
        }
        if !self.finds::<Lease>().await? {
            absent.push(Rights::to::<Lease>(None, &["create"]));
        }
        if !absent.is_empty() {
            self.find_namespace().await?;
        }
        self.note(&wishes, "changes are noticed by asking once a second instead").await?;
        self.note(&absent, "the object is not there: have it created, empty, as the operator does").await
    }

    /// Who is there.
    async fn meet(&self) -> Result<(), Trouble> {
        let text = match self.text("/version").await {
            Ok(text) => text,
            Err(Error::Api(status)) => {
                return match status.code {
                    // It does not tell its version to everybody.
                    403 => Ok(()),
                    401 | 429 | 500.. => Err(self.judge(&status, "")),
                    _ => Err(self.foreign(&status.message)),
                };
            }
            Err(Error::FromUtf8(error)) => return Err(self.foreign(&error.to_string())),
            Err(error) => return Err(self.trouble(&error, "")),
        };
        match serde_json::from_str::<About>(&text) {
            Ok(about) => self.judge_version(about.git_version),
            Err(_) => Err(self.foreign(&text)),
        }
    }

    fn judge_version(&self, found: String) -> Result<(), Trouble> {
        let address = self.address.clone();
        match numbers(&found) {
            Some(version) if version < LEAST => {
                Err(Trouble::Unusable(Unusable::TooOld { address, found, least: LEAST_VERSION }))
            }
            _ => Ok(()),
        }
    }

    /// Whether this account has the rights without which nothing works.
    async fn demand(&self, scope: Scope) -> Result<(), Trouble> {
        let name = Some(self.name.as_str());
        let mut wanted = Vec::new();
        if scope == Scope::Storage {
            wanted.push(Rights::to::<VaultStoreHead>(name, &["get", "update"]));
            wanted.push(Rights::to::<VaultStoreSegment>(None, &["get", "list", "create", "delete"]));
        }
        wanted.push(Rights::to::<Lease>(name, &["get", "update"]));
        let lack = self.lacking(&wanted).await?;
        if lack.rights.is_empty() {
            return Ok(());
        }
        let reason = match (lack.reason, rights::account(&self.clients.requests).await) {
            (Some(reason), _) => reason,
            (None, Some(account)) => format!("no role gives it to {account:?}"),
            (None, None) => "no role gives it to this account".to_owned(),
        };
        let what: Vec<String> = lack.rights.iter().map(ToString::to_string).collect();
        Err(self.forbidden(&what.join(" and "), reason))
    }

    /// Logs those of `wished` that this account does not have.
    async fn note(&self, wished: &[Rights], consequence: &str) -> Result<(), Trouble> {
        for missing in self.lacking(wished).await?.rights {
            tracing::warn!(%missing, namespace = self.namespace, "this account lacks a right: {consequence}");
        }
        Ok(())
    }

    async fn lacking(&self, wanted: &[Rights]) -> Result<rights::Lack, Trouble> {
        let asked = rights::lacking(&self.clients.requests, &self.namespace, wanted).await;
        asked.map_err(|error| self.trouble(&error, "asking for its rights"))
    }

    /// Whether there is an object of the kind `K` with this node's name.
    async fn finds<K>(&self) -> Result<bool, Trouble>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(self.clients.requests.clone(), &self.namespace);
        match api.get_metadata(&self.name).await {
            Ok(_) => Ok(true),
            Err(Error::Api(status)) if status.code == 404 => {
                // Where the kind is not served there is nobody who could name the object.
                let is_served = status.details.as_ref().is_some_and(|details| details.name == self.name);
                let lack = || format!("it does not serve {}.{}", K::plural(&()), K::group(&()));
                let change = "install the custom resource definitions: holdfast crd | kubectl apply -f -";
                if is_served { Ok(false) } else { Err(self.unprepared(lack(), change)) }
            }
            Err(error) => Err(self.trouble(&error, &Rights::to::<K>(Some(&self.name), &["get"]).to_string())),
        }
    }

    /// Whether the namespace is there, if this account may know.
    async fn find_namespace(&self) -> Result<(), Trouble> {
        let api: Api<Namespace> = Api::all(self.clients.requests.clone());
        match api.get_metadata(&self.namespace).await {
            Err(Error::Api(status)) if status.code == 404 => {
                let lack = format!("there is no namespace {:?}", self.namespace);
                Err(self.unprepared(lack, "create it, or name another one in namespace"))
            }
            Err(Error::Api(status)) if status.code == 403 => Ok(()),
            Err(error) => Err(self.trouble(&error, "")),
            Ok(_) => Ok(()),
        }
    }

    /// Whether the API server says that it has not finished to start.
    async fn is_starting(&self) -> bool {
        matches!(self.text("/readyz").await, Err(Error::Api(status)) if status.code >= 500)
    }

    async fn text(&self, path: &str) -> Result<String, Error> {
        let request = Request::get(path).body(Vec::new()).map_err(Error::HttpError)?;
        self.clients.requests.request_text(request).await
    }

    /// What a failure means; `what` is the right that was needed.
    fn trouble(&self, error: &Error, what: &str) -> Trouble {
        if let Error::Api(status) = error {
            return self.judge(status, what);
        }
        match bottom(error) {
            Some(Bottom::Tls(rustls::Error::InvalidCertificate(_), reason)) => {
                Trouble::Unusable(self.untrusted(&reason))
            }
            Some(Bottom::Tls(rustls::Error::AlertReceived(_), reason)) => {
                Trouble::Unusable(self.refused(reason))
            }
            Some(Bottom::Tls(_, reason) | Bottom::NoHttp(reason)) => self.foreign(&reason),
            None => Trouble::Away(describe(error)),
        }
    }

    fn judge(&self, status: &Status, what: &str) -> Trouble {
        let reason = shown(&status.message, status.code);
        match status.code {
            401 => Trouble::Doubtful(self.refused(reason)),
            // Who brings nothing that says who it is becomes this user.
            403 if reason.contains("system:anonymous") => Trouble::Doubtful(self.refused(reason)),
            403 => self.forbidden(what, reason),
            _ => Trouble::Away(reason),
        }
    }

    fn refused(&self, reason: String) -> Unusable {
        let check = match self.source {
            Source::Kubeconfig(_) => "the user in kubeconfig",
            Source::InCluster => "the token of the pod's service account",
        };
        Unusable::Refused { address: self.address.clone(), reason, check }
    }

    /// The CA is in the file that this error names, not in a setting of its own.
    fn untrusted(&self, reason: &str) -> Unusable {
        let said = format!("the certificate of {} is not trusted: {reason}", self.address);
        let (key, path, change) = match &self.source {
            Source::Kubeconfig(path) => (
                "kubeconfig",
                path.display().to_string(),
                "name the CA that signed it in certificate-authority, or its name in tls-server-name",
            ),
            Source::InCluster => ("service account", POD_CA.to_owned(), "have the cluster's CA put there"),
        };
        Unusable::File { key, path, reason: format!("{said}; {change}") }
    }

    fn forbidden(&self, what: &str, reason: String) -> Trouble {
        let what = format!("{what} in namespace {}", self.namespace);
        Trouble::Doubtful(Unusable::Forbidden { address: self.address.clone(), what, reason })
    }

    fn unprepared(&self, lack: String, change: &'static str) -> Trouble {
        Trouble::Doubtful(Unusable::Unprepared { address: self.address.clone(), lack, change })
    }

    fn foreign(&self, text: &str) -> Trouble {
        let line = text.trim().lines().next().unwrap_or_default();
        let reason = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        let address = self.address.clone();
        Trouble::Unusable(Unusable::WrongService { address, expected: SERVICE, reason })
    }
}

/// The part of the answer to `/version` that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    git_version: String,
}

/// Major and minor number of a version such as `v1.36.1+k3s1`.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn shown(message: &str, code: u16) -> String {
    let text: String = message.trim().chars().filter(|c| !c.is_control()).take(2 * SHOWN).collect();
    if text.is_empty() { format!("status {code}") } else { text }
}

/// What lies at the bottom of a failure without an answer, and its text.
enum Bottom<'a> {
    Tls(&'a rustls::Error, String),
    NoHttp(String),
}

fn bottom(error: &Error) -> Option<Bottom<'_>> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(Bottom::Tls(tls, tls.to_string()));
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Some(Bottom::NoHttp(cause.to_string()));
        }
        // An error of I/O names the causes of what it holds, not what it holds.
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_is_told_of_its_own_files() {
        let address = "https://10.96.0.1".to_owned();
        let client = kube::Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        let clients = Clients { requests: client.clone(), watches: client };
        let (namespace, name) = ("ns".to_owned(), "vault".to_owned());
        let contact = Contact { clients, address, source: Source::InCluster, namespace, name };
        let error = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let told = [contact.untrusted(&error.to_string()), contact.refused("Unauthorized".to_owned())];
        insta::assert_snapshot!("in_a_pod", told.map(|unusable| unusable.to_string()).join("\n\n"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("v1.36.1+k3s1"), Some((1, 36)));
        assert_eq!(numbers("v1.16.0-rc.1"), Some(LEAST));
        assert!(numbers("v1.9.11") < Some(LEAST));
        assert_eq!(numbers("master"), None);
    }
}

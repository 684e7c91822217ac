//! The first contact: whether this node can work with the etcd that its configuration names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::answer::{Answer, Failure, Trouble};
use super::backend::EtcdBackend;
use super::client::Client;
use super::keys::Keys;
use super::proto::{Compare, RequestOp, TXN, TxnRequest, TxnResponse};
use super::register::EtcdRegister;
use crate::config::EtcdStorage;
use crate::vault::physical::unusable::Unusable;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// Opens storage and lock in the etcd that `config` names; both share a connection. Must be called on a Tokio runtime.
///
/// A cluster that is away, or has no quorum, is waited for by whoever uses what is returned; the log names it.
///
/// # Errors
/// What only a person can change: files, certificates, login, rights, version.
pub async fn open(config: &EtcdStorage) -> Result<(EtcdBackend, EtcdRegister), Unusable> {
    let client = Arc::new(Client::new(config)?);
    let keys = Keys::new(&config.path);
    let away = match timeout(FIRST_CONTACT, try_out(&client, &keys)).await {
        Ok(Ok(())) => None,
        Ok(Err(Trouble::Unusable(unusable))) => return Err(unusable),
        Ok(Err(Trouble::Away(reason))) => Some(reason),
        Err(_) => Some(format!("no answer within {} s", FIRST_CONTACT.as_secs())),
    };
    if let Some(reason) = away {
        let address = client.addresses();
        tracing::warn!(address, reason, "etcd cannot be reached; trying goes on");
    }
    Ok((EtcdBackend::new(Arc::clone(&client), keys.clone()), EtcdRegister::new(client, keys)))
}

/// Connects, logs in, and tries out the rights without writing anything.
async fn try_out(client: &Client, keys: &Keys) -> Result<(), Trouble> {
    let path = keys.path();
    client.enter().await.map_err(|failure| judge(failure, path))?;
    let tried: Result<TxnResponse, Failure> = client.read(TXN, rights(keys)).await;
    tried.map(|_| ()).map_err(|failure| judge(failure, path))
}

/// A transaction that etcd checks for every right that is needed, and that changes nothing, because its condition never
/// holds.
fn rights(keys: &Keys) -> TxnRequest {
    let written = [keys.head(), keys.lock(), keys.record(0), keys.data("")];
    let mut success: Vec<RequestOp> =
        written.iter().map(|key| RequestOp::put(key.clone(), Bytes::new())).collect();
    success.push(RequestOp::delete(keys.record(1)));
    TxnRequest { compare: vec![Compare::never(keys.head())], success, failure: vec![keys.any().into()] }
}

fn judge(failure: Failure, path: &str) -> Trouble {
    let reason = failure.reason();
    match failure {
        Failure::NotSent(trouble) => trouble,
        Failure::Lost { .. } => Trouble::Away(reason),
        Failure::Answered { address, answer } => match answer {
            Answer::Denied(reason) => {
                let what = format!("reading and writing under {path}");
                Trouble::Unusable(Unusable::Forbidden { address, what, reason })
            }
            Answer::BadLogin(reason) => {
                let check = "username and password";
                Trouble::Unusable(Unusable::Refused { address, reason, check })
            }
            Answer::LoggedOut(reason) => {
                let check = "username and password, or the name in tls_cert_file";
                Trouble::Unusable(Unusable::Refused { address, reason, check })
            }
            _ => Trouble::Away(reason),
        },
    }
}

//! Finding a member to talk to: one address after the other, and every place that its name stands for.

use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;

use super::address::Address;
use super::answer::Trouble;
use super::connect::Connection;
use super::line::Line;
use super::tls::Tls;
use crate::base::task;
use crate::config::ClientTls;
use crate::vault::physical::tls::client_config;
use crate::vault::physical::unusable::Unusable;

/// How long a member may take to be connected to.
const CONNECT: Duration = Duration::from_secs(2);
/// Most places of one name that are tried.
const PLACES: usize = 8;

/// Connects to the first member that is there, beginning with the address number `first`, with certificates as their
/// files are now. The place to `avoid` is tried last.
pub(super) async fn dial(
    addresses: &[Address],
    first: usize,
    avoid: Option<SocketAddr>,
    tls: &ClientTls,
    token: Option<&AsciiMetadataValue>,
) -> Result<Connection, Trouble> {
    let tls = encryption(addresses, tls).await.map_err(Trouble::Unusable)?;
    let mut troubles = Troubles::default();
    let mut last = None;
    let (before, from) = addresses.split_at(first.min(addresses.len()));
    let order = from.iter().zip(first..).chain(before.iter().zip(0..));
    for (address, index) in order {
        let found = match places(address).await {
            Ok(found) => found,
            Err(trouble) => {
                troubles.note(trouble);
                continue;
            }
        };
        for peer in found {
            if Some(peer) == avoid {
                last = Some((address, index, peer));
                continue;
            }
            match dial_at(address, index, peer, tls.as_ref(), token).await {
                Ok(connection) => return Ok(connection),
                Err(trouble) => troubles.note(trouble),
            }
        }
    }
    if let Some((address, index, peer)) = last {
        match dial_at(address, index, peer, tls.as_ref(), token).await {
            Ok(connection) => return Ok(connection),
            Err(trouble) => troubles.note(trouble),
        }
    }
    Err(troubles.first())
}

async fn dial_at(
    address: &Address,
    index: usize,
    peer: SocketAddr,
    tls: Option<&Tls>,
    token: Option<&AsciiMetadataValue>,
) -> Result<Connection, Trouble> {
    let tls = tls.filter(|_| address.is_tls);
    match timeout(CONNECT, Connection::open(address, index, peer, tls, token)).await {
        Ok(opened) => opened,
        Err(_) => Err(Trouble::Away(format!("{}: no answer within {} s", address.text, CONNECT.as_secs()))),
    }
}

/// A line to `peer`, which is one of the places that `address` names, on the thread that sends commits, with certificates as
/// their files are now.
pub(super) async fn dial_apart(
    address: &Address,
    peer: SocketAddr,
    tls: &ClientTls,
) -> Result<Line, Trouble> {
    let tls = encryption(slice::from_ref(address), tls).await.map_err(Trouble::Unusable)?;
    let away = |reason: String| Trouble::Away(format!("{}: {reason}", address.text));
    let to = address.clone();
    let opening = task::apart("etcd-connecting", async move { Line::open(&to, peer, tls.as_ref()).await });
    match timeout(CONNECT, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(broken)) => Err(away(broken.to_string())),
        Err(_) => Err(away(format!("no second connection within {} s", CONNECT.as_secs()))),
    }
}

/// TLS as its files are now, if any address asks for it.
async fn encryption(addresses: &[Address], tls: &ClientTls) -> Result<Option<Tls>, Unusable> {
    if !addresses.iter().any(|address| address.is_tls) {
        return Ok(None);
    }
    let config = Arc::new(client_config(tls, &["h2"]).await?);
    Ok(Some(Tls { config, server_name: tls.server_name.clone() }))
}

/// The places that an address stands for now.
async fn places(address: &Address) -> Result<Vec<SocketAddr>, Trouble> {
    let away = |reason: String| Trouble::Away(format!("{}: {reason}", address.text));
    let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
    match timeout(CONNECT, lookup).await {
        Err(_) => Err(away("its name is not resolved in time".to_owned())),
        Ok(Err(error)) => Err(away(error.to_string())),
        Ok(Ok(found)) => Ok(found.take(PLACES).collect()),
    }
}

/// What went wrong while several members were tried.
#[derive(Default)]
struct Troubles {
    unusable: Option<Trouble>,
    away: Option<Trouble>,
}

impl Troubles {
    fn note(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Unusable(_) => self.unusable.get_or_insert(trouble),
            Trouble::Away(_) => self.away.get_or_insert(trouble),
        };
    }

    /// What a person can change comes first.
    fn first(self) -> Trouble {
        self.unusable.or(self.away).unwrap_or_else(|| Trouble::Away("no address leads anywhere".to_owned()))
    }
}

//! The storages by their names, and two places in each for two vaults.

use std::sync::Arc;

use holdfast::base::clock::SystemClock;
use holdfast::base::random::SystemRandom;
use holdfast::config::{Environment, parse};
use holdfast::vault::node::{BackendTable, Surroundings};
use holdfast::vault::physical::Backend;

use crate::store::Store;

/// The stanza of the first of two vaults on the same servers.
pub fn first(store: &Store) -> String {
    let stanza = store.stanza("storage");
    match store {
        // Its user may write nowhere else, and no vault may lie inside of another.
        Store::Etcd(_) => moved(&stanza, "path = \"/gate/\"", "path = \"/gate/first/\""),
        _ => stanza,
    }
}

/// The same for measuring throughput: what a Kubernetes storage spends on its host is not limited.
pub fn unlimited(store: &Store) -> String {
    let stanza = first(store);
    match store {
        Store::Kubernetes(_) => with(
            &stanza,
            "budget_bytes_per_second = 1073741824\nbudget_window_seconds = 60\ndata_limit_bytes = 1073741824\n",
        ),
        _ => stanza,
    }
}

/// The same servers, another vault in them.
pub fn second(store: &Store, stanza: &str) -> String {
    let (old, new) = match store {
        Store::Kubernetes(_) => ("name = \"gate\"", "name = \"second\""),
        Store::Etcd(_) => ("path = \"/gate/first/\"", "path = \"/gate/second/\""),
        Store::Consul(_) => ("path = \"gate/\"", "path = \"second/\""),
        Store::Zookeeper(_) => ("path = \"/gate\"", "path = \"/second\""),
        Store::Postgresql(_) => return with(stanza, "table = \"second\"\n"),
    };
    moved(stanza, old, new)
}

fn moved(stanza: &str, old: &str, new: &str) -> String {
    let moved = stanza.replace(old, new);
    assert_ne!(moved, stanza, "{old} is missing");
    moved
}

/// `stanza` with more settings.
fn with(stanza: &str, settings: &str) -> String {
    let (inside, end) = stanza.rsplit_once('}').unwrap();
    format!("{inside}{settings}}}{end}")
}

/// A connection of our own to the storage that `stanza` names.
pub async fn connect(stanza: &str) -> Arc<dyn Backend> {
    let text = format!("{stanza}\nlistener \"tcp\" {{ address = \"127.0.0.1:0\" tls_disable = true }}\n");
    let config = parse(&[("bench", &text)], &Environment::fixed([])).unwrap();
    let around = Surroundings { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
    BackendTable::default().storage(&config.storage, &around).await.unwrap().backend
}

//! The first contact: what can be known to be wrong before the first request of anybody.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::backend::ConsulBackend;
use super::client::{Call, Client, encoded};
use super::config::{Layout, Settings};
use super::connection::{Answer, Fault, Unanswered};
use super::measure;
use super::register::ConsulRegister;
use super::transaction::{self, Outcome, Step};
use crate::config::ConsulStorage;
use crate::vault::physical::tls;
use crate::vault::physical::unusable::Unusable;

/// Longest time of the first contact.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// Longest time that one agent is given.
const ONE_AGENT: Duration = Duration::from_secs(2);
/// The oldest version that will do: older ones know no `check-not-exists`, and weigh transactions otherwise.
const LEAST_VERSION: &str = "1.8.0";
const LEAST: (u64, u64) = (1, 8);
/// An index that no key has.
const NO_INDEX: u64 = u64::MAX;

/// Opens storage and lock. Consul need not be there; when it is, it must be one that can be used.
///
/// # Errors
/// What waiting does not mend: unreadable files, an untrusted certificate, missing rights, another service at the
/// address, an agent that is too old, keeps everything in memory or takes less than a commit may have.
pub async fn open(config: &ConsulStorage) -> Result<(ConsulBackend, ConsulRegister), Unusable> {
    if let Some(token) = &config.token {
        token.read().await.map_err(|error| Unusable::File {
            key: "token",
            path: error.path,
            reason: error.reason,
        })?;
    }
    let settings = Settings::new(config);
    if settings.addresses.is_empty() {
        return Err(Unusable::Setting {
            key: "address",
            reason: "it names no agent: name one, such as 127.0.0.1:8500".to_owned(),
        });
    }
    if settings.addresses.iter().any(|address| address.is_tls) {
        tls::client_config(&config.tls, &[]).await?;
    }
    let client = Arc::new(Client::new(settings));
    let layout = Layout { path: config.path.clone() };
    match tokio::time::timeout(FIRST_CONTACT, contact(&client, &layout)).await {
        Ok(Ok(Seen::Good)) => {}
        Ok(Ok(Seen::Away(reason))) => away(&client, &reason),
        Ok(Err(unusable)) => return Err(unusable),
        Err(_) => away(&client, &format!("no answer within {} s", FIRST_CONTACT.as_secs())),
    }
    let backend = ConsulBackend::new(Arc::clone(&client), layout.clone());
    Ok((backend, ConsulRegister::new(client, layout)))
}

fn away(client: &Client, reason: &str) {
    let addresses: Vec<_> = client.agents().iter().map(|agent| agent.address.url.as_str()).collect();
    tracing::warn!(
        address = addresses.join(", "),
        reason,
        "Consul cannot be reached yet; this server keeps trying"
    );
}

/// What was seen of an agent.
enum Seen {
    Good,
    Away(String),
}

/// Looks at the first agent that answers.
async fn contact(client: &Client, layout: &Layout) -> Result<Seen, Unusable> {
    let mut reason = String::new();
    for at in 0..client.agents().len() {
        match look(client, layout, at).await? {
            Seen::Good => return Ok(Seen::Good),
            Seen::Away(why) => reason = why,
        }
    }
    Ok(Seen::Away(reason))
}

async fn look(client: &Client, layout: &Layout, at: usize) -> Result<Seen, Unusable> {
    let address = client.agents().get(at).map_or_else(String::new, |agent| agent.address.url.clone());
    let ask = async |call: Call| match client.send(at, &call, ONE_AGENT).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(Unanswered { fault: fault @ Fault::Away(_), .. }) => {
            let refusal = match client.agents().get(at) {
                Some(agent) => agent.refusal().await,
                None => None,
            };
            verdict(&address, refusal.unwrap_or(fault)).map(Err)
        }
        Err(failed) => verdict(&address, failed.fault).map(Err),
    };
    macro_rules! answer {
        ($call:expr) => {
            match ask($call).await? {
                Ok(answer) => answer,
                Err(reason) => return Ok(Seen::Away(reason)),
            }
        };
    }
    let about = answer!(Call::get("/v1/agent/self".to_owned()));
    judge_agent(&address, &about)?;
    let head = answer!(Call::get(format!("/v1/kv/{}?consistent", encoded(&layout.head()))));
    if let Some(reason) = judge_read(&address, layout, &head)? {
        return Ok(Seen::Away(reason));
    }
    let listing =
        answer!(Call::get(format!("/v1/kv/{}?keys&separator=%2F&consistent", encoded(&layout.path))));
    if let Some(reason) = judge_read(&address, layout, &listing)? {
        return Ok(Seen::Away(reason));
    }
    let write = answer!(transaction::writing(transaction::body(&probe(layout))));
    if let Some(reason) = judge_write(&address, layout, &write)? {
        return Ok(Seen::Away(reason));
    }
    // A connection that breaks in every try proves nothing, for agents and networks do that too: such an agent is away,
    // as it is with any other request.
    let mut broken = String::new();
    for _ in 0..measure::TRIES {
        match ask(measure::largest(layout)).await? {
            Ok(answer) => {
                return Ok(measure::judge(&address, &answer)?.map_or(Seen::Good, Seen::Away));
            }
            Err(reason) => broken = reason,
        }
    }
    Ok(Seen::Away(broken))
}

/// What a failure to get any answer means: the storage is away, or it cannot be used.
fn verdict(address: &str, fault: Fault) -> Result<String, Unusable> {
    let address = address.to_owned();
    match fault {
        Fault::Away(reason) => Ok(format!("{address}: {reason}")),
        Fault::TooLarge => Ok(format!("{address}: {}", Fault::TooLarge.reason())),
        Fault::Untrusted(reason) => Err(Unusable::Untrusted { address, reason }),
        Fault::Rejected(reason) => {
            Err(Unusable::Refused { address, reason, check: "tls_cert_file and tls_key_file" })
        }
        Fault::Foreign(reason) => Err(foreign(address, reason)),
        Fault::File(unusable) => Err(unusable),
    }
}

fn foreign(address: String, reason: String) -> Unusable {
    Unusable::WrongService { address, expected: "Consul", reason }
}

/// The part of `GET /v1/agent/self` that is looked at. What an agent leaves out is not held against it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct About {
    config: AboutConfig,
    debug_config: AboutDetails,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AboutConfig {
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AboutDetails {
    dev_mode: bool,
}

/// Judges what the agent says of itself, if this node may ask for it.
fn judge_agent(address: &str, answer: &Answer) -> Result<(), Unusable> {
    if answer.status != 200 {
        return Ok(());
    }
    let Ok(about) = serde_json::from_slice::<About>(&answer.body) else { return Ok(()) };
    let address = address.to_owned();
    let version = about.config.version;
    if numbers(&version).is_some_and(|found| found < LEAST) {
        return Err(Unusable::TooOld { address, found: version, least: LEAST_VERSION });
    }
    if about.debug_config.dev_mode {
        let setting = "it runs with -dev, which keeps everything in memory".to_owned();
        return Err(Unusable::NotDurable { address, setting, change: "start it with a data_dir instead" });
    }
    Ok(())
}

/// Major and minor number of a version.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Judges an answer to a read; the reason if Consul is there but cannot serve it now.
fn judge_read(address: &str, layout: &Layout, answer: &Answer) -> Result<Option<String>, Unusable> {
    let url = address.to_owned();
    match (answer.status, answer.index()) {
        (200 | 404, Some(_)) => Ok(None),
        (401 | 403, _) => Err(denial(url, layout, "reading and listing", &answer.text())),
        (500..=599 | 429, _) => Ok(Some(format!("{address}: {}", answer.text()))),
        _ => Err(foreign(url, answer.text())),
    }
}

/// A transaction that changes nothing, since no key has this index, and needs the right to write everywhere.
fn probe(layout: &Layout) -> Vec<Step> {
    let keys = [layout.head(), layout.record(0), format!("{}x", layout.data()), layout.lock()];
    keys.into_iter().map(|key| Step::swap(key, b"", NO_INDEX)).collect()
}

/// Judges an answer to [`probe`]; the reason if Consul is there but cannot serve it now.
fn judge_write(address: &str, layout: &Layout, answer: &Answer) -> Result<Option<String>, Unusable> {
    match Outcome::read(answer) {
        Some(Outcome::Failed(objections)) => {
            match objections.iter().find(|said| said.what.contains("ermission denied")) {
                None => Ok(None),
                Some(said) => Err(denial(address.to_owned(), layout, "writing", &said.what)),
            }
        }
        _ if matches!(answer.status, 401 | 403) => {
            Err(denial(address.to_owned(), layout, "writing", &answer.text()))
        }
        _ => Ok(Some(format!("{address}: {}", answer.text()))),
    }
}

/// A token that is not known, or not enough.
fn denial(address: String, layout: &Layout, what: &str, reason: &str) -> Unusable {
    // An agent that had to ask the leader says so first.
    let reason = reason.trim_start_matches("rpc error making call: ");
    if reason.contains("not found") {
        return Unusable::Refused { address, reason: reason.to_owned(), check: "token" };
    }
    let path = &layout.path;
    let what = format!("{what} keys that begin with {path} (key_prefix \"{path}\" {{ policy = \"write\" }})");
    Unusable::Forbidden { address, what, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn about(text: &str) -> Result<(), String> {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let answer = Answer { status: 200, headers: HeaderMap::new(), body };
        judge_agent("http://c:8500", &answer).map_err(|unusable| unusable.to_string())
    }

    #[test]
    fn agents_are_judged_by_what_they_say() {
        let fine = r#"{"Config":{"Version":"1.8.7"},"DebugConfig":{"DevMode":false}}"#;
        assert_eq!(about(fine), Ok(()));
        assert_eq!(about("{}"), Ok(()));
        assert_eq!(about("not JSON"), Ok(()));
        assert_eq!(about(r#"{"Config":{"Version":"1.22.7+ent"}}"#), Ok(()));
        let wrong = [
            (
                r#"{"Config":{"Version":"1.7.14"}}"#,
                "http://c:8500 is version 1.7.14; at least 1.8.0 is needed",
            ),
            (
                r#"{"DebugConfig":{"DevMode":true}}"#,
                "http://c:8500 may lose what it has acknowledged: it runs with -dev, which keeps everything in memory; start it with a data_dir instead",
            ),
        ];
        for (text, expected) in wrong {
            assert_eq!(about(text), Err(expected.to_owned()));
        }
    }
}

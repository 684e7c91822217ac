//! From texts to a valid configuration; all problems are collected.

use std::time::Duration;

use super::hcl::Body;
use super::section::{Entry, FileBlock, Findings, Section};
use super::server::LEASE_TTL;
use super::{
    AddressEnvironment, Environment, HaConfig, HaStorageConfig, ListenerConfig, LogConfig, LogFormat,
    LogLevel, Place, PodEnvironment, Problem, Problems, SealConfig, ServerConfig, StorageConfig,
    TelemetryConfig,
};
use super::{env, ha, listener, seal, storage, telemetry};

/// A parsed file.
pub(super) struct Source {
    pub(super) file: String,
    pub(super) body: Body,
}

/// What blocks need to know of the environment.
pub(super) struct Context<'a> {
    pub(super) pod_namespace: Option<String>,
    pub(super) environment: &'a Environment,
}

/// Reads the whole configuration.
pub(super) fn server(sources: &[Source], environment: &Environment) -> Result<ServerConfig, Problems> {
    let mut findings = Findings::default();
    let pod = PodEnvironment::read(environment);
    let context = Context { pod_namespace: pod.namespace.clone(), environment };
    let entries = sources
        .iter()
        .flat_map(|source| source.body.items.iter().map(|item| Entry { file: source.file.as_str(), item }))
        .collect();
    let mut top = Section::top(entries, &mut findings);
    let storage = read_storage(&mut top, &context);
    let ha_storage = read_ha_storage(&mut top, &context);
    if let Some(lock) = &ha_storage {
        judge_lock(&mut top, storage.as_ref().map(|(storage, _)| storage), lock);
    }
    let (storage, ha_enabled) = storage.unwrap_or((StorageConfig::Inmem, true));
    let config = ServerConfig {
        storage,
        ha_enabled,
        ha_storage,
        listeners: read_listeners(&mut top),
        seal: read_seal(&mut top),
        telemetry: read_telemetry(&mut top),
        log: read_log(&mut top, environment),
        ha: read_ha(&mut top),
        api_addr: read_api_addr(&mut top),
        cluster_addr: top.text_where("cluster_addr", is_url, URL),
        cluster_name: top.text_where(
            "cluster_name",
            |name| !name.is_empty() && name.len() <= 255,
            "a name of 1 to 255 bytes",
        ),
        disable_clustering: {
            let mut disabled = false;
            top.flag("disable_clustering", &mut disabled);
            disabled
        },
        standby_reads: {
            // Vault's name and OpenBao's.
            let (mut performance, mut reads) = (false, false);
            top.flag("disable_performance_standby", &mut performance);
            top.flag("disable_standby_reads", &mut reads);
            !performance && !reads
        },
        default_lease_ttl: read_ttl(&mut top, "default_lease_ttl"),
        max_lease_ttl: read_ttl(&mut top, "max_lease_ttl"),
        addresses: read_addresses(&mut top, environment),
        pod,
        dev: None,
        warnings: Vec::new(),
    };
    if config.default_lease_ttl > config.max_lease_ttl {
        top.conflict(
            "default_lease_ttl",
            "default_lease_ttl is longer than max_lease_ttl: shorten it or raise max_lease_ttl",
        );
    }
    top.finish();
    if findings.problems.is_empty() {
        Ok(ServerConfig { warnings: findings.warnings, ..config })
    } else {
        Err(Problems(findings.problems))
    }
}

const URL: &str = "a URL such as https://10.0.0.1:8200, without a path";

/// Whether `text` is `http(s)://host[:port]`, with at most a slash behind it.
pub(super) fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
        && uri.path_and_query().is_none_or(|path| path.as_str() == "/")
}

/// Reads one block with a type as its label.
fn typed<'a, T>(
    top: &mut Section<'a>,
    key: &'static str,
    found: &FileBlock<'a>,
    read: impl FnOnce(&str, &mut Section<'_>) -> T,
) -> T {
    let kind = found.block.labels.first().copied().unwrap_or_default();
    let name = format!("{key} {kind:?}");
    let mut section = Section::block(name, found.file, &found.block, top.findings());
    let value = read(kind, &mut section);
    section.finish();
    value
}

/// Reads one block without a label.
fn plain<'a, T>(
    top: &mut Section<'a>,
    key: &'static str,
    example: &'static str,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Option<T> {
    let found: FileBlock<'a> = top.one_block(key, 0, example)?;
    let mut section = Section::block(key.to_owned(), found.file, &found.block, top.findings());
    let value = read(&mut section);
    section.finish();
    Some(value)
}

fn read_storage(top: &mut Section<'_>, context: &Context<'_>) -> Option<(StorageConfig, bool)> {
    let example = "storage \"kubernetes\" { … }";
    let found = top.one_block("storage", 1, example);
    // The name of 2016.
    let older = top.one_block("backend", 1, example);
    if let (Some(_), Some(_)) = (&found, &older) {
        top.conflict("backend", "backend is an older name of storage: remove one of the two");
    }
    let Some(found) = found.or(older) else {
        if top.has("storage") || top.has("backend") {
            return None;
        }
        top.report(Problem::Missing {
            place: Place::default(),
            section: String::new(),
            what: "storage: say where the data lies, for example storage \"kubernetes\" { name = \"vault\" }"
                .to_owned(),
        });
        return None;
    };
    Some(typed(top, "storage", &found, |kind, section| storage::storage(kind, section, context)))
}

fn read_ha_storage(top: &mut Section<'_>, context: &Context<'_>) -> Option<HaStorageConfig> {
    let example = "ha_storage \"kubernetes\" { … }";
    let found = top.one_block("ha_storage", 1, example);
    let older = top.one_block("ha_backend", 1, example);
    if let (Some(_), Some(_)) = (&found, &older) {
        top.conflict("ha_backend", "ha_backend is an older name of ha_storage: remove one of the two");
    }
    let found = found.or(older)?;
    Some(typed(top, "ha_storage", &found, |kind, section| storage::ha_storage(kind, section, context)))
}

/// Storages of one process neither have a lock nor may be led by one.
fn judge_lock(top: &mut Section<'_>, storage: Option<&StorageConfig>, lock: &HaStorageConfig) {
    let key = if top.has("ha_storage") { "ha_storage" } else { "ha_backend" };
    match (storage, lock) {
        (Some(storage @ (StorageConfig::File(_) | StorageConfig::Inmem)), _) => top.conflict(
            key,
            &format!(
                "storage {:?} is for one node, and a lock would let nodes with different data elect one of them: remove {key}, or use etcd, Consul, ZooKeeper, PostgreSQL or Kubernetes as storage",
                storage.kind()
            ),
        ),
        (_, HaStorageConfig::Other { kind, .. }) if matches!(kind.as_str(), "file" | "inmem") => top.conflict(
            key,
            &format!(
                "{key} {kind:?} cannot elect, since no other node sees what it holds: take the lock from etcd, Consul, ZooKeeper, PostgreSQL or Kubernetes, or remove {key} to use the storage's own"
            ),
        ),
        _ => {}
    }
}

fn read_listeners(top: &mut Section<'_>) -> Vec<ListenerConfig> {
    let found = top.all_blocks("listener", 1, "listener \"tcp\" { … }");
    if found.is_empty() && !top.has("listener") {
        top.report(Problem::Missing {
            place: Place::default(),
            section: String::new(),
            what: "listener: say where clients connect, for example listener \"tcp\" { address = \"0.0.0.0:8200\" … }"
                .to_owned(),
        });
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for block in &found {
        let listener = typed(top, "listener", block, |kind, section| {
            if kind != "tcp" {
                section.unknown_type("listener", kind, &["tcp"]);
                return None;
            }
            Some(listener::listener(section))
        });
        let Some(listener) = listener else { continue };
        if listener.address.port() != 0 && listeners.iter().any(|other| other.address == listener.address) {
            let place = Entry { file: block.file, item: block.block.item }.place();
            let message = format!("two listeners have the address {}: give each its own", listener.address);
            top.report(Problem::Conflict { place, message });
        }
        listeners.push(listener);
    }
    listeners
}

fn read_seal(top: &mut Section<'_>) -> SealConfig {
    let found = top.one_block("seal", 1, "seal \"static\" { … }");
    found.map_or(SealConfig::Shamir, |found| typed(top, "seal", &found, seal::seal))
}

fn read_telemetry(top: &mut Section<'_>) -> TelemetryConfig {
    plain(top, "telemetry", "telemetry { … }", telemetry::telemetry).unwrap_or_default()
}

fn read_ha(top: &mut Section<'_>) -> HaConfig {
    plain(top, "ha", "ha { … }", ha::ha).unwrap_or_default()
}

fn read_log(top: &mut Section<'_>, environment: &Environment) -> LogConfig {
    let level = top.parsed("log_level", LogLevel::NAMES, LogLevel::parse).unwrap_or_default();
    let format = top.parsed("log_format", LogFormat::NAMES, LogFormat::parse).unwrap_or_default();
    LogConfig {
        level: variable(top, environment, env::VAULT_LOG_LEVEL, LogLevel::NAMES, LogLevel::parse)
            .unwrap_or(level),
        format: variable(top, environment, env::VAULT_LOG_FORMAT, LogFormat::NAMES, LogFormat::parse)
            .unwrap_or(format),
    }
}

/// An environment variable read by `read`.
fn variable<T>(
    top: &mut Section<'_>,
    environment: &Environment,
    variable: env::Variable,
    expected: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let value = environment.get(variable)?;
    let parsed = read(&value);
    if parsed.is_none() {
        top.report(Problem::BadVariable { name: variable.name, value, expected });
    }
    parsed
}

fn read_api_addr(top: &mut Section<'_>) -> Option<String> {
    let given: Vec<_> = ["api_addr", "redirect_addr", "advertise_addr"]
        .into_iter()
        .filter_map(|key| Some((key, top.text_where(key, is_url, URL)?)))
        .collect();
    if let [(first, _), (second, _), ..] = given.as_slice() {
        top.conflict(
            second,
            &format!("{second} is an older name of api_addr and {first} is given: remove one of the two"),
        );
    }
    given.into_iter().next().map(|(_, address)| address.trim_end_matches('/').to_owned())
}

fn read_addresses(top: &mut Section<'_>, environment: &Environment) -> AddressEnvironment {
    for name in
        [env::VAULT_API_ADDR, env::VAULT_REDIRECT_ADDR, env::VAULT_ADVERTISE_ADDR, env::VAULT_CLUSTER_ADDR]
    {
        variable(top, environment, name, URL, |text| is_url(text).then_some(()));
    }
    AddressEnvironment::read(environment)
}

fn read_ttl(top: &mut Section<'_>, key: &'static str) -> Duration {
    let mut ttl = LEASE_TTL;
    top.duration(key, Duration::from_secs(1)..=Duration::from_secs(315_360_000), &mut ttl);
    ttl
}

//! A kernel with small engines over a store in memory, for tests of what runs on the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Body, Call, Core, CoreParts, InitAnswer, InitParams, Kernel, KernelEngine, Outcome, Reply};
use super::{FirstMount, MountClass, MountEntry, MountSpec, NewToken};
use crate::base::clock::{ManualClock, UnixMillis};
use crate::base::id;
use crate::base::random::SystemRandom;
use crate::base::secret::{SecretBytes, SecretString};
pub(crate) use crate::vault::barrier::testing::TestLedger;
use crate::vault::core::audit::AuditBroker;
use crate::vault::logical::{
    Engine, LogicalError, Operation, Request, Response, RouteTraits, StorageView, SystemView, TokenType,
};
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{Backend, Ledger, LockName};
use crate::vault::seal::{Seal, ShamirSeal};

/// An engine that keeps one record a path.
struct Plain;

/// Where a record lies; in `cubbyhole/` below the token's own name, as the kernel expects.
fn key_of(request: &Request) -> String {
    match request.mount_path.as_str() {
        "cubbyhole/" => format!("{}/{}", request.principal.cubbyhole_id, request.path),
        _ => request.path.clone(),
    }
}

#[async_trait]
impl Engine for Plain {
    fn kind(&self) -> &'static str {
        "plain"
    }

    fn route(&self, _operation: Operation, path: &str) -> RouteTraits {
        RouteTraits {
            needs_sudo: path.starts_with("guarded/"),
            repeatable: path.starts_with("same/"),
            unauthenticated: path == "login",
            active_only: path == "active",
        }
    }

    async fn exists(
        &self,
        request: &Request,
        storage: &dyn StorageView,
    ) -> Result<Option<bool>, LogicalError> {
        Ok(Some(storage.get(&key_of(request)).await?.is_some()))
    }

    async fn handle(
        &self,
        request: &Request,
        storage: &dyn StorageView,
        _system: &dyn SystemView,
    ) -> Result<Option<Response>, LogicalError> {
        let key = key_of(request);
        match request.operation {
            Operation::Read => {
                let Some(value) = storage.get(&key).await? else { return Ok(None) };
                let data = serde_json::from_slice(value.expose())
                    .map_err(|e| LogicalError::Internal(e.to_string()))?;
                Ok(Some(Response::data(data)))
            }
            Operation::List => Ok(Response::keys(storage.list(&key, None, 100).await?)),
            Operation::Delete => storage.delete(&key).await.map(|()| None),
            Operation::Create | Operation::Update | Operation::Patch => {
                if request.path == "login" {
                    let login = crate::vault::logical::Login {
                        policies: vec!["default".to_owned()],
                        orphan: true,
                        renewable: true,
                        ..Default::default()
                    };
                    return Ok(Some(Response { login: Some(login), ..Response::default() }));
                }
                if request.data.contains_key("fail") {
                    storage.put(&key, SecretBytes::new(b"{}".to_vec())).await?;
                    return Err(LogicalError::Invalid("it failed".to_owned()));
                }
                let value =
                    serde_json::to_vec(&request.data).map_err(|e| LogicalError::Internal(e.to_string()))?;
                storage.put(&key, SecretBytes::new(value)).await.map(|()| None)
            }
        }
    }
}

/// The few kernel operations that the tests need.
struct Ops;

fn text(request: &Request, name: &str) -> String {
    request.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[async_trait]
impl KernelEngine for Ops {
    fn route(&self, _operation: Operation, path: &str) -> RouteTraits {
        RouteTraits { needs_sudo: path == "rotate", ..RouteTraits::default() }
    }

    async fn handle(&self, request: &Request, kernel: &Kernel<'_>) -> Result<Option<Response>, LogicalError> {
        let number = |name: &str| request.data.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (verb, rest) = request.path.split_once('/').unwrap_or((&request.path, ""));
        match verb {
            "create" => {
                let policies =
                    request.data.get("policies").and_then(Value::as_array).cloned().unwrap_or_default();
                let token_type =
                    if text(request, "type") == "batch" { TokenType::Batch } else { TokenType::default() };
                let id = Some(text(request, "id")).filter(|id| !id.is_empty()).map(SecretString::new);
                let issued = kernel
                    .create_token(NewToken {
                        id,
                        token_type,
                        policies: policies.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                        parent: kernel.caller().cloned(),
                        ttl_seconds: number("ttl"),
                        num_uses: number("num_uses"),
                        renewable: true,
                        ..NewToken::default()
                    })
                    .await?;
                Ok(Some(Response {
                    auth: Some(issued.auth()),
                    warnings: issued.warnings,
                    ..Response::default()
                }))
            }
            "lookup" => {
                let found = kernel.find_token(&SecretString::new(text(request, "token"))).await?;
                let Some(entry) = found else { return Err(LogicalError::Denied) };
                let ttl = entry.ttl_seconds(kernel.time());
                let data = json!({"ttl": ttl, "policies": entry.policies, "num_uses": entry.num_uses});
                Ok(Some(Response::data(data.as_object().cloned().unwrap_or_default())))
            }
            "renew" | "revoke" | "revoke-orphan" => {
                let found = kernel.find_token(&SecretString::new(text(request, "token"))).await?;
                let Some(entry) = found else {
                    return Err(LogicalError::Invalid("token not found".to_owned()));
                };
                match verb {
                    "renew" => {
                        let (entry, _) = kernel.renew_token(&entry, number("increment")).await?;
                        let auth = entry.auth(&request.client_token, kernel.time());
                        return Ok(Some(Response { auth: Some(auth), ..Response::default() }));
                    }
                    "revoke" => kernel.revoke_token(&entry).await?,
                    _ => kernel.revoke_orphan(&entry).await?,
                }
                Ok(None)
            }
            "policy" => kernel.put_policy(rest, &text(request, "policy")).map(|()| None),
            "delete-policy" => kernel.delete_policy(rest).map(|()| None),
            "tune" => {
                let tune = |entry: &mut MountEntry| entry.config.max_lease_ttl_seconds = number("max_ttl");
                kernel.tune(MountClass::Auth, rest, tune).await.map(|_| None)
            }
            "mount" => {
                let spec = MountSpec { kind: text(request, "type"), ..MountSpec::default() };
                kernel.mount(MountClass::Secret, rest, spec).await.map(|_| None)
            }
            "unmount" => kernel.unmount(MountClass::Secret, rest).await.map(|_| None),
            "remount" => kernel.remount(MountClass::Secret, rest, &text(request, "to")).await.map(|()| None),
            "rotate" => kernel.rotate().await.map(|()| None),
            _ => Err(LogicalError::UnsupportedPath),
        }
    }
}

/// A kernel, its storage and its ledger.
pub(crate) struct Vault {
    pub(crate) core: Arc<Core>,
    pub(crate) backend: InmemBackend,
    pub(crate) ledger: Arc<TestLedger>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) root: SecretString,
}

pub(crate) fn core_with(seal: Arc<dyn Seal>, clock: Arc<ManualClock>) -> Arc<Core> {
    let mut parts = CoreParts {
        clock,
        random: Arc::new(SystemRandom),
        engines: BTreeMap::new(),
        auth_methods: BTreeMap::new(),
        kernel_engines: BTreeMap::new(),
        seal,
        cluster_name: "test".to_owned(),
        version: "1.0.0".to_owned(),
        audit: Arc::new(AuditBroker::default()),
    };
    parts.engines.insert("plain", |_| Ok(Arc::new(Plain)));
    parts.engines.insert("cubbyhole", |_| Ok(Arc::new(Plain)));
    parts.kernel_engines.insert("system", Arc::new(Ops));
    parts.kernel_engines.insert("token", Arc::new(Ops));
    Core::new(parts)
}

pub(crate) fn lock_name() -> LockName {
    LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "vault".to_owned() }
}

pub(crate) fn init_params(shares: u8, threshold: u8) -> InitParams {
    InitParams {
        secret_shares: shares,
        secret_threshold: threshold,
        recovery_shares: 0,
        recovery_threshold: 0,
        nonce: None,
        cluster_authority: SecretBytes::new(b"authority".to_vec()),
        root_token: None,
        mounts: vec![FirstMount {
            class: MountClass::Secret,
            path: "secret/".to_owned(),
            kind: "plain".to_owned(),
            options: BTreeMap::new(),
        }],
    }
}

pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// A sealed, initialised vault.
pub(crate) async fn sealed(shares: u8, threshold: u8) -> (Vault, InitAnswer) {
    let backend = InmemBackend::new();
    let clock = Arc::new(ManualClock::starting_at(START));
    let core = core_with(Arc::new(ShamirSeal), Arc::clone(&clock));
    let answer = core
        .initialise(&backend, lock_name(), "node", init_params(shares, threshold))
        .await
        .expect("initialised");
    let ledger = TestLedger::new(backend.clone(), Arc::clone(&clock));
    (Vault { core, backend, ledger, clock, root: answer.root_token.clone() }, answer)
}

impl Vault {
    /// An unsealed vault with the engine `plain` at `secret/`.
    pub(crate) async fn unsealed() -> Self {
        let (vault, answer) = sealed(1, 1).await;
        vault.core.unseal(&vault.backend, answer.keys[0].clone()).await.expect("unsealed");
        vault
    }

    pub(crate) fn call(&self, token: &SecretString, operation: Operation, path: &str, data: &Value) -> Call {
        Call {
            id: id::uuid(&SystemRandom),
            operation,
            path: path.to_owned(),
            data: data.as_object().cloned().unwrap_or_default(),
            token: token.clone(),
            remote: None,
            wrap_ttl_seconds: None,
            max_staleness_ms: 0,
        }
    }

    pub(crate) async fn outcome(
        &self,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Outcome {
        let ledger: Arc<dyn Ledger> = Arc::clone(&self.ledger) as _;
        self.core.handle(ledger, self.call(token, operation, path, &data)).await
    }

    /// The reply's status and body.
    pub(crate) async fn ask(
        &self,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> (u16, Map<String, Value>) {
        match self.outcome(token, operation, path, data).await {
            Outcome::Reply(Reply { status, body: Body::Json(body), .. }) => (status, body),
            Outcome::Reply(Reply { status, .. }) => (status, Map::new()),
            other => panic!("no reply: {other:?}"),
        }
    }

    /// A new child of `parent`.
    pub(crate) async fn token(&self, parent: &SecretString, data: Value) -> SecretString {
        let (status, body) = self.ask(parent, Operation::Update, "auth/token/create", data).await;
        assert_eq!(status, 200, "{body:?}");
        body["auth"]["client_token"].as_str().expect("token").into()
    }

    /// All keys in storage below `prefix`.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        self.backend.list(prefix, None, 10_000).await.expect("listed").keys
    }
}

//! `sys/` and `auth/token/` through the whole pipeline, over a store in memory.

mod errors;
mod kv;
mod mounts;
mod policies;
mod shares;
mod tokens;
mod tools;
mod traits;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::clock::ManualClock;
use crate::base::random::SystemRandom;
use crate::base::secret::SecretString;
use crate::vault::core::audit::AuditBroker;
use crate::vault::core::testing::{START, TestLedger, Vault, init_params, lock_name};
use crate::vault::core::{Core, CoreParts, FirstMount, InitAnswer, InitParams, MountClass};
use crate::vault::logical::Operation;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::seal::{Seal, ShamirSeal};
use crate::vault::secrets;

/// An unsealed vault with the real engines: KV version 2 at `secret/`, version 1 at `old/`.
async fn vault() -> Vault {
    vault_by(Arc::new(ShamirSeal), init_params(1, 1)).await.0
}

/// The same under this seal and made so, with the shares.
async fn vault_by(seal: Arc<dyn Seal>, mut params: InitParams) -> (Vault, InitAnswer) {
    let clock = Arc::new(ManualClock::starting_at(START));
    let core = core(seal, Arc::clone(&clock));
    let mount = |path: &str, version: &str| FirstMount {
        class: MountClass::Secret,
        path: path.to_owned(),
        kind: "kv".to_owned(),
        options: [("version".to_owned(), version.to_owned())].into(),
    };
    params.mounts = vec![mount("secret/", "2"), mount("old/", "1")];
    let backend = InmemBackend::new();
    let answer = core.initialise(&backend, lock_name(), "node", params).await.expect("initialised");
    let ledger = TestLedger::new(backend.clone(), Arc::clone(&clock));
    let vault = Vault { core, backend, ledger, clock, root: answer.root_token.clone() };
    unseal(&vault.core, &vault.backend, &answer).await;
    (vault, answer)
}

/// A node with the real engines.
fn core(seal: Arc<dyn Seal>, clock: Arc<ManualClock>) -> Arc<Core> {
    Core::new(CoreParts {
        clock,
        random: Arc::new(SystemRandom),
        engines: ["kv", "cubbyhole"].map(|kind| (kind, secrets::factory(kind).expect("known"))).into(),
        auth_methods: BTreeMap::new(),
        kernel_engines: super::kernel_engines(),
        seal,
        cluster_name: "test".to_owned(),
        version: "1.0.0".to_owned(),
        audit: Arc::new(AuditBroker::default()),
    })
}

async fn unseal(core: &Core, backend: &InmemBackend, answer: &InitAnswer) {
    core.auto_unseal(backend).await.expect("unsealed");
    for key in &answer.keys {
        core.unseal(backend, key.clone()).await.expect("a share is taken");
    }
    assert!(!core.seal_status().sealed);
}

/// The words of these tests.
trait Words {
    /// An answer of 200; its body.
    async fn ok(
        &self,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Map<String, Value>;
    /// An answer of 204.
    async fn done(&self, token: &SecretString, operation: Operation, path: &str, data: Value);
    /// An answer of this status with errors; the first one.
    async fn refused(
        &self,
        status: u16,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> String;
    /// A token with a policy of this text.
    async fn token_that_may(&self, policy: &str) -> SecretString;
}

impl Words for Vault {
    async fn ok(
        &self,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Map<String, Value> {
        let (status, body) = self.ask(token, operation, path, data).await;
        assert_eq!(status, 200, "{operation:?} {path}: {body:?}");
        body
    }

    async fn done(&self, token: &SecretString, operation: Operation, path: &str, data: Value) {
        let (status, body) = self.ask(token, operation, path, data).await;
        assert_eq!((status, &body), (204, &Map::new()), "{operation:?} {path}");
    }

    async fn refused(
        &self,
        status: u16,
        token: &SecretString,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> String {
        let (got, body) = self.ask(token, operation, path, data).await;
        assert_eq!(got, status, "{operation:?} {path}: {body:?}");
        body["errors"][0].as_str().unwrap_or_default().to_owned()
    }

    async fn token_that_may(&self, policy: &str) -> SecretString {
        let name = format!("p-{}", crate::base::id::base62(&SystemRandom, 8)).to_lowercase();
        self.done(
            &self.root,
            Operation::Update,
            &format!("sys/policies/acl/{name}"),
            json!({"policy": policy}),
        )
        .await;
        self.token(&self.root, json!({"policies": [name]})).await
    }
}

//! `sys/` and `auth/token/` through the whole pipeline, over a store in memory.

mod errors;
mod kv;
mod mounts;
mod policies;
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
use crate::vault::core::{Core, CoreParts, FirstMount, MountClass};
use crate::vault::logical::Operation;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::seal::ShamirSeal;
use crate::vault::secrets;

/// An unsealed vault with the real engines: KV version 2 at `secret/`, version 1 at `old/`.
async fn vault() -> Vault {
    let clock = Arc::new(ManualClock::starting_at(START));
    let core = Core::new(CoreParts {
        clock: Arc::clone(&clock) as _,
        random: Arc::new(SystemRandom),
        engines: ["kv", "cubbyhole"].map(|kind| (kind, secrets::factory(kind).expect("known"))).into(),
        auth_methods: BTreeMap::new(),
        kernel_engines: super::kernel_engines(),
        seal: Arc::new(ShamirSeal),
        cluster_name: "test".to_owned(),
        version: "1.0.0".to_owned(),
        audit: Arc::new(AuditBroker::default()),
    });
    let mount = |path: &str, version: &str| FirstMount {
        class: MountClass::Secret,
        path: path.to_owned(),
        kind: "kv".to_owned(),
        options: [("version".to_owned(), version.to_owned())].into(),
    };
    let mut params = init_params(1, 1);
    params.mounts = vec![mount("secret/", "2"), mount("old/", "1")];
    let backend = InmemBackend::new();
    let answer = core.initialise(&backend, lock_name(), "node", params).await.expect("initialised");
    core.unseal(&backend, answer.keys[0].clone()).await.expect("unsealed");
    let ledger = TestLedger::new(backend.clone(), Arc::clone(&clock));
    Vault { core, backend, ledger, clock, root: answer.root_token }
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

//! The Secrets with keys: the unseal key and the answer of init. Created once and never overwritten.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};
use crate::api::InitResponse;
use crate::base::id;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::operator::names::UNSEAL_FILE;

/// Key in the init Secret: what makes init repeatable; removed once the answer is stored.
pub(crate) const NONCE: &str = "nonce";
/// Key in the init Secret: the first root token.
pub(crate) const ROOT_TOKEN: &str = "root-token";
/// Prefix of keys in the init Secret: recovery keys, in base64 as init prints them.
pub(crate) const RECOVERY_KEY: &str = "recovery-key";
/// Annotation of the init Secret: UUID of the vault that the answer belongs to.
pub(crate) const CLUSTER_ID: &str = "holdfast.dev/cluster-id";
/// Annotation of the init Secret: the answer was stored. It outlives the removal of token and keys by their owner.
pub(crate) const ANSWERED: &str = "holdfast.dev/answered";

const UNSEAL_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 32;

/// The unseal key's Secret with a new key.
pub(crate) fn unseal_key(context: &Context<'_>, random: &dyn Random) -> Child {
    let mut key = vec![0; UNSEAL_KEY_BYTES];
    random.fill(&mut key);
    let key = SecretBytes::new(key);
    let body = json!({
        "type": "Opaque",
        "immutable": true,
        "data": {UNSEAL_FILE: STANDARD.encode(key.expose())},
    });
    child(context, Kind::Secret, &context.names.unseal_key(), Ownership::Kept, fields(body))
}

/// The init Secret with a new nonce and nothing else yet.
pub(crate) fn init(context: &Context<'_>, random: &dyn Random) -> Child {
    let mut nonce = vec![0; NONCE_BYTES];
    random.fill(&mut nonce);
    let nonce = SecretBytes::new(id::hex(SecretBytes::new(nonce).expose()).into_bytes());
    let body = json!({"type": "Opaque", "data": {NONCE: STANDARD.encode(nonce.expose())}});
    child(context, Kind::Secret, &context.names.init(), Ownership::Kept, fields(body))
}

/// The patch that puts the answer of init into its Secret.
pub(crate) fn answer(response: &InitResponse) -> Value {
    let mut data = Map::new();
    data.insert(ROOT_TOKEN.to_owned(), json!(STANDARD.encode(response.root_token.expose())));
    let keys = &response.recovery_keys_base64;
    for (n, key) in keys.iter().enumerate() {
        let name =
            if keys.len() == 1 { RECOVERY_KEY.to_owned() } else { format!("{RECOVERY_KEY}-{}", n + 1) };
        data.insert(name, json!(STANDARD.encode(key.expose())));
    }
    json!({"metadata": {"annotations": {ANSWERED: "true"}}, "data": data})
}

/// The patch that closes initialisation: the nonce goes, the vault's identity comes.
pub(crate) fn closing(cluster_id: &str) -> Value {
    json!({"metadata": {"annotations": {CLUSTER_ID: cluster_id}}, "data": {NONCE: null}})
}

/// Metadata alone of a Secret that exists: labels, and owners by the deletion policy.
pub(crate) fn adopt(context: &Context<'_>, name: &str, uid: &str) -> Child {
    let mut secret = child(context, Kind::Secret, name, Ownership::Kept, Map::new());
    // Applying to a Secret that has just gone must not create an empty one.
    secret.value["metadata"]["uid"] = json!(uid);
    secret
}

//! The static-key seal: a key that the node is given, such as from a mounted Secret. Whoever can read the key can
//! unseal the vault.

use async_trait::async_trait;
use base64::Engine as _;

use super::{AutoSeal, Seal, SealError, Wrapped, unwrap_with, wrap_with};
use crate::base::id;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::KEY_BYTES;

const KIND: &str = "static";

/// A named key of 32 bytes.
#[derive(Debug, Clone)]
pub struct StaticKey {
    id: String,
    key: SecretBytes,
}

impl StaticKey {
    /// Reads key material: 32 raw bytes, or their hexadecimal or base64 text with or without a final newline.
    ///
    /// # Errors
    /// [`SealError::Configuration`], which never shows the material.
    pub fn new(id: &str, material: &SecretBytes) -> Result<Self, SealError> {
        if id.is_empty() {
            return Err(SealError::Configuration("a static seal needs a key id".to_owned()));
        }
        let key = decode(material.expose()).ok_or_else(|| {
            SealError::Configuration(format!(
                "static seal key {id:?} must be 32 bytes, raw, or in hexadecimal or base64 text"
            ))
        })?;
        Ok(Self { id: id.to_owned(), key })
    }
}

fn decode(material: &[u8]) -> Option<SecretBytes> {
    if material.len() == KEY_BYTES {
        return Some(SecretBytes::new(material.to_vec()));
    }
    let text = std::str::from_utf8(material).ok()?.trim();
    let key = id::unhex(text)
        .filter(|key| key.len() == KEY_BYTES)
        .or_else(|| base64::engine::general_purpose::STANDARD.decode(text).ok())
        .or_else(|| base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).ok())?;
    (key.len() == KEY_BYTES).then(|| SecretBytes::new(key))
}

/// The static-key seal: wraps by the current key, unwraps by the current or the previous one.
#[derive(Debug, Clone)]
pub struct StaticSeal {
    current: StaticKey,
    previous: Option<StaticKey>,
}

impl StaticSeal {
    /// A seal with these keys.
    ///
    /// # Errors
    /// [`SealError::Configuration`] if both keys have one name.
    pub fn new(current: StaticKey, previous: Option<StaticKey>) -> Result<Self, SealError> {
        if previous.as_ref().is_some_and(|previous| previous.id == current.id) {
            return Err(SealError::Configuration(format!(
                "current and previous static seal key have the same id {:?}",
                current.id
            )));
        }
        Ok(Self { current, previous })
    }
}

impl Seal for StaticSeal {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn automatic(&self) -> Option<&dyn AutoSeal> {
        Some(self)
    }
}

#[async_trait]
impl AutoSeal for StaticSeal {
    async fn wrap(
        &self,
        random: &dyn Random,
        cluster: &str,
        root: &SecretBytes,
    ) -> Result<Wrapped, SealError> {
        wrap_with(self.current.key.expose(), random, KIND, &self.current.id, cluster, root)
    }

    async fn unwrap(&self, cluster: &str, wrapped: &Wrapped) -> Result<SecretBytes, SealError> {
        let known = std::iter::once(&self.current).chain(&self.previous);
        match known.clone().find(|key| key.id == wrapped.key_id) {
            Some(key) => unwrap_with(key.key.expose(), cluster, wrapped),
            None => Err(SealError::UnknownKey {
                stored: wrapped.key_id.clone(),
                configured: known.map(|key| key.id.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn is_stale(&self, wrapped: &Wrapped) -> bool {
        wrapped.key_id != self.current.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    fn key(id: &str, byte: u8) -> StaticKey {
        StaticKey::new(id, &SecretBytes::new(vec![byte; 32])).expect("key")
    }

    #[test]
    fn key_material_is_read_raw_in_hexadecimal_and_in_base64() {
        let raw = [0xabu8; 32];
        let hexadecimal = format!("{}\n", id::hex(&raw));
        let base64 = base64::engine::general_purpose::STANDARD.encode(raw);
        for material in [raw.to_vec(), hexadecimal.into_bytes(), base64.into_bytes()] {
            assert_eq!(StaticKey::new("a", &SecretBytes::new(material)).expect("key").key.expose(), raw);
        }
        for material in [vec![], vec![1; 31], b"zz".to_vec(), vec![b'a'; 62]] {
            let error = StaticKey::new("a", &SecretBytes::new(material)).expect_err("refused");
            assert_eq!(
                error.to_string(),
                "static seal key \"a\" must be 32 bytes, raw, or in hexadecimal or base64 text"
            );
        }
        assert!(StaticKey::new("", &SecretBytes::new(raw.to_vec())).is_err());
    }

    #[tokio::test]
    async fn the_previous_key_still_opens_and_others_do_not() {
        let root = SecretBytes::new(vec![9; 32]);
        let old = StaticSeal::new(key("1", 1), None).expect("seal");
        let wrapped = old.wrap(&SystemRandom, "cluster", &root).await.expect("wrapped");
        let rotated = StaticSeal::new(key("2", 2), Some(key("1", 1))).expect("seal");
        assert_eq!(rotated.unwrap("cluster", &wrapped).await.expect("unwrapped"), root);
        assert!(rotated.is_stale(&wrapped) && !old.is_stale(&wrapped));
        assert_eq!(rotated.unwrap("other", &wrapped).await, Err(SealError::WrongKey));
        let foreign = StaticSeal::new(key("3", 3), None).expect("seal");
        assert_eq!(
            foreign.unwrap("cluster", &wrapped).await.expect_err("refused").to_string(),
            "the stored keys are wrapped by key \"1\", which is not configured (configured: 3)"
        );
        let changed = StaticSeal::new(key("1", 4), None).expect("seal");
        assert_eq!(changed.unwrap("cluster", &wrapped).await, Err(SealError::WrongKey));
        assert!(StaticSeal::new(key("1", 1), Some(key("1", 2))).is_err());
    }
}

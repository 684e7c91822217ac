//! Secret text on the wire: only fields that ask for it are written out.

use serde::{Deserialize, Deserializer, Serializer};

use crate::base::secret::SecretString;

/// Writes the secret.
pub(super) fn serialize<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// Reads a secret.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::new)
}

/// A list of secrets.
pub(super) mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::secret::SecretString;

    /// Writes the secrets.
    pub(in crate::api) fn serialize<S: Serializer>(
        secrets: &[SecretString],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(secrets.iter().map(SecretString::expose))
    }

    /// Reads secrets; `null` is none.
    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SecretString>, D::Error> {
        let texts = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(texts.into_iter().map(SecretString::new).collect())
    }
}

/// A secret that may be absent.
pub(super) mod option {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::secret::SecretString;

    /// Writes the secret, or `null`.
    pub(in crate::api) fn serialize<S: Serializer>(
        secret: &Option<SecretString>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => serializer.serialize_str(secret.expose()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a secret, or `null`.
    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::new))
    }
}

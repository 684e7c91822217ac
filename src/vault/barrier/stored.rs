//! [`Stored`]: a secret inside a record that is about to be encrypted.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::base::id;
use crate::base::secret::SecretBytes;

/// A secret that is written as hexadecimal text, for use inside encrypted records only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored(pub SecretBytes);

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(id::hex(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        id::unhex(&text)
            .map(|bytes| Self(SecretBytes::new(bytes)))
            .ok_or_else(|| de::Error::custom("not hexadecimal"))
    }
}

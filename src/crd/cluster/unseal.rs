//! How the vault is unsealed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the vault is unsealed after a start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Unseal {
    /// Static: with a key in the Secret `<name>-unseal-key`, which the operator draws; the operator also initialises
    /// the vault. Shamir: by people with their shares; people initialise it too (`holdfast operator init`). Cannot be
    /// changed.
    #[serde(default, rename = "type")]
    pub kind: UnsealType,
}

/// How the vault is unsealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UnsealType {
    /// By a key in a Secret.
    #[default]
    Static,
    /// By people.
    Shamir,
}

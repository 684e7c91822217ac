//! Wire types and HTTP client of the Vault API.

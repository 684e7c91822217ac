//! Encryption at rest: the keyring and the encrypted store above a ledger.

//! How the root key is wrapped: Shamir shares or a static key.

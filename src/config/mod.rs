//! Typed server configuration: what the file and the environment say, checked.

pub mod hcl;

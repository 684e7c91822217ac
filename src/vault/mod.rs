//! The vault core: a secret server that speaks Vault's HTTP API.
//!
//! From the bottom up: the contract between kernel and engines ([`logical`]), engines and storage
//! ([`secrets`], [`auth`], [`physical`]), the kernel ([`barrier`], [`seal`], [`core`], [`system`], [`ha`]),
//! its HTTP face ([`http`]) and the composition of one server ([`node`]).

pub mod logical;

pub mod auth;
pub mod physical;
pub mod secrets;

pub mod barrier;
pub mod core;
pub mod ha;
pub mod http;
pub mod node;
pub mod seal;
pub mod system;

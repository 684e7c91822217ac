//! The kernel as a whole, over a store in memory.

mod audited;
mod errors;
mod lifecycle;
mod requests;
mod tokens;

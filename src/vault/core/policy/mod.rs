//! Policies: text, rules, and the decision.

mod acl;
mod builtin;
mod model;
mod parse;
mod store;

#[cfg(test)]
mod tests;

pub use acl::{Acl, Ask, ShownRules, Verdict};
pub use builtin::DEFAULT_POLICY;
pub use model::{Capabilities, Capability, Grant, Parameters, Policy, Rule};
pub use parse::parse;

pub(super) use store::{acl, delete, names, path_of, put, text};

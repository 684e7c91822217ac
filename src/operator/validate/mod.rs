//! What the API server could not refuse: rules asked again, and facts of other objects.

mod judge;

#[cfg(test)]
mod tests;

pub(crate) use judge::{Problem, certificate, conflicts, specification, storage_secrets};

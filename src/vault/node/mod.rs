//! Composition of one server from its configuration.

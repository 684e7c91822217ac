//! The seeded simulation.
mod history;

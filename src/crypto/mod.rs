//! Algorithms: no storage, no network.

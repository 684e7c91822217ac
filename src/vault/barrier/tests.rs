//! Tests of the barrier.

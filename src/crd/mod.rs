//! Custom resources as users write them.

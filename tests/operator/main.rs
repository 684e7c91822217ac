//! The operator against a real kube-apiserver: definitions and their rules, children, deletion and re-creation, death
//! after every single write. There is no kubelet here, so no pod ever runs: that is what `tests/e2e` is for.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "../support/apiserver.rs"]
mod apiserver;
mod cases;
mod door;
mod generated;
mod lifecycle;
mod limits;
mod outage;
mod rules;
mod setup;

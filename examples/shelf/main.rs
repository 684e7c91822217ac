//! The `holdfast` program with one more type of storage: `storage "shelf" { path = "/var/lib/shelf" }`.

mod backend;
mod register;

fn main() -> std::process::ExitCode {
    let backends = holdfast::vault::node::BackendTable::default();
    holdfast::cli::main_with(&backends.with(backend::KIND, std::sync::Arc::new(backend::ShelfFactory)))
}

//! Commands of the `holdfast` program.

/// Runs the command named by the process's arguments and returns its exit code:
/// 0 for success, 1 for a failure on this side, 2 for a refusal by the server.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}

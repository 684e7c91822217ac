//! The class of an error: whose fault it is and whether trying again can help.
//!
//! Every module has its own error type; the HTTP layer and the controller's requeue policy look only at the class.

/// What kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The caller's input is wrong; the same input fails again (HTTP 400).
    Invalid,
    /// The caller may not do this (HTTP 403).
    Denied,
    /// What was asked for does not exist (HTTP 404).
    NotFound,
    /// The operation is not defined there (HTTP 405).
    Unsupported,
    /// The request is larger than a limit allows (HTTP 413).
    TooLarge,
    /// A precondition does not hold at the moment (HTTP 412 or 409).
    Conflict,
    /// The server cannot do it now; trying again later can help (HTTP 503).
    Unavailable,
    /// The request may or may not have been carried out (HTTP 503 that says so).
    Unknown,
    /// A fault of ours; the log says more (HTTP 500).
    Internal,
}

impl ErrorClass {
    /// Whether the same request can succeed later without the caller changing it.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable | Self::Internal)
    }
}

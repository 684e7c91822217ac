//! The contract between the kernel and its engines: requests, responses, and the two narrow views that an engine gets.

pub mod engine;
pub mod error;
pub mod fields;
pub mod record;
pub mod request;
pub mod response;
pub mod view;

#[cfg(test)]
pub(crate) mod testing;

pub use engine::{Engine, EngineFactory, RouteTraits};
pub use error::LogicalError;
pub use fields::Fields;
pub use request::{Operation, Principal, Request};
pub use response::{Login, RawBody, Response, TokenType};
pub use view::{SecretValue, StorageView, SystemView};

//! The contract between the kernel and its engines: requests, responses, and the two narrow views that an engine gets.

pub mod engine;
pub mod error;
pub mod request;
pub mod response;
pub mod view;

pub use engine::{Engine, EngineFactory, RouteTraits};
pub use error::LogicalError;
pub use request::{Operation, Principal, Request};
pub use response::{Login, RawBody, Response, TokenType};
pub use view::{SecretValue, StorageView, SystemView};

//! `sys/tools`: random bytes and hashes.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::base::id;
use crate::vault::logical::{LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

/// Most random bytes of one answer.
const RANDOM_BYTES_MAX: u64 = 128 * 1024;

/// `rest` is what follows `sys/tools/`: the path may carry parameters.
pub(super) fn handle(call: &Call<'_>, rest: &str) -> Answer {
    let mut parts = rest.split('/');
    let (tool, parameters) = (parts.next(), parts.collect::<Vec<_>>());
    if !matches!(tool, Some("random" | "hash")) || parameters.len() > 2 {
        return Err(LogicalError::UnsupportedPath);
    }
    if !matches!(call.operation, Operation::Create | Operation::Update) {
        return Err(LogicalError::UnsupportedOperation);
    }
    match (tool, parameters.as_slice()) {
        (Some("random"), parameters) => random(call, parameters),
        (_, []) => hash(call, None),
        (_, [algorithm]) => hash(call, Some(algorithm)),
        _ => Err(LogicalError::UnsupportedPath),
    }
}

/// `random`, `random/<bytes>`, `random/<source>`, `random/<source>/<bytes>`. There is one source, whatever its name.
fn random(call: &Call<'_>, parameters: &[&str]) -> Answer {
    let mut source = call.fields.text("source")?;
    let mut bytes = call.fields.text("bytes")?;
    for parameter in parameters {
        if parameter.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            bytes = Some((*parameter).to_owned());
        } else {
            source = Some((*parameter).to_owned());
        }
    }
    if let Some(other) = source.filter(|source| !["platform", "seal", "all"].contains(&source.as_str())) {
        return Err(SystemError::Source(other).into());
    }
    let count = match bytes.as_deref() {
        None | Some("") => 32,
        Some(text) => text.parse::<i64>().map_err(|_| SystemError::TooFewBytes)?,
    };
    let count = u64::try_from(count).ok().filter(|count| *count > 0).ok_or(SystemError::TooFewBytes)?;
    if count > RANDOM_BYTES_MAX {
        return Err(SystemError::TooManyBytes(RANDOM_BYTES_MAX).into());
    }
    let encode = encoding(call, Encoding::Base64)?;
    let mut filled = vec![0; usize::try_from(count).unwrap_or(0)];
    call.kernel.random().fill(&mut filled);
    Ok(Some(answer("random_bytes", encode.text(&filled))))
}

fn hash(call: &Call<'_>, algorithm: Option<&str>) -> Answer {
    let input = call.fields.text("input")?.unwrap_or_default();
    let input = STANDARD.decode(input.trim()).map_err(|error| SystemError::HashInput(error.to_string()))?;
    let given = match algorithm {
        Some(algorithm) => Some(algorithm.to_owned()),
        None => call.fields.text("algorithm")?,
    };
    let algorithm = match given.as_deref().unwrap_or("sha2-256") {
        "sha2-224" => &digest::SHA224,
        "sha2-256" => &digest::SHA256,
        "sha2-384" => &digest::SHA384,
        "sha2-512" => &digest::SHA512,
        "sha3-256" => &digest::SHA3_256,
        "sha3-384" => &digest::SHA3_384,
        "sha3-512" => &digest::SHA3_512,
        other => return Err(SystemError::Algorithm(other.to_owned()).into()),
    };
    let encode = encoding(call, Encoding::Hex)?;
    Ok(Some(answer("sum", encode.text(digest::digest(algorithm, &input).as_ref()))))
}

/// How bytes are shown.
#[derive(Clone, Copy)]
enum Encoding {
    Hex,
    Base64,
}

impl Encoding {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => id::hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn encoding(call: &Call<'_>, default: Encoding) -> Result<Encoding, LogicalError> {
    match call.fields.text("format")?.as_deref() {
        None | Some("") => Ok(default),
        Some("hex") => Ok(Encoding::Hex),
        Some("base64") => Ok(Encoding::Base64),
        Some(other) => Err(SystemError::Encoding(other.to_owned()).into()),
    }
}

fn answer(member: &str, text: String) -> Response {
    let mut data = Map::new();
    data.insert(member.to_owned(), Value::from(text));
    Response::data(data)
}

//! A secret that a storage asks for, and where it is.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::base::secret::SecretString;
use crate::config::parse::Context;
use crate::config::section::Section;

/// Most bytes of a file with a credential.
const FILE_BYTES: u64 = 64 << 10;

/// A password or token: the text itself, or the file that holds it now.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The text, from the configuration or from an environment variable.
    Text(SecretString),
    /// `file:///path`: read again whenever the storage is logged in to, so that a rotated one is found.
    File(PathBuf),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Credential(..)"),
            Self::File(path) => write!(f, "Credential(file://{})", path.display()),
        }
    }
}

/// Why a credential could not be read. The text never shows any of its content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the credential in {path} cannot be read: {reason}")]
pub struct CredentialError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub reason: String,
}

impl CredentialError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Unavailable
    }
}

impl Credential {
    /// The secret as it is now; white space around a file's content is not part of it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, above 64 KiB or not UTF-8.
    pub async fn read(&self) -> Result<SecretString, CredentialError> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        let fail = |reason: String| CredentialError { path: path.display().to_string(), reason };
        let about = tokio::fs::metadata(path).await.map_err(|error| fail(error.to_string()))?;
        if about.len() > FILE_BYTES {
            return Err(fail(format!("it has more than {FILE_BYTES} bytes")));
        }
        let raw = tokio::fs::read(path).await.map_err(|error| fail(error.to_string()))?;
        let text = match String::from_utf8(raw) {
            Ok(text) => SecretString::new(text),
            Err(error) => {
                zeroize::Zeroize::zeroize(&mut error.into_bytes());
                return Err(fail("it is not UTF-8 text".to_owned()));
            }
        };
        let trimmed = SecretString::new(text.expose().trim().to_owned());
        if trimmed.is_empty() { Err(fail("it is empty".to_owned())) } else { Ok(trimmed) }
    }
}

/// Reads a secret: the text itself, `file:///path`, or `env://NAME`. No message ever shows its content.
pub(super) fn credential(
    section: &mut Section<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Credential> {
    let text = SecretString::new(section.text(key)?);
    if let Some(path) = text.expose().strip_prefix("file://") {
        return Some(Credential::File(PathBuf::from(path)));
    }
    let Some(name) = text.expose().strip_prefix("env://") else {
        return Some(Credential::Text(text));
    };
    let value = context.environment.referenced(name);
    if value.is_none() {
        section.conflict(key, &format!("{key} names the environment variable {name}, which is not set"));
    }
    value.map(Credential::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let credential = Credential::File(path.clone());
        let error = credential.read().await.unwrap_err().to_string();
        assert!(error.contains("token") && error.contains("cannot be read"), "{error}");
        for secret in ["s3cret", "rotated"] {
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            assert_eq!(credential.read().await.unwrap().expose(), secret);
        }
        std::fs::write(&path, " \n").unwrap();
        assert!(credential.read().await.unwrap_err().to_string().ends_with("it is empty"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(credential.read().await.unwrap_err().to_string().ends_with("it is not UTF-8 text"));
        assert!(!format!("{:?}", Credential::Text("s3cret".into())).contains("s3cret"));
    }
}

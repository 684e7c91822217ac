//! Records: serialisable values kept as JSON in a [`StorageView`], and the listing of names.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::error::LogicalError;
use super::fields::Fields;
use super::view::{SecretValue, StorageView};
use crate::base::class::ErrorClass;

/// Most names that one list answer carries; beyond it the caller must page with `after` and `limit`.
pub const LISTED_NAMES_MAX: usize = 100_000;
const PAGE: usize = 1_000;
/// Room that most records fit into.
const USUAL_BYTES: usize = 1 << 10;

/// Reads the record at `key`; `None` if it is absent.
///
/// # Errors
/// When the storage cannot answer, or what is stored is not such a record ([`LogicalError::Internal`]).
pub async fn read<T: DeserializeOwned>(
    storage: &dyn StorageView,
    key: &str,
) -> Result<Option<T>, LogicalError> {
    match storage.get(key).await? {
        Some(value) => decode(&value).map(Some),
        None => Ok(None),
    }
}

/// Stores `record` at `key`.
///
/// # Errors
/// As [`StorageView::put`].
pub async fn write<T: Serialize>(
    storage: &dyn StorageView,
    key: &str,
    record: &T,
) -> Result<(), LogicalError> {
    storage.put(key, encode(record)?).await
}

/// JSON of `record`; no copy of it is left behind in memory.
///
/// # Errors
/// [`LogicalError::Internal`] if it has no JSON form.
pub fn encode<T: Serialize + ?Sized>(record: &T) -> Result<SecretValue, LogicalError> {
    let fault = |e: serde_json::Error| LogicalError::Internal(format!("failed to encode a record: {e}"));
    let mut bytes = Wiped(Zeroizing::new(Vec::with_capacity(USUAL_BYTES)));
    serde_json::to_writer(&mut bytes, record).map_err(fault)?;
    Ok(SecretValue::new(std::mem::take(&mut *bytes.0)))
}

/// The record in `value`.
///
/// # Errors
/// [`LogicalError::Internal`] if it is not such a record; the text does not repeat the content.
pub fn decode<T: DeserializeOwned>(value: &SecretValue) -> Result<T, LogicalError> {
    serde_json::from_slice(value.expose()).map_err(|e| {
        LogicalError::Internal(format!(
            "failed to decode a stored record at column {} ({:?})",
            e.column(),
            e.classify()
        ))
    })
}

/// Names one level below `prefix`, in byte order; `after` and `limit` of the request page through them.
///
/// # Errors
/// When the storage cannot answer, for input that is no number, and when there are more than [`LISTED_NAMES_MAX`].
pub async fn list(
    storage: &dyn StorageView,
    prefix: &str,
    fields: Fields<'_>,
) -> Result<Vec<String>, LogicalError> {
    let limit = match fields.integer("limit")? {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut after = fields.text("after")?.filter(|text| !text.is_empty());
    let mut names = Vec::new();
    while names.len() < limit {
        if names.len() >= LISTED_NAMES_MAX {
            return Err(LogicalError::Refused {
                class: ErrorClass::TooLarge,
                message: format!(
                    "more than {LISTED_NAMES_MAX} keys: page through them with \"after\" and \"limit\""
                ),
            });
        }
        let wanted = PAGE.min(limit - names.len());
        let page = storage.list(prefix, after.as_deref(), wanted).await?;
        let complete = page.len() < wanted;
        after = page.last().cloned().or(after);
        names.extend(page);
        if complete {
            break;
        }
    }
    Ok(names)
}

/// A buffer that wipes what it leaves when it grows, which a vector by itself does not.
struct Wiped(Zeroizing<Vec<u8>>);

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::vault::logical::testing::MemoryView;

    #[test]
    fn records_of_every_size_come_back() {
        for length in [0, 1, USUAL_BYTES - 2, USUAL_BYTES, USUAL_BYTES + 1, 9 * USUAL_BYTES] {
            let record = vec!["\u{e9}".repeat(length), String::new()];
            assert_eq!(decode::<Vec<String>>(&encode(&record).unwrap()).unwrap(), record);
        }
    }

    /// A vector that grew by itself might move, and leave a copy where it was.
    #[test]
    fn a_buffer_never_grows_by_itself() {
        let mut buffer = Wiped(Zeroizing::new(Vec::with_capacity(4)));
        for piece in ["ab", "cd", "e", "fghi", "", "jklmnopqrstuvw"] {
            let (before, room) = (buffer.0.as_ptr(), buffer.0.capacity() - buffer.0.len());
            std::io::Write::write_all(&mut buffer, piece.as_bytes()).unwrap();
            assert!(room < piece.len() || buffer.0.as_ptr() == before);
        }
        assert_eq!(*buffer.0, b"abcdefghijklmnopqrstuvw");
    }

    #[test]
    fn a_broken_record_is_our_fault_and_its_content_is_not_shown() {
        let error = decode::<u64>(&SecretValue::new(b"\"hush\"".to_vec())).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Internal);
        assert!(!error.to_string().contains("hush"));
    }

    #[tokio::test]
    async fn lists_page_by_page_and_stop_at_the_limit() {
        let view = MemoryView::default();
        for n in 0..2_500 {
            view.insert(&format!("p/{n:05}"), b"x");
        }
        let all = Map::new();
        assert_eq!(list(&view, "p/", Fields::new(&all)).await.unwrap().len(), 2_500);
        let page: Map<String, Value> = json!({"after": "00009", "limit": "3"}).as_object().cloned().unwrap();
        assert_eq!(list(&view, "p/", Fields::new(&page)).await.unwrap(), ["00010", "00011", "00012"]);
        let wrong: Map<String, Value> = json!({"limit": "many"}).as_object().cloned().unwrap();
        assert_eq!(list(&view, "p/", Fields::new(&wrong)).await.unwrap_err().class(), ErrorClass::Invalid);
    }

    #[tokio::test]
    async fn a_list_beyond_the_limit_asks_for_paging() {
        let view = MemoryView::default();
        for n in 0..=LISTED_NAMES_MAX {
            view.insert(&format!("p/{n:06}"), b"");
        }
        let error = list(&view, "p/", Fields::new(&Map::new())).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than 100000 keys: page through them with \"after\" and \"limit\""
        );
        assert_eq!(error.class(), ErrorClass::TooLarge);
    }
}

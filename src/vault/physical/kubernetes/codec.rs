//! The encoding of commits and runs inside head and segments.
//!
//! Three contents, told apart by their first byte: records (commits one by one), a run (the outcome of a range of
//! commits), and a manifest (the names of the segments that hold a run too large for one object). Numbers are
//! little-endian. A record leaves out what it shares with the one before it, because the head object, rewritten
//! with every commit, carries a few of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::clock::UnixMillis;
use crate::base::id;
use crate::vault::physical::backend::Op;
use crate::vault::physical::head::{BatchId, Head};

const RECORDS: u8 = 1;
const RUN: u8 = 2;
const MANIFEST: u8 = 3;

const SAME_CONTEXT: u8 = 1;
const HAS_PREVIOUS: u8 = 2;
const HAS_REPLACED: u8 = 4;

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// One commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The head that the commit made.
    pub(super) head: Head,
    /// The batch of the head before it: records form a chain, and a gap shows.
    pub(super) previous: Option<BatchId>,
    /// For a claim: the head that it replaced.
    pub(super) replaced: Option<Head>,
    /// What it changed.
    pub(super) ops: Vec<Op>,
}

/// The outcome of a range of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// The last head of the range.
    pub(super) end: Head,
    /// Keys that the range touched, in byte order, with their values (`None`: deleted). A value may be newer than `end`:
    /// the commits after it are replayed on top.
    pub(super) items: Vec<(String, Option<Bytes>)>,
}

/// Where the content of a large run lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The last head of the range.
    pub(super) end: Head,
    /// The segments, each a run of its own, with disjoint ascending keys.
    pub(super) parts: Vec<Part>,
}

/// A segment that a manifest lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Name of the object.
    pub(super) name: String,
    /// Its uid.
    pub(super) uid: String,
    /// SHA-256 of its content, in hexadecimal.
    pub(super) sha256: String,
}

/// What a segment turned out to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Commits one by one.
    Records(Vec<Record>),
    /// The outcome of a range.
    Run(Run),
    /// Where the outcome of a range lies.
    Manifest(Manifest),
}

/// The content could not be read; the text says where it breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not in the format that this version reads: {0}")]
pub(super) struct CodecError(&'static str);

/// SHA-256 of `bytes` in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    id::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Base64 as objects carry it.
pub(super) fn to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes that `bytes` take as [`to_text`].
pub(super) fn text_bytes(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The reverse of [`to_text`].
pub(super) fn from_text(text: &str) -> Result<Vec<u8>, CodecError> {
    STANDARD.decode(text).map_err(|_| CodecError("base64"))
}

/// Bytes that `ops` take in a record; the head before them adds at most a few hundred more.
pub(super) fn ops_bytes(ops: &[Op]) -> usize {
    ops.iter().map(|op| op.size_bytes() + 9).sum()
}

/// Encodes commits.
pub(super) fn encode_records<'a>(records: impl ExactSizeIterator<Item = &'a Record>) -> Vec<u8> {
    let mut out = vec![RECORDS];
    put_number(&mut out, records.len());
    let mut before: Option<&Head> = None;
    for record in records {
        let head = &record.head;
        let same = before.is_some_and(|before| {
            before.cluster == head.cluster
                && before.lock == head.lock
                && before.node == head.node
                && before.format == head.format
        });
        let mut flags = 0;
        flags |= if same { SAME_CONTEXT } else { 0 };
        flags |= if record.previous.is_some() { HAS_PREVIOUS } else { 0 };
        flags |= if record.replaced.is_some() { HAS_REPLACED } else { 0 };
        out.push(flags);
        if !same {
            put_json(&mut out, head);
        }
        out.extend_from_slice(&head.epoch.to_le_bytes());
        out.extend_from_slice(&head.seq.to_le_bytes());
        out.extend_from_slice(&head.time.0.to_le_bytes());
        put_batch(&mut out, head.batch_id);
        if let Some(previous) = record.previous {
            put_batch(&mut out, previous);
        }
        if let Some(replaced) = &record.replaced {
            put_json(&mut out, replaced);
        }
        put_number(&mut out, record.ops.len());
        for op in &record.ops {
            match op {
                Op::Put { key, value } => put_item(&mut out, key, Some(value)),
                Op::Delete { key } => put_item(&mut out, key, None),
            }
        }
        before = Some(head);
    }
    out
}

/// Encodes one run (or one part of it).
pub(super) fn encode_run(end: &Head, items: &[(String, Option<Bytes>)]) -> Vec<u8> {
    let mut out = vec![RUN];
    put_json(&mut out, end);
    put_number(&mut out, items.len());
    for (key, value) in items {
        put_item(&mut out, key, value.as_ref());
    }
    out
}

/// Bytes that one item of a run takes.
pub(super) fn item_bytes(key: &str, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len) + 9
}

/// Encodes a manifest.
pub(super) fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    let mut out = vec![MANIFEST];
    put_json(&mut out, manifest);
    out
}

/// Decodes what a segment (or the head's inline records) holds.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Content, CodecError> {
    let mut input = Input(Bytes::from(bytes));
    let content = match input.byte()? {
        RECORDS => Content::Records(decode_records(&mut input)?),
        RUN => {
            let end = input.json()?;
            let count = input.number()?;
            let items = (0..count).map(|_| input.item()).collect::<Result<_, _>>()?;
            Content::Run(Run { end, items })
        }
        MANIFEST => Content::Manifest(input.json()?),
        _ => return Err(CodecError("unknown kind of content")),
    };
    if !input.0.is_empty() {
        return Err(CodecError("bytes after the end"));
    }
    Ok(content)
}

fn decode_records(input: &mut Input) -> Result<Vec<Record>, CodecError> {
    let count = input.number()?;
    let mut records: Vec<Record> = Vec::new();
    for _ in 0..count {
        let flags = input.byte()?;
        let mut head: Head = if flags & SAME_CONTEXT == 0 {
            input.json()?
        } else {
            records.last().ok_or(CodecError("a first record without context"))?.head.clone()
        };
        head.epoch = input.long()?;
        head.seq = input.long()?;
        head.time = UnixMillis(input.long()?);
        head.batch_id = input.batch()?;
        let previous = if flags & HAS_PREVIOUS == 0 { None } else { Some(input.batch()?) };
        let replaced = if flags & HAS_REPLACED == 0 { None } else { Some(input.json()?) };
        let count = input.number()?;
        let ops = (0..count)
            .map(|_| {
                input.item().map(|(key, value)| match value {
                    Some(value) => Op::Put { key, value },
                    None => Op::Delete { key },
                })
            })
            .collect::<Result<_, _>>()?;
        records.push(Record { head, previous, replaced, ops });
    }
    Ok(records)
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    // Every count and length is below the limit of one object, far from 4 GiB.
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_batch(out: &mut Vec<u8>, batch: BatchId) {
    out.extend_from_slice(&id::unhex(&batch.to_string()).unwrap_or_default());
}

fn put_json<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // Structs of strings and numbers: writing them to memory cannot fail.
    let text = serde_json::to_vec(value).unwrap_or_default();
    put_number(out, text.len());
    out.extend_from_slice(&text);
}

fn put_item(out: &mut Vec<u8>, key: &str, value: Option<&Bytes>) {
    out.push(if value.is_some() { PUT } else { DELETE });
    put_number(out, key.len());
    out.extend_from_slice(key.as_bytes());
    if let Some(value) = value {
        put_number(out, value.len());
        out.extend_from_slice(value);
    }
}

/// What is left to read. Values are slices of the one buffer.
struct Input(Bytes);

impl Input {
    fn take(&mut self, count: usize) -> Result<Bytes, CodecError> {
        if count > self.0.len() {
            return Err(CodecError("it ends too early"));
        }
        Ok(self.0.split_to(count))
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Result<usize, CodecError> {
        let bytes = self.take(4)?;
        let number = bytes.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        usize::try_from(number).map_err(|_| CodecError("a number too large"))
    }

    fn long(&mut self) -> Result<u64, CodecError> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn batch(&mut self) -> Result<BatchId, CodecError> {
        let bytes = self.take(16)?;
        BatchId::try_from(id::hex(&bytes)).map_err(CodecError)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, CodecError> {
        let length = self.number()?;
        let bytes = self.take(length)?;
        serde_json::from_slice(&bytes).map_err(|_| CodecError("JSON"))
    }

    fn item(&mut self) -> Result<(String, Option<Bytes>), CodecError> {
        let tag = self.byte()?;
        let length = self.number()?;
        let key = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| CodecError("a key"))?;
        let value = match tag {
            PUT => {
                let length = self.number()?;
                // Copied, so that one small value does not keep a whole segment in memory.
                Some(Bytes::copy_from_slice(&self.take(length)?))
            }
            DELETE => None,
            _ => return Err(CodecError("an unknown operation")),
        };
        Ok((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;
    use crate::vault::physical::head::LockName;

    fn head(seq: u64, node: &str) -> Head {
        Head {
            cluster: "c".into(),
            lock: LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "l".to_owned() }
                .into(),
            epoch: 3,
            seq,
            batch_id: BatchId::new(&SystemRandom),
            node: node.into(),
            format: 1,
            time: UnixMillis(1_700_000_000_000 + seq),
        }
    }

    fn records() -> Vec<Record> {
        let first = head(7, "a");
        let second = head(8, "a");
        let third = head(9, "b");
        let put = |key: &str, value: &'static [u8]| Op::Put {
            key: key.to_owned(),
            value: Bytes::from_static(value),
        };
        vec![
            Record {
                head: first.clone(),
                previous: None,
                replaced: None,
                ops: vec![put("k", b"v"), put("e", b"")],
            },
            Record {
                head: second.clone(),
                previous: Some(first.batch_id),
                replaced: None,
                ops: vec![Op::Delete { key: "k".to_owned() }],
            },
            Record { head: third, previous: Some(second.batch_id), replaced: Some(second), ops: vec![] },
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let records = records();
        let bytes = encode_records(records.iter());
        assert_eq!(decode(bytes), Ok(Content::Records(records.clone())));

        let items = vec![("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)];
        let end = records[0].head.clone();
        assert_eq!(decode(encode_run(&end, &items)), Ok(Content::Run(Run { end: end.clone(), items })));

        let part = Part { name: "n".to_owned(), uid: "u".to_owned(), sha256: sha256(b"x") };
        let manifest = Manifest { end, parts: vec![part] };
        assert_eq!(decode(encode_manifest(&manifest)), Ok(Content::Manifest(manifest)));
    }

    #[test]
    fn a_record_of_the_same_node_is_small() {
        let records = records();
        let one = encode_records(records[..1].iter()).len();
        let two = encode_records(records[..2].iter()).len();
        assert!(two - one < 80, "{}", two - one);
    }

    #[test]
    fn every_cut_and_every_foreign_byte_is_an_error_and_no_panic() {
        let bytes = encode_records(records().iter());
        for end in 0..bytes.len() {
            assert!(decode(bytes[..end].to_vec()).is_err(), "cut at {end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode(longer).is_err());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            let _ = decode(other);
        }
        assert!(decode(vec![9]).is_err());
    }
}

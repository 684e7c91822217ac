//! Jute, ZooKeeper's encoding: big-endian numbers; bytes and texts behind their length.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// Bytes that are not the answer which was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the answer is cut off or makes no sense")]
pub(super) struct Malformed;

/// Writes a record.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn int(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn long(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    /// Bytes of any length below 2 GiB; what is longer was refused before.
    pub(super) fn buffer(&mut self, bytes: &[u8]) -> &mut Self {
        self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.buffer(text.as_bytes())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a record; what it hands out shares the memory of the whole.
#[derive(Debug)]
pub(super) struct Decoder(pub(super) Bytes);

impl Decoder {
    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_| Malformed)
    }

    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        self.0.try_get_i64().map_err(|_| Malformed)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.0.try_get_u8().map_err(|_| Malformed)? != 0)
    }

    /// Bytes; a length of -1, which stands for none, gives none.
    pub(super) fn buffer(&mut self) -> Result<Bytes, Malformed> {
        let length = self.int()?;
        if length == -1 {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.buffer()?.to_vec()).map_err(|_| Malformed)
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = usize::try_from(self.int()?).map_err(|_| Malformed)?;
        // Each one has a length of four bytes at least: a count beyond that reserves no memory.
        let mut texts = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            texts.push(self.text()?);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut encoder = Encoder::default();
        encoder.int(-4).long(1 << 40).flag(true).buffer(&[1, 2]).text("ü").int(2).text("a").text("");
        let mut decoder = Decoder(encoder.finish().into());
        assert_eq!(decoder.int(), Ok(-4));
        assert_eq!(decoder.long(), Ok(1 << 40));
        assert_eq!(decoder.flag(), Ok(true));
        assert_eq!(decoder.buffer(), Ok(Bytes::from_static(&[1, 2])));
        assert_eq!(decoder.text(), Ok("ü".to_owned()));
        assert_eq!(decoder.texts(), Ok(vec!["a".to_owned(), String::new()]));
        assert_eq!(decoder.int(), Err(Malformed));
    }

    #[test]
    fn lengths_that_lie_are_found_out() {
        for bytes in [&[0, 0, 0, 9, 1][..], &[0xff, 0xff, 0xff, 0xf0, 1, 2], &[0, 0]] {
            assert_eq!(Decoder(Bytes::copy_from_slice(bytes)).buffer(), Err(Malformed));
        }
        let many = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(Decoder(many).texts(), Err(Malformed));
        assert_eq!(Decoder(Bytes::from_static(&[0xff; 4])).buffer(), Ok(Bytes::new()), "none");
    }
}

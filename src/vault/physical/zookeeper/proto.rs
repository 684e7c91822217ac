//! The requests that are needed of ZooKeeper's protocol, and their answers. Pure.

use std::fmt;

use bytes::Bytes;

use super::jute::{Decoder, Encoder, Malformed};

/// Numbers of requests.
pub(super) mod opcode {
    pub(in crate::vault::physical::zookeeper) const CREATE: i32 = 1;
    pub(in crate::vault::physical::zookeeper) const DELETE: i32 = 2;
    pub(in crate::vault::physical::zookeeper) const EXISTS: i32 = 3;
    pub(in crate::vault::physical::zookeeper) const GET_DATA: i32 = 4;
    pub(in crate::vault::physical::zookeeper) const SET_DATA: i32 = 5;
    pub(in crate::vault::physical::zookeeper) const GET_CHILDREN: i32 = 8;
    pub(in crate::vault::physical::zookeeper) const SYNC: i32 = 9;
    pub(in crate::vault::physical::zookeeper) const PING: i32 = 11;
    pub(in crate::vault::physical::zookeeper) const MULTI: i32 = 14;
    pub(in crate::vault::physical::zookeeper) const MULTI_READ: i32 = 22;
    pub(in crate::vault::physical::zookeeper) const AUTH: i32 = 100;
    pub(in crate::vault::physical::zookeeper) const CLOSE_SESSION: i32 = -11;
}

/// Transaction numbers that no request of ours has.
pub(super) const XID_EVENT: i32 = -1;
pub(super) const XID_PING: i32 = -2;
pub(super) const XID_AUTH: i32 = -4;

/// The type of what ends a list of operations, and of an operation that failed.
const ERROR: i32 = -1;

/// A version that every node has.
pub(super) const ANY_VERSION: i32 = -1;

/// What the server says to a request or to an operation of one; zero is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) i32);

impl Code {
    pub(super) const OK: Self = Self(0);
    /// Of operations behind one that failed.
    pub(super) const RUNTIME_INCONSISTENCY: Self = Self(-2);
    pub(super) const UNIMPLEMENTED: Self = Self(-6);
    pub(super) const NO_NODE: Self = Self(-101);
    pub(super) const NO_AUTH: Self = Self(-102);
    pub(super) const BAD_VERSION: Self = Self(-103);
    pub(super) const NODE_EXISTS: Self = Self(-110);
    pub(super) const INVALID_ACL: Self = Self(-114);
    pub(super) const QUOTA_EXCEEDED: Self = Self(-125);

    /// Whether it may end once this node proves who it is with newer credentials.
    pub(super) fn is_of_identity(self) -> bool {
        matches!(self, Self::NO_AUTH | Self::INVALID_ACL)
    }

    /// Whether it says for certain that the request was not executed and that sending it again says the same.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::NO_AUTH | Self::INVALID_ACL | Self::QUOTA_EXCEEDED)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "Ok",
            -2 => "RuntimeInconsistency",
            -4 => "ConnectionLoss",
            -5 => "MarshallingError",
            -6 => "Unimplemented",
            -7 => "OperationTimeout",
            -8 => "BadArguments",
            -101 => "NoNode",
            -102 => "NoAuth",
            -103 => "BadVersion",
            -110 => "NodeExists",
            -111 => "NotEmpty",
            -112 => "SessionExpired",
            -114 => "InvalidACL",
            -115 => "AuthFailed",
            -118 => "SessionMoved",
            -119 => "NotReadOnly",
            -125 => "QuotaExceeded",
            -127 => "Throttled",
            other => return write!(f, "error {other}"),
        };
        f.write_str(name)
    }
}

/// What is known of a node beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    /// Of the transaction that changed it last.
    pub(super) modified_zxid: i64,
    /// Counts the changes of its data since it was created.
    pub(super) version: i32,
}

impl Stat {
    fn read(decoder: &mut Decoder) -> Result<Self, Malformed> {
        decoder.long()?;
        let modified_zxid = decoder.long()?;
        decoder.long()?;
        decoder.long()?;
        let version = decoder.int()?;
        for _ in 0..2 {
            decoder.int()?;
        }
        decoder.long()?;
        decoder.int()?;
        decoder.int()?;
        decoder.long()?;
        Ok(Self { modified_zxid, version })
    }
}

/// Who may do everything with the nodes that are created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) scheme: String,
    pub(super) id: String,
}

impl Owner {
    /// All rights: read, write, create, delete, administer.
    const ALL: i32 = 31;

    fn write(&self, encoder: &mut Encoder) {
        encoder.int(1).int(Self::ALL).text(&self.scheme).text(&self.id);
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.id)
    }
}

/// The first message of a connection: a new session.
pub(super) fn connect(session_millis: i32) -> Vec<u8> {
    let mut encoder = Encoder::default();
    // The newest transaction that was seen is not named: whether a server is behind is judged by the head, which also
    // tells a storage that went back from one that lags.
    encoder.int(0).long(0).int(session_millis).long(0).buffer(&[0; 16]).flag(false);
    encoder.finish()
}

/// The time-out, in milliseconds, of the session that a server grants.
pub(super) fn granted(answer: Bytes) -> Result<i32, Malformed> {
    let mut decoder = Decoder(answer);
    decoder.int()?;
    let session_millis = decoder.int()?;
    decoder.long()?;
    decoder.buffer()?;
    Ok(session_millis)
}

/// The body of AUTH.
pub(super) fn auth(scheme: &str, credential: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.int(0).text(scheme).buffer(credential);
    encoder.finish()
}

/// The body of GET_DATA, EXISTS; with `is_watching` one event is sent when the answer is no longer true.
pub(super) fn look(path: &str, is_watching: bool) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.text(path).flag(is_watching);
    encoder.finish()
}

/// The answer to GET_DATA.
pub(super) fn data(answer: Bytes) -> Result<(Bytes, Stat), Malformed> {
    let mut decoder = Decoder(answer);
    Ok((decoder.buffer()?, Stat::read(&mut decoder)?))
}

/// The answer to SET_DATA.
pub(super) fn stat(answer: Bytes) -> Result<Stat, Malformed> {
    Stat::read(&mut Decoder(answer))
}

/// The body of SYNC.
pub(super) fn sync(path: &str) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.text(path);
    encoder.finish()
}

/// A change of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create { path: String, data: Bytes },
    Set { path: String, data: Bytes, version: i32 },
    Delete { path: String, version: i32 },
}

impl Change {
    pub(super) fn opcode(&self) -> i32 {
        match self {
            Self::Create { .. } => opcode::CREATE,
            Self::Set { .. } => opcode::SET_DATA,
            Self::Delete { .. } => opcode::DELETE,
        }
    }

    fn write(&self, owner: &Owner, encoder: &mut Encoder) {
        match self {
            Self::Create { path, data } => {
                encoder.text(path).buffer(data);
                owner.write(encoder);
                // Neither ephemeral nor numbered by the server.
                encoder.int(0);
            }
            Self::Set { path, data, version } => {
                encoder.text(path).buffer(data).int(*version);
            }
            Self::Delete { path, version } => {
                encoder.text(path).int(*version);
            }
        }
    }

    /// The body of CREATE, SET_DATA, DELETE.
    pub(super) fn body(&self, owner: &Owner) -> Vec<u8> {
        let mut encoder = Encoder::default();
        self.write(owner, &mut encoder);
        encoder.finish()
    }
}

fn header(encoder: &mut Encoder, kind: i32, is_last: bool) {
    encoder.int(kind).flag(is_last).int(-1);
}

/// The body of MULTI.
pub(super) fn multi(changes: &[Change], owner: &Owner) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for change in changes {
        header(&mut encoder, change.opcode(), false);
        change.write(owner, &mut encoder);
    }
    header(&mut encoder, ERROR, true);
    encoder.finish()
}

/// What MULTI_READ asks about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Data(String),
    Children(String),
}

/// The body of MULTI_READ.
pub(super) fn multi_read(questions: &[Question]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for question in questions {
        let (kind, path) = match question {
            Question::Data(path) => (opcode::GET_DATA, path),
            Question::Children(path) => (opcode::GET_CHILDREN, path),
        };
        header(&mut encoder, kind, false);
        encoder.text(path).flag(false);
    }
    header(&mut encoder, ERROR, true);
    encoder.finish()
}

/// The answer to one operation of MULTI or MULTI_READ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Created, deleted.
    Done,
    /// Data set.
    Set(Stat),
    Data(Bytes, Stat),
    Children(Vec<String>),
    Failed(Code),
}

impl Found {
    /// The refusal that it is, if so.
    pub(super) fn refusal(&self) -> Option<Code> {
        match self {
            Self::Failed(code) => Some(*code).filter(|code| code.is_refusal()),
            _ => None,
        }
    }
}

/// The answers to the operations of MULTI or MULTI_READ, in their order.
pub(super) fn found(answer: Bytes) -> Result<Vec<Found>, Malformed> {
    let mut decoder = Decoder(answer);
    let mut all = Vec::new();
    loop {
        let kind = decoder.int()?;
        let is_last = decoder.flag()?;
        decoder.int()?;
        if is_last {
            return Ok(all);
        }
        all.push(match kind {
            opcode::CREATE => {
                decoder.buffer()?;
                Found::Done
            }
            opcode::DELETE => Found::Done,
            opcode::SET_DATA => Found::Set(Stat::read(&mut decoder)?),
            opcode::GET_DATA => Found::Data(decoder.buffer()?, Stat::read(&mut decoder)?),
            opcode::GET_CHILDREN => Found::Children(decoder.texts()?),
            ERROR => Found::Failed(Code(decoder.int()?)),
            _ => return Err(Malformed),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat_bytes(version: i32) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.long(1).long(2).long(3).long(4).int(version).int(6).int(7).long(8).int(9).int(10).long(11);
        encoder.finish()
    }

    #[test]
    fn a_multi_is_framed_operation_by_operation() {
        let owner = Owner { scheme: "world".to_owned(), id: "anyone".to_owned() };
        let changes = [Change::Delete { path: "/a".to_owned(), version: 3 }];
        let mut expected = vec![0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff];
        expected.extend([0, 0, 0, 2, b'/', b'a', 0, 0, 0, 3]);
        expected.extend([0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(multi(&changes, &owner), expected);
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        let mut encoder = Encoder::default();
        header(&mut encoder, opcode::CREATE, false);
        encoder.text("/a");
        header(&mut encoder, opcode::DELETE, false);
        header(&mut encoder, opcode::GET_CHILDREN, false);
        encoder.int(1).text("b");
        header(&mut encoder, ERROR, false);
        encoder.int(-103);
        header(&mut encoder, opcode::GET_DATA, false);
        encoder.text("x");
        let mut bytes = encoder.finish();
        bytes.extend(stat_bytes(5));
        let mut rest = Encoder::default();
        header(&mut rest, opcode::SET_DATA, false);
        bytes.extend(rest.finish());
        bytes.extend(stat_bytes(6));
        let mut end = Encoder::default();
        header(&mut end, ERROR, true);
        bytes.extend(end.finish());
        let stat = |version| Stat { modified_zxid: 2, version };
        let expected = vec![
            Found::Done,
            Found::Done,
            Found::Children(vec!["b".to_owned()]),
            Found::Failed(Code::BAD_VERSION),
            Found::Data(Bytes::from_static(b"x"), stat(5)),
            Found::Set(stat(6)),
        ];
        assert_eq!(found(bytes.clone().into()), Ok(expected));
        for cut in 0..bytes.len() {
            assert_eq!(found(Bytes::copy_from_slice(&bytes[..cut])), Err(Malformed), "cut at {cut}");
        }
    }
}

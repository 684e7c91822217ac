//! Waiting for an answer. A call that stays unanswered is looked after: the member is asked for its own status, which needs
//! no other member. A member that does not answer that either is left at once; one that does is busy or waits for its
//! quorum. If it tells of an election since the call was sent, the call may have been lost with the old leader and is
//! given up.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;

use super::answer::Failure;
use super::connect::Connection;
use super::line::Line;

/// A call that is older makes the client ask whether the member lives.
const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// How long the member may take to say that it lives.
const LIFE_SIGN: Duration = Duration::from_millis(500);

/// What a member says while a call waits.
enum Sign {
    None,
    /// It lives.
    Some,
    /// It lives, and this is its raft term.
    Term(u64),
}

/// Waits for `call` as long as the member shows on `line` that it lives.
pub(super) async fn attended<A>(
    connection: &Connection,
    line: &Line,
    token: Option<&AsciiMetadataValue>,
    call: impl Future<Output = Result<A, Failure>>,
) -> Result<A, Failure> {
    let term = connection.term.load(Ordering::Relaxed);
    let mut call = pin!(call);
    loop {
        let reason = tokio::select! {
            biased;
            answer = &mut call => return answer,
            sign = life_sign(line, token) => match sign {
                Sign::None => {
                    format!("it gave no sign of life for {} s", (DOUBT_AFTER + LIFE_SIGN).as_secs_f64())
                }
                // What was on its way to the old leader may never be answered.
                Sign::Term(now) => {
                    connection.term.store(now, Ordering::Relaxed);
                    if now == term || term == 0 {
                        continue;
                    }
                    "a leader was elected meanwhile".to_owned()
                }
                Sign::Some => continue,
            },
        };
        return Err(Failure::Lost { address: connection.address.clone(), reason });
    }
}

/// After a while of doubt: whether the member answers at all.
async fn life_sign(line: &Line, token: Option<&AsciiMetadataValue>) -> Sign {
    tokio::time::sleep(DOUBT_AFTER).await;
    match timeout(LIFE_SIGN, line.status(token)).await {
        Ok(Ok(status)) => Sign::Term(status.raft_term),
        Ok(Err(status)) if std::error::Error::source(&status).is_none() => Sign::Some,
        Ok(Err(_)) | Err(_) => Sign::None,
    }
}

//! TCP connections to other machines that stay open between requests.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// How long the other host may leave unacknowledged what was sent to it, or a probe of an idle connection. A process that
/// is slow or stopped is no reason: its host acknowledges in its place.
const SILENCE: Duration = Duration::from_secs(10);
/// How often an idle connection is probed.
const PROBE: Duration = Duration::from_secs(5);
/// Probes that may be lost.
const PROBES: u32 = 2;

/// Lets the system end `stream` when the other host stays silent for 10 s (RFC 5482; on systems without that option,
/// when two probes of an idle connection are lost).
///
/// # Errors
/// When the system knows none of the options; time limits of requests count all the same.
pub fn end_when_silent(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        end_when_silent(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 10_000);
    }
}

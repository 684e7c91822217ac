//! Ports of the loopback address for the servers of a test, all different over all test programs of a machine.
//!
//! They lie below the range from which the kernel takes the ports of outgoing connections. A port of that range is lost as
//! soon as any connection of any test takes it before its server does, or while its server is down to be started again.
//!
//! For use by the fixtures of servers, which find it in their program: `#[path = "../support/ports.rs"] mod ports;`

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::ops::Range;

/// Below the kernel's own range (from 32768) and that of Kubernetes' node ports (from 30000).
const RANGE: Range<u16> = 10_000..30_000;

/// A port that nobody listens on, and that no test is given again before all others of the range.
pub fn free_port() -> u16 {
    // `labkube ports` counts in the same file.
    let path = std::env::temp_dir().join(format!("holdfast-ports-{}", rustix::process::getuid().as_raw()));
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; remove it if it is another user's", path.display()));
    file.lock().expect("a file that can be locked");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the number of the next port");
    let next = text.trim().parse().ok().filter(|port| RANGE.contains(port)).unwrap_or(RANGE.start);
    let port = (next..RANGE.end)
        .chain(RANGE.start..next)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port that is free");
    file.set_len(0).expect("a writable file");
    file.seek(SeekFrom::Start(0)).expect("a writable file");
    write!(file, "{}", port + 1).expect("a writable file");
    port
}

/// Several such ports.
pub fn free_ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| free_port()).collect()
}

//! What Linux tells of processes and sockets.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Error;

/// A thread, and the CPU time it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: u32,
    /// Its name, 15 bytes at most.
    pub name: String,
    /// User and system time, to the nanosecond while the thread sleeps; a running one is up to a tick behind.
    pub cpu: Duration,
    /// How long it could have run and had no core.
    pub waited: Duration,
}

/// The threads of a process.
///
/// # Errors
/// When there is no such process.
pub fn threads(pid: u32) -> Result<Vec<Thread>, Error> {
    let directory = format!("/proc/{pid}/task");
    let mut threads = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|error| format!("{directory}: {error}"))? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile is left out.
        let (Ok(schedstat), Ok(name)) =
            (fs::read_to_string(path.join("schedstat")), fs::read_to_string(path.join("comm")))
        else {
            continue;
        };
        let mut fields = schedstat.split(' ').map_while(|field| field.parse().ok()).map(Duration::from_nanos);
        let (Some(cpu), Some(waited)) = (fields.next(), fields.next()) else {
            return Err("this kernel keeps no schedstat, it is built without CONFIG_SCHED_INFO".into());
        };
        threads.push(Thread { id, name: name.trim_end().to_owned(), cpu, waited });
    }
    Ok(threads)
}

/// User and system time of a process, threads that have ended included, to a hundredth of a second.
///
/// # Errors
/// When there is no such process.
pub fn cpu(pid: u32) -> Result<Duration, Error> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    parse_cpu(&stat).ok_or_else(|| format!("{path} tells no times").into())
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The name stands in parentheses and may hold any.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(Duration::from_millis(10 * (fields.next()? + fields.next()?)))
}

/// The memory of a process that is in RAM now, and the most that was, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> Result<(u64, u64), Error> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    let missing = || Error::from(format!("{path} tells no memory"));
    Ok((field("VmRSS:").ok_or_else(missing)?, field("VmHWM:").ok_or_else(missing)?))
}

/// What the kernel knows of a UDP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpSocket {
    /// Bytes in its receive queue, with the kernel's own.
    pub queued: u64,
    /// Datagrams that were dropped since its buffer was full.
    pub dropped: u64,
}

/// The IPv4 sockets that are bound to an address, added up.
///
/// # Errors
/// When there is none.
pub fn udp_socket(address: SocketAddr) -> Result<UdpSocket, Error> {
    let table = fs::read_to_string("/proc/net/udp")?;
    parse_udp(&table, address).ok_or_else(|| format!("no UDP socket is bound to {address}").into())
}

fn parse_udp(table: &str, address: SocketAddr) -> Option<UdpSocket> {
    let SocketAddr::V4(address) = address else { return None };
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
    let mut sum = None;
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(1) != Some(&local.as_str()) {
            continue;
        }
        let sum = sum.get_or_insert_with(UdpSocket::default);
        sum.queued += u64::from_str_radix(fields.get(4)?.split(':').nth(1)?, 16).ok()?;
        sum.dropped += fields.get(12)?.parse::<u64>().ok()?;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_address_are_added_up() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:1FBD 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 7 2 0000000000000000 3
  101: 0100007F:1FBD 00000000:0000 07 00000000:00000001 00:00000000 00000000     0        0 8 2 0000000000000000 4
  102: 00000000:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 5
";
        let sum = parse_udp(table, SocketAddr::from(([127, 0, 0, 1], 8125)));
        assert_eq!(sum, Some(UdpSocket { queued: 0xA01, dropped: 7 }));
        assert_eq!(parse_udp(table, SocketAddr::from(([127, 0, 0, 1], 8126))), None);
    }

    #[test]
    fn times_stand_behind_the_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 9 0 100 1000 200";
        assert_eq!(parse_cpu(stat), Some(Duration::from_millis(2810)));
        assert!(cpu(std::process::id()).is_ok());
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let pid = std::process::id();
        assert!(threads(pid).unwrap().iter().any(|thread| thread.id == pid));
        let (resident, most) = memory(pid).unwrap();
        assert!(resident > 0 && most >= resident);
    }
}

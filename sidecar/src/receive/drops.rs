//! How many datagrams the kernel has dropped at a socket, and how many of them have been reported.
//!
//! The kernel counts from the socket's beginning. A socket that a service manager keeps lives longer than this process, so
//! what was reported of it is kept in a file: the next process reports what was dropped since, while nobody read the socket
//! too, and nothing twice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::Socket;

/// How often the file is written while packets are being dropped.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// A socket's drop counter, which is 32 bits wide and told by two sources that may not be equally new.
#[derive(Debug, Default)]
pub struct Drops {
    last: u32,
    file: Option<File>,
}

/// Where the figure of a socket is kept.
#[derive(Debug)]
struct File {
    path: PathBuf,
    written: u32,
    /// When it was last written.
    at: Option<Instant>,
}

impl Drops {
    /// The drops of a socket that was inherited, going on after the figure in its file in `directory`.
    ///
    /// # Errors
    /// When the socket cannot be told from others.
    pub fn inherited(socket: &Socket, directory: &Path) -> io::Result<Self> {
        // The cookie is unique until the machine starts anew.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let path = directory.join(format!("{}-{:x}", boot.trim(), socket.cookie()?));
        let written = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Self { last: written, file: Some(File { path, written, at: None }) })
    }

    /// How many more were dropped since the newest figure seen; 0 for an older one.
    pub const fn advance(&mut self, figure: u32) -> u64 {
        let ahead = figure.wrapping_sub(self.last);
        if ahead > u32::MAX / 2 {
            return 0;
        }
        self.last = figure;
        ahead as u64
    }

    /// Keeps the figure, when it is of a socket that lives on, has changed, and was not kept a moment ago.
    pub fn remember(&mut self) {
        if let Some(file) = &mut self.file
            && file.written != self.last
            && file.at.is_none_or(|at| at.elapsed() >= WRITE_EVERY)
        {
            file.write(self.last);
        }
    }

    /// The file that the figure is kept in.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        if let Some(file) = &mut self.file
            && file.written != self.last
        {
            file.write(self.last);
        }
    }
}

impl File {
    fn write(&mut self, figure: u32) {
        self.at = Some(Instant::now());
        let new = self.path.with_extension("new");
        let directory = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        match directory
            .and_then(|()| fs::write(&new, format!("{figure}\n")))
            .and_then(|()| fs::rename(&new, &self.path))
        {
            Ok(()) => self.written = figure,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "dropped packets may be reported twice after a restart");
            }
        }
    }
}

/// Removes the files of sockets that are no more.
pub fn forget_others<'a>(directory: &Path, current: impl Iterator<Item = &'a Path> + Clone) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !current.clone().any(|current| current == path) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_counter_wraps_and_is_not_turned_back() {
        let mut drops = Drops::default();
        let seen: Vec<u64> = [0, 5, 3, 5, 9, u32::MAX / 2, u32::MAX - 1, 2, u32::MAX]
            .iter()
            .map(|figure| drops.advance(*figure))
            .collect();
        let half = u64::from(u32::MAX / 2);
        assert_eq!(seen, [0, 5, 0, 0, 4, half - 9, half, 4, 0]);
    }

    #[test]
    fn what_was_reported_of_an_inherited_socket_is_not_reported_again() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("sockets");
        let socket: Socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let other: Socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let mut first = Drops::inherited(&socket, &kept).unwrap();
        assert_eq!(first.advance(7), 7);
        drop(first);
        let mut second = Drops::inherited(&socket, &kept).unwrap();
        assert_eq!(second.advance(9), 2, "dropped while nobody read");
        assert_eq!(Drops::inherited(&other, &kept).unwrap().advance(9), 9, "another socket");
        second.remember();
        forget_others(&kept, std::iter::empty());
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    }
}

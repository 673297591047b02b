//! The listening socket.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::session::{serve, turn_away};
use super::{ListenError, Shared};
use crate::net::{Address, Link};

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _made: Made },
}

/// The file of a unix socket, removed when nobody listens any more, if it is still ours.
#[derive(Debug)]
pub(super) struct Made {
    path: PathBuf,
    inode: u64,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn failed(address: &Address, source: io::Error) -> ListenError {
    let address = address.clone();
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::PermissionDenied => ListenError::Denied { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Other { address, source },
    }
}

impl Socket {
    pub(super) fn bind(address: &Address, mode: u32) -> Result<Socket, ListenError> {
        let failed = |source| failed(address, source);
        let socket = match address {
            Address::Tcp(address) => Socket::Tcp(TcpListener::bind(address).map_err(failed)?),
            Address::Unix(path) => {
                clear(path)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
                let inode = path.symlink_metadata().map_err(failed)?.ino();
                Socket::Unix { listener, _made: Made { path: path.clone(), inode } }
            }
        };
        match &socket {
            Socket::Tcp(listener) => listener.set_nonblocking(true),
            Socket::Unix { listener, .. } => listener.set_nonblocking(true),
        }
        .map_err(failed)?;
        Ok(socket)
    }

    /// Where a TCP socket listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// Takes connections until the bell rings.
    pub(super) fn serve(&self, shared: &Arc<Shared>) {
        loop {
            let socket = match self {
                Socket::Tcp(listener) => listener.as_fd(),
                Socket::Unix { listener, .. } => listener.as_fd(),
            };
            let mut fds = [
                PollFd::from_borrowed_fd(socket, PollFlags::IN),
                PollFd::from_borrowed_fd(shared.bell.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) => {}
            }
            match self.take() {
                Ok((link, address)) => admit(shared, link, address),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::Interrupted
                            | io::ErrorKind::ConnectionAborted
                    ) => {}
                // Out of descriptors, as a rule: those in use have to be closed first.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn take(&self) -> io::Result<(Link, Option<IpAddr>)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept()?;
                Ok((Link::of_tcp(stream)?, Some(from.ip().to_canonical())))
            }
            Socket::Unix { listener, .. } => Ok((Link::of_unix(listener.accept()?.0)?, None)),
        }
    }
}

fn admit(shared: &Arc<Shared>, link: Link, address: Option<IpAddr>) {
    let allow = &shared.config.allow;
    if address.is_some_and(|address| !allow.is_empty() && !allow.contains(&address)) {
        turn_away(shared, link, 554, "5.7.1 this address may not hand over mail here");
    } else if shared.is_full() {
        turn_away(shared, link, 421, "4.3.2 too many connections; come again");
    } else {
        shared.spawn(move |shared| serve(shared, link, address));
    }
}

/// Makes room for a socket where one was left by a process that is gone.
fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(ListenError::NoSocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let failed = |source| failed(&Address::Unix(path.to_owned()), source);
            std::fs::remove_file(path).map_err(failed)
        }
        _ => Err(ListenError::InUse { address: Address::Unix(path.to_owned()) }),
    }
}

//! One client's session on its connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Offered, Shared};
use crate::net::{Deadline, Exchanged, Link, LinkError};
use crate::proto::{Server, Then};
use crate::reply::Reply;

/// How long the last words may take to be sent.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Tells a client that it does not get in. This is done on the thread that takes connections, and
/// waits for nothing.
pub(super) fn turn_away(shared: &Shared, link: Link, code: u16, words: &str) {
    // In plain text the first bytes would be taken for a broken handshake.
    if matches!(shared.config.tls, Offered::Implicit(_)) {
        return;
    }
    let mut server = Server::new(shared.config.session.clone(), None, false);
    server.turn_away(&Reply::ours(code, words));
    link.close(server.outbox(), Duration::ZERO);
}

/// Serves a client until it or we have enough.
pub(super) fn serve(shared: &Shared, mut link: Link, address: Option<IpAddr>) {
    let config = &shared.config;
    let mut secured = false;
    if let Offered::Implicit(tls) = &config.tls {
        if link.secure_as_server(tls, config.patience, &shared.bell).is_err() {
            return;
        }
        secured = true;
    }
    let mut server = Server::new(config.session.clone(), address, secured);
    if !secured && link.is_disturbed() {
        server.spoke_early();
    } else {
        server.greet();
    }
    if converse(shared, &mut link, &mut server).is_err() {
        // Whoever is gone needs no last words.
        return;
    }
    link.close(server.outbox(), GOOD_BYE);
}

/// A session's part of the memory that all messages under way take.
struct Held<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl Held<'_> {
    /// Takes note of what is held now; what all sessions hold together.
    fn update(&mut self, now: usize) -> usize {
        let before = std::mem::replace(&mut self.own, now);
        // Wrapping, so that one addition does for more and for less.
        let difference = now.wrapping_sub(before);
        self.all.fetch_add(difference, Ordering::Relaxed).wrapping_add(difference)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.update(0);
    }
}

fn converse(shared: &Shared, link: &mut Link, server: &mut Server) -> Result<(), LinkError> {
    let config = &shared.config;
    let mut inbox = Vec::new();
    let mut held = Held { all: &shared.memory, own: 0 };
    // A client that sends a little at a time gains nothing: only whole commands, or as much of a
    // message as one part, renew this.
    let mut waited: Option<(u64, Deadline)> = None;
    loop {
        match server.then() {
            Then::Close => return Ok(()),
            Then::Handshake => {
                let Offered::StartTls(tls) = &config.tls else { return Err(LinkError::Closed) };
                // What comes from here on is for TLS to read.
                link.send_all(server.outbox(), config.patience, Some(&shared.bell))?;
                link.secure_as_server(tls, config.patience, &shared.bell)?;
                server.secured();
            }
            Then::Read => {}
        }
        if !server.outbox().is_empty() {
            // Whoever does not read our answers is not read either: they would pile up here.
            match link.send_all(server.outbox(), config.patience, Some(&shared.bell))? {
                Exchanged::Rung => server.close("closing down"),
                Exchanged::Sent | Exchanged::Received => waited = None,
            }
            continue;
        }
        let steps = server.steps();
        let deadline = match waited {
            Some((at, deadline)) if at == steps => deadline,
            _ => Deadline::after(config.patience),
        };
        waited = Some((steps, deadline));
        inbox.clear();
        let block = config.patience;
        match link.exchange(server.outbox(), &mut inbox, deadline, block, Some(&shared.bell)) {
            Ok(Exchanged::Received) => {
                server.receive(&inbox, &*shared.accept);
                if held.update(server.held()) > config.memory && server.held() > 0 {
                    server.starve();
                    held.update(server.held());
                }
            }
            Ok(Exchanged::Sent) => {}
            Ok(Exchanged::Rung) => server.close("closing down"),
            Err(LinkError::TimedOut(_)) => server.close("nothing came for too long"),
            Err(error) => return Err(error),
        }
    }
}

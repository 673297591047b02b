//! What is said over TCP.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::line::{Incoming, shown};
use super::{Deadline, Failure, HttpCheck, broken};

/// As much of a page as is searched.
const PAGE: usize = 64 * 1024;
/// As much as anybody needs for a greeting.
const GREETING: usize = 8 * 1024;

pub(super) fn connect(address: SocketAddr, deadline: Deadline) -> Result<TcpStream, Failure> {
    let what = "connecting";
    let stream = TcpStream::connect_timeout(&address, deadline.left(what)?);
    stream.map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Failure::TimedOut(what),
        _ => Failure::Connect(error),
    })
}

fn say(mut stream: &TcpStream, text: &str, deadline: Deadline) -> Result<(), Failure> {
    let what = "sending";
    stream.set_write_timeout(Some(deadline.left(what)?)).map_err(broken(what))?;
    stream.write_all(text.as_bytes()).map_err(broken(what))
}

/// HTTP/1.0, so that the body comes as it is and ends with the connection.
pub(super) fn http(
    address: SocketAddr,
    check: &HttpCheck,
    deadline: Deadline,
) -> Result<(), Failure> {
    let stream = connect(address, deadline)?;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: dns-failover\r\nAccept: */*\r\n\r\n",
        check.path, check.host
    );
    say(&stream, &request, deadline)?;
    let mut incoming = Incoming::new(&stream, deadline, PAGE);
    let what = "waiting for a status";
    let line = incoming.line(what)?.unwrap_or_default();
    let status = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(1..5))
        .and_then(|rest| std::str::from_utf8(rest).ok()?.strip_prefix(' ')?.parse::<u16>().ok());
    if status != Some(check.status) {
        let wanted = format!("HTTP status {}", check.status);
        return Err(Failure::Answer { got: shown(&line), wanted });
    }
    let Some(text) = &check.text else { return Ok(()) };
    // An empty line ends the header.
    while incoming.line("reading the header")?.is_some_and(|line| !line.is_empty()) {}
    let finder = memchr::memmem::Finder::new(text);
    let mut searched = 0;
    loop {
        let from = incoming.rest();
        if finder.find(&from[searched..]).is_some() {
            return Ok(());
        }
        // The text may begin in what came and end in what comes.
        searched = from.len().saturating_sub(text.len());
        if !incoming.more("reading the page")? {
            return Err(Failure::Text(PAGE));
        }
    }
}

pub(super) fn mail(address: SocketAddr, hello: &str, deadline: Deadline) -> Result<(), Failure> {
    let stream = connect(address, deadline)?;
    let mut incoming = Incoming::new(&stream, deadline, GREETING);
    reply(&mut incoming, "220", "waiting for the greeting")?;
    say(&stream, &format!("{hello} probe.invalid\r\n"), deadline)?;
    reply(&mut incoming, "250", "waiting for the reply to our hello")?;
    // It is up; whether it hears our farewell does not matter.
    let _ = say(&stream, "QUIT\r\n", deadline);
    Ok(())
}

/// A reply of any number of lines, the last with a blank after its code (RFC 5321 section 4.2).
fn reply(incoming: &mut Incoming<'_>, wanted: &str, what: &'static str) -> Result<(), Failure> {
    loop {
        let line = incoming.line(what)?.unwrap_or_default();
        match (line.get(..3), line.get(3)) {
            (Some(code), Some(b'-')) if code == wanted.as_bytes() => {}
            (Some(code), None | Some(b' ')) if code == wanted.as_bytes() => return Ok(()),
            _ => return Err(Failure::Answer { got: shown(&line), wanted: wanted.to_owned() }),
        }
    }
}

/// Other lines may come before the one that identifies the server.
pub(super) fn ssh(address: SocketAddr, deadline: Deadline) -> Result<(), Failure> {
    let stream = connect(address, deadline)?;
    let mut incoming = Incoming::new(&stream, deadline, GREETING);
    let mut last = Vec::new();
    while let Some(line) = incoming.line("waiting for the banner")? {
        if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
            return Ok(());
        }
        last = line;
    }
    Err(Failure::Answer { got: shown(&last), wanted: "an SSH-2.0 banner".to_owned() })
}

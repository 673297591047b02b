//! As much of a web server as a visitor of the drill notices, and the visitor's side of it (HTTP/1.0,
//! RFC 1945): one request on a connection; GET, PUT and DELETE below the folder of a host.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The page that tells whether a host's site is there.
pub(super) const HEALTH: &str = "/.well-known/health";

/// The longest wait for anything of a request, on either side.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most octets of a request's head.
const HEAD: u64 = 8 << 10;
/// The most octets of what is put.
const BODY: u64 = 16 << 20;

/// Serves the folders of hosts below `root`, until the process ends.
pub(super) fn serve(root: &Path, listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let root = root.to_owned();
        // A visitor without a thread gets no answer, and comes again.
        let _ = thread::Builder::new().stack_size(256 << 10).spawn(move || {
            // Who went away needs no answer.
            let _ = answer(&root, &stream);
        });
    }
}

fn answer(root: &Path, stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut input = BufReader::new(stream.take(HEAD + BODY));
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, target) = (method.to_owned(), target.to_owned());
    let (mut host, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "host" => value.trim().clone_into(&mut host),
                "content-length" => length = value.trim().parse().unwrap_or(BODY + 1),
                _ => {}
            }
        }
    }
    let (status, body) = match place(root, &host, &target) {
        None => (404, b"no such page\n".to_vec()),
        Some((folder, _)) if target == HEALTH => match folder.is_dir() {
            true => (200, b"here\n".to_vec()),
            false => (404, b"this site is not here\n".to_vec()),
        },
        Some((folder, path)) => match method.as_str() {
            "GET" => get(&folder, &path),
            "PUT" if length > BODY => (413, b"too large\n".to_vec()),
            "PUT" => {
                let mut body = Vec::new();
                input.take(length).read_to_end(&mut body)?;
                let complete = body.len() as u64 == length;
                told(if complete {
                    put(&path, &body)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                })
            }
            "DELETE" => told(fs::remove_file(&path)),
            _ => (405, b"GET, PUT or DELETE\n".to_vec()),
        },
    };
    let out = format!("HTTP/1.0 {status} -\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    stream.write_all(&[out.as_bytes(), &body].concat())
}

/// The folder of a host and a path in it, which cannot lead out of it by its words. `www.` is the
/// same site.
fn place(root: &Path, host: &str, target: &str) -> Option<(PathBuf, PathBuf)> {
    let host = host.strip_prefix("www.").unwrap_or(host);
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    let words = target.strip_prefix('/')?.split('/').filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    if !plain(host) || host.contains('/') || !words.iter().all(|word| plain(word)) {
        return None;
    }
    let folder = root.join(host);
    let path = words.iter().fold(folder.clone(), |path, word| path.join(word));
    Some((folder, path))
}

fn get(folder: &Path, path: &Path) -> (u16, Vec<u8>) {
    let file = if path == folder { folder.join("index.html") } else { path.to_owned() };
    match fs::read(&file) {
        Ok(body) => (200, body),
        // A site without a front page is there all the same.
        Err(_) if path == folder && folder.is_dir() => (200, b"a site\n".to_vec()),
        Err(_) => (404, b"no such page\n".to_vec()),
    }
}

/// Readers see the old page or the new one.
fn put(path: &Path, body: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".put-{name}"));
    fs::write(&fresh, body)?;
    fs::rename(&fresh, path)
}

fn told(done: io::Result<()>) -> (u16, Vec<u8>) {
    match done {
        Ok(()) => (201, b"done\n".to_vec()),
        Err(error) => (500, format!("{error}\n").into_bytes()),
    }
}

/// Asks a web server for something; gives the status and what came with it.
pub(super) fn ask(
    server: SocketAddr,
    method: &str,
    host: &str,
    target: &str,
    body: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.take(HEAD + BODY).read_to_end(&mut answer)?;
    let unclear = || io::Error::new(io::ErrorKind::InvalidData, "no answer of a web server");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(unclear)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = status.and_then(|digits| digits.parse().ok()).ok_or_else(unclear)?;
    Ok((status, answer.split_off(end + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder_of_its_host() {
        let root = Path::new("/srv");
        let inside = |host: &str, target: &str| place(root, host, target).is_some();
        assert!(inside("www.hill.example", "/a/b.html") && inside("hill.example", "/"));
        for (host, target) in
            [("..", "/x"), ("", "/x"), ("a/b", "/x"), ("a", "x"), ("a", "/../x"), ("a", "/./x")]
        {
            assert!(!inside(host, target), "{host} {target}");
        }
    }
}

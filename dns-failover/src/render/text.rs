//! Names in configurations.

use std::fmt::Write;

use crate::name::Name;

/// The head of every file.
pub(super) fn head(comment: &str) -> String {
    format!("{comment} Rendered from network.toml; what is changed here is lost.\n")
}

/// A name without its last dot, in lower case. The rules of the topology let no character pass that
/// means something to a configuration.
pub(super) fn bare(name: &Name) -> String {
    let mut text = name.to_lowercase().to_string();
    if text.len() > 1 {
        text.pop();
    }
    text
}

/// The path of a zone's file in the server's folder. Classless reverse zones have slashes in their names
/// (RFC 2317), which become `%2F`.
pub(crate) fn zone_file(name: &Name) -> String {
    let mut path = "zones/".to_owned();
    for octet in bare(name).bytes() {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => path.push(char::from(octet)),
            other => {
                let _ = write!(path, "%{other:02X}");
            }
        }
    }
    path + ".zone"
}

//! The one field that we put on top of a message (RFC 5321 §4.4).

use std::fmt;
use std::net::IpAddr;

use crate::accept::With;
use crate::envelope::ForwardPath;
use crate::id::SpoolId;
use crate::time::Timestamp;

/// The facts of one Received field.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What the client called itself.
    pub helo: Option<&'a [u8]>,
    /// Where it came from.
    pub peer: Option<IpAddr>,
    /// Our own name.
    pub by: &'a str,
    /// The protocol.
    pub with: With,
    /// Whether SMTPUTF8 was asked for.
    pub smtputf8: bool,
    /// What we call the message.
    pub id: SpoolId,
    /// The recipient, where there is one only: a list would tell each of the others.
    pub recipient: Option<&'a ForwardPath>,
    /// When it came.
    pub at: Timestamp,
}

/// A name of letters, digits, dots and what address literals hold; anything else becomes
/// `unknown`, so that no name can bring brackets, quotes or line ends along.
pub(crate) fn plain(name: &[u8]) -> &str {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    match std::str::from_utf8(name) {
        Ok(text) if (1..=255).contains(&name.len()) && name.iter().all(allowed) => text,
        _ => "unknown",
    }
}

impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Received: ")?;
        if self.helo.is_some() || self.peer.is_some() {
            write!(f, "from {}", self.helo.map_or("unknown", plain))?;
            match self.peer {
                Some(IpAddr::V4(address)) => write!(f, " ([{address}])")?,
                Some(IpAddr::V6(address)) => write!(f, " ([IPv6:{address}])")?,
                None => {}
            }
            f.write_str("\r\n\t")?;
        }
        write!(f, "by {}", plain(self.by.as_bytes()))?;
        f.write_str(match (self.with, self.smtputf8) {
            (With::Local, _) => "",
            (With::Smtp, _) => " with SMTP",
            (With::Esmtp, false) => " with ESMTP",
            (With::Esmtps, false) => " with ESMTPS",
            (With::Lmtp, false) => " with LMTP",
            (With::Lmtps, false) => " with LMTPS",
            // RFC 6531 §4.3.
            (With::Esmtp, true) => " with UTF8SMTP",
            (With::Esmtps, true) => " with UTF8SMTPS",
            (With::Lmtp, true) => " with UTF8LMTP",
            (With::Lmtps, true) => " with UTF8LMTPS",
        })?;
        write!(f, " id {}", self.id)?;
        // A local part in quotes may hold what folding or a comment would change.
        if let Some(path) = self.recipient
            && (path.is_ascii() || self.smtputf8)
            && path.as_str().len() < 900
            && path.domain().is_some()
            && !path.as_str().contains(['"', '(', ')', ';', ','])
        {
            write!(f, "\r\n\tfor <{path}>")?;
        }
        write!(f, ";\r\n\t{}\r\n", self.at.to_rfc5322())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RawMessage;

    fn received<'a>(helo: &'a str, recipient: &'a ForwardPath) -> Received<'a> {
        Received {
            helo: Some(helo.as_bytes()),
            peer: Some("192.0.2.1".parse().unwrap()),
            by: "uk.example.org",
            with: With::Lmtps,
            smtputf8: false,
            id: SpoolId::new(Timestamp::from_millis(0), 5),
            recipient: Some(recipient),
            at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn s19_one_field_on_top_and_nothing_else() {
        let path = ForwardPath::new("ann@example.org").unwrap();
        let before = RawMessage::new("Subject: a\r\n\r\nb\r\n").unwrap();
        let after = before.with_received(&received("mx.example.net", &path));
        assert_eq!(
            String::from_utf8_lossy(after.as_bytes()),
            "Received: from mx.example.net ([192.0.2.1])\r\n\tby uk.example.org with LMTPS \
             id 00000000000000000000000005\r\n\tfor <ann@example.org>;\r\n\t\
             Thu, 1 Jan 1970 00:00:00 +0000\r\nSubject: a\r\n\r\nb\r\n"
        );
        assert_eq!((before.received_count(), after.received_count()), (0, 1));
        assert_eq!(before.content_hash(), after.content_hash());
        assert_eq!(after.spool_id(), Some(SpoolId::new(Timestamp::from_millis(0), 5)));
        assert!(after.has_been_at("UK.example.org") && !after.has_been_at("us.example.org"));
    }

    #[test]
    fn names_bring_nothing_along() {
        let path = ForwardPath::new("\"a;b\"@example.org").unwrap();
        for helo in ["a b", "a)", "a\r\nX: y", "a\\", "", "ä"] {
            let field = received(helo, &path).to_string();
            assert!(field.starts_with("Received: from unknown ([192.0.2.1])\r\n\tby"), "{field}");
            assert!(!field.contains("for"));
        }
    }
}

//! What a server offers after EHLO or LHLO (RFC 5321 §4.1.1.1).

/// The extensions that matter to us. Keywords are the same in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3030: BDAT.
    pub chunking: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 1870: SIZE may be declared.
    pub size: bool,
    /// The most bytes that the server takes; none where it does not say.
    pub max_size: Option<u64>,
    /// RFC 4954: the mechanism PLAIN.
    pub auth_plain: bool,
    /// The mechanism LOGIN.
    pub auth_login: bool,
    /// Our own: the server is a peer relay, remembers the ids of what it was sent, and tells.
    pub xdual: bool,
}

impl Capabilities {
    /// Reads the lines of the answer; the first holds the server's name.
    pub(crate) fn parse(lines: &[Vec<u8>]) -> Capabilities {
        let mut found = Capabilities::default();
        for line in lines.iter().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            // Some servers write AUTH=PLAIN, after an old draft.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("PIPELINING") => found.pipelining = true,
                Some("CHUNKING") => found.chunking = true,
                Some("8BITMIME") => found.eight_bit_mime = true,
                Some("SMTPUTF8") => found.smtputf8 = true,
                Some("DSN") => found.dsn = true,
                Some("STARTTLS") => found.starttls = true,
                Some("XDUAL") => found.xdual = true,
                Some("SIZE") => {
                    found.size = true;
                    // Zero means that there is no fixed limit (RFC 1870 §4).
                    found.max_size =
                        words.next().and_then(|size| size.parse().ok()).filter(|&size| size > 0);
                }
                Some("AUTH") => {
                    for mechanism in words {
                        found.auth_plain |= mechanism == "PLAIN";
                        found.auth_login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_keywords_are_the_same_in_any_case() {
        let lines =
            ["mx starttls", "pipelining", "Size 1000", "auth LOGIN plain", "AUTH=PLAIN", ""]
                .map(|line| line.as_bytes().to_vec());
        let found = Capabilities::parse(&lines);
        assert_eq!(
            found,
            Capabilities {
                pipelining: true,
                size: true,
                max_size: Some(1000),
                auth_plain: true,
                auth_login: true,
                ..Capabilities::default()
            }
        );
        let size = |line: &str| Capabilities::parse(&[vec![], line.into()]).max_size;
        assert_eq!((size("SIZE"), size("SIZE 0"), size("SIZE x")), (None, None, None));
    }
}

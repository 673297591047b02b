//! One line from a client, as a command (RFC 5321 §4.1.1).

use crate::dsn_parameters::{DsnParameters, Notify, Orcpt, RecipientDsn, Ret, Xtext};
use crate::envelope::{BodyType, ForwardPath, ReversePath};
use crate::id::SpoolId;

/// A command with its arguments checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Helo(String),
    Ehlo(String),
    Lhlo(String),
    Mail(Mail),
    Rcpt(ForwardPath, RecipientDsn),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    /// Our own: does this relay have the message with this id for this recipient?
    Xdual(SpoolId, ForwardPath),
}

/// MAIL FROM and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mail {
    pub(crate) reverse_path: ReversePath,
    pub(crate) size: Option<u64>,
    pub(crate) body: BodyType,
    pub(crate) smtputf8: bool,
    pub(crate) dsn: DsnParameters,
    pub(crate) origin: Option<SpoolId>,
}

/// Code and text of the answer to a line that is no command.
pub(crate) type Refusal = (u16, &'static str);

const UNKNOWN: Refusal = (500, "5.5.2 command not recognized");
const NO_ARGUMENT: Refusal = (501, "5.5.4 this command takes no argument");
const BAD_ARGUMENT: Refusal = (501, "5.5.4 bad argument");
const BAD_PARAMETER: Refusal = (501, "5.5.4 bad parameter");
const UNKNOWN_PARAMETER: Refusal = (555, "5.5.4 parameter not recognized");
const TWICE: Refusal = (501, "5.5.4 the same parameter twice");

/// Reads a line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Refusal> {
    if line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err((500, "5.5.2 control character in a command"));
    }
    let line = std::str::from_utf8(line).map_err(|_| (500, "5.5.2 a command that is not UTF-8"))?;
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim_start_matches([' ', '\t']);
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => name(rest).map(Command::Helo),
        "EHLO" => name(rest).map(Command::Ehlo),
        "LHLO" => name(rest).map(Command::Lhlo),
        "MAIL" => mail(rest).map(Command::Mail),
        "RCPT" => rcpt(rest),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "STARTTLS" => alone(Command::StartTls),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "HELP" => Ok(Command::Help),
        "XDUAL" => xdual(rest),
        _ => Err(UNKNOWN),
    }
}

fn name(rest: &str) -> Result<String, Refusal> {
    if rest.is_empty() || rest.len() > 255 {
        return Err((501, "5.5.4 give your own name"));
    }
    Ok(rest.to_owned())
}

/// What stands between `<` and `>` after `keyword`, without a source route, and what follows.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Refusal> {
    let rest = match rest.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => &rest[keyword.len()..],
        _ => return Err((501, "5.5.4 syntax: MAIL FROM:<address> or RCPT TO:<address>")),
    };
    // Blanks after the colon are wrong and common.
    let rest = rest.trim_start_matches(' ');
    let inner = rest.strip_prefix('<').ok_or((501, "5.1.7 the address must be in <>"))?;
    let mut quoted = false;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let end = byte == b'>' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        end
    });
    let end = end.ok_or((501, "5.1.7 the address must be in <>"))?;
    let (address, after) = (&inner[..end], &inner[end + 1..]);
    if !after.is_empty() && !after.starts_with(' ') {
        return Err((501, "5.5.4 a blank must follow the address"));
    }
    // RFC 5321 §4.1.2: a source route is taken and ignored.
    let address = match address.strip_prefix('@') {
        Some(route) => route.split_once(':').map_or(address, |(_, address)| address),
        None => address,
    };
    Ok((address, after))
}

/// The parameters after a path; each keyword in capitals, once.
fn parameters(rest: &str) -> Result<Vec<(String, Option<&str>)>, Refusal> {
    let mut found: Vec<(String, Option<&str>)> = Vec::new();
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let keyword = keyword.to_ascii_uppercase();
        if value == Some("") {
            return Err(BAD_PARAMETER);
        }
        if found.iter().any(|(known, _)| *known == keyword) {
            return Err(TWICE);
        }
        // More than any command has; the next is refused anyway.
        if found.len() > 16 {
            return Err(UNKNOWN_PARAMETER);
        }
        found.push((keyword, value));
    }
    Ok(found)
}

fn mail(rest: &str) -> Result<Mail, Refusal> {
    let (address, rest) = path(rest, "FROM:")?;
    let reverse_path =
        ReversePath::new(address).map_err(|_| (553, "5.1.7 this is no sender's address"))?;
    let mut mail = Mail { reverse_path, ..Mail::default() };
    for (keyword, value) in parameters(rest)? {
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size = Some(number(value)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {}
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                mail.body = BodyType::EightBitMime;
            }
            ("BODY", Some(_)) => return Err((504, "5.5.4 BODY takes 7BIT or 8BITMIME")),
            ("SMTPUTF8", None) => mail.smtputf8 = true,
            ("RET", Some(value)) => {
                mail.dsn.ret = Some(Ret::parse(value).map_err(|_| BAD_PARAMETER)?);
            }
            ("ENVID", Some(value)) if value.len() <= 100 => {
                mail.dsn.envid = Some(Xtext::new(value).map_err(|_| BAD_PARAMETER)?);
            }
            ("XDUAL", Some(value)) => {
                mail.origin = Some(value.parse().map_err(|_| BAD_PARAMETER)?);
            }
            ("SIZE" | "SMTPUTF8" | "RET" | "ENVID" | "XDUAL", _) => return Err(BAD_PARAMETER),
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    if !mail.reverse_path.is_ascii() && !mail.smtputf8 {
        return Err((553, "5.6.7 an address that is not ASCII needs SMTPUTF8"));
    }
    Ok(mail)
}

fn rcpt(rest: &str) -> Result<Command, Refusal> {
    let (address, rest) = path(rest, "TO:")?;
    let path = recipient(address)?;
    let mut dsn = RecipientDsn::default();
    for (keyword, value) in parameters(rest)? {
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => {
                dsn.notify = Some(Notify::parse(value).map_err(|_| BAD_PARAMETER)?);
            }
            ("ORCPT", Some(value)) => {
                dsn.orcpt = Some(Orcpt::parse(value).map_err(|_| BAD_PARAMETER)?);
            }
            ("NOTIFY" | "ORCPT", None) => return Err(BAD_PARAMETER),
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(Command::Rcpt(path, dsn))
}

fn recipient(address: &str) -> Result<ForwardPath, Refusal> {
    ForwardPath::new(address).map_err(|_| (553, "5.1.3 this is no recipient's address"))
}

fn bdat(rest: &str) -> Result<Command, Refusal> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let size = number(words.next().ok_or(BAD_ARGUMENT)?)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(BAD_ARGUMENT),
    };
    if words.next().is_some() {
        return Err(BAD_ARGUMENT);
    }
    Ok(Command::Bdat { size, last })
}

fn xdual(rest: &str) -> Result<Command, Refusal> {
    let (id, address) = rest.split_once(' ').ok_or(BAD_ARGUMENT)?;
    let id = id.parse().map_err(|_| BAD_ARGUMENT)?;
    let address = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    Ok(Command::Xdual(id, recipient(address.ok_or(BAD_ARGUMENT)?)?))
}

/// Up to 20 digits (RFC 1870 §3).
fn number(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD_ARGUMENT);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rcpt_to(line: &str) -> Result<String, u16> {
        match parse(line.as_bytes()) {
            Ok(Command::Rcpt(path, _)) => Ok(path.to_string()),
            Ok(other) => panic!("{other:?}"),
            Err((code, _)) => Err(code),
        }
    }

    #[test]
    fn addresses_come_through_as_they_are() {
        for (line, path) in [
            ("RCPT TO:<a@b.org>", "a@b.org"),
            ("rcpt to: <a@b.org> notify=NEVER", "a@b.org"),
            ("RCPT TO:<@x.org,@y.org:a@b.org>", "a@b.org"),
            ("RCPT TO:<\"a> b\\\"\"@b.org>", "\"a> b\\\"\"@b.org"),
            ("RCPT TO:<PostMaster>", "PostMaster"),
        ] {
            assert_eq!(rcpt_to(line).as_deref(), Ok(path));
        }
        for line in [
            "RCPT TO:a@b.org",
            "RCPT TO:<a@b.org",
            "RCPT TO:<a@b.org>x",
            "RCPT TO:<a@b.org> SIZE=1",
            "RCPT TO:<a@b.org> NOTIFY=NEVER NOTIFY=NEVER",
            "RCPT TO:<a@b.org> ORCPT=rfc822;a+0Z",
            "RCPT TO:<>",
            "RCPT TO:<x>> y@z",
            "RCPT FROM:<a@b.org>",
            "RCPT",
        ] {
            assert!(rcpt_to(line).is_err(), "{line}");
        }
    }

    #[test]
    fn s16_s24_s25_parameters_of_mail_are_kept_or_refused() {
        let Ok(Command::Mail(mail)) = parse(
            b"MAIL FROM:<\xc3\xa4@b.org> size=12 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb",
        ) else {
            panic!("refused")
        };
        assert_eq!((mail.size, mail.body, mail.smtputf8), (Some(12), BodyType::EightBitMime, true));
        assert_eq!(
            (mail.dsn.ret, mail.dsn.envid.unwrap().decoded().as_str()),
            (Some(Ret::Hdrs), "a+b")
        );
        for (line, code) in [
            ("MAIL FROM:<a@b> X=1", 555),
            ("MAIL FROM:<a@b> SIZE", 501),
            ("MAIL FROM:<a@b> SIZE=-1", 501),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", 504),
            ("MAIL FROM:<ä@b>", 553),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=2", 501),
            ("MAIL FROM:<a b@c>", 553),
        ] {
            assert_eq!(parse(line.as_bytes()).map_err(|(code, _)| code), Err(code), "{line}");
        }
        let null = parse(b"MAIL FROM:<>").unwrap();
        assert!(matches!(null, Command::Mail(mail) if mail.reverse_path.is_null()));
    }

    #[test]
    fn s14_arguments_are_taken_where_they_may_be() {
        assert_eq!(parse(b"noop anything"), Ok(Command::Noop));
        assert_eq!(parse(b"QUIT "), Ok(Command::Quit));
        assert_eq!(parse(b"QUIT now").map_err(|(code, _)| code), Err(501));
        assert_eq!(parse(b"BDAT 5 last"), Ok(Command::Bdat { size: 5, last: true }));
        for bad in [&b"BDAT"[..], b"BDAT x", b"BDAT 5 FIRST", b"BDAT 5 LAST 6", b"BDAT +5"] {
            assert!(parse(bad).is_err());
        }
        assert_eq!(parse(b"MA\0IL").map_err(|(code, _)| code), Err(500));
        assert_eq!(parse(b"").map_err(|(code, _)| code), Err(500));
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_refused(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&line);
        }

        #[test]
        fn nearly_commands_are_commands_or_refused(line in "(MAIL FROM:|RCPT TO:|XDUAL |BDAT )[<>@\" a.:=\\\\]{0,12}( (SIZE|NOTIFY|ORCPT|RET)=?[a-zA-Z0-9;+,]{0,6}){0,2}") {
            let _ = parse(line.as_bytes());
        }
    }
}

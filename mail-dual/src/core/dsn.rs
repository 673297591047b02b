//! Telling a sender who was not reached, and who was where that was asked (RFC 3461 to 3464).

use std::fmt::Write;

use crate::core::leg_name::LegName;
use crate::dsn_parameters::{Notify, Ret};
use crate::envelope::{Envelope, ForwardPath, Recipient, ReversePath};
use crate::id::SpoolId;
use crate::message::RawMessage;
use crate::reply::EnhancedCode;
use crate::spool::Head;
use crate::text::printable_within;
use crate::time::Timestamp;

/// A message that is returned whole is at most so long; of a longer one the header is.
const WHOLE: usize = 64 * 1024;

/// No more of a header is returned.
const LONGEST_HEADER: usize = 32 * 1024;

/// What became of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A leg took it. Told to whoever asked for that (NOTIFY=SUCCESS).
    Relayed,
    /// No leg takes it.
    Refused,
    /// It was tried for as long as it is worth.
    Expired,
}

/// What there is to tell about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its place in the envelope.
    pub recipient: u32,
    /// What became of it.
    pub fate: Fate,
    /// The leg that spoke last, and what it said or what happened.
    pub said: Option<(LegName, String)>,
}

/// A notification to be built: everything that it is made of.
#[derive(Debug)]
pub struct Dsn<'a> {
    /// The message that was not delivered.
    pub head: &'a Head,
    /// Its octets.
    pub message: &'a RawMessage,
    /// Who was not reached, and why; or who was.
    pub accounts: &'a [Account],
    /// Our own name.
    pub hostname: &'a str,
    /// What the notification is called.
    pub id: SpoolId,
    /// When it is written.
    pub now: Timestamp,
}

impl Dsn<'_> {
    /// The notification, and where it goes: to the sender, from nobody.
    ///
    /// None when nobody is to be told: the sender is null, so that a notification never answers a
    /// notification (RFC 5321 §6.1), or asked not to be told about any of the recipients
    /// (RFC 3461 §4.1).
    ///
    /// What others said is quoted without what could be taken for part of the notification.
    pub fn build(&self) -> Option<(Envelope, RawMessage)> {
        let sender = self.head.envelope.reverse_path.to_forward_path()?;
        let accounts: Vec<(&Account, &Recipient)> = self
            .accounts
            .iter()
            .filter_map(|account| Some((account, self.recipient(account)?)))
            .filter(|(account, recipient)| is_wanted(account.fate, recipient.dsn.notify))
            .collect();
        if accounts.is_empty() {
            return None;
        }
        let eight_bit = self.head.envelope.needs_smtputf8();
        let text = self.write(&sender, &accounts, eight_bit);
        let mut envelope = Envelope::new(ReversePath::null(), [sender]).ok()?;
        envelope.smtputf8 = eight_bit;
        Some((envelope, RawMessage::new(text).ok()?))
    }

    fn recipient(&self, account: &Account) -> Option<&Recipient> {
        self.head.envelope.recipients().get(account.recipient as usize)
    }

    fn write(
        &self,
        sender: &ForwardPath,
        accounts: &[(&Account, &Recipient)],
        eight_bit: bool,
    ) -> Vec<u8> {
        let host = inert(self.hostname, 255);
        let boundary = format!("=_{}", self.id);
        // An old mailer must not be sent what it cannot read (RFC 6533 §3).
        let (global, charset) = if eight_bit { ("global-", "utf-8") } else { ("", "us-ascii") };
        let date = self.now.to_rfc5322();
        let failed = accounts.iter().any(|(account, _)| account.fate != Fate::Relayed);
        let (subject, first, last) = if failed {
            (
                "Undelivered mail returned to sender",
                "Your message could not be delivered to:",
                "It has reached none of them, and no further attempt will be made.",
            )
        } else {
            (
                "Successful mail delivery report",
                "Your message was handed on to the mail servers of:",
                "They do not report any further, unless something fails.",
            )
        };
        let id = self.id;
        let mut text = format!(
            "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\n\
             To: <{sender}>\r\n\
             Subject: {subject}\r\n\
             Date: {date}\r\n\
             Message-ID: <{id}@{host}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type={global}delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset={charset}\r\n\r\n\
             This is the mail system at {host}.\r\n\r\n\
             {first}\r\n\r\n"
        );
        for (account, recipient) in accounts {
            let _ = write!(text, "<{}>\r\n    {}\r\n", recipient.path, reason(account));
        }
        let _ = write!(
            text,
            "\r\n{last}\r\n\r\n\
             --{boundary}\r\nContent-Type: message/{global}delivery-status\r\n\r\n"
        );
        if let Some(envid) = &self.head.envelope.dsn.envid {
            let _ = write!(text, "Original-Envelope-Id: {}\r\n", inert(&envid.decoded(), 100));
        }
        let arrived = self.head.accepted.to_rfc5322();
        let _ = write!(text, "Reporting-MTA: dns; {host}\r\nArrival-Date: {arrived}\r\n");
        for (account, recipient) in accounts {
            self.write_status(account, recipient, eight_bit, &mut text);
        }
        let mut bytes = text.into_bytes();
        self.write_original(&boundary, global, &mut bytes);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        bytes
    }

    fn write_status(
        &self,
        account: &Account,
        recipient: &Recipient,
        eight_bit: bool,
        text: &mut String,
    ) {
        text.push_str("\r\n");
        if let Some(orcpt) = &recipient.dsn.orcpt {
            let (kind, address) = (orcpt.kind(), inert(&orcpt.address().decoded(), 500));
            let _ = write!(text, "Original-Recipient: {};{address}\r\n", inert(kind, 60));
        }
        let kind = if eight_bit { "utf-8" } else { "rfc822" };
        let words = account.said.as_ref().map(|(_, words)| inert(words, 900));
        let reply = words.as_deref().and_then(reply_code);
        let status = match (account.fate, reply) {
            // Relayed to where no reports come from; delivery time expired (RFC 3463 §3).
            (Fate::Relayed, _) => "2.1.9".to_owned(),
            (Fate::Expired, _) => "4.4.7".to_owned(),
            (Fate::Refused, Some((_, Some(enhanced)))) => enhanced.to_string(),
            (Fate::Refused, Some((code, None))) if code / 100 == 5 => "5.0.0".to_owned(),
            (Fate::Refused, _) => "5.4.0".to_owned(),
        };
        let action = if account.fate == Fate::Relayed { "relayed" } else { "failed" };
        let _ = write!(
            text,
            "Final-Recipient: {kind}; {}\r\nAction: {action}\r\nStatus: {status}\r\n",
            recipient.path
        );
        if let Some((leg, _)) = &account.said {
            let _ = write!(text, "Remote-MTA: x-leg; {leg}\r\n");
        }
        if let Some(words) = words {
            let kind = if reply.is_some() { "smtp" } else { "x-dual-mail" };
            let _ = write!(text, "Diagnostic-Code: {kind}; {words}\r\n");
        }
        let _ = write!(text, "Last-Attempt-Date: {}\r\n", self.now.to_rfc5322());
    }

    /// The message, or its header where that was asked for or it is long (RFC 3461 §4.3).
    fn write_original(&self, boundary: &str, global: &str, bytes: &mut Vec<u8>) {
        let original = self.message.as_bytes();
        let whole = self.head.envelope.dsn.ret == Some(Ret::Full) && original.len() <= WHOLE;
        let quoted = if whole {
            original
        } else {
            let end =
                memchr::memmem::find(original, b"\r\n\r\n").map_or(original.len(), |at| at + 2);
            if end <= LONGEST_HEADER { &original[..end] } else { b"" }
        };
        // A boundary that nobody could know cannot be in it.
        let kind = match (whole, global.is_empty()) {
            (true, true) => "message/rfc822",
            (true, false) => "message/global",
            (false, true) => "text/rfc822-headers",
            (false, false) => "message/global-headers",
        };
        let encoding = if quoted.is_ascii() { "7bit" } else { "8bit" };
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(quoted);
    }
}

/// Without NOTIFY, failures are told and nothing else (RFC 3461 §4.1).
fn is_wanted(fate: Fate, notify: Option<Notify>) -> bool {
    match fate {
        Fate::Relayed => notify.is_some_and(|notify| notify.success),
        Fate::Refused | Fate::Expired => notify.is_none_or(|notify| notify.failure),
    }
}

fn reason(account: &Account) -> String {
    let said = match &account.said {
        Some((leg, words)) => format!("{leg} said: {}", inert(words, 400)),
        None => "nothing was said about why".to_owned(),
    };
    match account.fate {
        Fate::Relayed => "handed on".to_owned(),
        Fate::Refused => said,
        Fate::Expired => format!("given up after too many attempts; last, {said}"),
    }
}

/// Words of others as they may stand in a report: on one line, without what ends or begins things.
fn inert(words: &str, most: usize) -> String {
    // Whether the sender's system reads anything else, nobody knows.
    let ascii = words.replace(|character: char| !character.is_ascii(), "?");
    printable_within(ascii.as_bytes(), most)
}

/// The code that words begin with when they are a reply, and the enhanced one.
fn reply_code(words: &str) -> Option<(u16, Option<EnhancedCode>)> {
    let (code, rest) = words.split_once(' ').unwrap_or((words, ""));
    let code: u16 = code.parse().ok().filter(|code| (200..600).contains(code))?;
    let enhanced = EnhancedCode::parse(rest).map(|(enhanced, _)| enhanced);
    Some((code, enhanced.filter(|enhanced| u16::from(enhanced.class()) == code / 100)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::transition::Share;
    use proptest::prelude::*;

    fn head(sender: &str, recipients: &[&str]) -> Head {
        let reverse_path =
            if sender.is_empty() { ReversePath::null() } else { ReversePath::new(sender).unwrap() };
        let paths = recipients.iter().map(|address| ForwardPath::new(address).unwrap());
        let now = Timestamp::from_millis(1_795_392_000_000);
        Head {
            id: SpoolId::new(now, 1),
            accepted: now,
            origin: None,
            envelope: Envelope::new(reverse_path, paths).unwrap(),
            plan: vec![Share { leg: "uk".parse().unwrap(), recipients: vec![0] }],
            reports_on: None,
        }
    }

    fn build(head: &Head, accounts: &[Account]) -> Option<(Envelope, String)> {
        let message = RawMessage::new("Subject: hello\r\nFrom: x\r\n\r\nThe body.\r\n").unwrap();
        let dsn = Dsn {
            head,
            message: &message,
            accounts,
            hostname: "uk.example.net",
            id: SpoolId::new(head.accepted, 2),
            now: head.accepted,
        };
        let (envelope, report) = dsn.build()?;
        Some((envelope, String::from_utf8(report.as_bytes().to_vec()).unwrap()))
    }

    fn refused(recipient: u32, words: &str) -> Account {
        let said = Some(("us".parse().unwrap(), words.to_owned()));
        Account { recipient, fate: Fate::Refused, said }
    }

    #[test]
    fn s26_a_report_has_the_fields_of_rfc_3464() {
        let head = head("ann@example.org", &["bob@example.net", "eve@example.net"]);
        let (envelope, report) = build(&head, &[refused(1, "550 5.1.1 no such user")]).unwrap();
        assert!(envelope.reverse_path.is_null());
        assert_eq!(envelope.recipients()[0].path.as_str(), "ann@example.org");
        for part in [
            "Auto-Submitted: auto-replied\r\n",
            "Content-Type: multipart/report; report-type=delivery-status;",
            "Reporting-MTA: dns; uk.example.net\r\n",
            "Final-Recipient: rfc822; eve@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
            "Content-Type: text/rfc822-headers\r\n",
            "Subject: hello\r\nFrom: x\r\n",
        ] {
            assert!(report.contains(part), "{part:?} is not in:\n{report}");
        }
        assert!(!report.contains("bob@") && !report.contains("The body."));
    }

    #[test]
    fn s21_nobody_is_told_who_is_nobody_or_asked_for_nothing() {
        let failures = [refused(0, "550 no")];
        assert!(build(&head("", &["bob@example.net"]), &failures).is_none());
        let mut quiet = head("ann@example.org", &["bob@example.net"]);
        let mut recipient = quiet.envelope.recipients()[0].clone();
        recipient.dsn.notify = Some(Notify::NEVER);
        quiet.envelope = quiet.envelope.for_recipients([recipient]).unwrap();
        assert!(build(&quiet, &failures).is_none());
    }

    #[test]
    fn s25_what_the_sender_wants_back_is_what_it_gets() {
        let mut head = head("ann@example.org", &["bob@example.net"]);
        head.envelope.dsn.ret = Some(Ret::Full);
        head.envelope.dsn.envid = Some(crate::Xtext::new("q+2B7").unwrap());
        let (_, report) = build(&head, &[refused(0, "550 no")]).unwrap();
        assert!(report.contains("Original-Envelope-Id: q+7\r\n"), "{report}");
        assert!(report.contains("message/rfc822") && report.contains("The body."));
        assert!(report.contains("Status: 5.0.0\r\n"));
    }

    #[test]
    fn s25_success_is_told_to_whoever_asked_for_it() {
        let mut head = head("ann@example.org", &["bob@example.net", "eve@example.net"]);
        let mut recipients = head.envelope.recipients().to_vec();
        recipients[1].dsn.notify = Some(Notify { success: true, failure: true, delay: false });
        head.envelope = head.envelope.for_recipients(recipients).unwrap();
        let accounts =
            [0, 1].map(|recipient| Account { recipient, fate: Fate::Relayed, said: None });
        let (_, report) = build(&head, &accounts).unwrap();
        let status = "eve@example.net\r\nAction: relayed\r\nStatus: 2.1.9\r\n";
        assert!(report.contains(status) && !report.contains("bob@example.net"), "{report}");
        assert!(build(&head, &accounts[..1]).is_none());
    }

    proptest! {
        #[test]
        fn what_a_server_said_stays_where_it_is_quoted(words in "[\\x00-\\x7f]{0,300}") {
            let head = head("ann@example.org", &["bob@example.net"]);
            let evil = format!("550 {words}\r\nFinal-Recipient: rfc822; x@y\r\n--=_");
            let (_, report) = build(&head, &[refused(0, &evil)]).unwrap();
            prop_assert_eq!(report.matches("\r\nFinal-Recipient:").count(), 1);
            prop_assert_eq!(report.matches("\r\n--=_").count(), 4);
        }
    }
}

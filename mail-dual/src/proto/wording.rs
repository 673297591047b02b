//! Whether a server can take a message, and the two commands that speak of it.

use super::capabilities::Capabilities;
use crate::dsn_parameters::Notify;
use crate::envelope::BodyType;
use crate::leg::Job;
use crate::message::LONGEST_LINE;
use crate::reply::Reply;

/// Why the server cannot take a message as it is; nothing is ever changed to make it fit.
pub(super) fn unsuitable(job: &Job, offered: &Capabilities) -> Option<Reply> {
    let message = &job.message;
    let size = message.len() as u64;
    if offered.max_size.is_some_and(|most| size > most) {
        return Some(Reply::ours(552, "5.3.4 the message is larger than the server takes"));
    }
    if !offered.smtputf8 && needs_smtputf8(job) {
        return Some(Reply::ours(553, "5.6.7 the server does not take internationalized mail"));
    }
    if !offered.eight_bit_mime && message.is_8bit() {
        return Some(Reply::ours(554, "5.6.3 the server does not take 8-bit mail"));
    }
    if !offered.chunking && message.longest_line() > LONGEST_LINE {
        return Some(Reply::ours(
            554,
            "5.6.0 a line is longer than 998 bytes and the server does not offer CHUNKING",
        ));
    }
    None
}

fn needs_smtputf8(job: &Job) -> bool {
    let envelope = &job.envelope;
    !envelope.reverse_path.is_ascii()
        || envelope.recipients().iter().any(|recipient| !recipient.path.is_ascii())
        || (envelope.smtputf8 && job.message.has_8bit_header())
}

pub(super) fn mail_line(job: &Job, offered: &Capabilities, peer: bool) -> String {
    let envelope = &job.envelope;
    let mut line = format!("MAIL FROM:<{}>", envelope.reverse_path);
    if offered.size {
        line.push_str(&format!(" SIZE={}", job.message.len()));
    }
    if offered.eight_bit_mime && (envelope.body == BodyType::EightBitMime || job.message.is_8bit())
    {
        line.push_str(" BODY=8BITMIME");
    }
    if offered.smtputf8 && (envelope.smtputf8 || needs_smtputf8(job)) {
        line.push_str(" SMTPUTF8");
    }
    if peer {
        line.push_str(&format!(" XDUAL={}", job.id));
        // Another server reports nothing, so that it needs to know nothing.
        if offered.dsn {
            if let Some(ret) = envelope.dsn.ret {
                line.push_str(&format!(" RET={ret}"));
            }
            if let Some(envid) = &envelope.dsn.envid {
                line.push_str(&format!(" ENVID={}", envid.as_str()));
            }
        }
    }
    line.push_str("\r\n");
    line
}

pub(super) fn rcpt_line(job: &Job, recipient: usize, offered: &Capabilities, peer: bool) -> String {
    let recipient = &job.envelope.recipients()[recipient];
    let mut line = format!("RCPT TO:<{}>", recipient.path);
    if offered.dsn {
        // Two servers would report twice what happened once: we do it (RFC 3461 §4.1). The other
        // relay is one of us.
        let notify = if peer { recipient.dsn.notify } else { Some(Notify::NEVER) };
        if let Some(notify) = notify {
            line.push_str(&format!(" NOTIFY={notify}"));
        }
        if let Some(orcpt) = recipient.dsn.orcpt.as_ref().filter(|_| peer) {
            line.push_str(&format!(" ORCPT={orcpt}"));
        }
    }
    line.push_str("\r\n");
    line
}

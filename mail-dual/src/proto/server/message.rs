//! The message itself, by DATA or in chunks, and its hand-over.

use super::super::Dialect;
use super::super::command::Mail;
use super::super::data::{DataFault, DataReceiver};
use super::{Mode, Server, Then};
use crate::accept::{Accept, Arrival, Submission, With};
use crate::envelope::{Envelope, Recipient};
use crate::message::RawMessage;
use crate::reply::Reply;

/// A message that is being sent to us.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: Mail,
    pub(super) recipients: Vec<Recipient>,
    /// What BDAT brought so far; none before the first.
    pub(super) chunks: Option<Chunks>,
    /// There is no memory for it at present.
    pub(super) starved: bool,
}

#[derive(Debug, Default)]
pub(super) struct Chunks {
    pub(super) bytes: Vec<u8>,
    pub(super) size: u64,
    /// A chunk was refused: the rest of this message is read and refused (RFC 3030 §4.1).
    pub(super) refused: bool,
}

impl Server {
    pub(super) fn on_data(&mut self, more_follows: bool) {
        let ready = matches!(&self.transaction,
            Some(transaction) if !transaction.recipients.is_empty() && transaction.chunks.is_none());
        if !ready {
            return self.refuse((503, "5.5.1 say MAIL and RCPT first"));
        }
        if more_follows {
            return self
                .turn_away(&Reply::ours(554, "5.5.0 the message came before we asked for it"));
        }
        self.say(&Reply::ours(354, "end with <CRLF>.<CRLF>"));
        self.mode = Mode::Data(DataReceiver::new(self.config.limits.message));
    }

    pub(super) fn on_bdat(&mut self, size: u64, last: bool, accept: &dyn Accept) {
        if let Some(transaction) = &mut self.transaction {
            let taken = transaction.recipients.is_empty();
            transaction.chunks.get_or_insert_default().refused |= taken;
        }
        // The chunk comes in any case, because the client did not wait for an answer.
        if size == 0 {
            self.on_chunk(last, accept);
        } else {
            self.mode = Mode::Chunk { left: size, last };
        }
    }

    pub(super) fn keep_chunk(&mut self, part: &[u8]) {
        let most = self.config.limits.message;
        if let Some(Transaction { chunks: Some(chunks), starved, .. }) = &mut self.transaction {
            chunks.size = chunks.size.saturating_add(part.len() as u64);
            if chunks.refused || *starved || chunks.size > most as u64 {
                chunks.bytes = Vec::new();
            } else {
                chunks.bytes.extend_from_slice(part);
            }
        }
    }

    pub(super) fn on_chunk(&mut self, last: bool, accept: &dyn Accept) {
        let most = self.config.limits.message;
        let Some(Transaction { chunks: Some(chunks), recipients, .. }) = &mut self.transaction
        else {
            return self.refuse((503, "5.5.1 say MAIL and RCPT first"));
        };
        if chunks.refused {
            let nobody = recipients.is_empty();
            if last {
                self.transaction = None;
            }
            return self.refuse(match nobody {
                true => (503, "5.5.1 say MAIL and RCPT first"),
                false => (503, "5.5.1 a part before this one was refused"),
            });
        }
        if last {
            let Chunks { bytes, size, .. } = std::mem::take(chunks);
            let message = match size > most as u64 {
                true => Err(DataFault::TooLarge(most)),
                false => RawMessage::new(bytes).map_err(DataFault::Bad),
            };
            self.on_message(message, accept);
        } else if chunks.size > most as u64 {
            chunks.refused = true;
            self.refuse((552, "5.3.4 the message is larger than we take"));
        } else {
            let size = chunks.size;
            self.ok(&format!("2.0.0 {size} bytes so far"));
        }
    }

    /// The message is whole: keeps it, and answers once, or once for each recipient over LMTP.
    pub(super) fn on_message(
        &mut self,
        message: Result<RawMessage, DataFault>,
        accept: &dyn Accept,
    ) {
        let Some(transaction) = self.transaction.take() else { return };
        let Transaction { mail, recipients, starved, .. } = transaction;
        let answers = match self.config.dialect {
            Dialect::Smtp => 1,
            Dialect::Lmtp => recipients.len(),
        };
        let result = match message {
            _ if starved => Err(Reply::ours(452, "4.3.1 no memory for it now; come again")),
            Ok(message) => self.hand_over(mail, recipients, message, accept),
            Err(fault @ DataFault::TooLarge(_)) => Err(Reply::ours(552, &format!("5.3.4 {fault}"))),
            // A server behind us could take these bytes for the end of the message.
            Err(fault) => Err(Reply::ours(550, &format!("5.5.2 {fault}"))),
        };
        let reply = match result {
            Ok(reply) => {
                self.idle = 0;
                self.errors = 0;
                reply
            }
            Err(reply) => {
                self.errors += 1;
                reply
            }
        };
        for _ in 0..answers {
            self.say(&reply);
        }
        if reply.code() == 421 {
            self.then = Then::Close;
        }
    }

    pub(super) fn hand_over(
        &mut self,
        mail: Mail,
        recipients: Vec<Recipient>,
        message: RawMessage,
        accept: &dyn Accept,
    ) -> Result<Reply, Reply> {
        let nobody = |_| Reply::ours(503, "5.5.1 say RCPT first");
        let mut envelope = Envelope::new(mail.reverse_path, recipients).map_err(nobody)?;
        envelope.body = mail.body;
        envelope.smtputf8 = mail.smtputf8;
        envelope.dsn = mail.dsn;
        let (with, helo) = match &self.helo {
            Some((with, name)) => (*with, Some(name.clone().into_bytes())),
            None => (With::Smtp, None),
        };
        let with = match (with, self.secured) {
            (With::Esmtp, true) => With::Esmtps,
            (With::Lmtp, true) => With::Lmtps,
            (with, _) => with,
        };
        let arrival = Arrival {
            port: self.config.port,
            with,
            helo,
            address: self.address,
            origin: mail.origin,
        };
        let receipt = accept.accept(Submission { envelope, message, arrival })?;
        Ok(Reply::ours(250, &format!("2.0.0 kept as {}", receipt.id)))
    }
}

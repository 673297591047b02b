//! lettre's asynchronous transport over an engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::sync::Arc;
use std::time::Duration;

use mail_dual::lettre::AsyncTransport;
use mail_dual::lettre::address::Envelope;
use mail_dual::{
    Accept, DualTransport, Engine, ForwardPath, MemSpool, Port, Presence, Receipt, Reply,
    ReversePath, Route, RoutingTable, SendError, Settings, Silent, SpoolId, Submission,
    SystemClock,
};

fn engine() -> Engine {
    let route = Route {
        recipients: vec!["*@example.org".parse().unwrap()],
        legs: vec!["uk".parse().unwrap()],
    };
    let settings = Settings::new("app.example.net", RoutingTable::new(vec![route], []));
    let spool = Arc::new(MemSpool::new());
    Engine::open(settings, Vec::new(), spool, Arc::new(SystemClock), Arc::new(Silent)).unwrap().0
}

fn envelope(to: &str) -> Envelope {
    Envelope::new(None, vec![to.parse().unwrap()]).unwrap()
}

#[tokio::test]
async fn a_message_is_kept_when_the_future_is_ready() {
    let engine = engine();
    let mailer = DualTransport::new(Arc::new(engine.handle()));
    let receipt = mailer.send_raw(&envelope("bob@example.org"), b"Subject: x\r\n\r\ny\r\n").await;
    assert!(engine.handle().message(receipt.unwrap().id).is_ok());
    let error = mailer.send_raw(&envelope("bob@example.com"), b"x\r\n").await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(reply) if reply.code() == 550));
    assert!(!error.is_retryable());
    let error = mailer.send_raw(&envelope("bob@example.org"), b"x\n.\r\n").await.unwrap_err();
    assert!(matches!(error, SendError::Message(_)));
}

/// An engine that takes its time.
#[derive(Debug)]
struct Slow(mail_dual::Handle);

impl Accept for Slow {
    fn begin(&self, port: Port, from: &ReversePath, size: Option<u64>) -> Result<(), Reply> {
        self.0.begin(port, from, size)
    }
    fn recipient(&self, port: Port, recipient: &ForwardPath) -> Result<(), Reply> {
        self.0.recipient(port, recipient)
    }
    fn accept(&self, submission: Submission) -> Result<Receipt, Reply> {
        std::thread::sleep(Duration::from_millis(300));
        self.0.accept(submission)
    }
    fn knows(&self, id: SpoolId, recipient: &ForwardPath) -> Presence {
        self.0.knows(id, recipient)
    }
}

/// With lettre's own pool, the send after one that was cancelled is told the wrong answer.
#[tokio::test]
async fn a_send_that_was_cancelled_gives_nobody_a_wrong_answer() {
    let engine = engine();
    let mailer = DualTransport::new(Arc::new(Slow(engine.handle())));
    let first = envelope("bob@example.org");
    let cancelled = tokio::time::timeout(
        Duration::from_millis(50),
        mailer.send_raw(&first, b"Subject: first\r\n\r\n"),
    );
    assert!(cancelled.await.is_err());
    let nobody = mailer.send_raw(&envelope("eve@example.com"), b"Subject: second\r\n\r\n").await;
    assert!(nobody.is_err(), "{nobody:?}");
    let second = mailer.send_raw(&first, b"Subject: third\r\n\r\n").await.unwrap();
    let stored = engine.handle().message(second.id).unwrap();
    assert!(stored.message.as_bytes().ends_with(b"Subject: third\r\n\r\n"));
}

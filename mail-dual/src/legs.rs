//! The ways to an account: a server that speaks SMTP or LMTP, a Maildir, or what lettre can reach.

mod connection;
mod imap;
mod lettre;
mod maildir;
mod remote;

pub use imap::{ImapConfig, ImapMailbox};
pub use lettre::LettreLeg;
pub use maildir::{BadMaildir, MaildirLeg};
pub use remote::{RemoteConfig, RemoteLeg};

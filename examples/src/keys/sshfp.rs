//! `keys sshfp`: host keys for the DNS.

use std::path::PathBuf;

use clap::Args;
use keygen_helper::Sshfp;
use serde::Serialize;

use super::{Answer, Failure, read_public};

/// Prints SSHFP records for host keys, as `ssh-keygen -r` does.
#[derive(Debug, Args)]
pub struct PrintSshfp {
    /// The name that the records are for.
    #[arg(long, value_name = "NAME")]
    host: String,
    /// The public keys of the host.
    #[arg(required = true, value_name = "FILE.pub")]
    keys: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Record {
    fingerprint: String,
    rdata: String,
}

impl PrintSshfp {
    /// Prints the records. They change nothing, so a plan of it is the same.
    ///
    /// # Errors
    /// When a key cannot be read or has no number in SSHFP.
    pub fn run(&self, _plan: bool) -> Result<Answer, Failure> {
        if self.host.is_empty() || self.host.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(Failure::failed(format!("{:?} is no name of a host", self.host)));
        }
        let mut answer = Answer::done();
        let mut records = Vec::new();
        for path in &self.keys {
            let key = read_public(path)?.0.plain();
            let all = Sshfp::of(&key);
            if all.is_empty() {
                let why = format!("keys of the type {} have no SSHFP records", key.algorithm());
                return Err(Failure::of(path, why));
            }
            for record in all {
                answer = answer.line(format_args!("{} IN SSHFP {record}", self.host));
                let fingerprint = key.fingerprint().to_string();
                records.push(Record { fingerprint, rdata: record.to_string() });
            }
        }
        Ok(answer.field("host", &self.host).field("records", records))
    }
}

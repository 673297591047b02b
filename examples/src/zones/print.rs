//! `zones print`: any zone file in its one canonical form.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use dns_failover::{Name, Zone};

use super::{read, tell};
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Prints a zone file in canonical form: absolute names, one line a record, sorted.
///
/// What cannot be read goes to stderr as `FILE:LINE:COLUMN: error[ID]: message`, and reading goes on.
#[derive(Debug, Args)]
pub struct Print {
    /// The zone, and what names in the file are relative to [default: the owner of the SOA record].
    #[arg(long, value_name = "NAME")]
    origin: Option<Name>,
    /// Print OWNER CLASS TTL TYPE RDATA, owner and RDATA as hexadecimal of their uncompressed wire form.
    #[arg(long)]
    hex: bool,
    /// The zone file.
    file: PathBuf,
}

impl Print {
    /// Prints the zone to `out` and what is wrong to stderr.
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be read at all, or nobody takes what is printed.
    pub fn run(&self, quiet: bool, out: &mut impl Write) -> Result<Outcome, Failure> {
        let reading = read(&self.file, self.origin.as_ref())?;
        let mut told = reading.diagnostics.clone();
        if quiet {
            told.retain(dns_failover::Diagnostic::is_error);
        }
        // Where nobody listens, the exit code still says it.
        let _ = tell(&told, &mut io::stderr().lock());
        let text = if self.hex { hex(&reading.zone) } else { reading.zone.to_text() };
        out.write_all(&text).map_err(Failure::failed)?;
        Ok(if reading.is_clean() { Outcome::Done } else { Outcome::DoneWithProblems })
    }
}

/// One line a record: its parts as they go over the wire.
fn hex(zone: &Zone) -> Vec<u8> {
    let mut out = Vec::new();
    let hex = |octets: &[u8], out: &mut Vec<u8>| {
        for octet in octets {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            out.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
        }
    };
    for record in zone.records() {
        hex(record.owner.as_wire(), &mut out);
        let numbers = (record.class.get(), record.ttl.seconds(), record.rtype().get());
        out.extend_from_slice(format!(" {} {} {} ", numbers.0, numbers.1, numbers.2).as_bytes());
        hex(record.rdata.as_wire(), &mut out);
        out.push(b'\n');
    }
    out
}

//! `keys certify`: an authority signs a key.

use std::path::{Path, PathBuf};

use clap::Args;
use keygen_helper::fs::Document;
use keygen_helper::{Certificate, SystemRandomness, Timestamp, Validity, Warrant};

use super::secret::PassphraseSource;
use super::{Answer, Failure, bytes, described, now, patiently, read_public, with_suffix};
use crate::dates::{Date, Span};

/// How far clocks may be apart.
const SKEW: u64 = 300;

/// Issues a certificate for a public key: FILE.pub gets FILE-cert.pub beside it.
#[derive(Debug, Args)]
pub struct Certify {
    /// The authority's private key.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// What sshd logs when the certificate is used.
    #[arg(long, value_name = "TEXT")]
    id: String,
    /// An account to log in to, or with --host a name of the host; may be given several times.
    #[arg(long = "principal", value_name = "NAME", required = true)]
    principals: Vec<String>,
    /// For a host instead of a user.
    #[arg(long)]
    host: bool,
    /// A number by which it can be revoked.
    #[arg(long, value_name = "N", default_value_t = 0)]
    serial: u64,
    /// How long it is good: a number and s, m, h, d or w.
    #[arg(long, value_name = "SPAN", default_value = "30d", conflicts_with = "until")]
    valid_for: Span,
    /// From when on [default: five minutes ago, since clocks differ].
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Until when.
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    /// Run this command whatever is asked for.
    #[arg(long, value_name = "TEXT")]
    force_command: Option<String>,
    /// Good only from these addresses: 192.0.2.0/24,2001:db8::1.
    #[arg(long, value_name = "LIST")]
    source_address: Option<String>,
    /// Good only when a security key has checked who uses it.
    #[arg(long)]
    verify_required: bool,
    /// Allow more than a terminal, such as permit-port-forwarding; may be given several times.
    #[arg(long = "extension", value_name = "NAME")]
    extensions: Vec<String>,
    /// Allow no terminal.
    #[arg(long)]
    no_pty: bool,
    /// Replace a certificate that is there.
    #[arg(long)]
    replace: bool,
    /// The key to be certified.
    #[arg(value_name = "FILE.pub")]
    key: PathBuf,
}

impl Certify {
    /// Issues the certificate, or says what would be issued.
    ///
    /// # Errors
    /// A refusal for weak keys and for a certificate that is there.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let (subject, comment) = read_public(&self.key)?;
        let path = certificate_path(&self.key);
        self.place(&path)?;
        let authority = self.passphrase.read_private(&self.ca)?;
        let warrant = self.warrant(now());
        let issued = warrant.issue(&subject, &authority, &mut SystemRandomness)?;
        if !plan {
            let mut line = issued.public_key().to_string().into_bytes();
            if !comment.is_empty() {
                line.push(b' ');
                line.extend_from_slice(&comment);
            }
            line.push(b'\n');
            patiently(|| Ok(self.place(&path)?.replace(&line)?))?;
        }
        Ok(tell(&issued, &path, plan))
    }

    /// Where the certificate goes, unless there is one that is to stay.
    fn place(&self, path: &Path) -> Result<Document, Failure> {
        let document = Document::read(path)?;
        match document.exists() && !self.replace {
            true => Err(Failure::refused(format!(
                "{} exists and was left as it is; give --replace to replace it",
                bytes(path)
            ))),
            false => Ok(document),
        }
    }

    fn warrant(&self, now: Timestamp) -> Warrant {
        let after = self.from.map_or(Timestamp(now.0.saturating_sub(SKEW)), |Date(time)| time);
        let start = self.from.map_or(now, |Date(time)| time);
        let end = Timestamp(start.0.saturating_add(self.valid_for.0));
        let before = self.until.map_or(end, |Date(time)| time);
        let validity = Validity { after, before };
        let mut warrant = match self.host {
            true => Warrant::host(&self.id, validity),
            false => Warrant::user(&self.id, validity),
        };
        warrant = warrant.serial(self.serial);
        if self.no_pty {
            warrant = warrant.without_pty();
        }
        if let Some(command) = &self.force_command {
            warrant = warrant.force_command(command);
        }
        if let Some(list) = &self.source_address {
            warrant = warrant.source_address(list);
        }
        if self.verify_required {
            warrant = warrant.verify_required();
        }
        let warrant = self.extensions.iter().fold(warrant, |warrant, name| warrant.extension(name));
        self.principals.iter().fold(warrant, |warrant, name| warrant.principal(name))
    }
}

/// `id.pub` has its certificate in `id-cert.pub`, where ssh looks for it.
fn certificate_path(key: &Path) -> PathBuf {
    match key.extension() {
        Some(extension) if extension == "pub" => with_suffix(&key.with_extension(""), "-cert.pub"),
        _ => with_suffix(key, "-cert.pub"),
    }
}

fn tell(issued: &Certificate, path: &Path, plan: bool) -> Answer {
    let what = if plan { "would be issued" } else { "issued" };
    Answer::done()
        .field("planned", plan)
        .field("path", bytes(path))
        .field("certificate", issued)
        .line(format_args!("{what}: {}", described(issued)))
        .line(bytes(path))
}

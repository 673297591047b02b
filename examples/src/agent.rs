//! Serving a tree over standard input and output, for `mirror-agent` and for the drill's hosts.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mirror_core::{AgentConfig, Transport, serve};

/// Serves until the other side takes its leave.
///
/// # Errors
/// One sentence: why it did not come to that.
pub fn serve_standard_streams(config: &AgentConfig) -> Result<(), String> {
    // Without the buffers that standard input and output have.
    let unbuffered = |stream: io::Result<OwnedFd>| stream.map(File::from);
    let streams = unbuffered(io::stdin().as_fd().try_clone_to_owned())
        .and_then(|input| Ok((input, unbuffered(io::stdout().as_fd().try_clone_to_owned())?)));
    let (input, output) =
        streams.map_err(|error| format!("cannot use standard input and output: {error}"))?;
    serve(Transport::new(input, output, ()), config).map_err(|error| error.to_string())
}

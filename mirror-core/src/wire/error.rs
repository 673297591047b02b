//! Why a link cannot be used, or not any more.

/// Why a link cannot be used, or not any more: a sentence about the other end, whose name the
/// error around it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other end went away.
    #[error(
        "the connection ended before the work did; entries done so far are whole, and running again goes on from there"
    )]
    Ended,
    /// Nothing at all came for this long.
    #[error(
        "nothing was heard for {0} s; entries done so far are whole, and running again goes on from there"
    )]
    Silent(u64),
    /// Nothing but signs of life came for this long.
    #[error(
        "nothing was got on with for {0} s; entries done so far are whole, and running again goes on from there"
    )]
    Stuck(u64),
    /// Reading or writing failed.
    #[error(
        "the connection failed: {0}; entries done so far are whole, and running again goes on from there"
    )]
    Io(String),
    /// What came is not what was sent.
    #[error(
        "what came over the connection is damaged ({0}); entries done so far are whole, and running again goes on from there"
    )]
    Damaged(&'static str),
    /// The other end said something that nobody may say.
    #[error(
        "the other end broke the protocol ({0}) and was cut off; do not trust it until you know why"
    )]
    Protocol(&'static str),
    /// Something else than an agent answered.
    #[error(
        "\"{0}\" came instead of the agent's greeting; keep login scripts from printing anything where there is no terminal; nothing was changed"
    )]
    NotAnAgent(String),
    /// The other end has no such program.
    #[error(
        "there is no mirror-agent where the command looks for it{0}; install it there or say where it is; nothing was changed"
    )]
    NoAgent(String),
    /// The other end is no use for an agent.
    #[error(
        "the account may only use SFTP, and an agent has to be started; allow the command for this key; nothing was changed"
    )]
    SftpOnly,
    /// The agent ended at once.
    #[error("the agent's command ended before the agent spoke{0}; nothing was changed")]
    Exited(String),
    /// Both ends know no common version of the protocol.
    #[error("it speaks versions {} to {} of the protocol, and this end {} to {}; update the older one; nothing was changed", .theirs.0, .theirs.1, .ours.0, .ours.1)]
    Version {
        /// The oldest and the newest version that this end speaks.
        ours: (u16, u16),
        /// Those of the other end.
        theirs: (u16, u16),
    },
    /// Nothing was heard from the other end for this long after it was reached.
    #[error(
        "nothing answered for {0} s when the agent's command had been started; nothing was changed"
    )]
    Unanswered(u64),
    /// The agent does not let the caller in.
    #[error("the agent refuses: {0}; nothing was changed")]
    Refused(String),
    /// The agent does not do, or not go on with, what it was asked for.
    #[error("the agent does not go on: {0}; entries done so far are whole")]
    Declined(String),
    /// The other end's tree has more of something than this end keeps.
    #[error("{0}; entries done so far are whole")]
    TooMuch(String),
    /// Something on this machine that is needed to reach it is missing or unfit.
    #[error("{0}; nothing was sent")]
    Unready(String),
    /// It cannot be reached.
    #[error("it cannot be reached: {0}; nothing was changed")]
    Unreachable(String),
    /// The server's host key is not one that may be trusted.
    #[error("its host key {fingerprint} {why}; nothing was sent")]
    HostKey {
        /// The key that the server showed, as `SHA256:…`.
        fingerprint: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The server lets nobody in with what it was offered.
    #[error("it does not let {user} in ({why}); nothing was changed")]
    Login {
        /// The account.
        user: String,
        /// What was tried and what the server takes.
        why: String,
    },
}

impl LinkError {
    /// Whether trying again later can help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            LinkError::Ended
                | LinkError::Silent(_)
                | LinkError::Stuck(_)
                | LinkError::Unanswered(_)
                | LinkError::Io(_)
                | LinkError::Unreachable(_)
        )
    }

    pub(crate) fn into_io(self) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::ConnectionAborted, self)
    }
}

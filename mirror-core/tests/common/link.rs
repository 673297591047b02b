//! Agents in threads of this process.

use std::thread::{self, JoinHandle};

use mirror_core::{AgentConfig, Error, RemoteOptions, RemoteTree, Transport, memory_pair, serve};

/// A tree behind an agent, which ends with it.
#[derive(Debug)]
pub struct Behind {
    pub tree: RemoteTree,
    pub agent: Agent,
}

/// An agent that serves one caller.
#[derive(Debug)]
pub struct Agent(JoinHandle<Result<(), Error>>);

impl Agent {
    pub fn start(transport: Transport, config: AgentConfig) -> Agent {
        Agent(thread::spawn(move || serve(transport, &config)))
    }

    /// How it ended, once it has.
    pub fn ended(self) -> Result<(), Error> {
        self.0.join().expect("an agent never panics")
    }
}

impl Behind {
    /// Takes leave; the agent must end well.
    pub fn leave(self) {
        drop(self.tree);
        self.agent.ended().unwrap();
    }
}

/// A tree behind an agent of its own, which may be missing.
pub fn tree_behind(config: AgentConfig) -> Behind {
    let (ours, theirs) = memory_pair().unwrap();
    let agent = Agent::start(theirs, config);
    let options = RemoteOptions::default().may_be_missing(true);
    Behind { tree: RemoteTree::connect(ours, "host", &options).unwrap(), agent }
}

//! What a figure depends on besides the programs: kernel, file system, processor, memory.

use std::{fmt, fs, os::unix::fs::MetadataExt, path::Path, thread};

/// The machine and the file system under the work folder; no names, no paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `Linux 6.1.0`.
    pub kernel: String,
    /// `ext4`.
    pub filesystem: String,
    /// The processor's own name.
    pub processor: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Average number of runnable tasks in the minute before: others' work, at the start.
    pub load: String,
}

impl Environment {
    /// Reads it from `/proc`; what cannot be read is called unknown.
    #[must_use]
    pub fn of(work: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: format!("Linux {}", known(read("/proc/sys/kernel/osrelease").trim())),
            filesystem: known(filesystem(work, &read("/proc/self/mountinfo"))),
            processor: known(value(&read("/proc/cpuinfo"), "model name")),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_kib: value(&read("/proc/meminfo"), "MemTotal")
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            load: known(read("/proc/loadavg").split(' ').next().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, filesystem, processor, cores, memory_kib, load } = self;
        let memory = memory_kib.div_ceil(1 << 20);
        write!(
            f,
            "{kernel}, {filesystem}, {processor}, {cores} cores, {memory} GiB of memory, \
             load {load} at the start"
        )
    }
}

fn known(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

/// The text after `key` and its colon, from files such as `/proc/cpuinfo`.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map_or("", |(_, value)| value.trim())
}

fn filesystem<'a>(work: &Path, mounts: &'a str) -> &'a str {
    let Ok(metadata) = fs::metadata(work) else {
        return "";
    };
    let device = metadata.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    kind_of_device(mounts, &device)
}

/// Finds the file system's type for `major:minor` in the text of mountinfo (proc(5)).
fn kind_of_device<'a>(mounts: &'a str, device: &str) -> &'a str {
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(device))
        .filter_map(|line| line.split_once(" - ")?.1.split(' ').next())
        .next_back()
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_found_by_its_device() {
        let mounts = "22 1 0:20 / /proc rw - proc proc rw\n\
                      30 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw\n";
        assert_eq!(kind_of_device(mounts, "254:0"), "ext4");
        assert_eq!(kind_of_device(mounts, "9:9"), "");
    }

    #[test]
    fn values_follow_their_key() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: fast\n";
        assert_eq!(value(text, "model name"), "Some CPU: fast");
        assert_eq!(value(text, "nothing"), "");
    }

    #[test]
    fn it_reads_as_one_line_without_paths() {
        let line = Environment::of(Path::new("/")).to_string();
        assert!(line.starts_with("Linux "), "{line}");
        assert!(!line.contains('/') && !line.contains('\n'), "{line}");
    }
}

//! What a build that failed says of the node that it was on. A step that failed has failed for a reason of its own, wherever it is executed;
//! a connection that broke and a disk that is full are the node's.

/// What is wrong with a node, by the words of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The connection to it broke, or could not be made.
    Gone(String),
    /// It has no room.
    Full(String),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone(said) => f.write_str(said),
            Self::Full(said) => write!(f, "its disk is full: {said}"),
        }
    }
}

/// What gRPC and buildx say where the connection to a builder is not there any more (buildx 0.29, BuildKit 0.25). A registry that cannot be
/// reached is told in other words: `dial tcp …` of a step or an export.
const GONE: [&str; 6] = [
    "code = Unavailable",
    "failed to receive status:",
    "failed to list workers:",
    "transport is closing",
    "failed to initialize builder",
    "failed to find driver for builder",
];

/// The words of a full disk: the kernel's by way of libc, Go and Node.
const FULL: [&str; 2] = ["no space left on device", "enospc"];

/// What the lines that a failed build left say of its node; none where they say nothing of it. `stepless` are those that belong to no step.
///
/// ```
/// use monoship_fleet::{Loss, told};
///
/// let broken = "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF";
/// assert!(matches!(told([broken], []), Some(Loss::Gone(_))));
/// assert_eq!(told([], ["npm error code ECONNREFUSED"]), None);
/// ```
pub fn told<'a>(stepless: impl IntoIterator<Item = &'a str>, of_steps: impl IntoIterator<Item = &'a str>) -> Option<Loss> {
    let full = |line: &str| FULL.iter().any(|word| line.to_ascii_lowercase().contains(word));
    let mut gone = None;
    for line in stepless {
        if full(line) {
            return Some(Loss::Full(line.trim().to_owned()));
        }
        if gone.is_none() && GONE.iter().any(|word| line.contains(word)) {
            gone = Some(Loss::Gone(last_of(line)));
        }
    }
    let full = of_steps.into_iter().find(|line| full(line));
    full.map(|line| Loss::Full(line.trim().to_owned())).or(gone)
}

/// The end of a chain of errors, which is what happened.
#[must_use]
pub fn last_of(line: &str) -> String {
    let line = line.trim();
    let end = line.rsplit_once("desc = ").map_or(line, |(_, end)| end);
    let end = end.strip_prefix('"').and_then(|end| end.strip_suffix('"')).unwrap_or(end);
    end.trim_start_matches("transport: ").trim_start_matches("ERROR: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_and_a_full_disk_are_the_nodes_and_a_failed_step_is_not() {
        let gone = |line| told([line], []);
        let eof = "ERROR: failed to build: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF";
        assert_eq!(gone(eof), Some(Loss::Gone("error reading from server: EOF".to_owned())));
        let refused = "ERROR: failed to call diskusage: Unavailable: connection error: desc = \"transport: Error while dialing: dial \
                       tcp 127.0.0.1:7104: connect: connection refused\"";
        assert_eq!(last_of(refused), "Error while dialing: dial tcp 127.0.0.1:7104: connect: connection refused");
        let expired = "failed to list workers: Unavailable: connection error: desc = \"error reading server preface: remote error: tls: expired certificate\"";
        assert_eq!(
            gone(expired),
            Some(Loss::Gone("error reading server preface: remote error: tls: expired certificate".to_owned()))
        );
        let push = "failed to push 127.0.0.1:1/x: failed to do request: dial tcp 127.0.0.1:1: connect: connection refused";
        assert_eq!(gone(push), None, "a registry that is not there is no node's");
        let process = "process \"/bin/sh -c npm ci\" did not complete successfully: exit code: 1";
        assert_eq!(told([process], ["npm error network request failed, code = Unavailable"]), None);
        for line in ["tar: write error: No space left on device", "npm error code ENOSPC"] {
            assert!(matches!(told([process], [line]), Some(Loss::Full(_))), "{line}");
        }
    }
}

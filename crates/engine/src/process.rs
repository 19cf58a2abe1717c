//! Processes that outlive us, known by pid *and* start time, so that a number the kernel has handed out again is not taken
//! for the daemon we once started. Linux only: everything is read from `/proc`.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use monoship_core::collect::Collect as _;

/// One process of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// Clock ticks between boot and its start: field 22 of `/proc/<pid>/stat`, see proc_pid_stat(5).
    start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`, since ticks start over with each boot.
    boot: String,
}

impl ProcessId {
    /// The process that has this number now, `None` where none has.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: start_ticks(pid)?, boot: boot_id() })
    }

    /// True while that very process runs; a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks) && boot_id() == self.boot
    }

    /// Sends a signal if it is still that process.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }

    /// SIGTERM, then SIGKILL once `patience` is over. Returns when it is gone, at most two seconds after the SIGKILL.
    pub fn end(&self, patience: Duration) {
        self.signal(Signal::TERM);
        if !self.gone_within(patience) {
            self.signal(Signal::KILL);
            self.gone_within(Duration::from_secs(2));
        }
    }

    fn gone_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// Sends `signal` to `pid`; one that has ended meanwhile is what we wanted.
pub(super) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn start_ticks(pid: u32) -> Option<u64> {
    ticks_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, field 2, may hold spaces and brackets: fields are counted from the last closing one.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Every process whose program lies under `programs` and one of whose arguments names something under `run`: the daemons of
/// one engine and their shims, whoever started them.
#[must_use]
pub fn of_engine(programs: &Path, run: &Path) -> Vec<u32> {
    let Some(run) = run.to_str() else { return Vec::new() };
    processes()
        .filter(|pid| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe"));
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            program.is_ok_and(|program| program.starts_with(programs)) && String::from_utf8_lossy(&arguments).contains(run)
        })
        .into_vec()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_number() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let earlier = ProcessId { start_ticks: me.start_ticks - 1, ..me.clone() };
        let last_boot = ProcessId { boot: "0".into(), ..me };
        assert!(!earlier.is_alive() && !last_boot.is_alive());
        assert_eq!(ProcessId::of(u32::MAX), None);
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields_and_a_zombie_is_no_process() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 987654 1 1";
        assert_eq!(ticks_in(stat), Some(987_654));
        assert_eq!(ticks_in(&stat.replace(") S", ") Z")), None);
        assert_eq!(ticks_in("42 (a"), None);
    }
}

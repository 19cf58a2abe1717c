//! The engine's own network: a bridge on a free subnet, forwarding, and three packet filter rules. The engine itself is told to
//! leave the packet filter alone, so that all there is to take back is known here.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use monoship_core::error::{Error, Result};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::lock::Lock;
use monoship_core::execute::process::{Invocation, Output};
use monoship_core::execute::shutdown::Shutdown;

use super::layout::Layout;
use super::packages::Packages;

/// What the daemon's configuration needs to know of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Bytes a packet may have; that of the way out, since a larger one would be dropped there.
    pub mtu: u32,
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Where the machine's own forwarding setting is kept while any embedded engine runs.
fn saved_forwarding() -> PathBuf {
    Layout::run_root().join("ip_forward")
}

/// Makes the bridge and lets what is behind it reach the network. One that is there already is made anew.
///
/// # Errors
/// When the kernel refuses the bridge, or no private subnet is free.
pub fn raise(packages: &Packages, layout: &Layout, events: &Events, shutdown: &Shutdown) -> Result<Network> {
    // Two engines that start at once must not choose one subnet.
    let _lock = Lock::wait(&Layout::run_root().join("lock"), shutdown, || {
        events.doing(&Task::Engine, "waiting for another engine's network");
    })?;
    lower_locked(packages, layout, shutdown)?;
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let subnet = free_subnet(&routes, layout.id()).ok_or_else(|| {
        Error::failed("every private subnet we know is in use on this machine").hint("see `ip route`; a VPN may claim them all")
    })?;
    let mtu = outgoing_mtu(&routes).unwrap_or(1500);
    let bridge = layout.bridge();
    let gateway = format!("{}/24", Ipv4Addr::from(u32::from(subnet) + 1));
    let steps: [&[&str]; 3] = [
        &["link", "add", &bridge, "type", "bridge"],
        &["addr", "add", &gateway, "dev", &bridge],
        &["link", "set", &bridge, "mtu", &mtu.to_string(), "up"],
    ];
    for args in steps {
        packages.busybox("ip").args(args.iter().copied()).read(shutdown).map_err(|e| {
            e.hint("the embedded engine makes a network bridge: it needs root (CAP_NET_ADMIN) and the kernel's bridge module")
        })?;
    }
    allow_forwarding()?;
    if let Err(error) = add_rules(packages, &bridge, subnet, shutdown) {
        if error.is_cancelled() {
            return Err(error);
        }
        let hint = "is the kernel's packet filter (nftables or iptables) available here?";
        let message = format!("build steps will have no network: {error}");
        events.notice(Level::Warning, Some(Task::Engine), message, Some(hint.into()));
    }
    Ok(Network { mtu })
}

/// Takes back what [`raise`] made; nothing there is fine.
///
/// # Errors
/// When the bridge cannot be removed, or the run is closing.
pub fn lower(packages: &Packages, layout: &Layout, events: &Events, shutdown: &Shutdown) -> Result<()> {
    let _lock = Lock::wait(&Layout::run_root().join("lock"), shutdown, || {
        events.doing(&Task::Engine, "waiting for another engine's network");
    })?;
    lower_locked(packages, layout, shutdown)?;
    restore_forwarding(&layout.bridge())
}

fn lower_locked(packages: &Packages, layout: &Layout, shutdown: &Shutdown) -> Result<()> {
    let bridge = layout.bridge();
    remove_rules(packages, &bridge, shutdown)?;
    if interfaces().any(|name| name == bridge) {
        packages.busybox("ip").args(["link", "del", &bridge]).read(shutdown)?;
    }
    Ok(())
}

fn interfaces() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Remembers the machine's own setting once, however many engines start.
fn allow_forwarding() -> Result<()> {
    let path = Path::new(FORWARDING);
    let now = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    if now.trim() == "1" {
        return Ok(());
    }
    let saved = saved_forwarding();
    std::fs::write(&saved, &now).map_err(|e| Error::io("write", &saved, e))?;
    std::fs::write(path, "1").map_err(|e| Error::io("write", path, e))
}

/// The last engine to go puts the machine's setting back, unless another bridge (a Docker's, a VM's) may rely on it by now.
fn restore_forwarding(bridge: &str) -> Result<()> {
    let saved = saved_forwarding();
    let Ok(value) = std::fs::read_to_string(&saved) else { return Ok(()) };
    let is_bridge = |name: &String| Path::new("/sys/class/net").join(name).join("bridge").is_dir();
    let others: Vec<String> = interfaces().filter(is_bridge).filter(|name| name != bridge).collect();
    if others.iter().any(|name| name.starts_with(Layout::BRIDGE_PREFIX)) {
        return Ok(());
    }
    std::fs::remove_file(&saved).map_err(|e| Error::io("remove", &saved, e))?;
    if others.is_empty() {
        let path = Path::new(FORWARDING);
        std::fs::write(path, value).map_err(|e| Error::io("write", path, e))?;
    }
    Ok(())
}

/// A table, a chain, and what to put there. Inserted in front, since a Docker that is there ends `FORWARD` with a drop.
fn rules(bridge: &str, subnet: Ipv4Addr) -> [(&'static str, &'static str, Vec<String>); 3] {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    [
        ("nat", "POSTROUTING", words(format!("-s {subnet}/24 ! -o {bridge} -j MASQUERADE"))),
        ("filter", "FORWARD", words(format!("-i {bridge} -j ACCEPT"))),
        ("filter", "FORWARD", words(format!("-o {bridge} -j ACCEPT"))),
    ]
}

fn add_rules(packages: &Packages, bridge: &str, subnet: Ipv4Addr, shutdown: &Shutdown) -> Result<()> {
    let legacy = uses_legacy(packages, shutdown)?;
    rules(bridge, subnet).into_iter().try_for_each(|(table, chain, rule)| {
        packages.iptables(legacy).args(["-w", "10", "-t", table, "-I", chain]).args(rule).read(shutdown).map(drop)
    })
}

/// The interface that the machine's own rules are in, as its `iptables` says; without one, nftables where the kernel has it.
fn uses_legacy(packages: &Packages, shutdown: &Shutdown) -> Result<bool> {
    let own = Invocation::new("iptables").arg("--version").run(shutdown);
    if let Ok(Output { code: Some(0), stdout, .. }) = own {
        let text = String::from_utf8_lossy(&stdout).into_owned();
        return Ok(text.contains("legacy") || !text.contains("nf_tables"));
    }
    let nft = packages.iptables(false).args(["-t", "nat", "-S"]).run(shutdown)?;
    Ok(!nft.success())
}

/// Removes every rule that names the bridge, from both interfaces: they are found by what they say, so that no record is needed.
/// The older interface is asked only where it has tables, since asking makes the kernel create them.
fn remove_rules(packages: &Packages, bridge: &str, shutdown: &Shutdown) -> Result<()> {
    let legacy_tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    let interfaces: &[bool] = if legacy_tables.trim().is_empty() { &[false] } else { &[false, true] };
    for &legacy in interfaces {
        for (table, chain) in [("nat", "POSTROUTING"), ("filter", "FORWARD")] {
            let listed = packages.iptables(legacy).args(["-w", "10", "-t", table, "-S", chain]).run(shutdown)?;
            if !listed.success() {
                continue;
            }
            for rule in rules_naming(&listed.text(), bridge) {
                packages.iptables(legacy).args(["-w", "10", "-t", table, "-D"]).args(rule).read(shutdown)?;
            }
        }
    }
    Ok(())
}

/// The rules in `iptables -S` output that name an interface, as arguments for `-D`: `-A CHAIN rest` → `CHAIN rest`.
fn rules_naming(listed: &str, bridge: &str) -> Vec<Vec<String>> {
    let lines = listed.lines().filter_map(|line| line.strip_prefix("-A "));
    let rules = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rules.filter(|words| words.iter().any(|word| word == bridge)).collect()
}

/// A /24 no route touches, the first tried chosen by the engine's id so that two engines seldom compare notes.
fn free_subnet(routes: &str, id: &str) -> Option<Ipv4Addr> {
    let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).filter(|(_, mask)| *mask != 0).collect();
    let start = u32::from_str_radix(&id[..4], 16).unwrap_or(0);
    // 172.28.0.0/14: private, and above the ranges that Docker (172.17 on) and home routers (192.168) start with.
    let base = u32::from(Ipv4Addr::new(172, 28, 0, 0));
    let candidates = (0..1024).map(|n| base + (((start + n) % 1024) << 8));
    let is_free = |subnet: &u32| taken.iter().all(|(net, mask)| (subnet & mask & 0xFFFF_FF00) != (net & 0xFFFF_FF00 & mask));
    candidates.into_iter().find(is_free).map(Ipv4Addr::from)
}

/// Destination and mask of a line of `/proc/net/route`, which prints them in the machine's own byte order.
fn route(line: &str) -> Option<(u32, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |field: &str| u32::from_str_radix(field, 16).ok().map(|n| u32::from_be_bytes(n.to_ne_bytes()));
    Some((number(fields.get(1)?)?, number(fields.get(7)?)?))
}

fn outgoing_mtu(routes: &str) -> Option<u32> {
    let default = routes.lines().skip(1).find(|line| route(line) == Some((0, 0)))?;
    let interface = default.split_whitespace().next()?;
    std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        xt1\t0000 1CAC\n\
        xt2\t00001CAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn a_subnet_is_free_when_no_route_overlaps_it() {
        if cfg!(target_endian = "little") {
            assert_eq!(free_subnet(ROUTES, "00000000"), Some(Ipv4Addr::new(172, 28, 1, 0)));
            // A VPN that routes all of 172.16.0.0/12 leaves none.
            let vpn = "h\ntun0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0\n";
            assert_eq!(free_subnet(vpn, "00000000"), None);
        }
        assert_eq!(free_subnet("", "03ff0000"), Some(Ipv4Addr::new(172, 31, 255, 0)));
    }

    #[test]
    fn only_rules_that_name_the_bridge_are_taken_back() {
        let listed = "-P FORWARD ACCEPT\n-A FORWARD -i xt1 -j ACCEPT\n-A FORWARD -o xt11 -j ACCEPT\n-A FORWARD -o xt1 -j ACCEPT";
        let rules: Vec<String> = rules_naming(listed, "xt1").iter().map(|rule| rule.join(" ")).collect();
        assert_eq!(rules, ["FORWARD -i xt1 -j ACCEPT", "FORWARD -o xt1 -j ACCEPT"]);
    }
}

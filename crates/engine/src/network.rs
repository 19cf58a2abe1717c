//! The engine's own network: a bridge on a free subnet, forwarding for what is behind it and for nobody else, and a registry that only
//! this user can connect to. The engine itself is told to
//! leave the packet filter alone, so that all there is to take back is known here.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use monoship_core::collect::Collect as _;
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
    // Where the machine did not forward, it is to do so for the bridge alone. The rules come first: there is no moment without them.
    let closed = !forwards()? || saved_forwarding().exists();
    match add_rules(packages, &rules(&bridge, subnet, closed), shutdown) {
        Ok(()) => allow_forwarding()?,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            let hint = "is the kernel's packet filter (nftables or iptables) available here?";
            let message = format!("build steps will have no network: {error}");
            events.notice(Level::Warning, Some(Task::Engine), message, Some(hint.into()));
        }
    }
    Ok(Network { mtu })
}

/// Keeps every other user of this machine from the registry, which asks nobody who they are: what is pulled in Docker Hub's place comes
/// from there. Called before it listens.
///
/// # Errors
/// When the rule cannot be put, or the run is closing: a registry that anybody may write to is not started.
pub fn guard(packages: &Packages, layout: &Layout, port: u16, events: &Events, shutdown: &Shutdown) -> Result<()> {
    let _lock = Lock::wait(&Layout::run_root().join("lock"), shutdown, || {
        events.doing(&Task::Engine, "waiting for another engine's network");
    })?;
    let own = rustix::process::geteuid().as_raw();
    let rule = format!(
        "-d 127.0.0.0/8 -p tcp --dport {port} -m owner ! --uid-owner {own} -m comment --comment {} -j REJECT",
        layout.bridge()
    );
    add_rules(packages, &[Rule::first("filter", "OUTPUT", &rule)], shutdown).map_err(|error| {
        if error.is_cancelled() {
            return error;
        }
        Error::failed("the embedded engine's registry cannot be kept from other users of this machine")
            .source(error)
            .hint("it needs the kernel's packet filter with `owner` and `comment` matches; install Docker, or set `DOCKER_HOST`")
    })
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
    if forwards()? {
        return Ok(());
    }
    let (path, saved) = (Path::new(FORWARDING), saved_forwarding());
    std::fs::write(&saved, "0\n").map_err(|e| Error::io("write", &saved, e))?;
    std::fs::write(path, "1").map_err(|e| Error::io("write", path, e))
}

fn forwards() -> Result<bool> {
    let path = Path::new(FORWARDING);
    let now = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    Ok(now.trim() == "1")
}

/// The last engine to go puts the machine's setting back, unless another bridge (a Docker's, a VM's) may rely on it by now.
fn restore_forwarding(bridge: &str) -> Result<()> {
    let saved = saved_forwarding();
    let Ok(value) = std::fs::read_to_string(&saved) else { return Ok(()) };
    let is_bridge = |name: &String| Path::new("/sys/class/net").join(name).join("bridge").is_dir();
    let others: Vec<String> = interfaces().filter(is_bridge).filter(|name| name != bridge).into_vec();
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

/// A rule of the packet filter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    table: &'static str,
    /// `-I` puts it in front, since a Docker that is there ends `FORWARD` with a drop; `-A` behind all others.
    put: &'static str,
    chain: &'static str,
    words: Vec<String>,
}

impl Rule {
    fn first(table: &'static str, chain: &'static str, rule: &str) -> Self {
        Self { table, put: "-I", chain, words: rule.split(' ').map(str::to_owned).into_vec() }
    }

    fn last(chain: &'static str, rule: &str) -> Self {
        Self { put: "-A", ..Self::first("filter", chain, rule) }
    }
}

/// What is behind the bridge may begin connections, and gets the answers; nobody else may begin one to it. With `closed` nothing is
/// forwarded but that. Each is put in front of those before it.
fn rules(bridge: &str, subnet: Ipv4Addr, closed: bool) -> Vec<Rule> {
    let mut rules = vec![
        Rule::first("nat", "POSTROUTING", &format!("-s {subnet}/24 ! -o {bridge} -j MASQUERADE")),
        Rule::first("filter", "FORWARD", &format!("-o {bridge} -j DROP")),
        Rule::first("filter", "FORWARD", &format!("-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")),
        Rule::first("filter", "FORWARD", &format!("-i {bridge} -j ACCEPT")),
    ];
    if closed {
        // Behind all others: whoever forwards on purpose by now has rules of their own that accept it.
        rules.push(Rule::last("FORWARD", &format!("! -i {bridge} -j DROP")));
    }
    rules
}

fn add_rules(packages: &Packages, rules: &[Rule], shutdown: &Shutdown) -> Result<()> {
    let legacy = uses_legacy(packages, shutdown)?;
    rules.iter().try_for_each(|rule| {
        let call = packages.iptables(legacy).args(["-w", "10", "-t", rule.table, rule.put, rule.chain]);
        call.args(&rule.words).read(shutdown).map(drop)
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
        for (table, chain) in [("nat", "POSTROUTING"), ("filter", "FORWARD"), ("filter", "OUTPUT")] {
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
    let rules = lines.map(|line| line.split_whitespace().map(str::to_owned).into_vec());
    rules.filter(|words| words.iter().any(|word| word == bridge)).into_vec()
}

/// A /24 no route touches, the first tried chosen by the engine's id so that two engines seldom compare notes.
fn free_subnet(routes: &str, id: &str) -> Option<Ipv4Addr> {
    let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).filter(|(_, mask)| *mask != 0).into_vec();
    let start = u32::from_str_radix(&id[..4], 16).unwrap_or(0);
    // 172.28.0.0/14: private, and above the ranges that Docker (172.17 on) and home routers (192.168) start with.
    let base = u32::from(Ipv4Addr::new(172, 28, 0, 0));
    let candidates = (0..1024).map(|n| base + (((start + n) % 1024) << 8));
    let is_free = |subnet: &u32| taken.iter().all(|(net, mask)| (subnet & mask & 0xFFFF_FF00) != (net & 0xFFFF_FF00 & mask));
    candidates.into_iter().find(is_free).map(Ipv4Addr::from)
}

/// Destination and mask of a line of `/proc/net/route`, which prints them in the machine's own byte order.
fn route(line: &str) -> Option<(u32, u32)> {
    let fields: Vec<&str> = line.split_whitespace().into_vec();
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

//! Which proxy a URL goes through, by the rules of Go's `net/http`, which Docker and buildx follow: `HTTPS_PROXY`, `HTTP_PROXY` and
//! `NO_PROXY` (either case), loopback never. No I/O.
//!
//! ureq has rules of its own, and reads them from the process's environment, which only `main` does.

use std::net::IpAddr;

use crate::collect::Collect as _;
use crate::env::Env;

/// The proxies of an environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: Vec<String>,
}

impl Proxies {
    pub(super) fn from_env(env: &Env) -> Self {
        let get = |upper: &str| env.get(upper).or_else(|| env.get(&upper.to_ascii_lowercase())).map(str::to_owned);
        let except = get("NO_PROXY").unwrap_or_default();
        let except = except.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty());
        let all = get("ALL_PROXY");
        Self { http: get("HTTP_PROXY").or(all.clone()), https: get("HTTPS_PROXY").or(all), except: except.into_vec() }
    }

    /// The proxy's address for a URL of this scheme, host and port, where it does not go straight there.
    pub(super) fn of(&self, secure: bool, host: &str, port: u16) -> Option<&str> {
        let proxy = if secure { self.https.as_deref() } else { self.http.as_deref() }?;
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let straight = is_loopback(&host) || self.except.iter().any(|entry| entry_matches(entry, &host, port));
        (!straight).then_some(proxy)
    }
}

/// True for a proxy's address that is of http or https, or names neither.
pub(super) fn is_http(url: &str) -> bool {
    url.split_once("://").is_none_or(|(scheme, _)| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// True for `localhost` and loopback addresses, brackets or not.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn entry_matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let parsed = (network.parse::<IpAddr>(), bits.parse::<u32>(), host.parse::<IpAddr>());
        return matches!(parsed, (Ok(network), Ok(bits), Ok(host)) if same_network(network, bits, host));
    }
    let (name, entry_port) = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
        _ => (entry, None),
    };
    if entry_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let suffix = host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    // A leading dot means subdomains only; a bare domain means itself too.
    suffix || (host == name && !entry.starts_with('.') && !entry.starts_with("*."))
}

fn same_network(network: IpAddr, bits: u32, host: IpAddr) -> bool {
    match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => bits <= 32 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(a), IpAddr::V6(b)) => bits <= 128 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let vars = [
            ("HTTPS_PROXY", "http://proxy.corp:3128"),
            ("http_proxy", "http://plain.corp:3128"),
            ("NO_PROXY", "corp.example, .sub.example,10.0.0.0/8,exact.example:8443,192.0.2.7"),
        ];
        let env = Env::new("/", vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let proxies = Proxies::from_env(&env);
        let straight = |host, port| proxies.of(true, host, port).is_none();
        for host in
            ["corp.example", "a.corp.example", "x.sub.example", "10.1.2.3", "192.0.2.7", "localhost", "127.0.0.9", "[::1]"]
        {
            assert!(straight(host, 443), "{host}");
        }
        for host in ["notcorp.example", "sub.example", "11.1.2.3", "ghcr.io", "exact.example"] {
            assert!(!straight(host, 443), "{host}");
        }
        assert!(straight("exact.example", 8443));
        assert_eq!(proxies.of(false, "ghcr.io", 80), Some("http://plain.corp:3128"));
        assert_eq!(proxies.of(true, "ghcr.io", 443), Some("http://proxy.corp:3128"));
    }
}

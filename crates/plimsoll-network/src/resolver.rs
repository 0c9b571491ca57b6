//! The resolv.conf of a container on a bridge.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Where systemd-resolved lists the servers behind its own loopback address.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
const HOST: &str = "/etc/resolv.conf";
/// Docker's servers of last resort.
const LAST_RESORT: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// Returns what a container on a bridge gets as `/etc/resolv.conf`: the host's, without the servers it cannot reach.
///
/// Those are servers on loopback, which is another one inside, and IPv6 servers. When none is left, those that
/// systemd-resolved asks are taken, and then public ones.
pub fn resolv_conf() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    for_container(&read(HOST), || read(BEHIND_STUB))
}

fn for_container(host: &str, behind_stub: impl FnOnce() -> String) -> String {
    if let Some(text) = with_reachable_servers(host) {
        return text;
    }
    if let Some(text) = with_reachable_servers(&behind_stub()) {
        return text;
    }
    let servers = LAST_RESORT
        .map(|server| format!("nameserver {server}\n"))
        .concat();
    lines(host)
        .filter(|line| server(line).is_none())
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        + &servers
}

/// IPv4 servers named in the host's files; a network must not cover one of them.
pub(crate) fn servers() -> Vec<Ipv4Addr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let text = read(HOST) + "\n" + &read(BEHIND_STUB);
    lines(&text).filter_map(server).filter_map(reachable).collect()
}

fn with_reachable_servers(text: &str) -> Option<String> {
    let is_kept = |line: &&str| server(line).is_none_or(|server| reachable(server).is_some());
    let kept: Vec<&str> = lines(text).filter(is_kept).collect();
    kept.iter()
        .any(|line| server(line).is_some())
        .then(|| kept.join("\n") + "\n")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// The server a line names.
fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next().unwrap_or_default())
}

fn reachable(server: &str) -> Option<Ipv4Addr> {
    match server.parse() {
        Ok(IpAddr::V4(address)) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_servers_stay_with_search_and_options() {
        let host = "# made by hand\nsearch example.org\nnameserver 192.0.2.53\noptions ndots:2\n";
        let expected = "search example.org\nnameserver 192.0.2.53\noptions ndots:2\n";
        assert_eq!(for_container(host, || unreachable!("not needed")), expected);
    }

    #[test]
    fn servers_out_of_reach_are_dropped() {
        let host = "nameserver 127.0.0.53\nnameserver ::1\nnameserver 2001:db8::53\nnameserver 192.0.2.53";
        assert_eq!(
            for_container(host, || unreachable!("not needed")),
            "nameserver 192.0.2.53\n"
        );
    }

    #[test]
    fn behind_the_stub_resolver_stand_the_real_servers() {
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
        let real = || "nameserver 198.51.100.1\nsearch example.net\n".to_owned();
        assert_eq!(
            for_container(stub, real),
            "nameserver 198.51.100.1\nsearch example.net\n"
        );
    }

    #[test]
    fn public_servers_are_the_last_resort() {
        let text = for_container("search example.org\nnameserver 127.0.0.1\n", String::new);
        assert_eq!(
            text,
            "search example.org\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
    }
}

//! The resolv.conf of a container, and which servers stand behind it.

use serde::{Deserialize, Serialize};
use std::fs;
use std::net::IpAddr;

/// Where systemd-resolved lists the servers behind its own loopback address.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
const HOST: &str = "/etc/resolv.conf";
/// Docker's servers of last resort.
const LAST_RESORT: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What the user says about names: `--dns`, `--dns-search`, `--dns-option`. What is empty comes from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolver {
    /// Servers.
    pub servers: Vec<IpAddr>,
    /// Domains to look in; `.` alone is none.
    pub search: Vec<String>,
    /// Options of resolv.conf.
    pub options: Vec<String>,
}

impl Resolver {
    /// Returns what a container on the default bridge gets: see [`resolv_conf`], and what the user says over it.
    pub fn on_bridge(&self, ipv6: bool) -> String {
        let host = match self.servers.is_empty() {
            true => reachable_conf(ipv6),
            false => read(HOST),
        };
        self.over(&host, &self.servers)
    }

    /// Returns what a container on user networks gets: its own name server.
    pub fn on_user_network(&self) -> String {
        let mut own = self.clone();
        own.options = self.words(&read(HOST), "options", &self.options);
        if !own.options.iter().any(|option| option.starts_with("ndots:")) {
            own.options.push("ndots:0".to_owned());
        }
        own.over(&read(HOST), &[IpAddr::from([127, 0, 0, 11])])
    }

    /// Returns what a container in the host's network gets.
    pub fn on_host(&self) -> String {
        let host = read(HOST);
        match *self == Self::default() {
            true => host,
            false => self.over(&host, &self.servers),
        }
    }

    /// Returns the servers that questions of a container on user networks go on to, asked from the host.
    pub fn upstream(&self) -> Vec<IpAddr> {
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let text = read(HOST);
        let servers: Vec<IpAddr> = lines(&text)
            .filter_map(server)
            .filter_map(|text| text.parse().ok())
            .collect();
        match servers.is_empty() {
            true => LAST_RESORT
                .iter()
                .filter_map(|server| server.parse().ok())
                .collect(),
            false => servers,
        }
    }

    /// The same, asked from an ordinary user's room, where loopback is another one: `stand_in` passes questions on to
    /// servers there.
    pub(crate) fn upstream_of_room(&self, stand_in: IpAddr) -> Vec<IpAddr> {
        let own = |text: &str| -> Vec<IpAddr> {
            let named = lines(text).filter_map(server);
            named.filter_map(|server| reachable(server, true)).collect()
        };
        let known = [
            self.servers.clone(),
            own(&read(HOST)),
            own(&read(BEHIND_STUB)),
            vec![stand_in],
        ];
        known
            .into_iter()
            .find(|servers| !servers.is_empty())
            .unwrap_or_default()
    }

    fn over(&self, host: &str, servers: &[IpAddr]) -> String {
        let mut servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        if servers.is_empty() {
            servers = lines(host).filter_map(server).map(str::to_owned).collect();
        }
        let mut text: String = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        let search = self.words(host, "search", &self.search);
        if !search.is_empty() && search != ["."] {
            text.push_str(&format!("search {}\n", search.join(" ")));
        }
        let options = self.words(host, "options", &self.options);
        if !options.is_empty() {
            text.push_str(&format!("options {}\n", options.join(" ")));
        }
        text
    }

    /// The user's words, or those of the host's file.
    fn words(&self, host: &str, key: &str, own: &[String]) -> Vec<String> {
        if !own.is_empty() {
            return own.to_vec();
        }
        let of_host = lines(host).filter_map(|line| line.strip_prefix(key)).last();
        of_host
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }
}

/// Returns what a container on a bridge gets as `/etc/resolv.conf`: the host's, without the servers it cannot reach.
///
/// Those are servers on loopback, which is another one inside, and IPv6 servers. When none is left, those that
/// systemd-resolved asks are taken, and then public ones.
pub fn resolv_conf() -> String {
    reachable_conf(false)
}

fn reachable_conf(ipv6: bool) -> String {
    for_container(&read(HOST), || read(BEHIND_STUB), ipv6)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn for_container(host: &str, behind_stub: impl FnOnce() -> String, ipv6: bool) -> String {
    if let Some(text) = with_reachable_servers(host, ipv6) {
        return text;
    }
    if let Some(text) = with_reachable_servers(&behind_stub(), ipv6) {
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

/// Servers named in the host's files; a network must not cover one of them.
pub fn servers() -> Vec<IpAddr> {
    let text = read(HOST) + "\n" + &read(BEHIND_STUB);
    lines(&text)
        .filter_map(server)
        .filter_map(|server| reachable(server, true))
        .collect()
}

fn with_reachable_servers(text: &str, ipv6: bool) -> Option<String> {
    let is_kept = |line: &&str| server(line).is_none_or(|server| reachable(server, ipv6).is_some());
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

fn reachable(server: &str, ipv6: bool) -> Option<IpAddr> {
    let address: IpAddr = server.parse().ok()?;
    let is_elsewhere = !address.is_loopback() && !address.is_unspecified();
    (is_elsewhere && (ipv6 || address.is_ipv4())).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_servers_stay_with_search_and_options() {
        let host = "# made by hand\nsearch example.org\nnameserver 192.0.2.53\noptions ndots:2\n";
        let expected = "search example.org\nnameserver 192.0.2.53\noptions ndots:2\n";
        assert_eq!(
            for_container(host, || unreachable!("not needed"), false),
            expected
        );
    }

    #[test]
    fn servers_out_of_reach_are_dropped() {
        let host = "nameserver 127.0.0.53\nnameserver ::1\nnameserver 2001:db8::53\nnameserver 192.0.2.53";
        assert_eq!(
            for_container(host, || unreachable!("not needed"), false),
            "nameserver 192.0.2.53\n"
        );
    }

    #[test]
    fn behind_the_stub_resolver_stand_the_real_servers() {
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
        let real = || "nameserver 198.51.100.1\nsearch example.net\n".to_owned();
        assert_eq!(
            for_container(stub, real, false),
            "nameserver 198.51.100.1\nsearch example.net\n"
        );
    }

    #[test]
    fn public_servers_are_the_last_resort() {
        let text = for_container("search example.org\nnameserver 127.0.0.1\n", String::new, false);
        assert_eq!(
            text,
            "search example.org\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
    }

    #[test]
    fn what_the_user_says_goes_over_the_hosts() {
        let host = "search example.org\nnameserver 192.0.2.53\noptions timeout:3 edns0\n";
        let plain = Resolver::default();
        assert_eq!(
            plain.over(host, &[]),
            "nameserver 192.0.2.53\nsearch example.org\noptions timeout:3 edns0\n"
        );
        let said = Resolver {
            servers: vec!["198.51.100.1".parse().expect("an address")],
            search: vec![".".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        assert_eq!(
            said.over(host, &said.servers),
            "nameserver 198.51.100.1\noptions ndots:2\n"
        );
        assert_eq!(said.upstream(), said.servers);
        assert!(said.on_user_network().starts_with("nameserver 127.0.0.11\n"));
        assert!(plain.on_user_network().contains("ndots:"));
    }
}

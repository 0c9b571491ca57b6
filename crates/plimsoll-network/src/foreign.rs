//! Firewalls of others.
//!
//! An `accept` in our table does not undo a `drop` in another one: every base chain of a hook must let a packet pass. Docker,
//! ufw and hand-written rule sets give their forward chain the policy drop, so each of our bridges gets two accept rules
//! there (in and out), in Docker's `DOCKER-USER` where it exists: Docker promises to leave that chain alone. What may reach a
//! container is still decided by our own forward chain.
//!
//! The rules carry our table's name as comment; by it they are found again, and leave with the bridge.
//!
//! firewalld keeps its rules to itself: it writes them anew at every reload, and newer ones let nobody else change them. It is
//! asked, by its own program, to take our bridges into its zone `trusted`.

use std::fs;
use std::process::Command;

use crate::nfnetlink::{Chain, DeviceRule};
use crate::{NetworkError, nfnetlink, nft};

/// Docker's chain for the administrator's rules.
const DOCKER_USER: &str = "DOCKER-USER";

/// Returns how many firewalls of others drop what is forwarded, and have to let our bridges pass. A finished bridge remembers
/// the number, so that a firewall which comes or goes later is noticed: Docker started after us, say. Those of the older
/// interface are not counted.
pub fn count() -> usize {
    let chains = nfnetlink::chains(DOCKER_USER).unwrap_or_default();
    let closed = chains.iter().filter(|chain| chain.is_closed).count();
    closed + usize::from(firewalld::is_there())
}

/// The rules, as a script for `nft`, that let packets of `bridge` pass where others drop what is forwarded. Those that are there
/// are not among them.
pub(crate) fn opening(bridge: &str, comment: &str) -> Result<String, NetworkError> {
    let chains = nfnetlink::chains(DOCKER_USER).map_err(unread)?;
    let closed = to_open(&chains);
    if closed.is_empty() {
        return Ok(String::new());
    }
    let present = ours(comment)?;
    let mut script = String::new();
    for place in closed.into_iter().map(Chain::place) {
        for (is_in, key) in [(true, "iifname"), (false, "oifname")] {
            let is_it =
                |rule: &DeviceRule| rule.is_in == is_in && rule.device == bridge && rule.chain() == place;
            if !present.iter().any(is_it) {
                script.push_str(&format!(
                    "insert rule {place} {key} \"{bridge}\" counter accept comment \"{comment}\"\n"
                ));
            }
        }
    }
    Ok(script)
}

/// Lets packets of `bridge` pass where `nft` cannot. Does nothing twice.
pub(crate) fn open_others(bridge: &str, comment: &str) {
    legacy::open(bridge, comment);
    firewalld::open(bridge);
}

/// Takes the rules for `bridge` with this comment away.
pub(crate) fn close(bridge: &str, comment: &str) -> Result<(), NetworkError> {
    let rules = ours(comment)?;
    let rules = rules.iter().filter(|rule| rule.device == bridge);
    let script: String = rules.map(deletion).collect();
    if !script.is_empty() {
        nft::run(&script)?;
    }
    legacy::close(bridge, comment);
    firewalld::close(bridge);
    Ok(())
}

/// Our rules in the chains of others.
pub(crate) fn ours(comment: &str) -> Result<Vec<DeviceRule>, NetworkError> {
    let mut rules = nfnetlink::device_rules(comment).map_err(unread)?;
    rules.retain(|rule| rule.table != comment);
    Ok(rules)
}

/// The line that takes a rule away.
pub(crate) fn deletion(rule: &DeviceRule) -> String {
    format!("delete rule {}\n", rule.place())
}

fn unread(source: std::io::Error) -> NetworkError {
    NetworkError::read("firewall rules", source)
}

/// The chains to open: for each that drops what is forwarded, itself or `DOCKER-USER` of the same table.
fn to_open(chains: &[Chain]) -> Vec<&Chain> {
    let user = |closed: &Chain| {
        chains.iter().find(|chain| {
            chain.name == DOCKER_USER && chain.table == closed.table && chain.family == closed.family
        })
    };
    let closed = chains.iter().filter(|chain| chain.is_closed);
    closed.map(|chain| user(chain).unwrap_or(chain)).collect()
}

/// The older interface of iptables, whose tables `nft` does not see. Best effort: without the program nothing can be done.
mod legacy {
    use super::{Command, DOCKER_USER, fs};

    const PROGRAM: &str = "iptables-legacy";

    pub(super) fn open(bridge: &str, comment: &str) {
        let Some(chain) = closed_chain() else { return };
        for direction in ["-i", "-o"] {
            if !call(&rule("-C", &chain, direction, bridge, comment)) {
                call(&rule("-I", &chain, direction, bridge, comment));
            }
        }
    }

    pub(super) fn close(bridge: &str, comment: &str) {
        let Some(chain) = closed_chain() else { return };
        for direction in ["-i", "-o"] {
            call(&rule("-D", &chain, direction, bridge, comment));
        }
    }

    fn rule<'a>(
        action: &'a str,
        chain: &'a str,
        way: &'a str,
        bridge: &'a str,
        comment: &'a str,
    ) -> [&'a str; 10] {
        [
            action,
            chain,
            way,
            bridge,
            "-m",
            "comment",
            "--comment",
            comment,
            "-j",
            "ACCEPT",
        ]
    }

    fn closed_chain() -> Option<String> {
        let tables = fs::read_to_string("/proc/thread-self/net/ip_tables_names").ok()?;
        if !tables.lines().any(|table| table == "filter") {
            return None;
        }
        let output = Command::new(PROGRAM).args(["-w", "-S"]).output().ok()?;
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        let has = |wanted: &str| listing.lines().any(|line| line == wanted);
        let user = format!("-N {DOCKER_USER}");
        match (has("-P FORWARD DROP"), has(&user)) {
            (false, _) => None,
            (true, true) => Some(DOCKER_USER.to_owned()),
            (true, false) => Some("FORWARD".to_owned()),
        }
    }

    fn call(arguments: &[&str]) -> bool {
        match Command::new(PROGRAM).arg("-w").args(arguments).output() {
            Ok(output) => output.status.success(),
            Err(error) => {
                tracing::debug!(%error, "iptables-legacy not run");
                false
            }
        }
    }
}

/// firewalld. Best effort: a host may have its table and not its program.
mod firewalld {
    use super::{Command, nfnetlink};

    const PROGRAM: &str = "firewall-cmd";
    const ZONE: &str = "--zone=trusted";

    pub(super) fn is_there() -> bool {
        nfnetlink::has_table(nfnetlink::INET, "firewalld").unwrap_or(false)
    }

    pub(super) fn open(bridge: &str) {
        if is_there() {
            // Not `--add-interface`, which refuses one that a zone has already.
            call(&format!("--change-interface={bridge}"));
        }
    }

    pub(super) fn close(bridge: &str) {
        if is_there() {
            call(&format!("--remove-interface={bridge}"));
        }
    }

    fn call(action: &str) {
        match Command::new(PROGRAM).args(["--quiet", ZONE, action]).output() {
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                tracing::warn!(action, said, "firewalld refused");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "firewall-cmd not run"),
        }
    }
}

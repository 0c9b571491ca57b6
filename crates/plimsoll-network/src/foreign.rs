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

use serde_json::Value;
use std::fs;
use std::process::Command;

use crate::{NetworkError, nfnetlink, nft};

/// Docker's chain for the administrator's rules.
const DOCKER_USER: &str = "DOCKER-USER";

/// Returns how many firewalls of others drop what is forwarded, and have to let our bridges pass. A finished bridge remembers the number, so that a firewall which comes or
/// goes later is noticed: Docker started after us, say. Those of the older interface are not counted.
pub fn count() -> usize {
    nfnetlink::closed_forward_chains().unwrap_or(0) + usize::from(firewalld::is_there())
}

/// A chain of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    family: String,
    table: String,
    name: String,
}

impl Chain {
    fn read(object: &Value) -> Option<Self> {
        let text = |key: &str| object[key].as_str().map(str::to_owned);
        Some(Self {
            family: text("family")?,
            table: text("table")?,
            name: text("name")?,
        })
    }

    fn place(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }
}

/// Lets packets of `bridge` pass where others drop what is forwarded. Does nothing twice.
pub(crate) fn open(bridge: &str, comment: &str) -> Result<(), NetworkError> {
    let objects = nft::list(&["chains"])?;
    for chain in closed_chains(&objects) {
        let rules = nft::list(&["chain", &chain.family, &chain.table, &chain.name])?;
        let missing = |key: &str| !rules.iter().any(|object| is_ours(object, comment, key, bridge));
        let script: String = ["iifname", "oifname"]
            .into_iter()
            .filter(|key| missing(key))
            .map(|key| {
                format!(
                    "insert rule {} {key} \"{bridge}\" counter accept comment \"{comment}\"\n",
                    chain.place()
                )
            })
            .collect();
        if !script.is_empty() {
            nft::run(&script)?;
        }
    }
    legacy::open(bridge, comment);
    firewalld::open(bridge);
    Ok(())
}

/// Takes the rules for `bridge` with this comment away.
pub(crate) fn close(bridge: &str, comment: &str) -> Result<(), NetworkError> {
    let rules = ours(&nft::list(&["ruleset"])?, comment);
    let rules = rules.iter().filter(|rule| rule.bridge == bridge);
    let script: String = rules.map(OwnRule::delete).collect();
    if !script.is_empty() {
        nft::run(&script)?;
    }
    legacy::close(bridge, comment);
    firewalld::close(bridge);
    Ok(())
}

/// A rule of ours in a chain of somebody else.
#[derive(Debug)]
pub(crate) struct OwnRule {
    /// Family, table, chain and handle, in `nft`'s words.
    pub(crate) place: String,
    /// Whose packets it lets pass.
    pub(crate) bridge: String,
}

impl OwnRule {
    /// The line that takes it away.
    pub(crate) fn delete(&self) -> String {
        format!("delete rule {}\n", self.place)
    }
}

/// Our rules in the chains of others.
pub(crate) fn ours(ruleset: &[Value], comment: &str) -> Vec<OwnRule> {
    let rules = ruleset.iter().map(|object| &object["rule"]);
    rules
        .filter(|rule| rule["comment"] == comment && rule["table"] != comment)
        .filter_map(|rule| {
            let chain = Value::as_str(&rule["chain"])?;
            let (family, table) = (rule["family"].as_str()?, rule["table"].as_str()?);
            let parts = rule["expr"].as_array()?;
            let bridge = parts.iter().find_map(|part| part["match"]["right"].as_str())?;
            Some(OwnRule {
                place: format!("{family} {table} {chain} handle {}", rule["handle"]),
                bridge: bridge.to_owned(),
            })
        })
        .collect()
}

/// The chains to open: for each base chain that drops what is forwarded, itself or `DOCKER-USER` of the same table.
fn closed_chains(objects: &[Value]) -> Vec<Chain> {
    let chains: Vec<&Value> = objects.iter().filter_map(|object| object.get("chain")).collect();
    let exists = |wanted: &Chain| {
        chains
            .iter()
            .any(|chain| Chain::read(chain).as_ref() == Some(wanted))
    };
    let is_closed = |chain: &Value| {
        let is_ip = matches!(chain["family"].as_str(), Some("ip" | "ip6" | "inet"));
        is_ip && chain["hook"] == "forward" && chain["policy"] == "drop"
    };
    chains
        .iter()
        .filter(|chain| is_closed(chain))
        .filter_map(|chain| Chain::read(chain))
        .map(|chain| {
            let user = Chain {
                name: DOCKER_USER.to_owned(),
                ..chain.clone()
            };
            if exists(&user) { user } else { chain }
        })
        .collect()
}

fn is_ours(object: &Value, comment: &str, key: &str, bridge: &str) -> bool {
    let rule = &object["rule"];
    let matches =
        |part: &Value| part["match"]["left"]["meta"]["key"] == key && part["match"]["right"] == bridge;
    rule["comment"] == comment
        && rule["expr"]
            .as_array()
            .is_some_and(|parts| parts.iter().any(matches))
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

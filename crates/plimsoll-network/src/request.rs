//! What `network create` asks for, and what becomes of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::rows::is_predefined;
use crate::subnet::{self, Subnet};
use crate::{NetworkError, Pool};

/// Options of `network create`.
#[derive(Clone, Debug, Default)]
pub struct NetworkRequest {
    /// What to call it.
    pub name: String,
    /// `bridge` is the only one that can be made.
    pub driver: String,
    /// Subnets, at most one of each family; free ones are chosen where there is none.
    pub subnets: Vec<Subnet>,
    /// Addresses of the bridge.
    pub gateways: Vec<IpAddr>,
    /// Parts of the subnets that containers get their addresses from.
    pub ranges: Vec<Subnet>,
    /// Addresses that no container gets, by name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// Whether to have IPv6.
    pub ipv6: bool,
    /// Whether to have IPv6 alone.
    pub no_ipv4: bool,
    /// No way out.
    pub internal: bool,
    /// Accepted for Docker's sake.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

impl NetworkRequest {
    /// Refuses what can never be, in Docker's words.
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        let invalid = |text: String| Err(NetworkError::Invalid(text));
        if is_predefined(&self.name) {
            return Err(NetworkError::Predefined(self.name.clone()));
        }
        let mut letters = self.name.bytes();
        let starts = letters
            .next()
            .is_some_and(|letter| letter.is_ascii_alphanumeric());
        if !starts || !letters.all(|letter| letter.is_ascii_alphanumeric() || b"_.-".contains(&letter)) {
            return invalid(format!(
                "invalid network name `{}`: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                self.name
            ));
        }
        if self.no_ipv4 && !self.ipv6 {
            return invalid("IPv4 or IPv6 must be enabled".to_owned());
        }
        match self.driver.as_str() {
            "" | "bridge" => {}
            driver @ ("host" | "null" | "none") => {
                return invalid(format!("only one instance of \"{driver}\" network is allowed"));
            }
            driver => return invalid(format!("plugin \"{driver}\" not found")),
        }
        for ipv6 in [false, true] {
            if self
                .subnets
                .iter()
                .filter(|subnet| subnet.is_ipv6() == ipv6)
                .count()
                > 1
            {
                return invalid("bridge driver supports one subnet of each family".to_owned());
            }
        }
        let addresses = self.gateways.iter().chain(self.reserved.values());
        let stray = addresses.clone().find(|address| !self.has_subnet_for(**address));
        match (
            stray,
            self.ranges
                .iter()
                .find(|range| !self.has_subnet_for(range.base())),
        ) {
            (Some(gateway), _) if self.gateways.contains(gateway) => {
                invalid(format!("no matching subnet for gateway {gateway}"))
            }
            (Some(address), _) => invalid(format!("no matching subnet for aux-address {address}")),
            (_, Some(range)) => invalid(format!("no matching subnet for range {range}")),
            (None, None) => Ok(()),
        }
    }

    fn has_subnet_for(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(address))
    }

    /// The IPv4 addresses, if any: in a free subnet unless one was asked for.
    pub(crate) fn ipv4(&self, taken: &[Subnet]) -> Result<Option<Pool>, NetworkError> {
        if self.no_ipv4 {
            return Ok(None);
        }
        let asked = self.subnets.iter().find(|subnet| !subnet.is_ipv6());
        let subnet = asked.copied().or_else(|| subnet::choose(taken));
        self.pool(subnet.ok_or(NetworkError::NoFreeSubnet)?).map(Some)
    }

    /// The IPv6 addresses, if any: unique local ones unless others were asked for. As in Docker, a subnet alone does not ask.
    pub(crate) fn ipv6(&self, id: &str) -> Result<Option<Pool>, NetworkError> {
        if !self.ipv6 {
            return Ok(None);
        }
        let asked = self.subnets.iter().find(|subnet| subnet.is_ipv6());
        let seed = u64::from_str_radix(id.get(..16).unwrap_or_default(), 16).unwrap_or_default();
        self.pool(asked.copied().unwrap_or_else(|| subnet::unique_local(seed)))
            .map(Some)
    }

    fn pool(&self, subnet: Subnet) -> Result<Pool, NetworkError> {
        let shortest = if subnet.is_ipv6() { 126 } else { 30 };
        if subnet.prefix() > shortest {
            return Err(NetworkError::Invalid(format!(
                "subnet {subnet} is too small: it needs room for a gateway and a container"
            )));
        }
        let within = |address: &&IpAddr| subnet.contains(**address);
        let range = self.ranges.iter().find(|range| subnet.holds(**range)).copied();
        let gateway = self.gateways.iter().find(within).copied();
        let reserved = self.reserved.iter().filter(|(_, address)| within(address));
        Ok(Pool {
            subnet,
            gateway: gateway.unwrap_or_else(|| subnet.gateway()),
            range,
            reserved: reserved.map(|(name, address)| (name.clone(), *address)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(subnets: &[&str]) -> NetworkRequest {
        NetworkRequest {
            name: "web".to_owned(),
            subnets: subnets
                .iter()
                .map(|text| text.parse().expect("a subnet"))
                .collect(),
            ..NetworkRequest::default()
        }
    }

    #[test]
    fn what_can_never_be_is_refused_in_dockers_words() {
        let mut stray = request(&["10.1.0.0/24"]);
        stray.gateways = vec!["10.2.0.1".parse().expect("an address")];
        let named = |name: &str| NetworkRequest {
            name: name.to_owned(),
            ..NetworkRequest::default()
        };
        let driven = |driver: &str| NetworkRequest {
            driver: driver.to_owned(),
            ..named("web")
        };
        for (request, message) in [
            (stray, "no matching subnet for gateway 10.2.0.1"),
            (
                named("bridge"),
                "operation is not permitted on predefined bridge network",
            ),
            (
                named("-x"),
                "invalid network name `-x`: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            ),
            (driven("overlayx"), "plugin \"overlayx\" not found"),
            (driven("host"), "only one instance of \"host\" network is allowed"),
            (
                request(&["10.1.0.0/24", "10.2.0.0/24"]),
                "bridge driver supports one subnet of each family",
            ),
        ] {
            assert_eq!(request.check().expect_err("refused").to_string(), message);
        }
        assert!(request(&["10.1.0.0/24", "fd00::/64"]).check().is_ok());
    }

    #[test]
    fn gateway_and_range() {
        let mut asked = request(&["10.1.0.0/16"]);
        asked.ranges = vec!["10.1.5.0/24".parse().expect("a subnet")];
        let pool = asked.ipv4(&[]).expect("a pool").expect("it is wanted");
        assert_eq!(pool.gateway.to_string(), "10.1.0.1");
        assert!(request(&["10.1.0.0/31"]).ipv4(&[]).is_err());
        let mut six = request(&[]);
        assert!(six.ipv6("0123456789abcdef").expect("fine").is_none());
        six.ipv6 = true;
        let pool = six.ipv6("0123456789abcdef").expect("a pool").expect("asked for");
        assert_eq!(pool.subnet.to_string(), "fd01:2345:6789::/64");
        assert_eq!(pool.gateway.to_string(), "fd01:2345:6789::1");
    }
}

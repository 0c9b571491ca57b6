//! IPv4 subnets and the choice of a free one.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 subnet; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet that `address` lies in. A prefix above 32 counts as 32.
    pub(crate) fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            base: address.to_bits() & mask(prefix),
            prefix,
        }
    }

    pub(crate) fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    pub(crate) fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !mask(self.prefix))
    }

    /// The first address, which the bridge takes.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base + 1)
    }

    /// Two subnets overlap when the shorter prefix holds the base of both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.base & mask == other.base & mask
    }

    /// Addresses a container may have: all but the base, the gateway and the broadcast address.
    pub(crate) fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.base + 2..self.broadcast().to_bits()).map(Ipv4Addr::from_bits)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base(), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The pools networks are cut from, in this order: Docker's own (`default-address-pools`), and then a part of 10.0.0.0/8 that
/// neither Kubernetes (10.96/12, 10.244/16) nor most offices use.
pub(crate) fn pools() -> impl Iterator<Item = Subnet> {
    let private16 = (17..=31).map(|second| Subnet::new(Ipv4Addr::new(172, second, 0, 0), 16));
    let private20 = (0..16).map(|part| Subnet::new(Ipv4Addr::new(192, 168, part << 4, 0), 20));
    let private8 = (128..192).map(|second| Subnet::new(Ipv4Addr::new(10, second, 0, 0), 16));
    private16.chain(private20).chain(private8)
}

/// The first subnet of the pools that overlaps nothing in `taken`.
pub(crate) fn choose(taken: &[Subnet]) -> Option<Subnet> {
    pools().find(|candidate| !taken.iter().any(|subnet| subnet.overlaps(*candidate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').expect("a slash");
        Subnet::new(
            address.parse().expect("an address"),
            prefix.parse().expect("a prefix"),
        )
    }

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(subnet("172.17.3.4/16").to_string(), "172.17.0.0/16");
        assert_eq!(subnet("1.2.3.4/0").to_string(), "0.0.0.0/0");
        assert_eq!(subnet("1.2.3.4/32").to_string(), "1.2.3.4/32");
    }

    #[test]
    fn overlap_goes_both_ways() {
        for (one, other, expected) in [
            ("172.16.0.0/12", "172.20.0.0/16", true),
            ("172.20.0.0/16", "172.21.0.0/16", false),
            ("10.0.0.1/32", "10.0.0.0/8", true),
            ("0.0.0.0/0", "192.168.0.0/20", true),
            ("192.168.16.0/20", "192.168.0.0/20", false),
        ] {
            assert_eq!(subnet(one).overlaps(subnet(other)), expected, "{one} {other}");
            assert_eq!(subnet(other).overlaps(subnet(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_first_free_pool_is_chosen() {
        assert_eq!(choose(&[]), Some(subnet("172.17.0.0/16")));
        assert_eq!(choose(&[subnet("172.17.42.1/24")]), Some(subnet("172.18.0.0/16")));
        assert_eq!(choose(&[subnet("172.16.0.0/12")]), Some(subnet("192.168.0.0/20")));
        let private = [subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
        assert_eq!(choose(&private), Some(subnet("10.128.0.0/16")));
        let all = [private[0], private[1], subnet("10.0.0.0/8")];
        assert_eq!(choose(&all), None);
    }

    #[test]
    fn pools_do_not_overlap_each_other() {
        let pools: Vec<Subnet> = pools().collect();
        for (index, one) in pools.iter().enumerate() {
            assert!(
                pools[index + 1..].iter().all(|other| !one.overlaps(*other)),
                "{one}"
            );
        }
    }

    #[test]
    fn containers_never_get_the_ends_of_a_subnet() {
        let addresses: Vec<String> = subnet("10.0.0.0/29").addresses().map(|a| a.to_string()).collect();
        assert_eq!(
            addresses,
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
        assert_eq!(subnet("10.0.0.0/31").addresses().count(), 0);
    }
}

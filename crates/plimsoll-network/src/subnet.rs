//! Subnets of both families, and the choice of a free one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A subnet; host bits are zero. Written as `172.17.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet that `address` lies in. A prefix that is too long counts as that of one address.
    pub fn new(address: impl Into<IpAddr>, prefix: u8) -> Self {
        let address = address.into();
        let prefix = prefix.min(width(address));
        let base = with_bits(address, bits(address) & mask(address, prefix));
        Self { base, prefix }
    }

    /// The subnet of addresses that only one link knows, of the family of `address`.
    pub(crate) fn link_local(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::new(Ipv4Addr::new(169, 254, 0, 0), 16),
            IpAddr::V6(_) => Self::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64),
        }
    }

    /// First address.
    pub fn base(self) -> IpAddr {
        self.base
    }

    /// Length of the prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(self) -> bool {
        self.base.is_ipv6()
    }

    /// Last address: in IPv4 the one of broadcasts.
    pub(crate) fn last(self) -> IpAddr {
        with_bits(self.base, bits(self.base) | !mask(self.base, self.prefix))
    }

    /// The first address, which the bridge takes unless told otherwise.
    pub(crate) fn gateway(self) -> IpAddr {
        with_bits(self.base, bits(self.base) + 1)
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6() && Self::new(address, self.prefix) == self
    }

    /// Whether all of another one lies in it.
    pub(crate) fn holds(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    /// Two subnets overlap when the shorter prefix holds the base of both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.holds(other) || other.holds(self)
    }

    /// Whether a container may have this address: any but the first, and in IPv4 the last.
    pub(crate) fn is_assignable(self, address: IpAddr) -> bool {
        self.contains(address) && address != self.base && (self.is_ipv6() || address != self.last())
    }

    /// All addresses, in order. Of IPv6 there may be more than anybody can count.
    pub(crate) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (bits(self.base)..=bits(self.last())).map(move |bits| with_bits(self.base, bits))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    /// Host bits are cut off, as Docker does.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid subnet {text}: invalid CIDR block notation");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().map_err(|_| wrong())?;
        if prefix > width(address) {
            return Err(wrong());
        }
        Ok(Self::new(address, prefix))
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

/// An address as a number.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with these bits, of the family of `like`.
fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "made of an IPv4 address, with a mask of 32 bits"
        )]
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

fn mask(address: IpAddr, prefix: u8) -> u128 {
    let width = u32::from(width(address));
    let all = u128::MAX >> (128 - width);
    all.checked_shl(width - u32::from(prefix)).unwrap_or(0) & all
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

/// A subnet of unique local addresses (RFC 4193): `fd`, 40 bits of `seed`, and subnet 0.
pub(crate) fn unique_local(seed: u64) -> Subnet {
    let global = u128::from(seed >> 24);
    Subnet::new(Ipv6Addr::from_bits(0xfd_u128 << 120 | global << 80), 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a subnet")
    }

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(subnet("172.17.3.4/16").to_string(), "172.17.0.0/16");
        assert_eq!(subnet("1.2.3.4/0").to_string(), "0.0.0.0/0");
        assert_eq!(subnet("1.2.3.4/32").to_string(), "1.2.3.4/32");
        assert_eq!(subnet("fd00:1::5/64").to_string(), "fd00:1::/64");
        assert_eq!(
            subnet("::/0").last().to_string(),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn overlap_goes_both_ways() {
        for (one, other, expected) in [
            ("172.16.0.0/12", "172.20.0.0/16", true),
            ("172.20.0.0/16", "172.21.0.0/16", false),
            ("10.0.0.1/32", "10.0.0.0/8", true),
            ("0.0.0.0/0", "192.168.0.0/20", true),
            ("192.168.16.0/20", "192.168.0.0/20", false),
            ("fd00::/8", "fd12::/64", true),
            ("::/0", "10.0.0.0/8", false),
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
        let small = subnet("10.0.0.0/29");
        let free: Vec<String> = small
            .addresses()
            .filter(|address| small.is_assignable(*address))
            .map(|address| address.to_string())
            .collect();
        assert_eq!(free.first().map(String::as_str), Some("10.0.0.1"));
        assert_eq!(free.last().map(String::as_str), Some("10.0.0.6"));
        assert_eq!(free.len(), 6);
    }

    #[test]
    fn unique_local_subnets_are_of_their_range() {
        let made = unique_local(0x1234_5678_9abc_def0);
        assert_eq!(made.to_string(), "fd12:3456:789a::/64");
        assert!(subnet("fd00::/8").holds(made));
    }
}

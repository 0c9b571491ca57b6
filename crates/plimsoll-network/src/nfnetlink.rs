//! Questions to the kernel's packet filter, for those asked at every start of a container: no program is run.
//!
//! Message numbers and attributes are those of `linux/netfilter/nf_tables.h`; what changes rules goes through `nft`.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NlaBuffer, NlasIterator};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use std::io;

use crate::netlink::split;

const NFT_MSG_GETTABLE: u16 = 10 << 8 | 1;
const NFT_MSG_GETCHAIN: u16 = 10 << 8 | 4;
const NFT_MSG_GETRULE: u16 = 10 << 8 | 7;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_META_KEY: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
/// Of libnftnl: what `nft` keeps of a rule that the kernel does not read.
const NFTNL_UDATA_RULE_COMMENT: u8 = 0;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Nobody changes a firewall so often in a row.
const TRIES: usize = 100;
/// Families of tables that see packets of IP: `inet`, `ip` and `ip6`.
const FAMILIES: [u8; 3] = [INET, 2, 10];
/// Of tables for both.
pub(crate) const INET: u8 = 1;
/// Netlink's header, and the one of netfilter after it.
const HEADERS: usize = 16 + 4;

/// A chain of any table of IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// It is a base chain, and drops what is forwarded unless a rule of its own lets it pass.
    pub(crate) is_closed: bool,
}

impl Chain {
    /// In `nft`'s words: `ip6 filter FORWARD`.
    pub(crate) fn place(&self) -> String {
        format!("{} {} {}", family(self.family), self.table, self.name)
    }

    /// None for one that lets packets pass, unless it has this name: a host may have thousands.
    fn read(message: &[u8], named: &str) -> Option<Self> {
        let attributes = &message[HEADERS..];
        let family = family_of(message)?;
        let is_closed = is_closed(attributes);
        let name = find(attributes, NFTA_CHAIN_NAME)?;
        if !is_closed && before_nul(name.value()) != named.as_bytes() {
            return None;
        }
        Some(Self {
            family,
            table: text(attributes, NFTA_CHAIN_TABLE)?,
            name: until_nul(name.value())?,
            is_closed,
        })
    }
}

/// A rule of any table of IP that names one device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRule {
    family: u8,
    pub(crate) table: String,
    chain: String,
    handle: u64,
    /// Whether packets come from the device, and do not go to it.
    pub(crate) is_in: bool,
    pub(crate) device: String,
}

impl DeviceRule {
    /// The chain it is in, as [`Chain::place`] says it.
    pub(crate) fn chain(&self) -> String {
        format!("{} {} {}", family(self.family), self.table, self.chain)
    }

    /// Where it is, in `nft`'s words: `ip6 filter FORWARD handle 7`.
    pub(crate) fn place(&self) -> String {
        format!("{} handle {}", self.chain(), self.handle)
    }

    /// None for one with another comment, or none.
    fn read(message: &[u8], wanted: &str) -> Option<Self> {
        let attributes = &message[HEADERS..];
        let kept = find(attributes, NFTA_RULE_USERDATA)?;
        if comment(kept.value())? != wanted.as_bytes() {
            return None;
        }
        let expressions = find(attributes, NFTA_RULE_EXPRESSIONS)?;
        let (is_in, device) = device(expressions.value())?;
        Some(Self {
            family: family_of(message)?,
            table: text(attributes, NFTA_RULE_TABLE)?,
            chain: text(attributes, NFTA_RULE_CHAIN)?,
            handle: u64::from_be_bytes(find(attributes, NFTA_RULE_HANDLE)?.value().try_into().ok()?),
            is_in,
            device,
        })
    }
}

/// Whether the table `name` of this family exists.
pub(crate) fn has_table(family: u8, name: &str) -> io::Result<bool> {
    let mut attribute = (name.len() as u16 + 5).to_ne_bytes().to_vec();
    attribute.extend(NFTA_TABLE_NAME.to_ne_bytes());
    attribute.extend(name.as_bytes());
    attribute.push(0);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let answers = ask(NFT_MSG_GETTABLE, NLM_F_REQUEST, family, &attribute, |_| Some(()))?;
    Ok(!answers.is_empty())
}

/// The closed chains of tables that see packets of IP, and those that are called `named`.
pub(crate) fn chains(named: &str) -> io::Result<Vec<Chain>> {
    let read = |message: &[u8]| Chain::read(message, named);
    ask(NFT_MSG_GETCHAIN, NLM_F_REQUEST | NLM_F_DUMP, 0, &[], read)
}

/// The rules that ask for one device and carry this comment. A host may have ten thousand others: `nft list` takes half a second
/// to say them.
pub(crate) fn device_rules(comment: &str) -> io::Result<Vec<DeviceRule>> {
    let read = |message: &[u8]| DeviceRule::read(message, comment);
    ask(NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, 0, &[], read)
}

fn family_of(message: &[u8]) -> Option<u8> {
    let family = message[16];
    FAMILIES.contains(&family).then_some(family)
}

fn family(number: u8) -> &'static str {
    match number {
        INET => "inet",
        2 => "ip",
        _ => "ip6",
    }
}

fn is_closed(attributes: &[u8]) -> bool {
    let is_forward =
        |hook: NlaBuffer<&[u8]>| number(hook.value(), NFTA_HOOK_HOOKNUM) == Some(NF_INET_FORWARD);
    find(attributes, NFTA_CHAIN_HOOK).is_some_and(is_forward)
        && number(attributes, NFTA_CHAIN_POLICY) == Some(NF_DROP)
}

/// The device that a rule's expressions compare a packet's with, and whether it is the one it came from.
fn device(expressions: &[u8]) -> Option<(bool, String)> {
    let mut asked = None;
    for expression in NlasIterator::new(expressions).flatten() {
        let data = find(expression.value(), NFTA_EXPR_DATA)?;
        match (text(expression.value(), NFTA_EXPR_NAME)?.as_str(), asked) {
            ("meta", _) => asked = number(data.value(), NFTA_META_KEY),
            ("cmp", Some(key @ (NFT_META_IIFNAME | NFT_META_OIFNAME))) => {
                let value = find(data.value(), NFTA_CMP_DATA)?;
                return Some((key == NFT_META_IIFNAME, text(value.value(), NFTA_DATA_VALUE)?));
            }
            _ => {}
        }
    }
    None
}

/// The comment among a rule's user data: kind, length and value, one after the other.
fn comment(mut data: &[u8]) -> Option<&[u8]> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == NFTNL_UDATA_RULE_COMMENT {
            return Some(before_nul(value));
        }
        data = &rest[value.len()..];
    }
    None
}

fn find(attributes: &[u8], kind: u16) -> Option<NlaBuffer<&[u8]>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == kind)
}

fn text(attributes: &[u8], kind: u16) -> Option<String> {
    until_nul(find(attributes, kind)?.value())
}

fn until_nul(bytes: &[u8]) -> Option<String> {
    String::from_utf8(before_nul(bytes).to_vec()).ok()
}

fn before_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Netfilter's numbers have the network's byte order.
fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(
        find(attributes, kind)?.value().try_into().ok()?,
    ))
}

/// Sends one question, and returns what `read` makes of the answers, which have their headers. "No such thing" is no answer.
///
/// A dump that somebody's change came between is asked for anew: it may lack what was there all the time.
fn ask<T>(
    kind: u16,
    flags: u16,
    family: u8,
    attributes: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut message = ((HEADERS + attributes.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question per socket
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    for _ in 0..TRIES {
        if let Some(answers) = ask_once(&message, flags & NLM_F_DUMP == NLM_F_DUMP, &read)? {
            return Ok(answers);
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// None where the dump was interrupted.
fn ask_once<T>(
    question: &[u8],
    is_dump: bool,
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<Vec<T>>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    send(&socket, question, SendFlags::empty())?;
    let mut buffer = vec![0_u8; 32 * 1024];
    let mut answers = Vec::new();
    loop {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length.min(buffer.len())];
        while let Some((answer, after)) = split(rest) {
            rest = after;
            let word = |at: usize| u16::from_ne_bytes([answer[at], answer[at + 1]]);
            if word(6) & NLM_F_DUMP_INTR != 0 {
                return Ok(None);
            }
            match word(4) {
                NLMSG_DONE => return Ok(Some(answers)),
                NLMSG_ERROR => return failure(answer).map_or(Ok(Some(answers)), Err),
                _ if answer.len() >= HEADERS => answers.extend(read(answer)),
                _ => {}
            }
        }
        if !is_dump {
            return Ok(Some(answers));
        }
    }
}

/// What an error message says, if not that there is no such thing.
fn failure(answer: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    let error = io::Error::from_raw_os_error(-code);
    (code != 0 && error.kind() != io::ErrorKind::NotFound).then_some(error)
}

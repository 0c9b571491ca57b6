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
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;
/// Families of tables that see packets of IP: `inet`, `ip` and `ip6`.
const FAMILIES: [u8; 3] = [INET, 2, 10];
/// Of tables for both.
pub(crate) const INET: u8 = 1;
/// Netlink's header, and the one of netfilter after it.
const HEADERS: usize = 16 + 4;

/// Whether the table `name` of this family exists.
pub(crate) fn has_table(family: u8, name: &str) -> io::Result<bool> {
    let mut attribute = (name.len() as u16 + 5).to_ne_bytes().to_vec();
    attribute.extend(NFTA_TABLE_NAME.to_ne_bytes());
    attribute.extend(name.as_bytes());
    attribute.push(0);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let mut found = false;
    ask(NFT_MSG_GETTABLE, NLM_F_REQUEST, family, &attribute, |_| {
        found = true
    })?;
    Ok(found)
}

/// How many base chains drop what is forwarded unless a rule of theirs lets it pass. Ours are never among them.
pub(crate) fn closed_forward_chains() -> io::Result<usize> {
    let mut count = 0;
    ask(NFT_MSG_GETCHAIN, NLM_F_REQUEST | NLM_F_DUMP, 0, &[], |message| {
        let is_ip = FAMILIES.contains(&message[16]);
        count += usize::from(is_ip && is_closed(&message[HEADERS..]));
    })?;
    Ok(count)
}

fn is_closed(attributes: &[u8]) -> bool {
    let is_forward =
        |hook: NlaBuffer<&[u8]>| number(hook.value(), NFTA_HOOK_HOOKNUM) == Some(NF_INET_FORWARD);
    find(attributes, NFTA_CHAIN_HOOK).is_some_and(is_forward)
        && number(attributes, NFTA_CHAIN_POLICY) == Some(NF_DROP)
}

fn find(attributes: &[u8], kind: u16) -> Option<NlaBuffer<&[u8]>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == kind)
}

/// Netfilter's numbers have the network's byte order.
fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(
        find(attributes, kind)?.value().try_into().ok()?,
    ))
}

/// Sends one question and hands each answer, headers included, to `take`. "No such thing" is no answer.
fn ask(kind: u16, flags: u16, family: u8, attributes: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut message = ((HEADERS + attributes.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question per socket
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    send(&socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length.min(buffer.len())];
        while let Some((answer, after)) = split(rest) {
            rest = after;
            match u16::from_ne_bytes([answer[4], answer[5]]) {
                NLMSG_DONE | NLMSG_ERROR => return Ok(()),
                _ if answer.len() >= HEADERS => take(answer),
                _ => {}
            }
        }
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(());
        }
    }
}

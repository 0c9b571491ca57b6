//! Names of containers on user networks, and the answers to questions about them.
//!
//! Who is on a network stands in `run/networks/<12 hex>.json`, which whoever changes it replaces as a whole, under a lock. The
//! shim of each container reads it again when it has changed, which it sees by the file's inode and time, and answers without
//! the database. What no network of its container knows goes to other servers. The wire format is RFC 1035.

use camino::{Utf8Path, Utf8PathBuf};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;

use crate::{Network, NetworkError, Networks};

/// How long an answer may be remembered, in seconds: as in Docker.
const TTL: u32 = 600;
/// Longest answer over UDP unless the question allows more (RFC 1035, 4.2.1).
const UDP_LIMIT: u16 = 512;

/// A container on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Every name it has here.
    pub names: Vec<String>,
    /// Id of its place.
    pub endpoint: String,
    /// Its hardware address, if it was asked for.
    pub mac: Option<String>,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub address6: Option<Ipv6Addr>,
}

impl Member {
    /// Its hardware address.
    pub fn hardware_address(&self) -> String {
        let derived = |address| {
            crate::hardware_address(address)
                .map(|byte| format!("{byte:02x}"))
                .join(":")
        };
        self.mac
            .clone()
            .or_else(|| {
                let six = self.address6.map(IpAddr::V6);
                self.address.map(IpAddr::V4).or(six).map(derived)
            })
            .unwrap_or_default()
    }
}

/// Everybody on one network.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Members {
    network: String,
    members: Vec<Member>,
}

impl Networks {
    /// Tells the containers of all networks of `container` what it is called now: it was renamed.
    pub fn renamed(&self, container: &str) -> Result<(), NetworkError> {
        let places = self.attachments(container)?;
        let named = places.iter().filter(|place| place.name != crate::DEFAULT_NETWORK);
        let networks: Vec<&str> = named.map(|place| place.network.as_str()).collect();
        self.write_names(&networks)
    }

    /// Writes down who is on these networks, for those who answer questions.
    pub(crate) fn write_names(&self, networks: &[&str]) -> Result<(), NetworkError> {
        for id in networks {
            // Whoever writes last has read what all others had committed before they wrote.
            let _lock = self.store.lock(&format!("network-{}", &id[..12]))?;
            let row = self
                .store
                .db()
                .read(|connection| crate::rows::by_id(connection, id))?;
            let Some(row) = row else { continue };
            let members = Members {
                network: row.name,
                members: self.members(id)?,
            };
            let path = self.names_file(id);
            let text = serde_json::to_vec(&members).expect("maps have text for keys");
            let write = || {
                fs::create_dir_all(path.parent().expect("in a folder"))?;
                let new = path.with_extension("new");
                fs::write(&new, text)?;
                fs::rename(&new, &path)
            };
            write().map_err(NetworkError::write(&path))?;
        }
        Ok(())
    }

    pub(crate) fn names_file(&self, id: &str) -> Utf8PathBuf {
        names_file(self.store.run(), id)
    }
}

fn names_file(run: &Utf8Path, id: &str) -> Utf8PathBuf {
    run.join("networks")
        .join(&id[..id.len().min(12)])
        .with_extension("json")
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To be sent back.
    Reply(Vec<u8>),
    /// Nobody here has this name: ask other servers.
    Forward,
    /// This is no question.
    Nonsense,
}

/// The names one container can ask for.
#[derive(Debug)]
pub struct NameTable {
    networks: Vec<File>,
    /// Names only this container knows, and whom they mean (`--link`).
    links: Vec<(String, String)>,
    /// Moves on with every answer: the addresses of a name take turns in being the first.
    turn: usize,
}

/// One network's file, and which one of its lives was read.
#[derive(Debug)]
struct File {
    path: Utf8PathBuf,
    seen: Option<(u64, i64, i64)>,
    content: Members,
}

impl File {
    fn refresh(&mut self) {
        let stamp = fs::metadata(&self.path)
            .ok()
            .map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        if stamp == self.seen {
            return;
        }
        self.seen = stamp;
        let read = || serde_json::from_slice(&fs::read(&self.path).ok()?).ok();
        self.content = read().unwrap_or_default();
    }
}

impl NameTable {
    /// The names on these networks, from the files in the store's run-time folder.
    pub fn new<'a>(
        run: &Utf8Path,
        networks: impl IntoIterator<Item = &'a Network>,
        links: Vec<(String, String)>,
    ) -> Self {
        let file = |network: &Network| File {
            path: names_file(run, &network.id),
            seen: None,
            content: Members::default(),
        };
        let named = networks.into_iter().filter(|network| !network.is_default());
        Self {
            networks: named.map(file).collect(),
            links,
            turn: 0,
        }
    }

    /// Answers a question, if it is about a container.
    pub fn answer(&mut self, question: &[u8], over_tcp: bool) -> Answer {
        let Ok(message) = Message::from_vec(question) else {
            return Answer::Nonsense;
        };
        if message.metadata.message_type != MessageType::Query {
            return Answer::Nonsense;
        }
        let [query] = message.queries.as_slice() else {
            return reply(&message, Vec::new(), ResponseCode::FormErr, over_tcp);
        };
        if message.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN {
            return Answer::Forward;
        }
        self.networks.iter_mut().for_each(File::refresh);
        match self.records(query) {
            Some(records) => reply(&message, records, ResponseCode::NoError, over_tcp),
            None => Answer::Forward,
        }
    }

    /// Says that a question cannot be answered, to whoever asked it.
    pub fn failure(question: &[u8], over_tcp: bool) -> Answer {
        match Message::from_vec(question) {
            Ok(message) => reply(&message, Vec::new(), ResponseCode::ServFail, over_tcp),
            Err(_) => Answer::Nonsense,
        }
    }

    /// None for a name nobody here has. A name without an address of the family asked for has no records, but exists.
    fn records(&mut self, query: &Query) -> Option<Vec<Record>> {
        let name = query.name();
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        match query.query_type() {
            RecordType::A => {
                let members = self.find(name)?;
                let addresses = members.iter().filter_map(|member| member.address);
                let records = addresses.map(|address| record(RData::A(A(address)))).collect();
                Some(self.take_turns(records))
            }
            RecordType::AAAA => {
                let members = self.find(name)?;
                let addresses = members.iter().filter_map(|member| member.address6);
                let records = addresses
                    .map(|address| record(RData::AAAA(AAAA(address))))
                    .collect();
                Some(self.take_turns(records))
            }
            // Mail goes to the address itself (RFC 5321, 5.1).
            RecordType::MX => self.find(name).map(|_| Vec::new()),
            RecordType::PTR => {
                let network = name.parse_arpa_name().ok()?;
                if network.prefix_len() != network.max_prefix_len() {
                    return None;
                }
                let name = Name::from_ascii(self.name_of(network.addr())?).ok()?;
                Some(vec![record(RData::PTR(PTR(name)))])
            }
            _ => None,
        }
    }

    fn take_turns(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        if !records.is_empty() {
            let first = self.turn % records.len();
            records.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        records
    }

    /// Everybody of this name; an alias of links means all whom it was given for.
    fn find(&self, name: &Name) -> Option<Vec<&Member>> {
        let text = name.to_ascii();
        let wanted = text.trim_end_matches('.');
        let linked = self.links.iter();
        let linked = linked.filter(|(alias, _)| alias.eq_ignore_ascii_case(wanted));
        let linked: Vec<&str> = linked.map(|(_, target)| target.as_str()).collect();
        let wanted = if linked.is_empty() { vec![wanted] } else { linked };
        let found: Vec<&Member> = wanted.into_iter().flat_map(|wanted| self.named(wanted)).collect();
        (!found.is_empty()).then_some(found)
    }

    /// Those with this id or name, as it is or with the network's name behind it.
    fn named(&self, wanted: &str) -> Vec<&Member> {
        let mut found: Vec<&Member> = Vec::new();
        for File { content, .. } in &self.networks {
            let stem = wanted
                .rsplit_once('.')
                .filter(|(_, network)| network.eq_ignore_ascii_case(&content.network))
                .map(|(stem, _)| stem);
            let is_meant = |name: &String| {
                name.eq_ignore_ascii_case(wanted) || stem.is_some_and(|stem| name.eq_ignore_ascii_case(stem))
            };
            let here = content
                .members
                .iter()
                .filter(|member| member.container == wanted || member.names.iter().any(is_meant));
            found.extend(here);
        }
        found
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        self.networks.iter().find_map(|File { content, .. }| {
            let has = |member: &&Member| match address {
                IpAddr::V4(address) => member.address == Some(address),
                IpAddr::V6(address) => member.address6 == Some(address),
            };
            let member = content.members.iter().find(has)?;
            Some(format!("{}.{}.", member.name, content.network))
        })
    }
}

/// The answer's bytes, cut short where they would not fit into a datagram: then the question comes again over TCP.
fn reply(question: &Message, records: Vec<Record>, code: ResponseCode, over_tcp: bool) -> Answer {
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.recursion_desired = question.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries.clone_from(&question.queries);
    message.answers = records;
    let Ok(bytes) = message.to_vec() else {
        return Answer::Nonsense;
    };
    let limit = question
        .edns
        .as_ref()
        .map_or(UDP_LIMIT, |edns| edns.max_payload().max(UDP_LIMIT));
    if over_tcp || bytes.len() <= usize::from(limit) {
        return Answer::Reply(bytes);
    }
    message
        .truncate()
        .to_vec()
        .map_or(Answer::Nonsense, Answer::Reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, aliases: &[&str], last: u8, six: bool) -> Member {
        Member {
            container: format!("{last:064x}"),
            name: name.to_owned(),
            names: std::iter::once(name)
                .chain(aliases.iter().copied())
                .map(str::to_owned)
                .collect(),
            endpoint: String::new(),
            mac: None,
            address: Some(Ipv4Addr::new(10, 1, 0, last)),
            address6: six.then(|| format!("fd00::{last}").parse().expect("an address")),
        }
    }

    fn table(members: Vec<Member>) -> NameTable {
        let content = Members {
            network: "shop".to_owned(),
            members,
        };
        NameTable {
            networks: vec![File {
                path: "/nowhere".into(),
                seen: None,
                content,
            }],
            links: vec![("db".to_owned(), "web".to_owned())],
            turn: 0,
        }
    }

    fn question(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        message.to_vec().expect("bytes")
    }

    fn ask(table: &mut NameTable, name: &str, kind: RecordType) -> Option<Vec<String>> {
        match table.answer(&question(name, kind), false) {
            Answer::Reply(bytes) => {
                let message = Message::from_vec(&bytes).expect("a message");
                assert_eq!(
                    (message.metadata.id, message.metadata.recursion_available),
                    (77, true)
                );
                Some(
                    message
                        .answers
                        .iter()
                        .map(|record| record.data.to_string())
                        .collect(),
                )
            }
            Answer::Forward => None,
            Answer::Nonsense => panic!("it is a question"),
        }
    }

    #[test]
    fn names_of_every_kind() {
        let mut table = table(vec![
            member("web", &["www"], 2, true),
            member("old", &[], 3, false),
        ]);
        let one = Some(vec!["10.1.0.2".to_owned()]);
        for name in ["web", "WEB.", "www", "web.shop.", "www.shop", "db"] {
            assert_eq!(ask(&mut table, name, RecordType::A), one, "{name}");
        }
        assert_eq!(
            ask(&mut table, "web", RecordType::AAAA),
            Some(vec!["fd00::2".to_owned()])
        );
        assert_eq!(
            ask(&mut table, "old", RecordType::AAAA),
            Some(vec![]),
            "it exists"
        );
        assert_eq!(ask(&mut table, "web", RecordType::MX), Some(vec![]));
        for name in ["nobody", "web.other", "example.com", "2.0.1.10.in-addr.arpa"] {
            assert_eq!(ask(&mut table, name, RecordType::A), None, "{name}");
        }
        assert_eq!(
            ask(&mut table, "2.0.1.10.in-addr.arpa", RecordType::PTR),
            Some(vec!["web.shop.".to_owned()])
        );
        assert_eq!(ask(&mut table, "9.0.1.10.in-addr.arpa", RecordType::PTR), None);
        assert_eq!(ask(&mut table, "web", RecordType::TXT), None);
    }

    #[test]
    fn containers_of_one_service_take_turns() {
        let mut table = table(
            (2..5)
                .map(|last| member(&format!("c{last}"), &["web"], last, false))
                .collect(),
        );
        let firsts: Vec<String> = (0..4)
            .map(|_| {
                let answer = ask(&mut table, "web", RecordType::A).expect("known");
                assert_eq!(answer.len(), 3);
                answer[0].clone()
            })
            .collect();
        assert_eq!(firsts, ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.2"]);
    }

    #[test]
    fn a_link_may_mean_several() {
        let mut table = table(vec![member("web", &[], 2, false), member("more", &[], 3, false)]);
        assert_eq!(ask(&mut table, "db", RecordType::A).expect("known").len(), 1);
        table.links.push(("DB".to_owned(), "more".to_owned()));
        let mut both = ask(&mut table, "db", RecordType::A).expect("known");
        both.sort();
        assert_eq!(both, ["10.1.0.2", "10.1.0.3"]);
    }

    #[test]
    fn a_long_answer_asks_for_tcp() {
        let mut table = table(
            (2..102)
                .map(|last| member(&format!("c{last}"), &["web"], last, false))
                .collect(),
        );
        let short = table.answer(&question("web", RecordType::A), false);
        let Answer::Reply(bytes) = short else {
            panic!("{short:?}")
        };
        assert!(bytes.len() <= 512 && Message::from_vec(&bytes).expect("a message").metadata.truncation);
        let Answer::Reply(bytes) = table.answer(&question("web", RecordType::A), true) else {
            panic!("an answer")
        };
        assert_eq!(Message::from_vec(&bytes).expect("a message").answers.len(), 100);
    }

    #[test]
    fn nonsense_is_not_answered() {
        let mut table = table(Vec::new());
        assert_eq!(table.answer(b"what?", false), Answer::Nonsense);
        let mut answer = Message::response(1, OpCode::Query);
        answer.add_query(Query::query(
            Name::from_ascii("web").expect("a name"),
            RecordType::A,
        ));
        assert_eq!(
            table.answer(&answer.to_vec().expect("bytes"), false),
            Answer::Nonsense
        );
        let Answer::Reply(bytes) = NameTable::failure(&question("web", RecordType::A), false) else {
            panic!("an answer")
        };
        let failure = Message::from_vec(&bytes).expect("a message");
        assert_eq!(failure.metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8PathBuf::try_from(folder.path().join("n.json")).expect("text");
        let write = |members: Vec<Member>| {
            let network = "shop".to_owned();
            let new = path.with_extension("new");
            fs::write(
                &new,
                serde_json::to_vec(&Members { network, members }).expect("json"),
            )
            .expect("written");
            fs::rename(&new, &path).expect("renamed");
        };
        let mut table = table(Vec::new());
        table.networks[0].path.clone_from(&path);
        assert_eq!(ask(&mut table, "web", RecordType::A), None);
        write(vec![member("web", &[], 2, false)]);
        assert_eq!(
            ask(&mut table, "web", RecordType::A),
            Some(vec!["10.1.0.2".to_owned()])
        );
        write(vec![member("other", &[], 3, false)]);
        assert_eq!(ask(&mut table, "web", RecordType::A), None);
    }
}

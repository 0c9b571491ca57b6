//! `volumes` of a service: the short grammar, `[SOURCE:]TARGET[:OPTIONS]`.

use super::Wrong;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: Option<String>,
    pub(super) target: String,
    /// A path of the host, not a volume.
    pub(super) bind: bool,
    pub(super) read_only: bool,
    pub(super) nocopy: bool,
    pub(super) selinux: Option<String>,
    pub(super) propagation: Option<String>,
    /// What is not known, and has no effect.
    pub(super) unknown: Vec<String>,
}

/// The options there are.
pub(super) const OPTIONS: &[&str] = &[
    "ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// How the short form is written, for who wrote it otherwise.
const FORM: &str = "it is written as `[SOURCE:]TARGET[:OPTIONS]`, such as `./data:/data:ro`";

/// What is meant where the path in the container is none.
fn likely(source: Option<&str>, target: &str) -> String {
    match source {
        Some(path) if path.starts_with('/') && OPTIONS.contains(&target) => {
            format!("did you mean `{path}:{path}:{target}`?")
        }
        Some(path) if target.starts_with(|letter: char| letter.is_ascii_alphanumeric()) => {
            format!("did you mean `{path}:/{target}`?")
        }
        _ => FORM.to_owned(),
    }
}

/// Reads the short form. A source that begins like a path is one; a name of one letter is a name.
pub(super) fn parse(text: &str) -> Result<Mount, Wrong> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => {
            let help = format!("{FORM}; paths with colons take the long form, with `source:` and `target:`");
            return Err(Wrong::new("too many colons", help));
        }
    };
    if source == Some("") {
        return Err(Wrong::new(
            "the source is empty",
            format!("did you mean `{target}`?"),
        ));
    }
    if !target.starts_with('/') {
        return Err(Wrong::new(
            format!("the path in the container, `{target}`, is not absolute"),
            likely(source, target),
        ));
    }
    let mut mount = Mount {
        bind: source.is_some_and(|source| source.starts_with(['.', '/', '~'])),
        source: source.map(str::to_owned),
        target: target.to_owned(),
        ..Mount::default()
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let own = || Some(option.to_owned());
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" | "volume-nocopy" => mount.nocopy = true,
            "z" | "Z" => mount.selinux = own(),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => mount.propagation = own(),
            // Of file sharing with a virtual machine, and dropped by the reference, too.
            "cached" | "delegated" | "consistent" => {}
            other => mount.unknown.push(other.to_owned()),
        }
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        let mount = parse("./a:/b:ro,z").unwrap();
        assert!(mount.bind && mount.read_only);
        assert_eq!(
            (mount.source.as_deref(), mount.selinux.as_deref()),
            (Some("./a"), Some("z"))
        );
        assert!(!parse("v:/x").unwrap().bind);
        assert_eq!(parse("a:/b:ro,what").unwrap().unknown, ["what"]);
        assert!(!parse("a:/b:ro,rw").unwrap().read_only);
        assert_eq!(parse("/data").unwrap().source, None);
        for text in ["", "a", "a:b", ":/x", "a:/b:ro:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

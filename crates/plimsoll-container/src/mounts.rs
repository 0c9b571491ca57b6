//! `-v`, `--mount` and `--tmpfs`: the grammar, and what becomes of it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::{ContainerError, Result, names};

/// Something to be mounted, as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// What.
    pub source: MountSource,
    /// Where in the container; absolute.
    pub target: Utf8PathBuf,
    /// Not to be written to.
    pub read_only: bool,
}

/// What a [`MountRequest`] mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host. `-v` makes a directory where there is none, `--mount` does not.
    Bind {
        /// Absolute.
        path: Utf8PathBuf,
        /// Whether to make it.
        create: bool,
    },
    /// A named volume, or one without a name. An empty one is filled from the image unless `copy` is false.
    Volume {
        /// Its name.
        name: Option<String>,
        /// Whether to fill it.
        copy: bool,
    },
    /// Memory, with mount options such as `size=64m`.
    Tmpfs(Vec<String>),
}

impl MountRequest {
    /// Parses `-v [SOURCE:]TARGET[:OPTIONS]`; a source that begins with `.` is meant from `directory`.
    pub fn parse_volume(text: &str, directory: &Utf8Path) -> Result<Self> {
        let wrong =
            |why: &str| ContainerError::Option(format!("invalid volume specification `{text}`: {why}"));
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err(wrong("too many colons")),
        };
        let (mut read_only, mut copy) = (false, true);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => read_only = true,
                "nocopy" => copy = false,
                // SELinux labels, hints of Docker Desktop, and propagation that is the default.
                "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "private" | "rprivate" => {}
                other => return Err(wrong(&format!("unknown mode `{other}`"))),
            }
        }
        let source = match source {
            None => MountSource::Volume { name: None, copy },
            Some("") => return Err(wrong("empty source")),
            Some(path) if path.starts_with('/') || path.starts_with('.') || path.starts_with('~') => {
                MountSource::Bind {
                    path: lexical(&directory.join(path)),
                    create: true,
                }
            }
            Some(name) if name.contains('/') => {
                return Err(wrong(
                    "a volume's name has no slash; for a folder of the host write `./` before it",
                ));
            }
            Some(name) => MountSource::Volume {
                name: Some(valid(name)?),
                copy,
            },
        };
        Ok(Self {
            source,
            target: absolute(target).ok_or_else(|| wrong("the target must be an absolute path"))?,
            read_only,
        })
    }

    /// Parses `--mount type=bind|volume|tmpfs,source=..,target=..,readonly`.
    pub fn parse_mount(text: &str, directory: &Utf8Path) -> Result<Self> {
        let wrong = |why: String| ContainerError::Option(format!("invalid mount `{text}`: {why}"));
        let (mut kind, mut source, mut target, mut read_only, mut copy) = ("volume", None, None, false, true);
        let mut tmpfs = Vec::new();
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .map_or((field, None), |(key, value)| (key, Some(value)));
            let flag = || value.is_none_or(|value| matches!(value, "true" | "1"));
            match (key, value) {
                ("type", Some(value)) => kind = value,
                ("source" | "src", Some(value)) => source = Some(value),
                ("target" | "dst" | "destination", Some(value)) => target = absolute(value),
                ("readonly" | "ro", _) => read_only = flag(),
                ("volume-nocopy", _) => copy = !flag(),
                ("tmpfs-size", Some(value)) => tmpfs.push(format!("size={value}")),
                ("tmpfs-mode", Some(value)) => tmpfs.push(format!("mode={value}")),
                ("bind-propagation" | "consistency" | "bind-recursive" | "volume-driver", Some(_)) => {}
                _ => return Err(wrong(format!("unexpected field `{field}`"))),
            }
        }
        let target = target.ok_or_else(|| wrong("the target must be an absolute path".to_owned()))?;
        let source = match (kind, source) {
            ("bind", Some(path)) => MountSource::Bind {
                path: lexical(&directory.join(path)),
                create: false,
            },
            ("bind", None) => return Err(wrong("type `bind` needs a source".to_owned())),
            ("volume", name) => MountSource::Volume {
                name: name.map(valid).transpose()?,
                copy,
            },
            ("tmpfs", None) => MountSource::Tmpfs(tmpfs),
            ("tmpfs", Some(_)) => return Err(wrong("type `tmpfs` has no source".to_owned())),
            (other, _) => return Err(wrong(format!("unknown type `{other}`"))),
        };
        Ok(Self {
            source,
            target,
            read_only,
        })
    }

    /// Parses `--tmpfs TARGET[:OPTIONS]`.
    pub fn parse_tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = absolute(target).ok_or_else(|| {
            ContainerError::Option(format!(
                "invalid tmpfs `{text}`: the target must be an absolute path"
            ))
        })?;
        let options: Vec<String> = options
            .split(',')
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect();
        let read_only = options.iter().any(|option| option == "ro");
        Ok(Self {
            source: MountSource::Tmpfs(options),
            target,
            read_only,
        })
    }
}

fn valid(name: &str) -> Result<String> {
    if names::is_valid(name) {
        Ok(name.to_owned())
    } else {
        Err(ContainerError::InvalidVolumeName(name.to_owned()))
    }
}

fn absolute(target: &str) -> Option<Utf8PathBuf> {
    let target = lexical(Utf8Path::new(target));
    (target.is_absolute() && target != "/").then_some(target)
}

/// Takes `.` and `..` out of a path without looking at the disk, as Docker does.
pub(crate) fn lexical(path: &Utf8Path) -> Utf8PathBuf {
    use camino::Utf8Component;
    let mut clean = Utf8PathBuf::new();
    for component in path.components() {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(text: &str) -> Result<MountRequest> {
        MountRequest::parse_volume(text, Utf8Path::new("/work/app"))
    }

    fn bind(path: &str, create: bool) -> MountSource {
        MountSource::Bind {
            path: path.into(),
            create,
        }
    }

    #[test]
    fn volumes_as_docker_reads_them() {
        for (text, source, target, read_only) in [
            (
                "/data",
                MountSource::Volume {
                    name: None,
                    copy: true,
                },
                "/data",
                false,
            ),
            (
                "db:/var/lib/db",
                MountSource::Volume {
                    name: Some("db".into()),
                    copy: true,
                },
                "/var/lib/db",
                false,
            ),
            (
                "db:/x:nocopy,ro",
                MountSource::Volume {
                    name: Some("db".into()),
                    copy: false,
                },
                "/x",
                true,
            ),
            (
                "./src:/app/./src/",
                bind("/work/app/src", true),
                "/app/src",
                false,
            ),
            ("..:/up", bind("/work", true), "/up", false),
            ("/etc/x:/y:ro,z", bind("/etc/x", true), "/y", true),
        ] {
            assert_eq!(
                volume(text).unwrap(),
                MountRequest {
                    source,
                    target: target.into(),
                    read_only
                },
                "{text}"
            );
        }
        for text in ["", "x", "a:b", "a/b:/c", "a:/b:what", "a:/b:ro:x", ":/x", "x:/"] {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mounts_as_docker_reads_them() {
        let parse = |text| MountRequest::parse_mount(text, Utf8Path::new("/work"));
        let request = parse("type=bind,src=a,dst=/b,readonly").unwrap();
        assert_eq!(
            request,
            MountRequest {
                source: bind("/work/a", false),
                target: "/b".into(),
                read_only: true
            }
        );
        let request = parse("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert_eq!(request.source, MountSource::Tmpfs(vec!["size=1m".into()]));
        assert_eq!(
            parse("target=/t").unwrap().source,
            MountSource::Volume {
                name: None,
                copy: true
            }
        );
        for text in [
            "type=bind,dst=/x",
            "type=npipe,dst=/x",
            "type=volume",
            "type=tmpfs,src=x,dst=/y",
            "target=/t,typo",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tmpfs_keeps_its_options() {
        let request = MountRequest::parse_tmpfs("/run:rw,size=64m,mode=1777").unwrap();
        assert_eq!(
            request.source,
            MountSource::Tmpfs(vec!["rw".into(), "size=64m".into(), "mode=1777".into()])
        );
        assert!(MountRequest::parse_tmpfs("run").is_err());
    }
}

//! `-v`, `--mount` and `--tmpfs`: the grammar, and what becomes of it.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::volumes::VolumeOptions;
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
    /// How it is bound: a kind of propagation such as `rslave`; `bind` for without what is mounted below; `ro` where only
    /// the mount itself is read-only, and not what is mounted below.
    pub options: Vec<String>,
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
    /// A volume.
    Volume(VolumeMount),
    /// Memory, with mount options such as `size=64m`.
    Tmpfs(Vec<String>),
    /// The files of an image, which nobody can write to.
    Image(ImageMount),
}

/// An image, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMount {
    /// As it was asked for.
    pub image: String,
    /// Only what it has there.
    pub subpath: Option<Utf8PathBuf>,
}

/// A named volume, or one without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// Its name.
    pub name: Option<String>,
    /// Whether an empty one is filled from the image.
    pub copy: bool,
    /// Only what it has there.
    pub subpath: Option<Utf8PathBuf>,
    /// What it is made as, if there is none.
    pub options: VolumeOptions,
}

impl Default for VolumeMount {
    fn default() -> Self {
        Self {
            name: None,
            copy: true,
            subpath: None,
            options: VolumeOptions::default(),
        }
    }
}

impl ImageMount {
    /// Parses the part of an image that is mounted: a relative path that stays in it.
    pub fn subpath(text: &str) -> Result<Utf8PathBuf> {
        subpath(text).map_err(ContainerError::Option)
    }
}

/// Kinds of propagation, as mount(8) calls them.
pub(crate) const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

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
        let (mut read_only, mut copy, mut bound) = (false, true, Vec::new());
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => read_only = true,
                "nocopy" => copy = false,
                // SELinux labels, and hints of Docker Desktop.
                "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
                option if PROPAGATION.contains(&option) => bound.push(option.to_owned()),
                other => return Err(wrong(&format!("unknown mode `{other}`"))),
            }
        }
        let named = |name| {
            MountSource::Volume(VolumeMount {
                name,
                copy,
                ..VolumeMount::default()
            })
        };
        let source = match source {
            None => named(None),
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
            Some(name) => named(Some(valid(name)?)),
        };
        if !bound.is_empty() && !matches!(source, MountSource::Bind { .. }) {
            return Err(wrong("propagation is for folders of the host only"));
        }
        Ok(Self {
            source,
            target: absolute(target).ok_or_else(|| wrong("the target must be an absolute path"))?,
            read_only,
            options: bound,
        })
    }

    /// Parses `--mount type=bind|volume|tmpfs|image,source=..,target=..,readonly`.
    pub fn parse_mount(text: &str, directory: &Utf8Path) -> Result<Self> {
        let wrong = |why: String| ContainerError::Option(format!("invalid mount `{text}`: {why}"));
        let (mut kind, mut source, mut target, mut read_only) = ("volume", None, None, false);
        let mut all_read_only = false;
        let (mut tmpfs, mut options, mut volume) = (Vec::new(), Vec::new(), VolumeMount::default());
        let mut of_image = None;
        let fields = fields(text);
        for field in &fields {
            let (key, value) = field
                .split_once('=')
                .map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
            let flag = || match value {
                None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
                Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
                Some(other) => Err(wrong(format!("invalid value for {key}: {other}"))),
            };
            match (key, value) {
                ("type", Some(value)) => kind = value,
                ("source" | "src", Some(value)) => source = Some(value),
                ("target" | "dst" | "destination", Some(value)) => target = absolute(value),
                ("readonly" | "ro", _) => read_only = flag()?,
                ("volume-nocopy", _) => volume.copy = !flag()?,
                ("volume-subpath", Some(value)) => volume.subpath = Some(subpath(value).map_err(wrong)?),
                ("image-subpath", Some(value)) => of_image = Some(subpath(value).map_err(wrong)?),
                ("volume-label", Some(value)) => insert(&mut volume.options.labels, value),
                ("volume-opt", Some(value)) => insert(&mut volume.options.driver, value),
                ("volume-driver", None | Some("local")) => {}
                ("volume-driver", Some(other)) => {
                    return Err(wrong(format!(
                        "there is no volume driver `{other}`: only `local`"
                    )));
                }
                ("tmpfs-size", Some(value)) => tmpfs.push(format!("size={value}")),
                ("tmpfs-mode", Some(value)) => tmpfs.push(format!("mode={value}")),
                ("bind-propagation", Some(value)) if PROPAGATION.contains(&value) => {
                    options.push(value.to_owned())
                }
                ("bind-propagation", Some(other)) => {
                    return Err(wrong(format!(
                        "invalid propagation `{other}`: it is one of {}",
                        PROPAGATION.join(", ")
                    )));
                }
                ("bind-nonrecursive", _) if flag()? => options.push("bind".to_owned()),
                ("bind-nonrecursive", _) | ("consistency", Some(_)) => {}
                ("bind-recursive", Some("disabled")) => options.push("bind".to_owned()),
                // Read-only is also what is mounted below, where the kernel can.
                ("bind-recursive", Some("enabled")) => {}
                ("bind-recursive", Some("writable")) => options.push("ro".to_owned()),
                ("bind-recursive", Some("readonly")) => all_read_only = true,
                ("bind-recursive", Some(other)) => {
                    return Err(wrong(format!(
                        "invalid value for bind-recursive: {other} (must be \"enabled\", \"disabled\", \"writable\", or \
                         \"readonly\")"
                    )));
                }
                _ => return Err(wrong(format!("unexpected field `{field}`"))),
            }
        }
        let of_other = |prefix: &str| {
            kind != prefix
                && fields
                    .iter()
                    .any(|field| field.starts_with(&format!("{prefix}-")))
        };
        if let Some(other) = ["bind", "volume", "tmpfs", "image"]
            .into_iter()
            .find(|prefix| of_other(prefix))
        {
            return Err(wrong(format!(
                "cannot mix {other}-* options with mount type `{kind}`"
            )));
        }
        let has = |name: &str| options.iter().any(|option| option == name);
        let needs = |value: &str, other: &str| {
            Err(wrong(format!(
                "option 'bind-recursive={value}' requires '{other}' to be specified in conjunction"
            )))
        };
        if has("ro") && !read_only {
            return needs("writable", "readonly");
        }
        if all_read_only && !read_only {
            return needs("readonly", "readonly");
        }
        if all_read_only && !has("rprivate") {
            return needs("readonly", "bind-propagation=rprivate");
        }
        let target = target.ok_or_else(|| wrong("the target must be an absolute path".to_owned()))?;
        let source = match (kind, source) {
            ("bind", Some(path)) => MountSource::Bind {
                path: lexical(&directory.join(path)),
                create: false,
            },
            ("bind", None) => return Err(wrong("type `bind` needs a source".to_owned())),
            ("volume", None) if volume.subpath.is_some() => {
                return Err(wrong("a volume without a name has no subpath".to_owned()));
            }
            ("volume", name) => {
                volume.name = name.filter(|name| !name.is_empty()).map(valid).transpose()?;
                MountSource::Volume(volume)
            }
            ("tmpfs", None) => MountSource::Tmpfs(tmpfs),
            ("tmpfs", Some(_)) => return Err(wrong("type `tmpfs` has no source".to_owned())),
            ("image", Some(image)) if !image.is_empty() => {
                read_only = true;
                MountSource::Image(ImageMount {
                    image: image.to_owned(),
                    subpath: of_image,
                })
            }
            ("image", _) => return Err(wrong("type `image` needs a source, the image".to_owned())),
            (other, _) => {
                return Err(wrong(format!(
                    "mount type `{other}` unknown: it is bind, volume, tmpfs or image"
                )));
            }
        };
        Ok(Self {
            source,
            target,
            read_only,
            options,
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
            options: Vec::new(),
        })
    }
}

/// Fields between commas; one in double quotes may hold commas, and quotes written twice.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().expect("never empty");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    fields
}

fn insert(map: &mut BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(key.to_owned(), value.to_owned());
}

fn subpath(text: &str) -> Result<Utf8PathBuf, String> {
    let path = Utf8Path::new(text);
    let inside = path
        .components()
        .all(|part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir));
    match inside && !text.is_empty() {
        true => Ok(lexical(path)),
        false => Err(format!(
            "subpath must be a relative path within the volume or image: {text}"
        )),
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

    fn named(name: Option<&str>, copy: bool) -> MountSource {
        MountSource::Volume(VolumeMount {
            name: name.map(str::to_owned),
            copy,
            ..VolumeMount::default()
        })
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
            ("/data", named(None, true), "/data", false),
            ("db:/var/lib/db", named(Some("db"), true), "/var/lib/db", false),
            ("db:/x:nocopy,ro", named(Some("db"), false), "/x", true),
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
                    read_only,
                    options: Vec::new()
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
                read_only: true,
                options: Vec::new()
            }
        );
        let request = parse("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert_eq!(request.source, MountSource::Tmpfs(vec!["size=1m".into()]));
        assert_eq!(parse("target=/t").unwrap().source, named(None, true));
        let request = parse("type=image,source=tools:1,target=/t,image-subpath=./usr/bin").unwrap();
        assert_eq!(
            (request.source, request.read_only),
            (
                MountSource::Image(ImageMount {
                    image: "tools:1".to_owned(),
                    subpath: Some("usr/bin".into())
                }),
                true
            )
        );
        for text in [
            "type=bind,dst=/x",
            "type=npipe,dst=/x",
            "type=volume",
            "type=tmpfs,src=x,dst=/y",
            "target=/t,typo",
            "type=volume,src=vol,dst=/x,volume-subpath=../y",
            "type=volume,dst=/x,volume-subpath=y",
            "type=image,dst=/x",
            "type=image,src=i,dst=/x,image-subpath=/y",
            "type=image,src=i,dst=/x,volume-subpath=y",
            "type=volume,src=i,dst=/x,image-subpath=y",
            "type=volume,src=vol,dst=/x,bind-propagation=rslave",
            "type=bind,src=/v,dst=/x,bind-propagation=what",
            "type=volume,src=vol,dst=/x,volume-driver=nfs",
            "type=bind,src=/v,dst=/x,readonly=what",
            "type=bind,src=/v,dst=/x,bind-recursive=what",
            "type=bind,src=/v,dst=/x,bind-recursive=writable",
            "type=bind,src=/v,dst=/x,bind-recursive=readonly,bind-propagation=rprivate",
            "type=bind,src=/v,dst=/x,readonly,bind-recursive=readonly",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_forms() {
        let parse = |text| MountRequest::parse_mount(text, Utf8Path::new("/work")).unwrap();
        let request = parse(
            "type=volume,src=vol,dst=/x,volume-subpath=a/b,volume-nocopy,\"volume-opt=o=bind,ro\",volume-label=k=v",
        );
        let MountSource::Volume(asked) = request.source else {
            panic!("no volume")
        };
        assert_eq!(asked.subpath.as_deref(), Some(Utf8Path::new("a/b")));
        assert!(!asked.copy);
        assert_eq!(asked.options.driver["o"], "bind,ro");
        assert_eq!(asked.options.labels["k"], "v");
        let request = parse("type=bind,src=/v,dst=/x,bind-propagation=rslave,bind-recursive=disabled");
        assert_eq!(request.options, ["rslave", "bind"]);
        let request = parse("type=bind,src=/v,dst=/x,readonly,bind-recursive=writable");
        assert!(request.read_only && request.options == ["ro"]);
        let request = parse("type=bind,src=/v,dst=/x,ro,bind-recursive=readonly,bind-propagation=rprivate");
        assert!(request.read_only && request.options == ["rprivate"]);
        assert_eq!(volume_options("/a:/b:rshared"), ["rshared"]);
        assert!(volume("v:/b:rshared").is_err());
    }

    fn volume_options(text: &str) -> Vec<String> {
        volume(text).unwrap().options
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

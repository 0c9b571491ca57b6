//! `--output` and its short forms, `--annotation`: what the texts mean. See [`super::deliver`] for what comes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plimsoll_build::{Annotation, AnnotationLevel};
use plimsoll_image::{Compression, Encoding, Packing};
use plimsoll_oci::ImageRef;

use super::csv;

/// One `--output`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// `image`, `registry`, and `docker` without a destination: into the store, to a registry.
    Image {
        form: Form,
        store: bool,
        push: bool,
        by_digest: bool,
        name_canonical: bool,
        unpack: bool,
    },
    /// `oci` and `docker`: a layout as an archive, or as a folder.
    Layout {
        form: Form,
        docker: bool,
        to: Destination,
    },
    /// `local`: the files.
    Local { folder: PathBuf, split: Option<bool> },
    /// `tar`: the files as an archive.
    Tar { to: Destination, split: Option<bool> },
    /// `cacheonly`: nothing.
    Nothing,
}

/// How an image goes out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Form {
    /// `name`, which `--tag` beats.
    pub(crate) names: Vec<ImageRef>,
    /// None: as it is in the store.
    pub(crate) packing: Option<Packing>,
    pub(crate) annotations: Vec<Annotation>,
    /// `rewrite-timestamp`; without a word about it as SOURCE_DATE_EPOCH says.
    pub(crate) rewrite_timestamp: Option<bool>,
    pub(crate) oci_artifact: bool,
}

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
    Folder(PathBuf),
}

impl Output {
    /// What `--load` means, and no `--output` at all.
    pub(crate) fn load() -> Self {
        Self::Image {
            form: Form::default(),
            store: true,
            push: false,
            by_digest: false,
            name_canonical: false,
            unpack: false,
        }
    }

    /// What `--push` means.
    pub(crate) fn push() -> Self {
        parse("type=registry").expect("a complete output")
    }
}

/// Reads one `--output`.
pub(crate) fn parse(text: &str) -> Result<Output, String> {
    let fields = csv::fields(text)?;
    if let [only] = fields.as_slice()
        && only == text
        && !text.starts_with("type=")
    {
        return Ok(match text {
            "" => return Err("it is empty: expected a folder, `-` or `type=...`".to_owned()),
            "-" => Output::Tar {
                to: Destination::Stdout,
                split: None,
            },
            folder => Output::Local {
                folder: folder.into(),
                split: None,
            },
        });
    }
    let mut options = Options::default();
    for field in &fields {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not KEY=VALUE"))?;
        options.0.insert(key.trim().to_lowercase(), value.to_owned());
    }
    let kind = options.take("type").ok_or("it names no `type`")?;
    let output = match kind.as_str() {
        "image" => options.image(false)?,
        "registry" => options.image(true)?,
        "docker" if !options.0.contains_key("dest") => options.image(false)?,
        "oci" => options.layout(false)?,
        "docker" => options.layout(true)?,
        "local" => Output::Local {
            folder: options.folder("local")?,
            split: options.boolean("platform-split")?,
        },
        "tar" => Output::Tar {
            to: options.file(),
            split: options.boolean("platform-split")?,
        },
        "cacheonly" => Output::Nothing,
        _ => {
            return Err(format!(
                "`{kind}` is not a supported type: use oci, docker, tar, local, image or registry"
            ));
        }
    };
    match options.0.keys().next() {
        Some(key) => Err(format!("`{key}` is not supported for type={kind}")),
        None => Ok(output),
    }
}

/// The options that nothing was made of yet.
#[derive(Default)]
struct Options(BTreeMap<String, String>);

impl Options {
    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Go's strconv.ParseBool; a bare key means true.
    fn boolean(&mut self, key: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(format!("`{value}` of `{key}` is neither true nor false")),
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        Ok(self.boolean(key)?.unwrap_or(false))
    }

    fn image(&mut self, registry: bool) -> Result<Output, String> {
        if self.0.contains_key("registry.insecure") {
            return Err("`registry.insecure` is a matter of settings here: `insecure = true` for the registry in plimsoll.toml".to_owned());
        }
        let by_digest = self.flag("push-by-digest")?;
        let push = self.boolean("push")?.unwrap_or(registry) || by_digest;
        let packs = push
            || [
                "compression",
                "compression-level",
                "force-compression",
                "oci-mediatypes",
            ]
            .iter()
            .any(|key| self.0.contains_key(*key));
        let packing = self.packing(true)?.filter(|_| packs);
        Ok(Output::Image {
            form: self.form(packing)?,
            // As with `docker buildx build --push` beside a store: what is pushed stays here as well.
            store: self.boolean("store")?.unwrap_or(!by_digest),
            push,
            by_digest,
            name_canonical: self.flag("name-canonical")?,
            unpack: self.flag("unpack")?,
        })
    }

    fn layout(&mut self, docker: bool) -> Result<Output, String> {
        let kind = if docker { "docker" } else { "oci" };
        let to = match self.boolean("tar")?.unwrap_or(true) {
            true => self.file(),
            false => Destination::Folder(self.folder(kind)?),
        };
        let packing = self.packing(!docker)?;
        // Where Docker's context is buildx's, there is one here.
        self.take("context");
        Ok(Output::Layout {
            form: self.form(packing)?,
            docker,
            to,
        })
    }

    fn form(&mut self, packing: Option<Packing>) -> Result<Form, String> {
        // BuildKit's, of things it no longer does.
        for key in [
            "buildinfo",
            "buildinfo-attrs",
            "prefer-nondist-layers",
            "attestation-inline",
        ] {
            self.boolean(key)?;
        }
        let names = self.take("name").unwrap_or_default();
        let names = names.split(',').filter(|name| !name.is_empty());
        let name = |name: &str| name.parse::<ImageRef>().map_err(|error| error.to_string());
        Ok(Form {
            names: names.map(name).collect::<Result<_, _>>()?,
            packing,
            annotations: self.annotations()?,
            rewrite_timestamp: self.boolean("rewrite-timestamp")?,
            oci_artifact: self.flag("oci-artifact")?,
        })
    }

    /// None where layers can stay as the store describes them.
    fn packing(&mut self, oci: bool) -> Result<Option<Packing>, String> {
        let compression = self.take("compression").filter(|name| !name.is_empty());
        let compression = compression.map_or(Ok(Compression::Gzip), |name| name.parse());
        let compression = compression.map_err(|error: plimsoll_image::EncodingError| error.to_string())?;
        let level = match self.take("compression-level").filter(|level| !level.is_empty()) {
            Some(level) => Some(
                level
                    .parse()
                    .map_err(|_| format!("`{level}` of `compression-level` is not a number"))?,
            ),
            None => None,
        };
        let packing = Packing {
            encoding: Encoding::new(compression, level).map_err(|error| error.to_string())?,
            force: self.flag("force-compression")?,
            // As in BuildKit: Docker's media types have no zstd.
            oci_media_types: self.boolean("oci-mediatypes")?.unwrap_or(oci)
                || compression == Compression::Zstd,
            ..Packing::default()
        };
        let as_it_is = compression == Compression::Uncompressed && !packing.force && packing.oci_media_types;
        Ok((!as_it_is).then_some(packing))
    }

    /// Without a destination it is standard output.
    fn file(&mut self) -> Destination {
        match self.take("dest").as_deref() {
            None | Some("-") => Destination::Stdout,
            Some(path) => Destination::File(path.into()),
        }
    }

    fn folder(&mut self, kind: &str) -> Result<PathBuf, String> {
        match self.take("dest").as_deref() {
            None | Some("") => Err(format!("dest is required for {kind} exporter")),
            Some("-") => Err(format!("dest cannot be stdout for {kind} exporter")),
            Some(path) => Ok(path.into()),
        }
    }

    /// `annotation.KEY`, `annotation-index.KEY`, `annotation-manifest[linux/amd64].KEY`.
    fn annotations(&mut self) -> Result<Vec<Annotation>, String> {
        let mut all = Vec::new();
        let keys: Vec<String> = self
            .0
            .keys()
            .filter(|key| key.starts_with("annotation"))
            .cloned()
            .collect();
        for key in keys {
            let Some((place, name)) = key["annotation".len()..].split_once('.') else {
                continue;
            };
            let place = place.strip_prefix('-').unwrap_or(place);
            let value = self.take(&key).unwrap_or_default();
            all.push(annotation(place, name, &value)?);
        }
        Ok(all)
    }
}

/// Reads one `--annotation`: `[TYPE[,TYPE...][[PLATFORM]]:]KEY=VALUE`.
pub(crate) fn annotations(text: &str) -> Result<Vec<Annotation>, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid annotation `{text}`, expected key=value"))?;
    match key.split_once(':') {
        None => Ok(vec![annotation("", key, value)?]),
        Some((places, key)) => places
            .split(',')
            .map(|place| annotation(place, key, value))
            .collect(),
    }
}

/// `place` is a type, with or without a platform in brackets; nothing means the manifest.
fn annotation(place: &str, key: &str, value: &str) -> Result<Annotation, String> {
    let (level, platform) = match place.split_once('[') {
        Some((level, rest)) => {
            let platform = rest
                .strip_suffix(']')
                .ok_or_else(|| format!("invalid annotation type `{place}`"))?;
            (level, Some(platform.parse().map_err(|error| format!("{error}"))?))
        }
        None => (place, None),
    };
    if key.is_empty() {
        return Err(format!("an annotation for `{value}` has no key"));
    }
    let level = match level {
        "" => AnnotationLevel::Manifest,
        level => level.parse()?,
    };
    Ok(Annotation {
        level,
        platform,
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(folder: &str) -> Output {
        Output::Local {
            folder: folder.into(),
            split: None,
        }
    }

    #[test]
    fn short_forms() {
        assert_eq!(parse("out"), Ok(local("out")));
        assert_eq!(parse("a=b"), Ok(local("a=b")));
        assert_eq!(parse("type=local,dest=out"), Ok(local("out")));
        assert_eq!(parse(r#"type=local,"dest=a,b""#), Ok(local("a,b")));
        let tar = Output::Tar {
            to: Destination::Stdout,
            split: None,
        };
        assert_eq!(parse("-"), Ok(tar.clone()));
        assert_eq!(parse("type=tar"), Ok(tar.clone()));
        assert_eq!(parse("type=tar,dest=-"), Ok(tar));
        assert_eq!(parse("type=docker"), Ok(Output::load()));
        assert_eq!(parse("type=image"), Ok(Output::load()));
    }

    fn layout(text: &str) -> (Form, Destination) {
        match parse(text) {
            Ok(Output::Layout { form, to, .. }) => (form, to),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn layouts() {
        let (form, to) = layout("type=oci,dest=a.tar");
        assert_eq!(form.packing, Some(Packing::default()));
        assert_eq!(to, Destination::File("a.tar".into()));
        let (_, to) = layout("type=oci,dest=a,tar=false");
        assert_eq!(to, Destination::Folder("a".into()));
        let (form, _) = layout("type=oci,compression=uncompressed");
        assert_eq!(form.packing, None);
        let (form, _) = layout("type=docker,dest=a.tar");
        assert!(!form.packing.unwrap().oci_media_types);
        let (form, _) = layout("type=docker,dest=a.tar,compression=zstd,compression-level=7");
        let packing = form.packing.unwrap();
        assert!(packing.oci_media_types);
        assert_eq!(
            packing.encoding,
            Encoding::new(Compression::Zstd, Some(7)).unwrap()
        );
        let (form, _) = layout(r#"type=oci,"name=a:1,b:2",rewrite-timestamp=true"#);
        assert_eq!(form.names.len(), 2);
        assert_eq!(form.rewrite_timestamp, Some(true));
    }

    #[test]
    fn images() {
        let Ok(Output::Image { push, form, .. }) = parse("type=registry,name=r.example/a") else {
            panic!("no image");
        };
        assert!(push && form.packing.is_some());
        let Ok(Output::Image { by_digest, store, .. }) = parse("type=image,push-by-digest=true,name=a")
        else {
            panic!("no image");
        };
        assert!(by_digest && !store);
        assert!(matches!(Output::push(), Output::Image { push: true, .. }));
    }

    #[test]
    fn what_is_wrong() {
        for (text, word) in [
            ("", "empty"),
            ("type=local", "dest is required for local exporter"),
            ("type=local,dest=-", "dest cannot be stdout for local exporter"),
            ("type=oci,tar=false", "dest is required for oci exporter"),
            ("dest=x,tar=1", "names no `type`"),
            ("type=tape,dest=x", "`tape` is not a supported type"),
            (
                "type=local,dest=x,mode=y",
                "`mode` is not supported for type=local",
            ),
            ("type=oci,x", "`x` is not KEY=VALUE"),
            ("type=oci,compression=estargz", "`estargz` is not supported"),
            ("type=oci,compression-level=12", "gzip has levels from 0 to 9"),
            ("type=oci,force-compression=maybe", "neither true nor false"),
            ("type=image,registry.insecure=true", "plimsoll.toml"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn annotation_levels() {
        let one = |text: &str| annotations(text).unwrap().remove(0);
        assert_eq!(one("a=b").level, AnnotationLevel::Manifest);
        assert_eq!(one("index:a=b=c").value, "b=c");
        let two = annotations("index,manifest-descriptor[linux/arm64]:a.b=c").unwrap();
        assert_eq!(two[1].level, AnnotationLevel::ManifestDescriptor);
        assert_eq!(two[1].platform, Some("linux/arm64".parse().unwrap()));
        for wrong in ["a", "layer:a=b", "index[:a=b", "manifest:=b"] {
            assert!(annotations(wrong).is_err(), "{wrong}");
        }
        let (form, _) = layout("type=oci,annotation.a.b=c,annotation-index.d=e,annotation[linux/amd64].f=g");
        let keys: Vec<_> = form
            .annotations
            .iter()
            .map(|one| (one.level, one.key.as_str()))
            .collect();
        assert!(keys.contains(&(AnnotationLevel::Manifest, "a.b")));
        assert!(keys.contains(&(AnnotationLevel::Index, "d")));
        assert!(keys.contains(&(AnnotationLevel::Manifest, "f")));
    }
}

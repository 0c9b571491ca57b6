//! `--cache-from`, `--cache-to`: what the texts mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_build::{CacheFrom, CacheMode, CachePlace, CacheTo, Caches};
use plimsoll_image::{Compression, Encoding, Packing};
use plimsoll_oci::Digest;
use plimsoll_registry::{ActionsCache, Registry};

use super::csv;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::env;

/// BuildKit's scope of caches that have no other.
const SCOPE: &str = "buildkit";

#[derive(clap::Args)]
pub(super) struct CacheArgs {
    /// Take results of other machines: `type=registry,ref=NAME` or NAME, `type=local,src=FOLDER`, `type=gha`
    #[arg(long = "cache-from", value_name = "SPEC", value_parser = Spec::parse)]
    from: Vec<Spec>,
    /// Give results to other machines: `type=registry,ref=NAME` or NAME, `type=local,dest=FOLDER`, `type=inline`,
    /// `type=gha`; `mode=min` only those of the image's layers
    #[arg(long = "cache-to", value_name = "SPEC", value_parser = Spec::parse)]
    to: Vec<Spec>,
}

/// One cache: its type and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    kind: String,
    options: BTreeMap<String, String>,
}

impl Spec {
    /// As in buildx, a text without `=` is the name of an image.
    fn parse(text: &str) -> Result<Self, String> {
        let fields = csv::fields(text)?;
        let mut options = BTreeMap::new();
        if fields.iter().all(|field| !field.contains('=')) {
            let [name] = fields.as_slice() else {
                return Err("give each image its own `--cache-from` or `--cache-to`".to_owned());
            };
            options.insert("ref".to_owned(), name.clone());
            return Ok(Self {
                kind: "registry".to_owned(),
                options,
            });
        }
        for field in fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("`{field}` is not KEY=VALUE"))?;
            options.insert(key.trim().to_lowercase(), value.to_owned());
        }
        match options.remove("type") {
            Some(kind) => Ok(Self { kind, options }),
            None => Err("it names no `type`".to_owned()),
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.options.remove(key)
    }

    fn need(&mut self, key: &str) -> Result<String, String> {
        let kind = &self.kind;
        self.options
            .remove(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("type={kind} needs `{key}`"))
    }

    fn take_bool(&mut self, key: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.options.remove(key) else {
            return Ok(None);
        };
        match value.as_str() {
            "true" | "1" | "t" => Ok(Some(true)),
            "false" | "0" | "f" => Ok(Some(false)),
            _ => Err(format!("`{value}` of `{key}` is neither true nor false")),
        }
    }

    /// Where the cache is; `folder` is what its option is called here.
    fn place(&mut self, folder: &str, registry: &Arc<Registry>) -> Result<CachePlace, String> {
        match self.kind.as_str() {
            "registry" => {
                let name = self.need("ref")?;
                let reference = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
                Ok(CachePlace::Registry(Arc::clone(registry), reference))
            }
            "local" => Ok(CachePlace::Local {
                folder: self.need(folder)?.into(),
                tag: self.take("tag").unwrap_or_else(|| "latest".to_owned()),
                digest: match self.take("digest") {
                    Some(text) => Some(text.parse::<Digest>().map_err(|error| error.to_string())?),
                    None => None,
                },
            }),
            "gha" => self.actions(),
            kind => Err(format!(
                "`{kind}` is not a supported type: use registry, local, inline or gha"
            )),
        }
    }

    fn actions(&mut self) -> Result<CachePlace, String> {
        let from = |option: Option<String>, variable| option.or_else(|| env::var(variable));
        let (new, old) = (self.take("url_v2"), self.take("url"));
        let url = from(new.or(old), env::ACTIONS_RESULTS_URL);
        let token = from(self.take("token"), env::ACTIONS_RUNTIME_TOKEN);
        let scope = self.take("scope").unwrap_or_else(|| SCOPE.to_owned());
        for ignored in ["version", "repository", "ghtoken", "timeout"] {
            self.take(ignored);
        }
        let (Some(url), Some(token)) = (url, token) else {
            return Err(format!(
                "type=gha needs `{}` and `{}`, which a workflow's steps get from an action such as \
                 crazy-max/ghaction-github-runtime",
                env::ACTIONS_RESULTS_URL,
                env::ACTIONS_RUNTIME_TOKEN
            ));
        };
        let cache = ActionsCache::new(&url, &token).map_err(|error| error.to_string())?;
        Ok(CachePlace::Actions(Arc::new(cache), scope))
    }

    fn from(mut self, registry: &Arc<Registry>) -> Result<CacheFrom, String> {
        let place = self.place("src", registry)?;
        let cache_mounts = self.take_bool("cache-mounts")?.unwrap_or(false);
        self.end()?;
        Ok(CacheFrom { place, cache_mounts })
    }

    fn to(mut self, registry: &Arc<Registry>) -> Result<CacheTo, String> {
        let place = match self.kind.as_str() {
            "inline" => CachePlace::Inline,
            _ => self.place("dest", registry)?,
        };
        let inline = matches!(place, CachePlace::Inline);
        let mode = match self.take("mode").as_deref() {
            Some("min") => CacheMode::Min,
            Some("max") if inline => {
                return Err("type=inline holds only what is in the image: mode=min".to_owned());
            }
            None | Some("max") => CacheMode::Max,
            Some(mode) => return Err(format!("`{mode}` is no mode: use min or max")),
        };
        let oci_media_types = self.take_bool("oci-mediatypes")?.unwrap_or(true);
        let image_manifest = self.take_bool("image-manifest")?;
        if image_manifest == Some(true) && !oci_media_types {
            return Err("image-manifest=true needs oci-mediatypes=true".to_owned());
        }
        let to = CacheTo {
            place,
            mode,
            packing: self.packing(oci_media_types)?,
            image_manifest: image_manifest.unwrap_or(oci_media_types),
            cache_mounts: !inline && self.take_bool("cache-mounts")?.unwrap_or(false),
            must_succeed: self.take_bool("ignore-error")? == Some(false),
        };
        self.end()?;
        Ok(to)
    }

    fn packing(&mut self, oci_media_types: bool) -> Result<Packing, String> {
        let compression = match self.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => Compression::Uncompressed,
            Some(other) => {
                return Err(format!(
                    "`{other}` is no compression: use gzip, zstd or uncompressed"
                ));
            }
        };
        let level = match self.take("compression-level") {
            Some(text) => Some(text.parse().map_err(|_| format!("`{text}` is no level"))?),
            None => None,
        };
        Ok(Packing {
            encoding: Encoding::new(compression, level).map_err(|error| error.to_string())?,
            force: self.take_bool("force-compression")?.unwrap_or(false),
            oci_media_types,
            ..Packing::default()
        })
    }

    fn end(&self) -> Result<(), String> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("`{key}` is not an option of type={}", self.kind)),
        }
    }
}

impl CacheArgs {
    /// What the flags mean; `inline` is what a build argument says.
    pub(super) fn caches(&self, context: &Context, inline: bool) -> Result<Caches, CommandError> {
        if self.from.is_empty() && self.to.is_empty() && !inline {
            return Ok(Caches::default());
        }
        let registry = context.registry()?;
        let wrong = |flag: &'static str| move |error| CommandError::usage(format!("{flag}: {error}"));
        let from = self.from.iter().cloned().map(|spec| spec.from(&registry));
        let from = from
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong("--cache-from"))?;
        let to = self.to.iter().cloned().map(|spec| spec.to(&registry));
        let mut to = to.collect::<Result<Vec<_>, _>>().map_err(wrong("--cache-to"))?;
        if inline {
            let spec = Spec::parse("type=inline").and_then(|spec| spec.to(&registry));
            to.push(spec.map_err(wrong("BUILDKIT_INLINE_CACHE"))?);
        }
        Ok(Caches { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(BTreeMap::new(), None))
    }

    fn to(text: &str) -> Result<CacheTo, String> {
        Spec::parse(text)?.to(&registry())
    }

    #[test]
    fn a_bare_name_is_in_a_registry() {
        for text in [
            "host.example/app:cache",
            "type=registry,ref=host.example/app:cache",
        ] {
            let from = Spec::parse(text).unwrap().from(&registry()).unwrap();
            let CachePlace::Registry(_, name) = from.place else {
                panic!("{text} is in a registry");
            };
            assert_eq!(name.to_string(), "host.example/app:cache");
        }
    }

    #[test]
    fn all_stages_unless_asked_otherwise() {
        assert_eq!(to("type=local,dest=x").unwrap().mode, CacheMode::Max);
        assert_eq!(to("type=local,dest=x,mode=min").unwrap().mode, CacheMode::Min);
        assert!(to("type=inline,mode=max").is_err());
    }

    #[test]
    fn a_failed_export_fails_nothing_unless_asked_to() {
        assert!(!to("type=local,dest=x").unwrap().must_succeed);
        assert!(!to("type=local,dest=x,ignore-error=true").unwrap().must_succeed);
        assert!(to("type=local,dest=x,ignore-error=false").unwrap().must_succeed);
    }

    #[test]
    fn forms_and_compressions() {
        assert!(to("a").unwrap().image_manifest);
        assert!(
            !to("type=registry,ref=a,image-manifest=false")
                .unwrap()
                .image_manifest
        );
        assert!(
            !to("type=registry,ref=a,oci-mediatypes=false")
                .unwrap()
                .image_manifest
        );
        let zstd = to("type=registry,ref=a,compression=zstd,compression-level=5").unwrap();
        assert_eq!(
            zstd.packing.encoding,
            Encoding::new(Compression::Zstd, Some(5)).unwrap()
        );
    }

    #[test]
    fn wrong_words() {
        for text in [
            "type=registry",
            "type=local",
            "type=local,dest=x,mode=most",
            "type=local,dest=x,color=red",
            "type=s3,bucket=x",
            "ref=a",
            "a,b",
            "type=registry,ref=a,image-manifest=true,oci-mediatypes=false",
            "type=registry,ref=A B",
            "type=local,dest=x,compression=lz4",
        ] {
            assert!(to(text).is_err(), "{text}");
        }
        assert!(Spec::parse("type=inline").unwrap().from(&registry()).is_err());
    }
}

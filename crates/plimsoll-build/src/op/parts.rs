//! What decides the keys of an operation, by name: for people who ask why a step ran.

use plimsoll_oci::{Digest, ImageRef};

use super::copy::CopyOp;
use super::exec::ExecOp;
use super::{BuildOp, ImageOp, Operation};
use crate::credentials::shown_value;
use crate::explain::lists;
use crate::mount::MountKind;
use crate::record::{Part, PartKind, StepKind};

impl Part {
    pub(crate) fn new(kind: PartKind, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            value: value.into(),
            hidden: false,
        }
    }

    fn variable(kind: PartKind, name: &str, value: &str) -> Self {
        let (value, hidden) = shown_value(name, value);
        Self {
            hidden,
            ..Self::new(kind, name, value)
        }
    }

    fn option(name: &str, value: impl Into<String>) -> Self {
        Self::new(PartKind::Option, name, value)
    }
}

impl BuildOp {
    pub(crate) fn kind(&self) -> StepKind {
        match &self.operation {
            Operation::Image(_) => StepKind::From,
            Operation::Exec(_) => StepKind::Run,
            Operation::Copy(op) if op.instruction == "ADD" => StepKind::Add,
            Operation::Copy(_) => StepKind::Copy,
            Operation::Link(_) => StepKind::Link,
            Operation::Mkdir(_) => StepKind::Workdir,
            Operation::Http(_) => StepKind::Http,
            Operation::Git(_) => StepKind::Git,
        }
    }

    /// The instruction as its step shows it.
    pub(crate) fn instruction(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        name.split_once("] ")
            .map_or(name, |(_, instruction)| instruction)
            .to_owned()
    }

    /// Tells whether the first of so many inputs is what the operation stands on.
    pub(crate) fn on_base(&self, inputs: usize) -> bool {
        match &self.operation {
            Operation::Exec(op) => op.on_base,
            Operation::Copy(op) => !op.link && inputs > usize::from(op.has_input()),
            Operation::Link(_) | Operation::Mkdir(_) => inputs > 0,
            Operation::Image(_) | Operation::Http(_) | Operation::Git(_) => false,
        }
    }

    /// What decides the keys. Of what was looked at to work them out, lists are kept.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = match &self.operation {
            Operation::Image(op) => vec![
                Part::new(PartKind::Image, op.reference.familiar(), self.image_digest(op)),
                Part::new(PartKind::Layers, "", op.key().to_string()),
            ],
            Operation::Exec(op) => op.parts(),
            Operation::Copy(op) => self.copy_parts(op),
            Operation::Link(_) => Vec::new(),
            Operation::Mkdir(op) => vec![
                Part::new(PartKind::Workdir, "", &op.path),
                Part::new(PartKind::User, "", &op.owner),
            ],
            Operation::Http(op) => {
                let digest = op.known_digest().map(|digest| digest.to_string());
                let url = crate::source::without_credentials(&op.url);
                vec![Part::new(PartKind::Url, url, digest.unwrap_or_default())]
            }
            Operation::Git(op) => {
                let commit = op.commit.get().cloned().unwrap_or_default();
                vec![Part::new(PartKind::Commit, op.url.shown(), commit)]
            }
        };
        for (kind, name, value) in &self.variables {
            if !parts.iter().any(|part| part.kind == *kind && part.name == *name) {
                parts.push(Part::variable(*kind, name, value));
            }
        }
        if !self.cacheable {
            parts.push(Part::new(PartKind::NoCache, "", "true"));
        }
        parts
    }

    /// By which digest a registry gave a base image: what people see when they pull it. Its own where none did.
    fn image_digest(&self, op: &ImageOp) -> String {
        let known = self.services.images.digests(&op.image).unwrap_or_default();
        let place =
            |reference: &ImageRef| (reference.registry().to_owned(), reference.repository().to_owned());
        let same = known.iter().rfind(|known| place(known) == place(&op.reference));
        let digest = same
            .and_then(ImageRef::digest)
            .unwrap_or(op.image.manifest_digest);
        digest.to_string()
    }

    fn copy_parts(&self, op: &CopyOp) -> Vec<Part> {
        let mut parts = op.parts();
        if let Some((digest, list)) = op.list() {
            if let Err(error) = lists::save(&self.services.store, &digest, list) {
                tracing::warn!(%error, "cannot keep the list of what a step copies");
            }
            parts.push(Part::new(PartKind::Files, "", digest.to_string()));
        }
        parts
    }
}

impl CopyOp {
    fn parts(&self) -> Vec<Part> {
        let paths: Vec<&str> = self.paths.iter().map(|source| source.path.as_str()).collect();
        let slash = if self.into_directory && self.destination != "/" {
            "/"
        } else {
            ""
        };
        let command = format!(
            "{} {} {}{slash}",
            self.instruction,
            paths.join(" "),
            self.destination
        );
        let mut parts = vec![Part::new(PartKind::Command, "", command)];
        if let Some(chown) = &self.chown {
            parts.push(Part::option("--chown", &chown.text));
        }
        if let Some(chmod) = &self.chmod {
            parts.push(Part::option("--chmod", chmod.to_string()));
        }
        let flags = [
            ("--link", self.link),
            ("--parents", self.parents),
            ("--unpack", self.unpack),
        ];
        let given = flags.into_iter().filter(|(_, given)| *given);
        parts.extend(given.map(|(flag, _)| Part::option(flag, "true")));
        if !self.exclude.is_empty() {
            parts.push(Part::option("--exclude", self.exclude.join(" ")));
        }
        for file in &self.inline {
            let digest = Digest::of(&file.data).to_string();
            parts.push(Part::new(PartKind::Document, &file.name, digest));
        }
        parts
    }
}

impl ExecOp {
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::new(PartKind::Command, "", self.args.join(" "))];
        let first_arg = self.env.len() - self.args_seen;
        for (at, pair) in self.env.iter().enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let kind = if at < first_arg {
                PartKind::Env
            } else {
                PartKind::Arg
            };
            parts.push(Part::variable(kind, name, value));
        }
        parts.push(Part::new(PartKind::Workdir, "", &self.cwd));
        parts.push(Part::new(PartKind::User, "", &self.user));
        let network = format!("{:?}", self.network).to_lowercase();
        parts.push(Part::option("--network", network));
        if self.insecure {
            parts.push(Part::option("--security", "insecure"));
        }
        for (name, address) in &self.add_hosts {
            parts.push(Part::option(&format!("--add-host {name}"), address));
        }
        if let Some(script) = &self.script {
            parts.push(Part::new(
                PartKind::Document,
                &script.path,
                Digest::of(&script.text).to_string(),
            ));
        }
        for mount in &self.mounts {
            let target = mount.target.clone().unwrap_or_default();
            let mut seen = vec![mount.key_words()];
            if let (MountKind::Bind { .. }, Some(files)) = (&mount.mount.kind, &mount.files)
                && !files.whole
            {
                seen.push(format!("source={}", files.path.path));
            }
            parts.push(Part::new(PartKind::Mount, &target, seen.join(" ")));
            if let Some(content) = mount.content.get() {
                parts.push(Part::new(PartKind::MountFiles, &target, content.to_string()));
            }
            if let Some(state) = mount.cache.get() {
                parts.push(Part::new(PartKind::CacheMount, &mount.cache_id, state.as_str()));
            }
        }
        parts
    }
}

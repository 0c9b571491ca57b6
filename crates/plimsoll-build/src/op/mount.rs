//! What `RUN --mount` brings into the container, and what of it decides the cache key.
//!
//! | type | where it is | in the key |
//! | --- | --- | --- |
//! | bind | an input of the vertex, seen through an overlay whose upper directory is thrown away | the files selected |
//! | cache | `cache-mounts/` in the store, see [`cache`] | no more than that there is one |
//! | tmpfs | memory | the same |
//! | secret | memory of the runner, or a variable | never the value |
//! | ssh | a socket that leads to the user's agent, see [`ssh`] | that there is one |
//!
//! A bind from the context is an input too: a COPY of just the selected files onto nothing. So ignored files are not
//! there, owners are as COPY makes them, and a step whose files did not change stays cached.

pub(crate) mod cache;
pub(crate) mod mask;
mod ssh;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plimsoll_diagnostics::Span;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_runtime::{Backing, Mount, MountKind as Kind, Rootfs, SecretFile, View};
use plimsoll_store::{Entry, MergedTree};

use super::{CopyOp, Output, Services, SourcePath, SourceTree, tree};
use crate::error::OpError;
use crate::mount::{MountKind, Permissions, RunMount};
use cache::{CacheState, HeldCache};
use ssh::Agent;

/// One mount of a RUN.
pub(crate) struct ExecMount {
    pub(crate) mount: RunMount,
    /// Absolute; none for a secret that is only a variable.
    pub(crate) target: Option<String>,
    /// Of a cache: its name, with the namespace.
    pub(crate) cache_id: String,
    /// Where the files come from: always for a bind, for a cache its seed.
    pub(crate) files: Option<MountFiles>,
    /// Digest of the files of a bind, once it was worked out.
    pub(crate) content: OnceLock<Digest>,
    /// Whether a cache had to be made, once it was taken.
    pub(crate) cache: OnceLock<CacheState>,
}

/// A file or directory of an input.
pub(crate) struct MountFiles {
    /// Which input of the vertex; none for a stage without any layer.
    pub(crate) input: Option<usize>,
    /// As errors call it: ``stage `builder` ``.
    pub(crate) place: String,
    pub(crate) path: SourcePath,
    /// Whether the input holds nothing else.
    pub(crate) whole: bool,
}

/// What a RUN gets, and what has to live as long as it runs.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) backing: Backing,
    pub(crate) env: Vec<String>,
    /// What must not be seen in its output.
    pub(crate) secrets: Vec<Vec<u8>>,
    _agents: Vec<Agent>,
}

impl ExecMount {
    /// The definition as far as it decides what the program sees.
    pub(super) fn hash(&self, hasher: &mut Hasher) {
        hasher.field(self.key_words());
        hasher.field(self.target.as_deref().unwrap_or_default());
        if let (MountKind::Bind { .. }, Some(files)) = (&self.mount.kind, &self.files) {
            hasher.field(&files.path.path);
        }
    }

    /// Its type, and the options that decide what the program sees.
    pub(super) fn key_words(&self) -> String {
        match &self.mount.kind {
            MountKind::Bind { writable, .. } => format!("bind {writable}"),
            MountKind::Cache { read_only, .. } => format!("cache {read_only}"),
            MountKind::Tmpfs { .. } => "tmpfs".to_owned(),
            MountKind::Secret { env, .. } => format!("secret {env:?}"),
            MountKind::Ssh { .. } => "ssh".to_owned(),
        }
    }

    /// The files of a bind; what a cache begins with decides nothing.
    fn bound(&self) -> Option<&MountFiles> {
        match self.mount.kind {
            MountKind::Bind { .. } => self.files.as_ref(),
            _ => None,
        }
    }
}

impl MountFiles {
    /// The content of what is selected.
    async fn content(&self, services: &Services, inputs: &[Output]) -> Result<Digest, OpError> {
        let Some(input) = self.input.map(|input| &inputs[input]) else {
            return Ok(Digest::of("no files"));
        };
        if self.whole {
            return Ok(input.content);
        }
        let tree = SourceTree::Input {
            name: self.place.clone(),
            present: true,
        };
        CopyOp::whole(tree, literal(&self.path))
            .selected(services, input)
            .await
    }

    /// The tree and what is selected of it.
    fn find(&self, services: &Services, inputs: &[Output]) -> Result<(MergedTree, Entry), OpError> {
        let tree = match self.input {
            Some(input) => tree(&services.store, &inputs[input])?,
            None => MergedTree::new(Vec::new()),
        };
        let found = tree.resolve(Path::new(&self.path.path))?;
        let entry = found.ok_or_else(|| OpError::NotFound {
            path: self.path.path.clone(),
            place: self.place.clone(),
            span: Some(self.path.span),
            hint: None,
        })?;
        Ok((tree, entry))
    }
}

/// What COPY takes for the path and nothing else: a path with special characters as a pattern of classes.
pub(crate) fn literal(path: &SourcePath) -> SourcePath {
    let class = |c: char| match c {
        '*' | '?' | '[' => format!("[{c}]"),
        '\\' => "[\\\\]".to_owned(),
        c => c.to_string(),
    };
    SourcePath {
        path: match path.path.contains(['*', '?', '[']) {
            true => path.path.chars().map(class).collect(),
            false => path.path.clone(),
        },
        span: path.span,
    }
}

/// Digests of what the binds select, in order.
pub(super) async fn contents(
    mounts: &[ExecMount],
    services: &Services,
    inputs: &[Output],
) -> Result<Vec<Digest>, OpError> {
    let mut digests = Vec::new();
    for mount in mounts {
        let Some(files) = mount.bound() else { continue };
        let content = files.content(services, inputs).await?;
        digests.push(content);
        // The same if it was set before.
        let _ = mount.content.set(content);
    }
    Ok(digests)
}

/// Makes everything ready. `folder` is the step's own scratch folder, made when something needs it.
pub(super) fn prepare(
    mounts: &[ExecMount],
    services: &Services,
    inputs: &[Output],
    caches: &[HeldCache],
    folder: &Path,
) -> Result<Prepared, OpError> {
    let mut prepared = Prepared::default();
    for (number, mount) in mounts.iter().enumerate() {
        let folder = folder.join(number.to_string());
        prepared.add(mount, services, inputs, caches, &folder)?;
    }
    Ok(prepared)
}

impl Prepared {
    fn add(
        &mut self,
        mount: &ExecMount,
        services: &Services,
        inputs: &[Output],
        caches: &[HeldCache],
        folder: &Path,
    ) -> Result<(), OpError> {
        let target = PathBuf::from(mount.target.as_deref().unwrap_or_default());
        match &mount.mount.kind {
            MountKind::Bind { writable, .. } => {
                let files = mount.files.as_ref().expect("a bind has files");
                let source = self.view(files, services, inputs, folder)?;
                self.bind(source, target, !writable);
            }
            MountKind::Cache { read_only, .. } => {
                let held = caches.iter().find(|cache| cache.serves(mount));
                let held = held.expect("the caches of a step are taken before it runs");
                self.bind(held.directory.clone(), target, *read_only);
            }
            MountKind::Tmpfs { size, .. } => {
                let size = size.map(|size| format!("size={size}"));
                self.mounts.push(Mount {
                    kind: Kind::Tmpfs,
                    source: PathBuf::new(),
                    target,
                    read_only: false,
                    options: size.into_iter().chain(["exec".to_owned()]).collect(),
                });
            }
            MountKind::Secret {
                id,
                env,
                required,
                permissions,
                ..
            } => match services.run.secrets.get(id) {
                Some(secret) => {
                    let target = mount.target.as_ref().map(|_| target);
                    self.secret(
                        secret.bytes(),
                        target,
                        env.as_deref(),
                        permissions,
                        mount.mount.span,
                    )?;
                }
                None if *required => {
                    return Err(missing(
                        mount,
                        format!("secret `{id}` is required and was not given"),
                        format!(
                            "pass `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE` to the build"
                        ),
                    ));
                }
                None => {}
            },
            MountKind::Ssh {
                id,
                required,
                permissions,
                ..
            } => match services.run.ssh.get(id) {
                Some(socket) => {
                    let agent = Agent::start(socket.clone(), folder, permissions)?;
                    if !self.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK=")) {
                        self.env.push(format!("SSH_AUTH_SOCK={}", target.display()));
                    }
                    self.bind(agent.socket.clone(), target, false);
                    self._agents.push(agent);
                }
                None if *required => {
                    return Err(missing(
                        mount,
                        format!("ssh agent `{id}` is required and was not given"),
                        match id.as_str() {
                            "default" => {
                                "pass `--ssh default` to the build; SSH_AUTH_SOCK must be set".to_owned()
                            }
                            id => format!("pass `--ssh {id}=SOCKET` to the build"),
                        },
                    ));
                }
                None => {}
            },
        }
        Ok(())
    }

    fn bind(&mut self, source: PathBuf, target: PathBuf, read_only: bool) {
        self.mounts.push(Mount {
            kind: Kind::Bind,
            source,
            target,
            read_only,
            options: Vec::new(),
        });
    }

    /// The path at which the selected files will be seen by the runner. Writes end in `folder`, which is scratch.
    fn view(
        &mut self,
        files: &MountFiles,
        services: &Services,
        inputs: &[Output],
        folder: &Path,
    ) -> Result<PathBuf, OpError> {
        let lowers = match files.input {
            Some(input) => services.store.snapshots().layers(inputs[input].snapshot)?,
            None => Vec::new(),
        };
        let make = |name: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(OpError::io("make", &path))?;
            Ok::<_, OpError>(path)
        };
        let (target, upper, work) = (make("view")?, make("upper")?, make("work")?);
        let (_, entry) = files.find(services, inputs)?;
        // The root of an overlay looks like its upper directory.
        let root = lowers.first().map(std::fs::metadata).and_then(Result::ok);
        if let Some(root) = root {
            std::fs::set_permissions(&upper, root.permissions())
                .map_err(OpError::io("set mode of", &upper))?;
        }
        let source = target.join(entry.path.strip_prefix("/").unwrap_or(&entry.path));
        self.backing.views.push(View {
            target,
            rootfs: Rootfs { lowers, upper, work },
        });
        Ok(source)
    }

    fn secret(
        &mut self,
        value: &[u8],
        target: Option<PathBuf>,
        env: Option<&str>,
        permissions: &Permissions,
        span: Span,
    ) -> Result<(), OpError> {
        if let Some(name) = env {
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| OpError::Mount {
                message: format!("the secret for `{name}` is not text: it cannot be a variable"),
                span,
                hint: Some("mount it as a file: `target=/run/secrets/NAME`".to_owned()),
            })?;
            self.backing.secret_env.push(format!("{name}={text}"));
        }
        if let Some(target) = target {
            self.backing.secrets.push(SecretFile {
                target,
                data: value.to_vec(),
                mode: permissions.mode.unwrap_or(0o400),
                uid: permissions.uid.unwrap_or(0),
                gid: permissions.gid.unwrap_or(0),
            });
        }
        self.secrets.push(value.to_vec());
        Ok(())
    }
}

fn missing(mount: &ExecMount, message: String, hint: String) -> OpError {
    OpError::Mount {
        message,
        span: mount.mount.span,
        hint: Some(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_path_is_no_pattern() {
        let literal = |path: &str| {
            let path = path.to_owned();
            literal(&SourcePath {
                path,
                span: Span::default(),
            })
            .path
        };
        assert_eq!(literal("/a\\b"), "/a\\b");
        for path in ["/[x]*", "/a?", "/\\[a"] {
            let matches =
                |name: &str| plimsoll_dockerfile::glob_match(literal(path).as_bytes(), name.as_bytes());
            assert!(
                matches(path).unwrap() && !matches("/x").unwrap() && !matches("/ab").unwrap(),
                "{path}"
            );
        }
    }
}

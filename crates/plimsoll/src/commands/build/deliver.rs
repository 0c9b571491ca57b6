//! Where a build's result goes: every `--output`, one after the other.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use plimsoll_build::record::{ExportRecord, Recording};
use plimsoll_build::{
    Annotation, Annotations, BuildError, BuiltImage, Release, ReleaseSettings, export_local, export_tar,
};
use plimsoll_image::{Images, Layout, Packing};
use plimsoll_oci::{Digest, ImageRef};
use plimsoll_progress::Progress;
use plimsoll_store::Store;
use serde_json::{Map, Value};

use super::output::{Destination, Form, Output};
use crate::command_error::CommandError;
use crate::output::file::write_atomically;

/// The predicate of provenance, whichever version.
const PROVENANCE: &str = "slsa.dev/provenance";

/// What is to become of a build.
pub(super) struct Delivery {
    outputs: Vec<Output>,
    names: Vec<ImageRef>,
    annotations: Vec<Annotation>,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Delivered {
    /// For `--metadata-file`, but for what is of the build itself.
    pub(super) metadata: Map<String, Value>,
    /// Image id, or digest of the index.
    pub(super) id: Option<Digest>,
}

impl Delivery {
    /// Checks before the build what would only fail after it.
    pub(super) fn new(
        mut outputs: Vec<Output>,
        push: bool,
        load: bool,
        names: &[ImageRef],
        annotations: Vec<Annotation>,
    ) -> Result<Self, CommandError> {
        if push && !push_images(&mut outputs) {
            outputs.push(Output::push());
        }
        let loads = |output: &Output| matches!(output, Output::Image { push: false, .. });
        if outputs.is_empty() || load && !outputs.iter().any(loads) {
            outputs.push(Output::load());
        }
        let mut to_stdout = 0;
        for output in &outputs {
            match output {
                Output::Image { form, push: true, .. } if names.is_empty() && form.names.is_empty() => {
                    return Err(CommandError::usage("tag is needed when pushing to registry")
                        .hint("name the image with `--tag`"));
                }
                Output::Layout { to, docker, .. } => {
                    to_stdout += check(to, if *docker { "docker" } else { "oci" })?;
                }
                Output::Tar { to, .. } => to_stdout += check(to, "tar")?,
                Output::Local { folder, .. } => check_folder(folder)?,
                _ => {}
            }
        }
        if to_stdout > 1 {
            return Err(CommandError::usage("only one output can go to standard output"));
        }
        Ok(Self {
            outputs,
            names: names.to_vec(),
            annotations,
        })
    }

    /// The form of layers that some output will want as the steps leave them.
    pub(super) fn packing(&self, has_epoch: bool) -> Option<Packing> {
        let wanted = |output: &Output| match output {
            Output::Image { form, .. } | Output::Layout { form, .. } => {
                // With an epoch other layers go out.
                form.packing
                    .filter(|_| !has_epoch || form.rewrite_timestamp == Some(false))
            }
            _ => None,
        };
        self.outputs.iter().find_map(wanted)
    }

    /// True when standard output has an archive, and nothing else may go there.
    pub(super) fn uses_stdout(&self) -> bool {
        let stdout = |output: &Output| match output {
            Output::Layout { to, .. } | Output::Tar { to, .. } => *to == Destination::Stdout,
            _ => false,
        };
        self.outputs.iter().any(stdout)
    }

    /// Writes every output.
    pub(super) async fn deliver(
        &self,
        store: &Store,
        images: &Images,
        built: &[BuiltImage],
        recording: &Recording,
    ) -> Result<Delivered, CommandError> {
        let mut delivered = Delivered::default();
        if let [one] = built {
            delivered.id = Some(one.image.id);
        }
        provenance(built, &mut delivered.metadata);
        let door = Door {
            store: store.clone(),
            images: images.clone(),
            built: Arc::from(built),
            progress: recording.progress().clone(),
        };
        let mut first = true;
        for output in &self.outputs {
            let (record, release) = self.write(output, &door).await?;
            recording.exported(record);
            let Some(release) = release else { continue };
            let dated = matches!(output, Output::Layout { .. });
            delivered.metadata.extend(release.metadata(dated));
            if first {
                delivered.id = Some(release.image_id().unwrap_or_else(|| release.digest()));
                first = false;
            }
        }
        Ok(delivered)
    }

    async fn write(
        &self,
        output: &Output,
        door: &Door,
    ) -> Result<(ExportRecord, Option<Arc<Release>>), CommandError> {
        let mut record = ExportRecord::default();
        let release = match output {
            Output::Nothing => {
                record.kind = "cacheonly".to_owned();
                None
            }
            Output::Local { folder, split } => {
                record.kind = "local".to_owned();
                attribute(&mut record, "dest", folder.display());
                door.local(folder, split.unwrap_or(door.built.len() > 1)).await?;
                None
            }
            Output::Tar { to, split } => {
                record.kind = "tar".to_owned();
                attribute(&mut record, "dest", to);
                door.tar(to, split.unwrap_or(door.built.len() > 1)).await?;
                None
            }
            Output::Layout { form, docker, to } => {
                record.kind = if *docker { "docker" } else { "oci" }.to_owned();
                attribute(&mut record, "dest", to);
                if *docker && door.built.len() > 1 {
                    return Err(CommandError::user(
                        "docker exporter does not currently support exporting manifest lists",
                    )
                    .hint("`type=oci` takes several platforms"));
                }
                let release = door.release(self.settings(form, !docker)).await?;
                door.layout(&release, *docker, to).await?;
                Some((release, form))
            }
            Output::Image { form, push, .. } => {
                record.kind = if *push { "registry" } else { "image" }.to_owned();
                let release = door.release(self.settings(form, *push)).await?;
                door.image(output, &release).await?;
                Some((release, form))
            }
        };
        let Some((release, form)) = release else {
            return Ok((record, None));
        };
        record.names = release.names.iter().map(ToString::to_string).collect();
        record.digest = Some(release.digest().to_string());
        if let Some(packing) = &form.packing {
            attribute(&mut record, "compression", packing.encoding.compression());
        }
        Ok((record, Some(release)))
    }

    fn settings(&self, form: &Form, leaves: bool) -> ReleaseSettings {
        let annotations = form.annotations.iter().chain(&self.annotations);
        ReleaseSettings {
            names: if self.names.is_empty() {
                form.names.clone()
            } else {
                self.names.clone()
            },
            packing: form.packing,
            annotations: Annotations(annotations.cloned().collect()),
            keep_times: form.rewrite_timestamp == Some(false),
            leaves,
            oci_artifact: form.oci_artifact,
        }
    }
}

/// `--push` with outputs: what goes into the store goes to its registry as well.
fn push_images(outputs: &mut [Output]) -> bool {
    let mut any = false;
    for output in outputs {
        if let Output::Image { form, push, .. } = output {
            *push = true;
            form.packing.get_or_insert_with(Packing::default);
            any = true;
        }
    }
    any
}

/// Counts what goes to standard output.
fn check(to: &Destination, kind: &str) -> Result<usize, CommandError> {
    match to {
        Destination::Stdout if io::stdout().is_terminal() => Err(CommandError::usage(format!(
            "dest file is required for {kind} exporter. refusing to write to console"
        ))),
        Destination::Stdout => Ok(1),
        Destination::File(path) if path.is_dir() => Err(CommandError::user(format!(
            "destination file {} is a directory",
            path.display()
        ))),
        Destination::File(_) => Ok(0),
        Destination::Folder(path) => check_folder(path).map(|()| 0),
    }
}

fn check_folder(path: &Path) -> Result<(), CommandError> {
    match path.exists() && !path.is_dir() {
        true => Err(CommandError::user(format!(
            "destination directory {} is a file",
            path.display()
        ))),
        false => Ok(()),
    }
}

fn attribute(record: &mut ExportRecord, key: &str, value: impl std::fmt::Display) {
    record.attributes.insert(key.to_owned(), value.to_string());
}

/// What is known of how the images came about, under buildx's names.
fn provenance(built: &[BuiltImage], metadata: &mut Map<String, Value>) {
    for one in built {
        let all = one.attestations.iter().chain(&one.default_attestations);
        let mut of_kind = all
            .into_iter()
            .filter(|about| about.predicate_type.contains(PROVENANCE));
        let Some(found) = of_kind.next() else { continue };
        let key = match built {
            [_] => "buildx.build.provenance".to_owned(),
            _ => format!("buildx.build.provenance/{}", one.platform),
        };
        metadata.insert(key, found.predicate.clone());
    }
}

/// What every output needs.
struct Door {
    store: Store,
    images: Images,
    built: Arc<[BuiltImage]>,
    progress: Progress,
}

impl Door {
    async fn local(&self, folder: &Path, split: bool) -> Result<(), CommandError> {
        let (store, images, built) = (self.store.clone(), self.images.clone(), Arc::clone(&self.built));
        let folder = folder.to_owned();
        let name = format!("exporting files to {}", folder.display());
        self.task(name, move || {
            Ok(export_local(&store, &images, &built, &folder, split)?)
        })
        .await
    }

    async fn tar(&self, to: &Destination, split: bool) -> Result<(), CommandError> {
        let (store, images, built) = (self.store.clone(), self.images.clone(), Arc::clone(&self.built));
        let name = format!("exporting tarball to {to}");
        let to = to.clone();
        self.task(name, move || {
            to_file(&to, |out| export_tar(&store, &images, &built, split, out))
        })
        .await
    }

    async fn release(&self, settings: ReleaseSettings) -> Result<Arc<Release>, CommandError> {
        let (images, built) = (self.images.clone(), Arc::clone(&self.built));
        let work = move || Ok(Arc::new(Release::new(&images, &built, &settings)?));
        self.task("exporting layers".to_owned(), work).await
    }

    async fn layout(
        &self,
        release: &Arc<Release>,
        docker: bool,
        to: &Destination,
    ) -> Result<(), CommandError> {
        let (images, release) = (self.images.clone(), Arc::clone(release));
        let kind = if docker { "docker" } else { "oci" };
        let name = format!("exporting to {kind} image format in {to}");
        let to = to.clone();
        let write = move || {
            let descriptor = release.dated_descriptor();
            let layout = Layout {
                images: &release.images,
                index: release.index.as_ref(),
                descriptor: &descriptor,
                names: &release.names,
                docker,
            };
            match &to {
                Destination::Folder(folder) => Ok(images.write_layout_folder(&layout, folder)?),
                to => to_file(to, |out| Ok(images.write_layout(&layout, out)?)),
            }
        };
        self.task(name, write).await
    }

    async fn image(&self, output: &Output, release: &Arc<Release>) -> Result<(), CommandError> {
        let &Output::Image {
            store,
            push,
            by_digest,
            name_canonical,
            unpack,
            ..
        } = output
        else {
            return Ok(());
        };
        let images = &self.images;
        if store {
            release.keep(images)?;
            for name in &release.names {
                self.progress.start(format!("naming to {name}")).done();
            }
        }
        if unpack {
            let (images, release) = (images.clone(), Arc::clone(release));
            let unpack = move || {
                for image in &release.images {
                    images.snapshot(image)?;
                }
                Ok(())
            };
            self.task("unpacking".to_owned(), unpack).await?;
        }
        for name in release.names.iter().filter(|_| push) {
            let reference = match by_digest {
                true => name.with_digest(release.digest()),
                false => name.clone(),
            };
            match &release.index {
                Some(index) => {
                    images
                        .push_index(&reference, &release.images, index, &self.progress)
                        .await?
                }
                None => {
                    images
                        .push_image(&reference, &release.images[0], &self.progress)
                        .await?
                }
            };
        }
        if store && (push || name_canonical) {
            for name in &release.names {
                images.note_pushed(name, release.digest(), &release.images)?;
            }
        }
        Ok(())
    }

    /// Does blocking work under a name.
    async fn task<T: Send + 'static>(
        &self,
        name: String,
        work: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let task = self.progress.start(name);
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match &done {
            Ok(_) => task.done(),
            Err(error) => task.failed(error),
        }
        done
    }
}

/// Writes an archive: what was there stays until the new one is whole.
fn to_file(
    to: &Destination,
    write: impl FnOnce(&mut dyn Write) -> Result<(), BuildError>,
) -> Result<(), CommandError> {
    let path = match to {
        Destination::File(path) | Destination::Folder(path) => path,
        Destination::Stdout => {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            write(&mut out)?;
            return Ok(out.flush()?);
        }
    };
    let wrong = || format!("cannot write `{}`", path.display());
    write_atomically(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out).map_err(|error| CommandError::internal(wrong(), error))?;
        out.flush()
            .map_err(|error| CommandError::internal(wrong(), error))
    })
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) | Self::Folder(path) => path.display().fmt(f),
        }
    }
}

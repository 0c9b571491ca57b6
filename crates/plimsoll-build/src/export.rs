//! Results for elsewhere: images as they go out, folders, plain archives.
//!
//! | exporter | here | then |
//! | --- | --- | --- |
//! | `image`, `registry`, `oci`, `docker` | [`Release`]: layers packed, times rewritten, annotated, listed in an index | stored, pushed or written as a layout by the image crate |
//! | `local` | [`export_local`] | |
//! | `tar` | [`export_tar`] | |

mod annotations;
mod local;
mod release;
mod tar;

use plimsoll_image::Images;
use plimsoll_store::{MergedTree, Store};

use crate::BuiltImage;
use crate::error::BuildError;

pub use annotations::{Annotation, AnnotationLevel, Annotations};
pub use local::export_local;
pub use release::{Release, ReleaseSettings};
pub use tar::{export_tar, write_tar};

/// Returns the files of a built image; none for one without layers.
fn files(store: &Store, images: &Images, built: &BuiltImage) -> Result<Option<MergedTree>, BuildError> {
    let Some(snapshot) = images.snapshot(&built.image)? else {
        return Ok(None);
    };
    Ok(Some(MergedTree::new(store.snapshots().layers(snapshot)?)))
}

/// Returns the folder of a platform where several are exported side by side: `linux_arm64`.
fn platform_folder(built: &BuiltImage) -> String {
    built.platform.to_string().replace('/', "_")
}

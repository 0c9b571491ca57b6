//! `manifest`: lists of images, put together here and pushed as one.
//!
//! A list that is not pushed yet is a file below `manifest-lists/` of the root, as Docker keeps it in its own folder.

pub(crate) mod annotate;
pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod push;
pub(crate) mod rm;

use std::fs;
use std::io::{self, Write as _};

use camino::Utf8PathBuf;
use plimsoll_oci::ImageRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;

/// A list in the making.
#[derive(Default, Serialize, Deserialize)]
struct List {
    entries: Vec<Entry>,
}

/// One image of it.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// As it was named.
    name: String,
    descriptor: Map<String, Value>,
}

impl List {
    /// Reads a list, if there is one of that name.
    fn load(context: &Context, name: &ImageRef) -> Result<Option<Self>, CommandError> {
        let path = path(context, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CommandError::internal(format!("cannot read `{path}`"), error)),
        };
        let list = serde_json::from_slice(&text);
        list.map(Some)
            .map_err(|error| CommandError::internal(format!("cannot read `{path}`"), error))
    }

    /// As [`List::load`]; one that is not there is an error.
    fn get(context: &Context, name: &ImageRef) -> Result<Self, CommandError> {
        match Self::load(context, name)? {
            Some(list) => Ok(list),
            None => Err(CommandError::user(format!("No such manifest: {name}"))
                .hint("make it with `plimsoll manifest create`")),
        }
    }

    fn save(&self, context: &Context, name: &ImageRef) -> Result<(), CommandError> {
        let path = path(context, name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_vec(self).expect("a list is JSON");
        write_atomically(path.as_std_path(), |file| Ok(file.write_all(&text)?))
    }

    fn remove(context: &Context, name: &ImageRef) -> Result<(), CommandError> {
        Ok(fs::remove_file(path(context, name))?)
    }
}

fn path(context: &Context, name: &ImageRef) -> Utf8PathBuf {
    let file = name.to_string().replace(['/', ':'], "_");
    context.root().join("manifest-lists").join(file)
}

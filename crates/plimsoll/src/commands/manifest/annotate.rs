//! `manifest annotate`

use std::process::ExitCode;

use plimsoll_oci::ImageRef;
use serde_json::{Map, Value};

use super::List;
use crate::command_error::CommandError;
use crate::context::Context;

/// Say what an image of a list is for
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: ImageRef,
    /// The image, as it was named
    #[arg(value_name = "MANIFEST")]
    manifest: ImageRef,
    /// Processor
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Features of the operating system that it needs
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Variant of the processor
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut list = List::get(context, &args.list)?;
    let wanted = args.manifest.to_string();
    let Some(entry) = list.entries.iter_mut().find(|entry| entry.name == wanted) else {
        let message = format!("manifest for image `{wanted}` does not exist in `{}`", args.list);
        return Err(CommandError::user(message));
    };
    let platform = entry
        .descriptor
        .entry("platform")
        .or_insert_with(|| Map::new().into());
    let fields = [
        ("architecture", args.arch),
        ("os", args.os),
        ("os.version", args.os_version),
        ("variant", args.variant),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            platform[name] = value.into();
        }
    }
    if !args.os_features.is_empty() {
        platform["os.features"] = args.os_features.into_iter().map(Value::from).collect();
    }
    list.save(context, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

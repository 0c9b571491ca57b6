//! `image inspect`

use std::collections::BTreeMap;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_image::{Image, Images};
use plimsoll_oci::{ContainerConfig, ImageRef, Platform};
use serde_json::{Value, json};

use super::inspect::Output;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show all there is to know about images
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names or IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    output: Output,
    /// Fail if the image is for another platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    args.output.print(context, &args.images, |name| {
        describe(&images, &images.get_for(name, args.platform.as_ref())?)
    })
}

/// Returns Docker's object for an image.
pub(crate) fn describe(images: &Images, image: &Image) -> Result<Value, CommandError> {
    let familiar = |names: Vec<ImageRef>| names.iter().map(ImageRef::familiar).collect::<Vec<_>>();
    let config = &image.config;
    let last = config.history.last();
    let tagged = images
        .tagged(image)?
        .and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok());
    let mut value = json!({
        "Id": image.id,
        "RepoTags": familiar(images.names(image)?),
        "RepoDigests": familiar(images.digests(image)?),
        "Parent": "",
        "Comment": last.and_then(|step| step.comment.as_deref()).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": images.size(image)?,
        "GraphDriver": {"Data": layer_directories(images, image)?, "Name": "overlay2"},
        "RootFS": {"Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": tagged.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())},
        "Descriptor": {
            "mediaType": image.manifest.media_type(),
            "digest": image.manifest_digest,
            "size": images.manifest_size(image)?,
        },
        "Config": describe_config(&config.config),
    });
    if let Some(variant) = &config.variant {
        value["Variant"] = variant.as_str().into();
    }
    Ok(value)
}

/// Where the layers are, as Docker's storage driver `overlay2` says it; nothing of an image without layers.
fn layer_directories(images: &Images, image: &Image) -> Result<Value, CommandError> {
    let layers = images.layer_directories(image)?;
    let Some((upper, lowers)) = layers.split_first() else {
        return Ok(Value::Null);
    };
    let mut data = json!({"UpperDir": upper});
    if !lowers.is_empty() {
        let lowers: Vec<_> = lowers.iter().map(|layer| layer.to_string_lossy()).collect();
        data["LowerDir"] = lowers.join(":").into();
    }
    Ok(data)
}

/// Docker's `Config` object, its fields sorted: some are always there, the others only if the image says something.
fn describe_config(config: &ContainerConfig) -> Value {
    const ALWAYS: [&str; 6] = ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"];
    let mut fields: BTreeMap<String, Value> = ALWAYS.map(|field| (field.to_owned(), Value::Null)).into();
    fields.extend(["User", "WorkingDir"].map(|field| (field.to_owned(), json!(""))));
    if let Ok(Value::Object(known)) = serde_json::to_value(config) {
        fields.extend(known);
    }
    fields.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_does_not_say_is_there_and_empty() {
        let config: ContainerConfig = serde_json::from_value(json!({
            "User": "app",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        }))
        .unwrap();
        let value = describe_config(&config);
        assert_eq!(value["User"], "app");
        assert_eq!(value["Labels"], Value::Null);
        assert_eq!(value["Healthcheck"]["Interval"], 1_000_000_000);
        assert_eq!(value["WorkingDir"], "");
    }
}

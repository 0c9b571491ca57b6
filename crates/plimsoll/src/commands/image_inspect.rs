//! `image inspect`

use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_image::{Image, Images};
use plimsoll_oci::{ContainerConfig, ImageRef};
use serde_json::{Map, Value, json};

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
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "OS/ARCH")]
    platform: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    args.output.print(context, &args.images, |name| {
        describe(&images, &images.get(name)?)
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
        "Config": describe_config(&config.config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": images.size(image)?,
        "RootFS": {"Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": tagged.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())},
        "Descriptor": {
            "mediaType": image.manifest.media_type(),
            "digest": image.manifest_digest,
        },
    });
    if let Some(variant) = &config.variant {
        value["Variant"] = variant.as_str().into();
    }
    Ok(value)
}

/// Docker's `Config` object: fields that always are there come first, with the values of an image that says nothing.
fn describe_config(config: &ContainerConfig) -> Value {
    let mut object: Map<String, Value> = [
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("User", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Env", Value::Null),
        ("Cmd", Value::Null),
        ("Image", json!("")),
        ("Volumes", Value::Null),
        ("WorkingDir", json!("")),
        ("Entrypoint", Value::Null),
        ("OnBuild", Value::Null),
        ("Labels", Value::Null),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    if let Ok(Value::Object(known)) = serde_json::to_value(config) {
        object.extend(known);
    }
    Value::Object(object)
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

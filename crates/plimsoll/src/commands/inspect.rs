//! `inspect`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::ContainerError;
use plimsoll_image::ImageError;
use serde_json::Value;

use super::containers::containers;
use super::image_inspect::describe;
use super::network_inspect::network;
use crate::command_error::{CommandError, Kind};
use crate::context::Context;
use crate::output::json;
use crate::output::template::Template;

/// Show everything about containers and images
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Look for this kind only: `container`, `image` or `network`
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container", "image", "network"])]
    kind: Option<String>,
    /// Containers or images, by name or id
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// How to print what was found.
#[derive(clap::Args)]
pub(crate) struct Output {
    /// Print `json` or what a Go template says, such as `{{.State.Status}}`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted for Docker's sake
    #[arg(short, long, hide = true)]
    size: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let kind = args.kind.as_deref();
    args.output.print(context, &args.names, |name| match kind {
        Some("container") => container(context, name),
        Some("network") => network(context, name),
        Some(_) => image(context, name),
        None => either(context, name),
    })
}

impl Output {
    /// Prints what `find` returns for each name; one that is not found does not hide the others.
    pub(crate) fn print(
        &self,
        context: &Context,
        names: &[String],
        find: impl Fn(&str) -> Result<Value, CommandError>,
    ) -> Result<ExitCode, CommandError> {
        let template = self
            .format
            .as_deref()
            .filter(|format| *format != "json")
            .map(Template::parse)
            .transpose()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for name in names {
            match find(name) {
                Ok(value) => found.push(value),
                Err(error) => errors.push(error),
            }
        }
        let mut out = context.stdout();
        match (template, &self.format) {
            (Some(template), _) => {
                for value in &mut found {
                    fill(value);
                    writeln!(out, "{}", template.render_typed(value, nothing)?)?;
                }
            }
            (None, Some(_)) => writeln!(out, "{}", Value::Array(found))?,
            (None, None) => writeln!(out, "{}", json::pretty(&Value::Array(found)))?,
        }
        drop(out);
        let codes = errors.iter().map(|error| context.report(error));
        Ok(codes.last().unwrap_or(ExitCode::SUCCESS))
    }
}

/// Fields that Docker leaves out of the JSON when they are empty, while its templates see an empty value.
const LEFT_OUT: &[(&str, &str)] = &[
    ("State", "Health"),
    ("Config", "ExposedPorts"),
    ("Config", "Healthcheck"),
    ("Config", "OnBuild"),
    ("Config", "Shell"),
    ("Config", "StopSignal"),
    ("Config", "StopTimeout"),
    ("Config", "Volumes"),
];

/// Adds what was left out, so that `{{if .State.Health}}` can be asked of every container.
fn fill(value: &mut Value) {
    for (part, field) in LEFT_OUT {
        if let Some(fields) = value.get_mut(part).and_then(Value::as_object_mut) {
            fields.entry(*field).or_insert(Value::Null);
        }
    }
}

/// What Docker's templates print for a field that is null. JSON does not say what it would hold, its name does.
fn nothing(field: &str) -> &'static str {
    const LISTS: &[&str] = &[
        "Aliases",
        "Binds",
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeightDevice",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "Config",
        "DNSNames",
        "DeviceCgroupRules",
        "DeviceRequests",
        "Devices",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "ExtraHosts",
        "GroupAdd",
        "Layers",
        "Links",
        "MaskedPaths",
        "Mounts",
        "OnBuild",
        "ReadonlyPaths",
        "RepoDigests",
        "RepoTags",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
        "SecurityOpt",
        "Shell",
        "Ulimits",
        "VolumesFrom",
    ];
    const MAPS: &[&str] = &[
        "Annotations",
        "Containers",
        "Data",
        "DriverOpts",
        "ExposedPorts",
        "Labels",
        "Networks",
        "Options",
        "PortBindings",
        "Ports",
        "Status",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    ];
    match field {
        "StopSignal" => "",
        field if LISTS.contains(&field) => "[]",
        field if MAPS.contains(&field) => "map[]",
        _ => "<nil>",
    }
}

/// What Docker prints for a container.
pub(crate) fn container(context: &Context, name: &str) -> Result<Value, CommandError> {
    let containers = containers(context)?;
    let container = containers.get(name)?;
    containers.revive(&container)?;
    Ok(containers.inspect(&container))
}

fn image(context: &Context, name: &str) -> Result<Value, CommandError> {
    let images = context.images()?;
    describe(&images, &images.get(name)?)
}

/// A container if there is one of that name, else an image, else a network.
fn either(context: &Context, name: &str) -> Result<Value, CommandError> {
    let containers = containers(context)?;
    let suggestion = match containers.get(name) {
        Ok(container) => return Ok(containers.inspect(&container)),
        Err(ContainerError::NotFound { suggestion, .. }) => suggestion,
        Err(error) => return Err(error.into()),
    };
    let images = context.images()?;
    let suggestion = match images.get(name) {
        Ok(image) => return describe(&images, &image),
        Err(ImageError::NotFound { nearest, .. }) => suggestion.or(nearest),
        Err(error) => return Err(error.into()),
    };
    match network(context, name) {
        Err(error) if error.kind == Kind::NotFound => {}
        found => return found,
    }
    let error = CommandError::not_found(format!("No such object: {name}"));
    Err(match suggestion {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None => error,
    })
}

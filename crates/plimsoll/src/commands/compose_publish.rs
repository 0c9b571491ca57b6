//! `compose publish`
//!
//! What is published is the project with its files merged and its `${}` left as they are, so that one file holds all of
//! it; files of variables go along under names of their own. `compose -f oci://NAME` reads it, Docker's too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use plimsoll_check::secret;
use plimsoll_compose_file::{Project, to_yaml};
use plimsoll_oci::{Digest, ImageRef};
use plimsoll_registry::{Pushing, Registry};
use serde_json::{Value, json};

use super::asking::confirm;
use super::compose::remote::{EMPTY, ENV_FILE, ENV_FILE_NAME, FILE, FILE_NAME, PROJECT};
use super::compose::{VERSION, project};
use super::compose_config::{digests, pin};
use crate::command_error::CommandError;
use crate::context::Context;

/// Put a project into a registry, for `compose -f oci://NAME`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name images by their digest
    #[arg(long)]
    resolve_image_digests: bool,
    /// Publish values of variables without asking
    #[arg(long)]
    with_env: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    yes: bool,
    /// Refused: images are not published with the project
    #[arg(long, hide = true)]
    app: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "VERSION")]
    oci_version: Option<String>,
    /// Where: a name as of an image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: ImageRef,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.app {
        return Err(
            CommandError::user("`--app` is refused: images are not published with the project").hint(
                "`plimsoll compose push` sends them, and `--resolve-image-digests` names them for good",
            ),
        );
    }
    let project = project(context, |options| {
        options.no_interpolate = true;
        options.no_env_resolution = true;
        options.no_normalize = true;
        options.no_path_resolution = true;
        options.profiles = vec!["*".to_owned()];
    })?;
    let mut value = project.to_yaml();
    check(&value, &args, context)?;
    let files = take_env_files(&mut value, &project)?;
    if args.resolve_image_digests {
        pin(&mut value, &digests(&project, context).await?, false);
    }
    if context.compose().dry_run {
        writeln!(context.stdout(), "{}", args.repository.familiar())?;
        return Ok(ExitCode::SUCCESS);
    }
    let registry = context.registry()?;
    let digest = push(&registry, &args.repository, &to_yaml(&value), &files).await?;
    writeln!(context.stderr(), "{} published", args.repository.familiar())?;
    writeln!(context.stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

fn services(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value["services"].as_object().into_iter().flatten()
}

/// Whether others can use it, and whether it tells them more than it should.
fn check(value: &Value, args: &Args, context: &Context) -> Result<(), CommandError> {
    let mut asked = Vec::new();
    for (name, service) in services(value) {
        if service.get("image").is_none() && service.get("build").is_some() {
            return Err(CommandError::user(format!(
                "service `{name}` has only a `build`: others could not run it"
            ))
            .hint("give it an `image:`, and push that before"));
        }
        let binds = service["volumes"].as_array().into_iter().flatten();
        if binds.into_iter().any(|mount| mount["type"] == "bind") {
            asked.push(format!(
                "service `{name}` mounts files of this machine, which do not go along"
            ));
        }
        if args.with_env {
            continue;
        }
        for (variable, given) in service["environment"].as_object().into_iter().flatten() {
            let Some(text) = given.as_str().filter(|text| !text.contains("${")) else {
                continue;
            };
            if let Some(found) = secret::of_variable(variable, text) {
                let message = format!("service `{name}`: the value of `{variable}` is {}", found.kind);
                return Err(CommandError::user(message)
                    .hint("write it as `${VARIABLE}`; `--with-env` publishes it all the same"));
            }
        }
        if service.get("env_file").is_some() {
            asked.push(format!(
                "service `{name}` has a file of variables, which goes along"
            ));
        }
    }
    match asked.is_empty() {
        true => Ok(()),
        false => confirm(
            context,
            args.yes,
            &format!("{}.", asked.join("; ")),
            "compose publish",
        ),
    }
}

/// Names files of variables by their content; returns their bytes.
fn take_env_files(value: &mut Value, project: &Project) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
    let mut files = BTreeMap::new();
    let services = value["services"]
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut());
    for service in services {
        for file in service["env_file"].as_array_mut().into_iter().flatten() {
            let path = project.folder.join(file["path"].as_str().unwrap_or_default());
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(_) if file["required"] == false => continue,
                Err(error) => return Err(CommandError::user(format!("cannot read `{path}`: {error}"))),
            };
            let name = format!("{}.env", &Digest::of(&bytes).hex()[..32]);
            file["path"] = Value::from(name.as_str());
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

async fn push(
    registry: &Registry,
    reference: &ImageRef,
    text: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Digest, CommandError> {
    let version = |key: &str, name: &str| json!({ "com.docker.compose.version": VERSION, key: name });
    let mut layers = vec![
        layer(
            registry,
            reference,
            FILE,
            text.as_bytes(),
            version(FILE_NAME, "compose.yaml"),
        )
        .await?,
    ];
    for (name, bytes) in files {
        layers.push(layer(registry, reference, ENV_FILE, bytes, version(ENV_FILE_NAME, name)).await?);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": PROJECT,
        "config": layer(registry, reference, EMPTY, b"{}", Value::Null).await?,
        "layers": layers,
    });
    let bytes = manifest.to_string().into_bytes();
    registry.push_manifest(reference, MANIFEST, &bytes).await?;
    Ok(Digest::of(&bytes))
}

async fn layer(
    registry: &Registry,
    reference: &ImageRef,
    kind: &str,
    bytes: &[u8],
    annotations: Value,
) -> Result<Value, CommandError> {
    let blob = Pushing {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        source: Arc::new(bytes.to_vec()),
        mount_from: None,
        report: Arc::new(|_| {}),
    };
    registry.push_blob(reference, &blob).await?;
    let mut descriptor = json!({ "mediaType": kind, "digest": blob.digest.to_string(), "size": blob.size });
    if !annotations.is_null() {
        descriptor["annotations"] = annotations;
    }
    Ok(descriptor)
}

//! What the container commands share: the door, errors, several names at once.

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::{Container, ContainerError, Containers};

use crate::command_error::{CommandError, Kind};
use crate::context::Context;

impl From<ContainerError> for CommandError {
    fn from(error: ContainerError) -> Self {
        match &error {
            ContainerError::NotFound { suggestion, .. } => {
                let hint = suggestion.as_ref().map(|name| format!("did you mean `{name}`?"));
                let error = Self::new(Kind::NotFound, error);
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            ContainerError::Network(network) => {
                let hint = crate::command_error::network_hint(network);
                hint.into_iter().fold(Self::new(Kind::User, error), Self::hint)
            }
            ContainerError::Start { code, message } => {
                let (code, hint) = (exit_byte(*code), device_hint(message));
                hint.into_iter()
                    .fold(Self::new(Kind::Container(code), error), Self::hint)
            }
            ContainerError::Store(_)
            | ContainerError::Database(_)
            | ContainerError::Damaged { .. }
            | ContainerError::Shim { .. }
            | ContainerError::ShimDied { .. } => Self::new(Kind::Internal, error),
            _ => Self::new(Kind::User, error),
        }
    }
}

/// What somebody misses whose devices nobody describes.
pub(crate) fn device_hint(message: &str) -> Option<String> {
    message.starts_with("could not select device driver").then(|| {
        "describe the device in /etc/cdi: `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` does so for NVIDIA's"
            .to_owned()
    })
}

/// An exit code as the kernel keeps it.
pub(crate) fn exit_byte(code: i32) -> u8 {
    u8::try_from(code & 0xff).expect("masked")
}

/// The containers of the store.
pub(crate) fn containers(context: &Context) -> Result<Containers, CommandError> {
    let containers = Containers::new(context.store()?, context.program());
    // Somebody else's death is no reason for this command to fail.
    if let Err(error) = containers.tidy_after_death() {
        tracing::debug!(%error, "could not clear away what dead processes left");
    }
    Ok(containers)
}

/// The same, for who makes new ones: as the settings say.
pub(crate) fn new_containers(context: &Context) -> Result<Containers, CommandError> {
    let settings = &context.settings()?.run;
    let userns = settings.userns.as_deref().unwrap_or_default();
    let specs = settings.cdi_spec_dirs.clone().unwrap_or_default();
    Ok(containers(context)?.with_users(userns).with_device_specs(specs))
}

/// Does `work` with each container and prints the name it was called by. One that fails does not stop the others.
pub(crate) async fn each(
    context: &Context,
    names: &[String],
    mut work: impl AsyncFnMut(&Containers, &Container) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let done = match containers.get(name) {
            Ok(container) => work(&containers, &container).await,
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(()) => writeln!(context.stdout(), "{name}")?,
            Err(error) => {
                let _ = context.report(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Returns the container if it runs.
pub(crate) fn running(containers: &Containers, name: &str) -> Result<Container, CommandError> {
    let container = containers.get(name)?;
    if container.is_running() {
        return Ok(container);
    }
    containers.revive(&container)?;
    Err(ContainerError::NotRunning(container.name).into())
}

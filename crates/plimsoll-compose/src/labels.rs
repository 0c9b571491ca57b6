//! What Docker Compose writes on its things, by which it finds them again.

use std::collections::BTreeMap;

use plimsoll_compose_file::model::Condition;

/// The project.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service.
pub const SERVICE: &str = "com.docker.compose.service";
/// The number of the container among those of its service.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// `True` for containers of `run`, and for those of `pre_start`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Tells whether the service, the network or the volume has changed since.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Id of the image.
pub const IMAGE: &str = "com.docker.compose.image";
/// `service:condition:restart`, with commas between them.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Where relative paths of the project start.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// Its files, with commas between them.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// Its files of variables, with commas between them.
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// The version that made it.
pub const VERSION: &str = "com.docker.compose.version";
/// Of a container that runs before those of a service: `pre_start`.
pub const HOOK: &str = "com.docker.compose.hook";
/// What makes the name of a container of `run` its own.
pub const SLUG: &str = "com.docker.compose.slug";
/// Of a container that takes the place of another: what that was called.
pub const REPLACE: &str = "com.docker.compose.replace";
/// The key of a network in the file.
pub const NETWORK: &str = "com.docker.compose.network";
/// The key of a volume in the file.
pub const VOLUME: &str = "com.docker.compose.volume";

/// The version of Docker Compose whose labels these are.
pub const COMPOSE_VERSION: &str = "2.40.3";

/// Labels that change with every container, or with the file's place: not what it is.
pub(crate) fn dependencies(text: &str) -> BTreeMap<String, bool> {
    let entries = text.split(',').filter(|entry| !entry.is_empty());
    let parse = |entry: &str| {
        let mut parts = entry.split(':');
        let service = parts.next().unwrap_or_default().to_owned();
        (service, parts.nth(1) == Some("true"))
    };
    entries.map(parse).collect()
}

/// Docker's word.
pub(crate) fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "service_started",
        Condition::ServiceHealthy => "service_healthy",
        Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_label() {
        let read = dependencies("db:service_healthy:true,cache:service_started:false");
        assert_eq!(
            read,
            [("cache".to_owned(), false), ("db".to_owned(), true)].into()
        );
        assert!(dependencies("").is_empty());
    }
}

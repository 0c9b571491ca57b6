//! Who a container runs as.

use plimsoll_dockerfile::InstructionKind;

use crate::facts::is_root;
use crate::view::DockerfileView;

use super::images::ImageName;

/// Who containers of an image run as, as far as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    AsRoot,
    AsSomebody,
    Unknown,
}

/// Official images that say no USER, or another only in their entry point.
const ROOT: [&str; 44] = [
    "alpine",
    "debian",
    "ubuntu",
    "fedora",
    "centos",
    "rockylinux",
    "almalinux",
    "amazonlinux",
    "archlinux",
    "busybox",
    "node",
    "python",
    "golang",
    "rust",
    "ruby",
    "php",
    "perl",
    "openjdk",
    "eclipse-temurin",
    "amazoncorretto",
    "maven",
    "gradle",
    "gcc",
    "nginx",
    "httpd",
    "haproxy",
    "tomcat",
    "postgres",
    "mysql",
    "mariadb",
    "redis",
    "mongo",
    "rabbitmq",
    "traefik",
    "caddy",
    "wordpress",
    "buildpack-deps",
    "erlang",
    "elixir",
    "swift",
    "docker",
    "bash",
    "composer",
    "oraclelinux",
];

/// What the name of an image says.
pub(super) fn of_image(name: &str) -> Runs {
    let image = ImageName::parse(name);
    let tag = image.tag.unwrap_or_default();
    let somebody = [
        "cgr.dev/",
        "bitnami/",
        "nginxinc/nginx-unprivileged",
        "dhi.io/",
        "grafana/",
        "jenkins/jenkins",
        "quay.io/keycloak/",
        "selenium/",
    ];
    let rest = image.path.strip_prefix("docker.io/").unwrap_or(image.path);
    if tag.contains("nonroot")
        || tag.contains("rootless")
        || somebody.iter().any(|start| rest.starts_with(start))
    {
        return Runs::AsSomebody;
    }
    let distroless = rest.starts_with("gcr.io/distroless/");
    match image.official() {
        Some(official) if ROOT.contains(&official) => Runs::AsRoot,
        _ if distroless => Runs::AsRoot,
        _ => Runs::Unknown,
    }
}

/// The lines that make a user and switch to it, for images that are known.
pub(super) fn draft(name: &str) -> Option<String> {
    let image = ImageName::parse(name);
    let tag = image.tag.unwrap_or_default();
    // A number needs no account, and these have no program that makes one, or not always.
    if image.path.contains("distroless") || image.official() == Some("busybox") {
        return Some("USER 65532:65532".to_owned());
    }
    let official = image.official()?;
    if official == "node" {
        return Some("USER node".to_owned());
    }
    // These have to open sockets or folders of root's before they step down by themselves.
    let services = [
        "nginx",
        "httpd",
        "haproxy",
        "postgres",
        "mysql",
        "mariadb",
        "redis",
        "mongo",
        "rabbitmq",
        "traefik",
        "caddy",
        "wordpress",
        "docker",
    ];
    if services.contains(&official) || !ROOT.contains(&official) {
        return None;
    }
    let busybox = official == "alpine" || tag.contains("alpine");
    Some(match busybox {
        true => "RUN adduser -S -D -H -u 10001 app\nUSER 10001".to_owned(),
        false => "RUN useradd --system --no-create-home --uid 10001 app\nUSER 10001".to_owned(),
    })
}

/// Whether an instruction is run by root, as far as the file says.
pub(super) fn is_root_at(view: &DockerfileView, at: usize) -> bool {
    let Some(stage) = view.step(at).stage else {
        return false;
    };
    let steps = view
        .chain(stage)
        .flat_map(|one| view.steps_of(one).rev().map(move |step| (one.index, step)));
    let mut before = steps
        .into_iter()
        .filter(|(index, step)| *index != stage.index || step.at < at);
    let last = before.find_map(|(_, step)| match step.kind() {
        InstructionKind::User(user) => Some((step.at, user)),
        _ => None,
    });
    match last {
        Some((at, user)) => view.expand(at, user).is_some_and(|user| is_root(&user)),
        None => view
            .base_image(stage)
            .is_some_and(|name| of_image(name) != Runs::AsSomebody),
    }
}

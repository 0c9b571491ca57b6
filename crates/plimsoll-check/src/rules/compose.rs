//! Rules about compose files.

family! { "compose":
    compose_privileged,
}

//! Rules about Dockerfiles.

family! { "dockerfile":
    maintainer_deprecated,
}

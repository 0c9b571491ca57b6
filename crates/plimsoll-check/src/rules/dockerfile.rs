//! Rules about Dockerfiles.

mod copies;
mod edits;
mod images;
mod packages;
mod runs;
mod unpinned;

family! { "dockerfile":
    add_not_copy,
    apk_unpinned,
    apt_lists_left,
    apt_recommends,
    apt_unpinned,
    cd_in_run,
    copy_relative_no_workdir,
    dnf_unpinned,
    gem_unpinned,
    go_install_unpinned,
    image_latest,
    maintainer_deprecated,
    npm_unpinned,
    pip_cache,
    pip_unpinned,
    pipefail_missing,
    run_consecutive,
    secret_in_env,
    shell_form_command,
    user_not_numeric,
    yum_unpinned,
    zypper_unpinned,
}

#[cfg(test)]
mod tests;

//! Rules about Dockerfiles.

mod copies;
mod edits;
mod images;
mod packages;
mod runs;
mod unpinned;
mod variables;

family! { "dockerfile":
    add_archive,
    add_not_copy,
    apk_unpinned,
    apt_lists_left,
    apt_recommends,
    apt_unpinned,
    arg_in_from_empty,
    arg_in_from_undefined,
    base_image_platform_mismatch,
    cd_in_run,
    copy_from_self,
    copy_from_unknown,
    copy_many_no_slash,
    copy_relative_no_workdir,
    definition_comment,
    dnf_unpinned,
    empty_continuation,
    env_legacy_form,
    env_self_reference,
    expose_case,
    expose_form,
    expose_range,
    expose_ssh,
    from_as_case,
    gem_unpinned,
    go_install_unpinned,
    image_latest,
    instruction_case,
    instruction_order,
    instructions_repeated,
    maintainer_deprecated,
    npm_unpinned,
    onbuild_forbidden,
    pip_cache,
    pip_unpinned,
    pipefail_missing,
    platform_constant,
    platform_redundant,
    run_consecutive,
    secret_in_env,
    shell_changed_by_link,
    shell_form_command,
    stage_case,
    stage_duplicate,
    stage_reserved,
    useless_command,
    user_not_numeric,
    variable_undefined,
    volume_system_dir,
    workdir_relative,
    workdir_system_dir,
    yum_unpinned,
    zypper_unpinned,
}

#[cfg(test)]
mod tests;

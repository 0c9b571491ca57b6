//! Rules about what only shows where two files meet.

mod tools;

family! { "cross":
    compose_arg_unknown,
    compose_port_not_exposed,
    compose_target_unknown,
    copy_ignored_file,
    depends_on_unhealthy_target,
    healthcheck_tool_missing,
    volume_not_writable,
}

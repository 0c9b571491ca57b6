//! Rules about build contexts and `.dockerignore`.

pub(in crate::rules) mod sent;

family! { "context":
    dockerignore_incomplete,
    dockerignore_missing,
    secret_file_copied,
}

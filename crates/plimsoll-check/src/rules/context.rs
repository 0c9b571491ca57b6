//! Rules about build contexts and `.dockerignore`.

family! { "context":
}

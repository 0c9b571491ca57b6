//! Rules about what only shows where two files meet.

family! { "cross":
}

//! Findings of the checker itself: what it cannot read, and what it is told not to say.

family! { "engine":
    syntax_error,
}

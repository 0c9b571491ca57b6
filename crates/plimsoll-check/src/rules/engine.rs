//! Findings of the checker itself: what it cannot read, and what it is told not to say.

family! { "engine":
    suppression_ended,
    suppression_present,
    suppression_unknown,
    suppression_unused,
    syntax_error,
}

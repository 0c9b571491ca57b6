//! What varies from run to run, for `insta`'s filters.

/// Returns pairs of regular expression and replacement, for `insta::Settings::add_filter`.
pub fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]"),
        (r"\b[0-9a-f]{64}\b", "[ID64]"),
        (r"\b[0-9a-f]{12}\b", "[ID12]"),
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d( UTC)?)?",
            "[TIME]",
        ),
        (
            r"(Less than a second|About an? (minute|hour)|\d+ (second|minute|hour|day|week|month|year)s?) ago",
            "[AGE] ago",
        ),
        (r"\b\d+(\.\d+)?(B|kB|MB|GB)\b", "[SIZE]"),
        (r"\b\d+\.\d+s\b", "[SECONDS]"),
        (r"(?m)^(#\d+) \d+\.\d{3} ", "$1 [SECONDS] "),
        (r"(127\.0\.0\.1|0\.0\.0\.0|\[::\]):\d+", "$1:[PORT]"),
        (r"builds/[0-9a-z]{25}", "builds/[BUILD]"),
        (r"/tmp/plimsoll-test-[A-Za-z0-9]+", "[SANDBOX]"),
    ]
}

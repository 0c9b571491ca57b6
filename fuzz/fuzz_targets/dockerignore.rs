//! A `.dockerignore` and a path below its context.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::IgnoreFile;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let Ok(ignore) = IgnoreFile::parse(&Source::new(".dockerignore", text)) else {
        return;
    };
    ignore.excludes(path);
    // A walk asks this of clean paths.
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    for length in 1..parts.len() {
        let folder = parts[..length].join("/");
        if ignore.excludes(&folder) && !ignore.may_include_below(&folder) {
            assert!(ignore.excludes(&parts.join("/")), "{folder} is skipped");
        }
    }
});

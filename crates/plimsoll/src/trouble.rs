//! Troubles of the machine, which any command may meet: what to do about them.

use camino::Utf8Path;

/// Returns the way out of a machine's trouble, if an error tells of one.
///
/// By its words: much of what fails does so in other processes, and comes here as text.
pub(crate) fn hint(error: &str, root: &Utf8Path) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if says(&["(os error 28)", "database or disk is full"]) {
        return Some(full(root));
    }
    if says(&["(os error 122)"]) {
        return Some(format!(
            "the disk quota for `{root}` is used up; `quota` shows it"
        ));
    }
    says(&["(os error 30)", "readonly database"]).then(|| {
        format!(
            "the file system of `{root}` is mounted read-only; after an error of the disk the kernel does that by itself \
             (`dmesg`). `--root DIR` uses another folder"
        )
    })
}

fn full(root: &Utf8Path) -> String {
    let space = rustix::fs::statvfs(root.as_std_path());
    match space {
        Ok(space) if space.f_bavail > 0 && space.f_favail == 0 => {
            format!(
                "the file system of `{root}` has room, but no inodes for more files (`df -i`); `plimsoll system prune` frees some"
            )
        }
        _ => format!(
            "`df {root}` shows how full it is; `plimsoll system prune` makes room, and needs a little itself"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_known_by_their_words() {
        let hint = |text: &str| hint(text, Utf8Path::new("/nowhere"));
        assert!(
            hint("cannot write `x`: No space left on device (os error 28)")
                .is_some_and(|hint| hint.contains("df /nowhere"))
        );
        assert!(hint("cannot use the store's database: database or disk is full").is_some());
        assert!(hint("Read-only file system (os error 30)").is_some_and(|hint| hint.contains("read-only")));
        assert!(hint("attempt to write a readonly database").is_some());
        assert!(hint("Disk quota exceeded (os error 122)").is_some());
        assert_eq!(hint("no such image (os error 2)"), None);
    }
}

//! Options of mounts, understood and refused.

use super::*;

fn word(text: &str) -> (Source, Word) {
    let source = Source::new("Dockerfile", format!("RUN --mount={text} true\n"));
    let value = text.to_owned();
    let span = Span::new(12, 12 + text.len());
    (source, Word { value, span })
}

fn understood(text: &str) -> MountKind {
    let (source, word) = word(text);
    let expand = |word: &Word| Ok(word.value.replace("$V", "v"));
    parse(&source, &word, &expand)
        .unwrap_or_else(|error| panic!("{text}: {}", error.message))
        .kind
}

fn refused(text: &str) -> String {
    let (source, word) = word(text);
    let expand = |word: &Word| Ok(word.value.clone());
    let diagnostic = parse(&source, &word, &expand).expect_err(text);
    let place = diagnostic.source.slice(diagnostic.span().unwrap()).to_owned();
    format!(
        "{place} | {} | {}",
        diagnostic.message,
        diagnostic.help.unwrap_or_default()
    )
}

#[test]
fn defaults_and_every_option() {
    let source = |text: &str, start: usize| {
        Some(Word {
            value: text.to_owned(),
            span: Span::new(start, start + text.len()),
        })
    };
    assert_eq!(
        understood("target=/x"),
        MountKind::Bind {
            target: "/x".into(),
            source: None,
            writable: false
        }
    );
    assert_eq!(
        understood("type=bind,src=a/b,dst=x,readwrite,from=$V"),
        MountKind::Bind {
            target: "x".into(),
            source: source("a/b", 26),
            writable: true
        }
    );
    assert_eq!(
        understood("type=cache,target=/c/$V,id=i,sharing=locked,mode=0700,uid=1,gid=2,ro"),
        MountKind::Cache {
            target: "/c/v".into(),
            id: Some("i".into()),
            source: None,
            sharing: Sharing::Locked,
            read_only: true,
            permissions: Permissions {
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2)
            },
        }
    );
    assert_eq!(
        understood("type=tmpfs,destination=/t,size=64m"),
        MountKind::Tmpfs {
            target: "/t".into(),
            size: Some(64 << 20)
        }
    );
    let secret = |id: &str, target: Option<&str>, env: Option<&str>| MountKind::Secret {
        id: id.into(),
        target: target.map(Into::into),
        env: env.map(Into::into),
        required: false,
        permissions: Permissions::default(),
    };
    assert_eq!(
        understood("type=secret,id=a"),
        secret("a", Some("/run/secrets/a"), None)
    );
    assert_eq!(
        understood("type=secret,target=/root/.npmrc"),
        secret(".npmrc", Some("/root/.npmrc"), None)
    );
    assert_eq!(understood("type=secret,id=a,env=A"), secret("a", None, Some("A")));
    assert_eq!(
        understood("type=secret,id=a,env=A,target=/f"),
        secret("a", Some("/f"), Some("A"))
    );
    assert_eq!(
        understood("type=ssh,required=true"),
        MountKind::Ssh {
            id: "default".into(),
            target: None,
            required: true,
            permissions: Permissions::default()
        }
    );
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let table = [
        (
            "type=cahce,target=/x",
            "cahce | `cahce` is not a type of mount | did you mean `cache`?",
        ),
        (
            "type=cache,taget=/x",
            "taget | `taget` is not an option of a mount | did you mean `target`?",
        ),
        (
            "type=cache,target=/x,sharing=lokced",
            "lokced | `lokced` is not a way of sharing a cache | did you mean `locked`?",
        ),
        (
            "type=bind,target=/x,uid=3",
            "uid | `uid` is not an option of a mount of type bind | it is for cache, secret, ssh",
        ),
        (
            "type=secret,id=a,from=b",
            "from | `from` is not an option of a mount of type secret | it is for bind, cache",
        ),
        (
            "type=cache,target=/",
            "/ | `/` cannot be the target of a mount | ",
        ),
        (
            "type=cache,target=/a/..",
            "/a/.. | `/a/..` cannot be the target of a mount | ",
        ),
        (
            "type=cache",
            "type=cache | a mount of type cache needs a target | add `target=PATH`",
        ),
        (
            "type=secret",
            "type=secret | a mount of type secret needs an id | add `id=NAME`, the NAME of `--secret id=NAME,src=FILE`",
        ),
        (
            "type=secret,id=a,mode=9",
            "9 | `9` is not a mode | use octal digits such as `0755`",
        ),
        (
            "type=secret,id=a,uid=node",
            "node | `node` is not a uid | use a number: names are not looked up here",
        ),
        ("target=/a,dst=/b", "dst | `dst` is given twice | "),
        (
            "type=secret,id=a,required=yes",
            "yes | `required` is `true` or `false`, not `yes` | ",
        ),
        ("target", "target | `target` needs a value: `target=VALUE` | "),
        (
            "type=tmpfs,target=/t,size=many",
            "many | `many` is not a size | write bytes, or a number with k, m or g: `64m`",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn from_is_found_without_expanding() {
    let (_, found) = word("type=bind,from=Deps,target=/x");
    assert_eq!(from_word(&found).unwrap().value, "Deps");
    assert_eq!(from_word(&word("target=/x,from=").1), None);
}

#[test]
fn sizes() {
    assert_eq!(size("1024"), Some(1024));
    assert_eq!(size("2GB"), Some(2 << 30));
    assert_eq!(size("9999999999t"), None);
    assert_eq!(size("x"), None);
}

use std::fs;

use super::*;

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";
const STATUS: &str = "Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9+deb12u9)
Version: 2.36-9+deb12u9+b1
Description: GNU C Library
 Package: not a package

Package: left
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b7
";

/// A tree of layers, top first, each with files.
fn tree(folder: &Path, layers: &[&[(&str, &str)]]) -> MergedTree {
    let make = |(at, files): (usize, &&[(&str, &str)])| {
        let root = folder.join(at.to_string());
        for (path, text) in files.iter() {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    };
    MergedTree::new(layers.iter().enumerate().map(make).collect())
}

fn purls(layers: &[&[(&str, &str)]]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let inventory = Inventory::of(&tree(folder.path(), layers)).unwrap();
    inventory
        .packages
        .into_iter()
        .map(|package| package.purl)
        .collect()
}

#[test]
fn dpkg_says_what_is_installed() {
    let layers: &[&[(&str, &str)]] = &[&[("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS)]];
    assert_eq!(
        purls(layers),
        [
            "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9%2Bb1?arch=amd64&distro=debian-12&upstream=glibc%402.36-9%2Bdeb12u9",
        ]
    );
}

#[test]
fn distroless_has_a_file_for_each_package() {
    let layers: &[&[(&str, &str)]] = &[
        &[(
            "var/lib/dpkg/status.d/tzdata",
            "Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
        )],
        &[
            ("usr/lib/os-release", OS_RELEASE),
            (
                "var/lib/dpkg/status.d/base",
                "Package: base-files\nVersion: 12.4\n",
            ),
            ("var/lib/dpkg/status.d/base.md5sums", "00 etc/x\n"),
        ],
    ];
    assert_eq!(
        purls(layers),
        [
            "pkg:deb/debian/base-files@12.4?distro=debian-12",
            "pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-12",
        ]
    );
}

#[test]
fn apk_says_what_is_installed() {
    let installed = "C:Q1x=\nP:busybox-binsh\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\nF:bin\nR:sh\n\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\n\n";
    let layers: &[&[(&str, &str)]] = &[&[
        ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n"),
        ("lib/apk/db/installed", installed),
    ]];
    assert_eq!(
        purls(layers),
        [
            "pkg:apk/alpine/busybox-binsh@1.36.1-r29?arch=x86_64&distro=alpine-3.20.3&upstream=busybox",
            "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.3",
        ]
    );
}

#[test]
fn npm_leaves_packages_and_locks() {
    let lock = r#"{"lockfileVersion": 3, "packages": {
        "": {"name": "app", "version": "1.0.0"},
        "node_modules/left-pad": {"version": "1.3.0"},
        "node_modules/a/node_modules/@scope/b": {"version": "2.0.0"},
        "node_modules/linked": {"link": true, "resolved": "lib"}}}"#;
    let old = r#"{"lockfileVersion": 1, "dependencies": {"c": {"version": "3.0.0", "dependencies": {"d": {"version": "4.0.0"}}}}}"#;
    let layers: &[&[(&str, &str)]] = &[&[
        ("app/package.json", r#"{"name": "app", "version": "1.0.0"}"#),
        ("app/package-lock.json", lock),
        (
            "app/node_modules/left-pad/package.json",
            r#"{"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}"#,
        ),
        (
            "app/node_modules/left-pad/test/package.json",
            r#"{"name": "fixture", "version": "0.0.1"}"#,
        ),
        (
            "app/node_modules/@scope/e/package.json",
            r#"{"name": "@scope/e", "version": "5.0.0"}"#,
        ),
        ("app/node_modules/broken/package.json", "{"),
        ("old/package-lock.json", old),
    ]];
    assert_eq!(
        purls(layers),
        [
            "pkg:npm/%40scope/b@2.0.0",
            "pkg:npm/%40scope/e@5.0.0",
            "pkg:npm/c@3.0.0",
            "pkg:npm/d@4.0.0",
            "pkg:npm/left-pad@1.3.0",
        ]
    );
}

#[test]
fn pip_leaves_metadata() {
    let site = "usr/lib/python3/dist-packages";
    let requests = format!("{site}/requests-2.31.0.dist-info/METADATA");
    let yaml = format!("{site}/PyYAML-6.0.egg-info/PKG-INFO");
    let flat = format!("{site}/ruamel.base-1.0.0.egg-info");
    let layers: &[&[(&str, &str)]] = &[&[
        (
            &requests,
            "Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\nLicense: Apache 2.0\n\nName: not this\n",
        ),
        (&yaml, "Name: PyYAML\nVersion: 6.0\nLicense: UNKNOWN\n"),
        (&flat, "Name: ruamel.base\nVersion: 1.0.0\n"),
    ]];
    assert_eq!(
        purls(layers),
        [
            "pkg:pypi/pyyaml@6.0",
            "pkg:pypi/requests@2.31.0",
            "pkg:pypi/ruamel-base@1.0.0"
        ]
    );
}

#[test]
fn what_an_upper_layer_removed_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let layers: &[&[(&str, &str)]] = &[
        &[("opt/keep", "")],
        &[(
            "opt/node_modules/x/package.json",
            r#"{"name": "x", "version": "1.0.0"}"#,
        )],
    ];
    let tree = tree(folder.path(), layers);
    assert_eq!(Inventory::of(&tree).unwrap().packages.len(), 1);
    // The kernel lets only root make the device that a whiteout is.
    let whiteout = folder.path().join("0/opt/node_modules");
    let made = std::process::Command::new("mknod")
        .arg(&whiteout)
        .args(["c", "0", "0"])
        .status()
        .is_ok_and(|status| status.success());
    if made {
        assert!(Inventory::of(&tree).unwrap().packages.is_empty());
    }
}

#[test]
fn a_bill_of_materials_is_the_same_for_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let layers: &[&[(&str, &str)]] = &[&[
        ("etc/os-release", OS_RELEASE),
        ("var/lib/dpkg/status", STATUS),
        (
            "a/node_modules/x/package.json",
            r#"{"name": "x", "version": "1.0.0", "license": "MIT"}"#,
        ),
        (
            "b/node_modules/x/package.json",
            r#"{"name": "x", "version": "1.0.0"}"#,
        ),
    ]];
    let inventory = Inventory::of(&tree(folder.path(), layers)).unwrap();
    let document = SpdxDocument {
        name: "app:1",
        created: "2024-01-02T03:04:05Z",
        tool: "plimsoll-0.1.0",
        purpose: "CONTAINER",
    };
    insta::assert_json_snapshot!(document.json(&inventory));
}

//! `system reset`.

use std::path::Path;

use plimsoll_testkit::needs;

use crate::with_busybox;

#[test]
fn a_root_is_taken_away_whole() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(["create", "-v", "data:/data", "busybox"]);
    let instance = sandbox.instance().expect("a store");
    let bridge = format!("/sys/class/net/pl{instance}0");
    assert!(Path::new(&bridge).exists());

    let refused = sandbox.run(["system", "reset"]);
    assert_eq!(refused.code, 1, "nobody said yes: {refused}");
    assert!(refused.stderr.contains("Continue? [y/N]"), "{refused}");
    assert!(
        sandbox.ok(["ps", "-q"]).lines().count() == 1,
        "and nothing happened"
    );

    sandbox.ok(["system", "reset", "--force"]);
    assert!(!sandbox.root().exists());
    assert!(!Path::new(&bridge).exists());
    let tables = std::process::Command::new("nft")
        .args(["list", "tables"])
        .output()
        .expect("nft");
    assert!(!String::from_utf8_lossy(&tables.stdout).contains(&instance));

    assert_eq!(
        sandbox.ok(["system", "reset", "--force"]),
        "",
        "nothing to do is fine"
    );
    assert!(!sandbox.root().exists(), "and makes nothing");
    assert_eq!(sandbox.ok(["images", "-q"]), "", "a new store can be made there");
}

//! What images cost: `image du`, `history`, sizes in `image inspect`.

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::{assert_shows, build_ok, with_busybox};

const DOCKERFILE: &str = "FROM busybox
WORKDIR /app
RUN head -c 3000000 /dev/zero > /big && mkdir data && for n in 1 2 3; do head -c 100000 /dev/zero > data/$n; done
RUN rm /big && chmod -R 700 data
COPY hello .
CMD [\"sh\"]
";

fn built() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.write("context/hello", "hello\n");
    build_ok(&sandbox, DOCKERFILE, &[]);
    sandbox
}

fn du(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.ok(["image", "du", "--format", "json", "app"])).expect("JSON")
}

#[test]
fn every_byte_has_an_instruction_and_a_directory() {
    needs!(root, overlay);
    let sandbox = built();
    let cost = du(&sandbox);
    let number = |value: &Value| value.as_u64().expect("a number");
    let layers = cost["layers"].as_array().unwrap();
    let sizes: Vec<u64> = layers[1..].iter().map(|layer| number(&layer["size"])).collect();
    assert_eq!(sizes, [0, 3_300_000, 300_000, 6]);
    assert_eq!(layers[3]["instruction"], "RUN rm /big && chmod -R 700 data");
    assert_eq!(number(&layers[2]["wasted"]), 3_300_000);
    assert_eq!(number(&cost["wasted"]), 3_300_000);
    let total: u64 = layers.iter().map(|layer| number(&layer["size"])).sum();
    assert_eq!(number(&cost["size"]), total);
    let directories = cost["directories"].as_array().unwrap();
    let directory = |path: &str| directories.iter().find(|row| row["path"] == path).expect(path);
    assert_eq!(number(&directory("/")["size"]), total - 3_300_000);
    assert_eq!(number(&directory("/app")["size"]), 300_006);
    assert_eq!(number(&directory("/app/data")["files"]), 3);
    let waste: Vec<String> = cost["waste"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!(
                "{} {} {} by {}",
                row["cause"], row["path"], row["size"], row["by"]
            )
        })
        .collect();
    assert_eq!(
        waste,
        [
            r#""deleted" "/big" 3000000 by 4"#,
            r#""overwritten" "/app/data" 300000 by 4"#
        ]
    );
}

#[test]
fn the_tables_are_for_people() {
    needs!(root, overlay);
    let sandbox = built();
    let text = sandbox.ok(["image", "du", "--top", "2", "app"]);
    // What busybox itself takes is another in every version of it.
    let is_ours = |line: &&str| line.contains("RUN") || line.contains("FILES") || line.contains("more");
    let ours: Vec<&str> = text.lines().filter(is_ours).collect();
    assert_shows("image_du", &ours.join("\n"));
    assert_eq!(
        sandbox.ok(["image", "du", "--format", "{{.wasted}}", "app"]),
        "3300000\n"
    );
}

#[test]
fn sizes_agree_everywhere() {
    needs!(root, overlay);
    let sandbox = built();
    let total = du(&sandbox)["size"].as_u64().unwrap();
    let history = sandbox.ok(["history", "--human=false", "--format", "{{.Size}}", "app"]);
    let sum: u64 = history
        .lines()
        .map(|size| size.parse::<u64>().expect("a number"))
        .sum();
    let inspected = sandbox.ok(["image", "inspect", "-f", "{{.Size}}", "app"]);
    assert_eq!((sum, inspected.trim().parse()), (total, Ok(total)));
    assert!(history.starts_with("0\n6\n300000\n3300000\n0\n"), "{history}");
}

#[test]
fn another_platform_is_an_error() {
    needs!(root, overlay);
    let sandbox = built();
    for command in [&["image", "du"][..], &["history"], &["image", "inspect"]] {
        let args = command
            .iter()
            .copied()
            .chain(["--platform", "linux/s390x", "app"]);
        let outcome = sandbox.run(args);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(outcome.stderr.contains("linux/s390x"), "{outcome}");
    }
    let stderr = sandbox.fails(1, ["image", "du", "ap"]);
    assert!(stderr.contains("did you mean `app`"), "{stderr}");
}

#[test]
fn inspect_has_the_fields_of_docker_28() {
    needs!(root, overlay);
    let sandbox = built();
    let text = sandbox.ok(["image", "inspect", "app"]);
    let image = &serde_json::from_str::<Value>(&text).unwrap()[0];
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(image),
        "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Architecture Os Size GraphDriver RootFS \
         Metadata Descriptor Config"
    );
    assert_eq!(
        keys(&image["Config"]),
        "Cmd Entrypoint Env Labels OnBuild User Volumes WorkingDir"
    );
    assert_eq!(keys(&image["Descriptor"]), "mediaType digest size");
    let upper = image["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(std::path::Path::new(upper).join("app/hello").is_file());
}

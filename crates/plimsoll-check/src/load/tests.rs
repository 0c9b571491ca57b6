use super::*;
use crate::view::ContextKind;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    fn load(&self, paths: &[&str]) -> Loaded {
        load(&self.inputs(paths))
    }

    fn inputs(&self, paths: &[&str]) -> Inputs {
        Inputs {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            current: self.path().to_owned(),
            ..Inputs::default()
        }
    }
}

#[test]
fn folders_are_searched_as_git_would() {
    let folder = Folder::new(&[
        ("Dockerfile", "FROM a\nCOPY . .\n"),
        (".dockerignore", "target\n"),
        (".gitignore", "generated/\n"),
        ("generated/Dockerfile", "FROM a\n"),
        ("node_modules/x/Dockerfile", "FROM a\n"),
        (".devcontainer/Dockerfile", "FROM a\n"),
        ("web/compose.yaml", "services: {web: {image: a}}\n"),
        ("Dockerfile.tmpl", "{{ x }}\n"),
    ]);
    let loaded = folder.load(&["."]);
    assert_eq!(
        loaded.files,
        [
            ".devcontainer/Dockerfile",
            "Dockerfile",
            "web/compose.yaml",
            ".dockerignore"
        ]
    );
    assert_eq!(loaded.errors, Vec::<String>::new());
    let named = folder.load(&["generated/Dockerfile", "Dockerfile.tmpl"]);
    assert_eq!(
        named.files,
        ["Dockerfile.tmpl", "generated/Dockerfile"],
        "what is named is read"
    );
}

#[test]
fn what_is_no_file_may_be_an_image() {
    let folder = Folder::new(&[("image.tar", "")]);
    let loaded = folder.load(&["alpine:3", "image.tar"]);
    assert_eq!(loaded.images, ["alpine:3", "image.tar"]);
    let mut inputs = folder.inputs(&["-"]);
    inputs.stdin = Some("FROM a\n".to_owned());
    assert_eq!(load(&inputs).files, ["<stdin>"]);
}

#[test]
fn compose_files_say_how_dockerfiles_are_built() {
    let folder = Folder::new(&[
        (
            "app/docker/Dockerfile",
            "ARG V=1\nFROM a:$V AS one\nCOPY src /src\nFROM b AS two\n",
        ),
        ("app/src/main", "x"),
        ("app/.dockerignore", "docker\n!docker/keep\n"),
        ("app/docker/keep/file", "12345"),
        (
            "compose.yaml",
            "services:\n  one:\n    build: {context: app, dockerfile: docker/Dockerfile, target: one, args: {V: 2}}\n  \
             job:\n    profiles: [x]\n    image: ${IMAGE:?must be given}\n    env_file: missing.env\n",
        ),
        (
            "compose.override.yaml",
            "services: {one: {environment: {A: b}}}\n",
        ),
    ]);
    let loaded = folder.load(&["."]);
    let view = &loaded.workspace.dockerfiles[0];
    assert_eq!(view.shipped().map(|stage| stage.index).collect::<Vec<_>>(), [0]);
    assert_eq!(view.stages[0].image.as_deref(), Some("a:2"));
    let context = loaded
        .workspace
        .contexts
        .iter()
        .find(|one| !one.dockerfiles.is_empty())
        .unwrap();
    assert_eq!(context.folder, folder.path().join("app"));
    let entries: Vec<_> = context
        .entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.sent, entry.size))
        .collect();
    assert_eq!(
        entries,
        [
            (".dockerignore", true, 20),
            ("docker", false, 0),
            ("src", true, 0),
            ("docker/Dockerfile", false, 53),
            ("docker/keep", true, 0),
            ("docker/keep/file", true, 5),
            ("src/main", true, 1),
        ]
    );
    assert_eq!(context.entries[1].kind, ContextKind::Folder);
    for project in &loaded.workspace.projects {
        assert!(project.project.is_some(), "{:?}", project.diagnostics);
    }
    assert!(loaded.workspace.projects.iter().any(|one| one.for_development));

    let both = loaded
        .workspace
        .projects
        .iter()
        .find(|one| one.for_development)
        .unwrap();
    assert_eq!(both.sources.len(), 2, "comments of the main file count, too");

    let alone = folder.load(&["compose.yaml"]);
    assert_eq!(alone.files, ["compose.yaml"]);
    assert_eq!(alone.workspace.others.len(), 1, "known, not judged");
    assert!(
        alone
            .workspace
            .dockerfile(&folder.path().join("app/docker/Dockerfile"))
            .is_some()
    );
}

#[test]
fn a_dockerfile_is_built_with_the_folder_that_holds_what_it_copies() {
    let folder = Folder::new(&[
        ("docker/app/Dockerfile", "FROM a\nCOPY package.json src/ ./\n"),
        ("package.json", "{}"),
    ]);
    let loaded = folder.load(&["docker/app/Dockerfile"]);
    assert_eq!(loaded.workspace.contexts[0].folder, folder.path());
}

#[test]
fn texts_stand_for_files() {
    let folder = Folder::new(&[("Dockerfile", "FROM disk\n")]);
    let mut inputs = folder.inputs(&["Dockerfile", "new.Dockerfile"]);
    for name in ["Dockerfile", "new.Dockerfile"] {
        inputs
            .texts
            .insert(folder.path().join(name), "FROM editor\n".to_owned());
    }
    let loaded = load(&inputs);
    let images: Vec<_> = loaded
        .workspace
        .dockerfiles
        .iter()
        .map(|view| view.stages[0].image.as_deref())
        .collect();
    assert_eq!(images, [Some("editor"); 2]);
}

#[test]
fn what_is_no_utf_8_is_one_finding() {
    let folder = Folder::new(&[("a", "")]);
    fs::write(
        folder.path().join("Dockerfile"),
        b"FROM a\nLABEL x=\"caf\xe9\"\nUSER u\n",
    )
    .unwrap();
    let loaded = folder.load(&["."]);
    let view = &loaded.workspace.dockerfiles[0];
    assert_eq!(view.diagnostics.len(), 1);
    assert_eq!(
        view.source
            .position(view.diagnostics[0].span().unwrap().start)
            .line,
        2
    );
    assert_eq!(view.steps().count(), 3);
}

#[test]
fn values_of_anchors_are_found_once_and_unknown_variables_not_judged() {
    let text = "x-common: &common\n  image: ${IMAGE}\n  ports: [\"${PORT}\"]\n  environment:\n    \
                DATABASE_URL: postgres://app:s3cr3tWord@db/app\nservices:\n  a: {<<: *common}\n  b: {<<: *common}\n";
    let folder = Folder::new(&[("compose.yaml", text)]);
    let loaded = folder.load(&["."]);
    let outcome = crate::check(&loaded.workspace, &crate::Config::default());
    let of = |rule: &str| outcome.findings.iter().filter(|one| one.code == rule).count();
    assert_eq!((of("compose-credential-in-url"), of("compose-schema")), (1, 0));
    assert_eq!(of("limits-missing"), 2, "each service has its own");
}

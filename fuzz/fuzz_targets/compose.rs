//! A compose file and its override. What loads is printed, and what is printed loads again to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_compose_file::{LoadOptions, Project, escape, load, to_yaml};

fn project(text: String) -> Option<Project> {
    let options = LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text),
        name: Some("fuzz".to_owned()),
        // Nothing of this machine is read.
        project_directory: Some("/nonexistent".into()),
        current: "/nonexistent".into(),
        env_files: Some(Vec::new()),
        ..LoadOptions::default()
    };
    load(&options).ok()
}

fn printed(project: &Project) -> String {
    let mut value = project.to_yaml();
    escape(&mut value);
    to_yaml(&value)
}

fuzz_target!(|input: (&str, &str)| {
    let (base, over) = input;
    let Some(first) = project(format!("{base}\n---\n{over}\n")) else {
        return;
    };
    first.model().expect("the model takes what the schema takes");
    let printed = printed(&first);
    let second = project(printed.clone()).unwrap_or_else(|| panic!("does not load again:\n{printed}"));
    assert_eq!(printed, self::printed(&second));
});

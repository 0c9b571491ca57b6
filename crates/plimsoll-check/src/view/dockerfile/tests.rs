use super::*;

fn view(text: &str) -> DockerfileView {
    view_of(text, BuildSettings::default())
}

fn view_of(text: &str, settings: BuildSettings) -> DockerfileView {
    DockerfileView::new("Dockerfile", &Source::new("Dockerfile", text), settings)
}

#[test]
fn stages_know_what_they_stand_on() {
    let view = view(
        "ARG V=20\nARG R\nFROM node:$V AS Build\nFROM build\nFROM $R\nFROM scratch\nFROM 0\nFROM ${X:-alpine}\n",
    );
    let bases: Vec<_> = view.stages.iter().map(|stage| stage.base.clone()).collect();
    assert_eq!(
        bases,
        [
            Base::Image("node:20".into()),
            Base::Stage(0),
            Base::Unknown,
            Base::Scratch,
            Base::Image("0".into()),
            Base::Image("alpine".into()),
        ]
    );
    assert_eq!(view.base_image(&view.stages[1]), Some("node:20"));
    assert_eq!(view.base_image(&view.stages[3]), None);
}

#[test]
fn the_last_stage_ships_unless_another_is_named() {
    let text = "FROM a AS one\nFROM b AS two\nFROM c\n";
    let shipped = |targets: &[&str]| {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        let view = view_of(
            text,
            BuildSettings {
                targets,
                ..BuildSettings::default()
            },
        );
        view.shipped().map(|stage| stage.index).collect::<Vec<_>>()
    };
    assert_eq!(shipped(&[]), [2]);
    assert_eq!(shipped(&["TWO", "0"]), [0, 1]);
    assert_eq!(shipped(&["unknown"]), [2]);
    assert_eq!(view("# nothing\n").shipped().count(), 0);
}

#[test]
fn variables_have_the_value_of_their_place() {
    let view = view(
        "ARG G=g\nFROM a AS base\nENV A=1\nARG A=2\nENV B=$A$G\nARG G\nENV C=$G D=$B\nENV A=3\nARG P\nENV E=$P\nRUN x\nFROM base\nRUN y\n",
    );
    let run = view
        .steps()
        .position(|step| matches!(step.kind(), InstructionKind::Run(_)));
    let run = run.unwrap();
    let value = |at, name: &str| view.variable(at, name);
    let known = |text: &str| Variable::Known(text.to_owned());
    assert_eq!(value(run, "A"), known("3"));
    assert_eq!(value(run, "B"), Variable::Unknown, "`G` was not declared yet");
    assert_eq!(value(run, "C"), known("g"));
    assert_eq!(value(run, "P"), Variable::Unknown);
    assert_eq!(value(run, "E"), Variable::Unknown);
    assert_eq!(value(run, "F"), Variable::Undefined);
    let last = view.dockerfile.instructions.len() - 1;
    assert_eq!(value(last, "A"), known("3"), "inherited");
    assert_eq!(value(1, "G"), known("g"));
    assert_eq!(value(1, "A"), Variable::Undefined);
}

#[test]
fn shells_are_inherited_by_stages() {
    let view = view(
        "FROM a AS base\nRUN one\nSHELL [\"/bin/bash\", \"-c\"]\nRUN two\nFROM base\nRUN three\nFROM b\nRUN four\n",
    );
    let shells: Vec<_> = view
        .steps()
        .filter(|step| matches!(step.kind(), InstructionKind::Run(_)))
        .map(|step| view.shell_words(step.at).map(|words| words[0].value.clone()))
        .collect();
    let bash = Some("/bin/bash".to_owned());
    assert_eq!(shells, [None, bash.clone(), bash, None]);
}

#[test]
fn a_bad_line_costs_only_itself() {
    let view = view("FROM a\nRUNN x\nUSER u\n");
    assert_eq!(view.steps().count(), 2);
    assert_eq!(view.diagnostics.len(), 1);
    assert!(!view.is_foreign());
}

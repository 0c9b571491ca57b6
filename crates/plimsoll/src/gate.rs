//! `--gate`: what a policy says before something gets a name, leaves this machine or runs.
//!
//! Findings are judged as the system's and the user's settings want them. What a project says about rules, in its own
//! file or in comments, is for its own checks: a folder that was cloned does not waive what is asked of it here.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_build::record::History;
use plimsoll_build::{BuiltImage, Gate as BuildGate};
use plimsoll_check::Config;
use plimsoll_check::facts::{Base, Facts, FindingFact, ImageFacts, RunFacts};
use plimsoll_check::load::{Inputs, load};
use plimsoll_check::policy::{Policy, Reason};
use plimsoll_check::view::{self, BuildSettings, DockerfileView, Workspace};
use plimsoll_compose::Desired;
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::Service;
use plimsoll_container::CreateOptions;
use plimsoll_diagnostics::{Diagnostic, Source};
use plimsoll_dockerfile::InstructionKind;
use plimsoll_image::{Image, Images};
use plimsoll_oci::ImageRef;
use plimsoll_store::Store;

use crate::check_facts;
use crate::command_error::CommandError;
use crate::commands::container_options::current_directory;
use crate::context::Context;

/// `--gate`
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct GateArgs {
    /// Go on only if a policy allows it: `production`, one of the settings' `[policy.NAME]`, or a file with one
    #[arg(long, value_name = "NAME|FILE")]
    gate: Option<String>,
}

/// A policy, and what is needed to judge by it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    policy: Arc<Policy>,
    config: Arc<Config>,
    store: Store,
    images: Images,
}

impl GateArgs {
    /// The policy that was asked for; a name that means none is an error before anything is done.
    pub(crate) fn open(&self, context: &Context) -> Result<Option<Gate>, CommandError> {
        let Some(name) = &self.gate else { return Ok(None) };
        let settings = context.settings()?;
        let mut config = Config {
            no_suppressions: true,
            ..Config::default()
        };
        for (source, said) in settings.trusted_checks() {
            let added = config.add(said, source);
            added.map_err(|error| CommandError::diagnostic(*error))?;
        }
        let policy = match settings.policies.get(name) {
            Ok(policy) => policy.clone(),
            Err(near) => match std::fs::read_to_string(name) {
                Ok(text) => {
                    let parsed = settings.policies.parse_file(&Source::new(name.as_str(), text));
                    parsed.map_err(|error| CommandError::diagnostic(*error))?
                }
                Err(_) => {
                    let error =
                        CommandError::user(format!("there is no policy, and no file, called `{name}`"));
                    return Err(match near {
                        Some(near) => error.hint(format!("did you mean `{near}`?")),
                        None => {
                            error.hint("`production` is built in; others are `[policy.NAME]` of the settings")
                        }
                    });
                }
            },
        };
        Ok(Some(Gate {
            policy: Arc::new(policy),
            config: Arc::new(config),
            store: context.store()?.clone(),
            images: context.images()?,
        }))
    }
}

impl Gate {
    /// Judges what a build has made, before anything of it has a name or goes anywhere.
    pub(crate) fn of_build(
        &self,
        dockerfile: &Source,
        settings: BuildSettings,
        name: String,
    ) -> Result<BuildGate, CommandError> {
        let (gate, dockerfile, current) = (self.clone(), dockerfile.clone(), current_directory()?);
        let what = match name.is_empty() {
            true => "this image".to_owned(),
            false => format!("`{name}`"),
        };
        Ok(Arc::new(move |built: &[BuiltImage]| {
            let judge = || {
                for one in built {
                    let mut workspace = gate.sources(&dockerfile, &settings, &current);
                    let bases = gate.bases_of(&workspace);
                    let image = check_facts::whole(&gate.store, &gate.images, &one.image, &name)?;
                    let reasons = gate.reasons(&mut workspace, Some(image), bases, None);
                    gate.refuse(&what, &reasons)?;
                }
                Ok::<_, CommandError>(())
            };
            judge().map_err(|error| error.to_string())
        }))
    }

    /// Judges an image that is in the store, and how it is to run if it is.
    pub(crate) fn judge(&self, image: &Image, name: &str, run: Option<RunFacts>) -> Result<(), CommandError> {
        let facts = check_facts::whole(&self.store, &self.images, image, name)?;
        let bases = self.recorded_bases(image);
        let reasons = self.reasons(&mut Workspace::default(), Some(facts), bases, run);
        self.refuse(&format!("`{name}`"), &reasons)
    }

    /// Judges services with their images, and the files that say what they are.
    pub(crate) fn judge_project(
        &self,
        project: &Project,
        desired: &Desired,
        services: &BTreeSet<String>,
    ) -> Result<(), CommandError> {
        let inputs = Inputs {
            paths: project.files.iter().map(ToString::to_string).collect(),
            current: current_directory()?,
            ..Inputs::default()
        };
        let mut workspace = load(&inputs).workspace;
        let mut reasons = self.reasons(&mut workspace, None, Vec::new(), None);
        for name in services {
            let image_name = desired.image(name);
            let image = self.images.get(&image_name)?;
            let facts = check_facts::whole(&self.store, &self.images, &image, &image_name)?;
            let run = service_facts(name, desired.service(name)?);
            let bases = self.recorded_bases(&image);
            reasons.extend(self.reasons(&mut Workspace::default(), Some(facts), bases, Some(run)));
        }
        self.refuse(&format!("project `{}`", project.name), &reasons)
    }

    /// Judges every image of a name that is to be pushed.
    pub(crate) fn judge_name(&self, name: &ImageRef) -> Result<(), CommandError> {
        let image = self.images.get(&name.to_string())?;
        self.judge(&image, &name.familiar(), None)
    }

    fn reasons(
        &self,
        workspace: &mut Workspace,
        image: Option<ImageFacts>,
        bases: Vec<Base>,
        run: Option<RunFacts>,
    ) -> Vec<Reason> {
        workspace.images.extend(image);
        let outcome = plimsoll_check::check(workspace, &self.config);
        let facts = Facts {
            findings: outcome.findings.iter().map(finding).collect(),
            image: workspace.images.pop(),
            run,
            bases,
        };
        self.policy.judge(&facts).reasons
    }

    fn refuse(&self, what: &str, reasons: &[Reason]) -> Result<(), CommandError> {
        let count = match reasons.len() {
            0 => return Ok(()),
            1 => "one reason".to_owned(),
            count => format!("{count} reasons"),
        };
        let mut text = format!(
            "policy `{}` does not allow {what}, for {count}:",
            self.policy.name
        );
        for reason in reasons {
            text += &format!(
                "\n  {}: {}\n    fix: {}",
                reason.demand, reason.message, reason.fix
            );
        }
        Err(CommandError::user(text))
    }

    /// The Dockerfile of a build with what lies around it; one that came from elsewhere stands alone.
    fn sources(&self, dockerfile: &Source, settings: &BuildSettings, current: &Utf8Path) -> Workspace {
        let path = Utf8PathBuf::from(&*dockerfile.name);
        let is_here = std::fs::read_to_string(&path).is_ok_and(|text| *text == *dockerfile.text);
        let inputs = Inputs {
            paths: vec![if is_here { path.to_string() } else { "-".to_owned() }],
            stdin: Some(dockerfile.text.to_string()),
            build: settings.clone(),
            current: current.to_owned(),
            ..Inputs::default()
        };
        let mut workspace = load(&inputs).workspace;
        // Compose files of the folder are not what is built.
        workspace.projects.clear();
        workspace
    }

    fn bases_of(&self, workspace: &Workspace) -> Vec<Base> {
        let views = workspace.dockerfiles.iter();
        let mut names: Vec<String> = views.flat_map(base_names).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(|name| self.base(name)).collect()
    }

    fn base(&self, name: String) -> Base {
        let image = self.images.find(&name).ok().flatten();
        let digests = image
            .and_then(|image| self.images.digests(&image).ok())
            .unwrap_or_default();
        let digest = digests
            .first()
            .and_then(ImageRef::digest)
            .map(|digest| digest.to_string());
        Base {
            pinned: name.contains("@sha256:"),
            digest,
            name,
        }
    }

    /// What an image that was built here stands on, as the record of its build knows it; nothing for others.
    fn recorded_bases(&self, image: &Image) -> Vec<Base> {
        let history = History::new(&self.store);
        let id = image.id.to_string();
        let Ok(builds) = history.list() else {
            return Vec::new();
        };
        let mut records = builds.iter().filter_map(|build| history.load(&build.id).ok());
        let Some(record) = records.find(|record| record.images.iter().any(|made| made.config_digest == id))
        else {
            return Vec::new();
        };
        let settings = BuildSettings {
            targets: record.options.target.iter().cloned().collect(),
            args: record.options.build_args.clone(),
            platform: None,
        };
        let source = Source::new(record.dockerfile.name.as_str(), record.dockerfile.text.as_str());
        let view = DockerfileView::new(record.dockerfile.name.as_str(), &source, settings);
        let workspace = Workspace {
            dockerfiles: vec![view],
            ..Workspace::default()
        };
        self.bases_of(&workspace)
    }
}

/// Images that the stages which ship take something from.
fn base_names(view: &DockerfileView) -> Vec<String> {
    let mut open: Vec<usize> = view.shipped().map(|stage| stage.index).collect();
    let (mut seen, mut names) = (Vec::new(), Vec::new());
    while let Some(index) = open.pop() {
        if seen.contains(&index) {
            continue;
        }
        seen.push(index);
        let stage = &view.stages[index];
        match &stage.base {
            view::Base::Stage(below) => open.push(*below),
            view::Base::Image(name) => names.push(name.clone()),
            view::Base::Scratch | view::Base::Unknown => {}
        }
        for step in view.steps_of(stage) {
            for name in sources_of(view, step.at) {
                match view.stage_named(&name, index) {
                    Some(stage) => open.push(stage.index),
                    None => names.push(name),
                }
            }
        }
    }
    names
}

/// What an instruction names with `--from` and `from=`.
fn sources_of(view: &DockerfileView, at: usize) -> Vec<String> {
    match view.step(at).kind() {
        InstructionKind::Copy(copy) => copy
            .from
            .iter()
            .filter_map(|from| view.expand(at, from))
            .collect(),
        InstructionKind::Run(run) => {
            let options = run.mounts.iter().flat_map(|mount| mount.value.split(','));
            options
                .filter_map(|option| option.strip_prefix("from="))
                .map(str::to_owned)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn finding(found: &Diagnostic) -> FindingFact {
    let place = found.span().map(|span| match found.source.text.is_empty() {
        // An image as a whole.
        true => found.source.name.to_string(),
        false => format!("{}:{}", found.source.name, found.source.position(span.start).line),
    });
    FindingFact {
        rule: found.code.to_owned(),
        severity: found.severity,
        message: found.message.clone(),
        place,
        help: found.help.clone(),
    }
}

/// How a container is to run, as the flags of `run` and `create`, or a service, come to.
pub(crate) fn run_facts(options: &CreateOptions, service: Option<&str>) -> RunFacts {
    let resources = &options.resources;
    let entrypoint = options.entrypoint.as_ref().filter(|words| !words.is_empty());
    let secret = |variable: &&String| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        plimsoll_check::secret::of_variable(name, value).is_some()
    };
    let named = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    RunFacts {
        service: service.map(str::to_owned),
        user: options.user.clone().filter(|user| !user.is_empty()),
        memory: resources.memory.is_some_and(|bytes| bytes > 0),
        cpus: resources.nano_cpus.is_some_and(|cpus| cpus > 0)
            || resources.cpu_quota.is_some_and(|quota| quota > 0)
            || !resources.cpuset_cpus.is_empty(),
        pids: resources.pids_limit.is_some_and(|pids| pids > 0),
        read_only: options.read_only,
        privileged: options.privileged,
        healthcheck: healthcheck(options),
        shell_command: entrypoint.map(|words| plimsoll_check::facts::is_shell_form(words)),
        secret_variables: options.env.iter().filter(secret).map(named).collect(),
    }
}

/// The same for a service. Its variables are judged where they are written: what `${}` brings from elsewhere is not in the
/// file.
fn service_facts(name: &str, service: &Service) -> RunFacts {
    let limits = service.deploy.as_ref().map(|deploy| &deploy.resources.limits);
    let memory = limits.and_then(|limits| limits.memory).or(service.mem_limit);
    let cpus = limits.and_then(|limits| limits.cpus).or(service.cpus);
    let pids = limits.and_then(|limits| limits.pids).or(service.pids_limit);
    let entrypoint = service.entrypoint.as_ref().filter(|words| !words.is_empty());
    let health = service.healthcheck.as_ref();
    RunFacts {
        service: Some(name.to_owned()),
        user: service.user.clone().filter(|user| !user.is_empty()),
        memory: memory.is_some_and(|bytes| bytes > 0),
        cpus: cpus.is_some_and(|cpus| cpus > 0.0)
            || service.cpu_quota.is_some_and(|quota| quota > 0)
            || service.cpuset.is_some(),
        pids: pids.is_some_and(|pids| pids > 0),
        read_only: service.read_only,
        privileged: service.privileged,
        healthcheck: health.and_then(|check| match check.test.first() {
            _ if check.disable => Some(false),
            Some(first) => Some(first != "NONE"),
            None => None,
        }),
        shell_command: entrypoint.map(|words| plimsoll_check::facts::is_shell_form(words)),
        secret_variables: Vec::new(),
    }
}

fn healthcheck(options: &CreateOptions) -> Option<bool> {
    if options.health.disable {
        return Some(false);
    }
    let test = options.health.test.as_ref()?.first()?;
    Some(test != "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, target: Option<&str>) -> Vec<String> {
        let settings = BuildSettings {
            targets: target.into_iter().map(str::to_owned).collect(),
            ..BuildSettings::default()
        };
        let mut names = base_names(&DockerfileView::new(
            "Dockerfile",
            &Source::new("Dockerfile", text),
            settings,
        ));
        names.sort();
        names
    }

    #[test]
    fn bases_are_those_of_what_ships() {
        let text = "FROM a:1 AS one\nFROM b:1 AS two\nFROM c:1 AS unused\nFROM one\nCOPY --from=two /x /\nCOPY --from=d:1 /y /\n\
            RUN --mount=type=bind,from=e:1,target=/e true\nFROM scratch AS empty\nFROM 3\n";
        assert_eq!(names(text, Some("3")), ["a:1", "b:1", "d:1", "e:1"]);
        assert_eq!(names(text, Some("unused")), ["c:1"]);
        assert_eq!(names(text, Some("empty")), Vec::<String>::new());
    }
}

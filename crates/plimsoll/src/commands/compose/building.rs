//! Building the images of services: `compose build`, and what `up`, `run` and `watch` build.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plimsoll_build::Secret;
use plimsoll_compose::labels;
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::{Build, Model, Service};
use plimsoll_diagnostics::Source;
use plimsoll_oci::{Digest, Platform};
use plimsoll_progress::{Event, Progress};
use serde_json::{Map, Value, json};

use super::no_such_service;
use crate::command_error::CommandError;
use crate::commands::build;
use crate::context::Context;

/// What the command line says besides the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Building {
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) push: bool,
    /// `NAME[=VALUE]`
    pub(crate) args: Vec<String>,
    pub(crate) ssh: Vec<String>,
    pub(crate) memory: Option<String>,
    pub(crate) provenance: Option<String>,
    pub(crate) sbom: Option<String>,
    /// For this machine only, whatever platforms are named: it is going to be run.
    pub(crate) to_run: bool,
    /// Steps are not shown.
    pub(crate) quiet: bool,
    /// Nothing is built.
    pub(crate) check: bool,
}

/// A project to build services of.
pub(crate) struct Site<'a> {
    pub(crate) context: &'a Context,
    pub(crate) project: &'a Project,
    pub(crate) model: &'a Model,
    pub(crate) how: &'a Building,
}

/// The name of a service's image: the one it names, or one that tells of the project and it.
pub(crate) fn image_name(context: &Context, project: &str, name: &str, service: &Service) -> String {
    let separator = if context.compose().is_compatible() {
        '_'
    } else {
        '-'
    };
    let named = service.image.clone();
    named.unwrap_or_else(|| format!("{project}{separator}{name}"))
}

/// The prefix of a context that is the image of a service.
const OF_SERVICE: &str = "service:";

impl Site<'_> {
    /// Builds the images of those services that have `build`, and of those whose images these start from; all at the
    /// same time but for that. Returns their ids.
    pub(crate) async fn build(
        &self,
        services: &[String],
        progress: &Progress,
    ) -> Result<BTreeMap<String, Digest>, CommandError> {
        let mut waiting = self.waiting(services)?;
        let limit = self.context.compose().parallel().unwrap_or(usize::MAX);
        let workers = std::thread::available_parallelism().map_or(2, usize::from) * 4;
        let workers = (workers / waiting.len().max(1)).max(2);
        let mut running = FuturesUnordered::new();
        let mut done = BTreeMap::new();
        loop {
            let ready = |(name, needs): (&String, &BTreeSet<String>)| needs.is_empty().then(|| name.clone());
            while running.len() < limit
                && let Some(name) = waiting.iter().find_map(ready)
            {
                waiting.remove(&name);
                running.push(self.build_one(name, workers, progress));
            }
            let Some(built) = running.next().await else { break };
            let (name, id) = built?;
            for needs in waiting.values_mut() {
                needs.remove(&name);
            }
            done.extend(id.map(|id| (name, id)));
        }
        match waiting.keys().next() {
            None => Ok(done),
            Some(name) => Err(CommandError::user(format!(
                "the image of service `{name}` needs itself: see `additional_contexts`"
            ))),
        }
    }

    /// Checks the Dockerfiles of those services that have `build`; fails if one has something in it.
    pub(crate) async fn check(&self, services: &[String]) -> Result<ExitCode, CommandError> {
        let mut code = ExitCode::SUCCESS;
        for (number, name) in self.waiting(services)?.keys().enumerate() {
            let service = &self.model.services[name];
            let build = service.build.as_ref().expect("only those are built");
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(self.context.stdout(), "{gap}{name}\n")?;
            let mut args = self.args(name, service, build, 1)?;
            args.inline = self.inline(name, build)?;
            let checked = match build::check(&args, self.context).await {
                Ok(checked) => checked,
                // The others may have something in them, too.
                Err(error) => self.context.report(&error),
            };
            if checked != ExitCode::SUCCESS {
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }

    /// Services to build, with those whose images they need first.
    fn waiting(&self, services: &[String]) -> Result<BTreeMap<String, BTreeSet<String>>, CommandError> {
        let known = &self.model.services;
        let mut waiting = BTreeMap::new();
        let mut open = services.to_vec();
        while let Some(name) = open.pop() {
            let service = known
                .get(&name)
                .ok_or_else(|| no_such_service(&name, known.keys().map(String::as_str)))?;
            let Some(build) = &service.build else { continue };
            let contexts = build.additional_contexts.values();
            let needs: BTreeSet<String> = contexts
                .filter_map(|value| value.strip_prefix(OF_SERVICE))
                .filter(|other| known.get(*other).is_some_and(|other| other.build.is_some()))
                .map(str::to_owned)
                .collect();
            open.extend(needs.iter().filter(|need| !waiting.contains_key(*need)).cloned());
            waiting.insert(name, needs);
        }
        Ok(waiting)
    }

    async fn build_one(
        &self,
        name: String,
        workers: usize,
        progress: &Progress,
    ) -> Result<(String, Option<Digest>), CommandError> {
        let service = &self.model.services[&name];
        let build = service.build.as_ref().expect("only those are built");
        let image = image_name(self.context, &self.model.name, &name, service);
        if self.context.compose().dry_run {
            progress.ready(&image, "Built");
            return Ok((name, None));
        }
        progress.working(&image, "Building");
        let mut args = self.args(&name, service, build, workers)?;
        args.inline = self.inline(&name, build)?;
        let steps = match self.how.quiet {
            true => Progress::none(),
            false => of_service(progress, &name),
        };
        match build::image(&args, self.context, &steps).await {
            Ok(id) => {
                progress.ready(&image, "Built");
                Ok((name, id))
            }
            Err(error) => {
                progress.resource(&image, plimsoll_progress::ResourceState::Error, "Error", "");
                Err(error.hint(format!("this was the build of service `{name}`")))
            }
        }
    }

    /// What has no flag: the Dockerfile's text and the values of secrets.
    fn inline(&self, name: &str, build: &Build) -> Result<build::Inline, CommandError> {
        let dockerfile = build
            .dockerfile_inline
            .as_ref()
            .map(|text| Source::new(format!("services.{name}.build.dockerfile_inline"), text.as_str()));
        let mut secrets = BTreeMap::new();
        for reference in &build.secrets {
            let id = reference.target.as_ref().unwrap_or(&reference.source);
            if let Some(value) = self.secret(&reference.source)? {
                secrets.insert(id.clone(), value);
            }
        }
        Ok(build::Inline { dockerfile, secrets })
    }

    /// The value of a secret of the project; None for one that only Swarm could have.
    fn secret(&self, source: &str) -> Result<Option<Secret>, CommandError> {
        let Some(secret) = self.model.secrets.get(source) else {
            return Err(CommandError::not_found(format!(
                "the project has no secret `{source}`"
            )));
        };
        if let Some(path) = &secret.file {
            let bytes = std::fs::read(path).map_err(|error| {
                CommandError::user(format!(
                    "cannot read the secret `{source}` from `{path}`: {error}"
                ))
            })?;
            return Ok(Some(Secret::new(bytes)));
        }
        if let Some(name) = &secret.environment {
            return match self.variable(name) {
                Some(value) => Ok(Some(Secret::new(value))),
                None => Err(CommandError::user(format!(
                    "the secret `{source}` is the value of `{name}`, which is not set"
                ))),
            };
        }
        Ok(secret.content.clone().map(Secret::new))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.project
            .environment
            .get(name)
            .map(|origin| origin.value.clone())
    }

    /// `build` arguments whose value is known, from the files and then the command line.
    fn build_args(&self, build: &Build) -> BTreeMap<String, String> {
        let mut args = BTreeMap::new();
        for (name, value) in &build.args {
            let value = value.clone().or_else(|| self.variable(name));
            args.extend(value.map(|value| (name.clone(), value)));
        }
        for given in &self.how.args {
            match given.split_once('=') {
                Some((name, value)) => drop(args.insert(name.to_owned(), value.to_owned())),
                None => args.extend(self.variable(given).map(|value| (given.clone(), value))),
            }
        }
        args
    }

    fn labels(&self, name: &str, build: &Build) -> BTreeMap<String, String> {
        let mut all = build.labels.clone();
        let own = [
            (labels::PROJECT, self.model.name.as_str()),
            (labels::SERVICE, name),
            (labels::VERSION, labels::COMPOSE_VERSION),
        ];
        all.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        all
    }

    fn tags(&self, name: &str, service: &Service, build: &Build) -> Vec<String> {
        let mut tags = build.tags.clone();
        tags.push(image_name(self.context, &self.model.name, name, service));
        tags
    }

    fn platforms(&self, service: &Service, build: &Build) -> Vec<String> {
        let own = service.platform.iter().cloned();
        if !self.how.to_run {
            return match build.platforms.is_empty() {
                true => own.collect(),
                false => build.platforms.clone(),
            };
        }
        let host = Platform::host().to_string();
        match build.platforms.as_slice() {
            _ if service.platform.is_some() => own.collect(),
            [] => Vec::new(),
            named if named.contains(&host) => vec![host],
            [first, ..] => vec![first.clone()],
        }
    }

    /// Contexts by name, services' images for those that say so.
    fn contexts(&self, build: &Build, of_service: impl Fn(&str) -> String) -> BTreeMap<String, String> {
        let value = |value: &String| match value.strip_prefix(OF_SERVICE) {
            Some(other) => of_service(other),
            None => value.clone(),
        };
        let contexts = build.additional_contexts.iter();
        contexts
            .map(|(name, given)| (name.clone(), value(given)))
            .collect()
    }

    fn image_of(&self, name: &str) -> String {
        match self.model.services.get(name) {
            Some(service) => image_name(self.context, &self.model.name, name, service),
            None => name.to_owned(),
        }
    }

    /// What is said about its provenance and about its parts.
    fn statements(&self, build: &Build) -> (Option<String>, Option<String>) {
        let how = self.how;
        (
            how.provenance.clone().or_else(|| build.provenance.clone()),
            how.sbom.clone().or_else(|| build.sbom.clone()),
        )
    }

    /// The same as flags of `build`.
    fn args(
        &self,
        name: &str,
        service: &Service,
        build: &Build,
        workers: usize,
    ) -> Result<build::Args, CommandError> {
        let how = self.how;
        let mut line = Line::default();
        line.add("--max-parallelism", [workers.to_string()]);
        line.add("--tag", self.tags(name, service, build));
        line.add("--label", pairs(self.labels(name, build)));
        line.add("--build-arg", pairs(self.build_args(build)));
        line.add("--target", build.target.clone());
        line.add("--platform", self.platforms(service, build));
        let of_service = |other: &str| format!("docker-image://{}", self.image_of(other));
        line.add("--build-context", pairs(self.contexts(build, of_service)));
        line.add("--cache-from", build.cache_from.clone());
        line.add("--cache-to", build.cache_to.clone());
        line.add("--no-cache-filter", build.no_cache_filter.clone());
        line.add("--network", build.network.clone());
        line.add("--add-host", build.extra_hosts.clone());
        line.add("--shm-size", build.shm_size.map(|size| size.to_string()));
        line.add("--ulimit", ulimits(build));
        line.add("--ssh", build.ssh.iter().chain(&how.ssh).cloned());
        line.add("--allow", rights(build));
        line.add(
            "--resource",
            how.memory.as_ref().map(|memory| format!("memory={memory}")),
        );
        let (provenance, sbom) = self.statements(build);
        line.add("--provenance", provenance);
        line.add("--sbom", sbom);
        line.flag("--no-cache", build.no_cache || how.no_cache);
        line.flag("--pull", build.pull || how.pull);
        line.flag("--load", how.push);
        line.flag("--push", how.push);
        if build.dockerfile_inline.is_none() {
            line.add("--file", dockerfile(build));
        }
        line.0.push("--".to_owned());
        line.0.push(build.context.clone());
        let parsed = Whole::try_parse_from(line.0).map_err(CommandError::from);
        parsed
            .map(|whole| whole.args)
            .map_err(|error| CommandError::user(format!("the build of service `{name}`: {error}")))
    }

    /// What `buildx bake` would read: `build --print`; None when none of them is built.
    pub(crate) fn bake(&self, services: &[String]) -> Result<Option<Value>, CommandError> {
        let waiting = self.waiting(services)?;
        if waiting.is_empty() {
            return Ok(None);
        }
        let mut targets = Map::new();
        for name in waiting.keys() {
            let service = &self.model.services[name];
            let build = service.build.as_ref().expect("only those are built");
            targets.insert(name.clone(), self.target(name, service, build));
        }
        Ok(Some(json!({
            "group": { "default": { "targets": waiting.keys().collect::<Vec<_>>() } },
            "target": targets,
        })))
    }

    fn target(&self, name: &str, service: &Service, build: &Build) -> Value {
        let secret = |reference: &plimsoll_compose_file::model::FileReference| {
            let id = reference.target.as_ref().unwrap_or(&reference.source);
            let secret = self.model.secrets.get(&reference.source)?;
            let environment = secret.environment.as_ref();
            environment
                .map(|name| format!("id={id},type=env,env={name}"))
                .or_else(|| {
                    secret
                        .file
                        .as_ref()
                        .map(|path| format!("id={id},type=file,src={path}"))
                })
        };
        let hosts: Map<String, Value> = build
            .extra_hosts
            .iter()
            .filter_map(|host| host.split_once('='))
            .map(|(host, address)| (host.to_owned(), address.into()))
            .collect();
        let output = match (self.how.check, self.how.push) {
            (true, _) => None,
            (false, true) => Some("type=registry"),
            (false, false) => Some("type=docker"),
        };
        let mut target = json!({
            "context": build.context,
            "contexts": self.contexts(build, |other| format!("target:{other}")),
            "dockerfile": dockerfile(build).filter(|_| build.dockerfile_inline.is_none()),
            "dockerfile-inline": build.dockerfile_inline,
            "args": self.build_args(build),
            "labels": self.labels(name, build),
            "tags": self.tags(name, service, build),
            "target": build.target,
            "cache-from": build.cache_from,
            "cache-to": build.cache_to,
            "no-cache-filter": build.no_cache_filter,
            "secret": build.secrets.iter().filter_map(secret).collect::<Vec<_>>(),
            "ssh": build.ssh.iter().chain(&self.how.ssh).collect::<Vec<_>>(),
            "attest": attest(self.statements(build)),
            "platforms": self.platforms(service, build),
            "pull": build.pull || self.how.pull,
            "no-cache": build.no_cache || self.how.no_cache,
            "network": build.network,
            "shm-size": build.shm_size.map(|size| size.to_string()),
            "ulimits": ulimits(build),
            "entitlements": rights(build),
            "extra-hosts": hosts,
            "output": output.iter().collect::<Vec<_>>(),
            "call": self.how.check.then_some("lint"),
        });
        if let Some(fields) = target.as_object_mut() {
            fields.retain(|_, value| !is_empty(value));
        }
        target
    }
}

/// Statements as `bake` has them: `type=provenance,mode=max`.
fn attest((provenance, sbom): (Option<String>, Option<String>)) -> Vec<String> {
    let kinds = [("provenance", provenance), ("sbom", sbom)];
    let asked = kinds.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
    asked
        .map(|(kind, value)| match value.as_str() {
            "true" => format!("type={kind}"),
            "false" => format!("type={kind},disabled=true"),
            value => format!("type={kind},{value}"),
        })
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Arguments of `build`.
struct Line(Vec<String>);

impl Default for Line {
    fn default() -> Self {
        Self(vec!["build".to_owned()])
    }
}

impl Line {
    fn add(&mut self, flag: &str, values: impl IntoIterator<Item = String>) {
        self.0
            .extend(values.into_iter().map(|value| format!("{flag}={value}")));
    }

    fn flag(&mut self, flag: &str, given: bool) {
        self.0.extend(given.then(|| flag.to_owned()));
    }
}

/// A command line of `build`, to be read from arguments of ours.
#[derive(clap::Parser)]
#[command(disable_help_flag = true)]
struct Whole {
    #[command(flatten)]
    args: build::Args,
}

fn pairs(map: BTreeMap<String, String>) -> impl Iterator<Item = String> {
    map.into_iter().map(|(name, value)| format!("{name}={value}"))
}

fn ulimits(build: &Build) -> Vec<String> {
    let limit = |(name, limit): (&String, &plimsoll_compose_file::model::Ulimit)| match limit.pair() {
        (soft, hard) if soft == hard => format!("{name}={soft}"),
        (soft, hard) => format!("{name}={soft}:{hard}"),
    };
    build.ulimits.iter().map(limit).collect()
}

/// What steps are allowed: what the file says, and what its other keys imply.
fn rights(build: &Build) -> Vec<String> {
    let mut rights = build.entitlements.clone();
    let implied = [
        ("security.insecure", build.privileged),
        ("network.host", build.network.as_deref() == Some("host")),
    ];
    for (right, needed) in implied {
        if needed && !rights.iter().any(|known| known == right) {
            rights.push(right.to_owned());
        }
    }
    rights
}

/// The Dockerfile beside its context; one of a context that is fetched is in there.
fn dockerfile(build: &Build) -> Option<String> {
    let file = build.dockerfile.as_ref()?;
    let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    Some(
        match std::path::Path::new(&build.context).is_dir() && !is_url(file) {
            true => camino::Utf8Path::new(&build.context).join(file).into_string(),
            false => file.clone(),
        },
    )
}

/// A progress whose tasks tell of their service: `[web builder 2/4] RUN make`.
fn of_service(progress: &Progress, service: &str) -> Progress {
    let (outer, service) = (progress.clone(), service.to_owned());
    Progress::new(move |event| outer.replay(renamed(event, &service)))
}

fn renamed(mut event: Event, service: &str) -> Event {
    // Tasks of two builds may be called the same.
    let id = |digest: &str| Digest::of(format!("{service} {digest}")).to_string();
    match &mut event {
        Event::Vertex(vertex) => {
            vertex.digest = id(&vertex.digest);
            vertex.inputs.iter_mut().for_each(|input| *input = id(input));
            vertex.name = match vertex.name.strip_prefix('[') {
                Some(rest) => format!("[{service} {rest}"),
                None => format!("[{service}] {}", vertex.name),
            };
        }
        Event::Status(status) => status.vertex = id(&status.vertex),
        Event::Log(log) => log.vertex = id(&log.vertex),
        Event::Warning(_) | Event::Resource(_) => {}
    }
    event
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn tasks_tell_of_their_service() {
        let names = Arc::new(Mutex::new(Vec::new()));
        let progress = Progress::new({
            let names = names.clone();
            move |event| {
                if let Event::Vertex(vertex) = event {
                    names.lock().unwrap().push((vertex.digest, vertex.name));
                }
            }
        });
        for service in ["web", "db"] {
            drop(of_service(&progress, service).task("[builder 2/4] RUN make", &[]));
            drop(of_service(&progress, service).task("exporting layers", &[]));
        }
        let names = names.lock().unwrap();
        let shown: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(
            shown,
            [
                "[web builder 2/4] RUN make",
                "[web] exporting layers",
                "[db builder 2/4] RUN make",
                "[db] exporting layers",
            ]
        );
        let ids: BTreeSet<&str> = names.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids.len(), 4, "no two are the same");
    }

    #[test]
    fn what_a_build_says_is_what_flags_say() {
        let build: Build = serde_json::from_value(json!({
            "context": "/",
            "dockerfile": "etc/Dockerfile",
            "network": "host",
            "privileged": true,
            "entitlements": ["network.host"],
            "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
        }))
        .unwrap();
        assert_eq!(dockerfile(&build).unwrap(), "/etc/Dockerfile");
        assert_eq!(rights(&build), ["network.host", "security.insecure"]);
        assert_eq!(ulimits(&build), ["nofile=1:2", "nproc=3"]);
    }
}

//! One build, from request to unnamed image.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::{join, try_join_all};
use jiff::Timestamp;
use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span, chain};
use plimsoll_dockerfile::{Dockerfile, InstructionKind, is_built_in_frontend, nearest};
use plimsoll_image::{Attestation, Image, ImageError, Images, Packing};
use plimsoll_oci::{Digest, ImageConfig, ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_runtime::Runtime;
use plimsoll_solver::{SolveError, Solver, VertexId};
use plimsoll_store::{MergedTree, SnapshotId, Store};
use rusqlite::OptionalExtension as _;

use crate::attest::{AttestSettings, Facts, Scanned, provenances, sbom};
use crate::cache::BuildCache;
use crate::context::BuildContext;
use crate::credentials;
use crate::early::EarlyPacking;
use crate::error::{BuildError, OpError};
use crate::lower::{Extras, LowerSettings, StageImages, StageState, lower};
use crate::network::{BuildNetwork, NetworkPool};
use crate::op::{BuildOp, Services};
use crate::plan::{Origin, Plan, PlanSettings, Stage, Triggers, is_predefined, plan};
use crate::record::Recording;
use crate::remote_cache::{Caches, Exporting, INLINE, TravellingMounts, export_all, import, inline};
use crate::run_options::RunOptions;
use crate::source::{Contexts, NamedContext, Sources};

/// Build argument with the time of what is built, in seconds since 1970.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What is to be built: plain data.
#[derive(Clone)]
pub struct BuildRequest {
    /// Text and name of the Dockerfile.
    pub dockerfile: Source,
    /// Files for COPY and ADD.
    pub context: Arc<BuildContext>,
    /// `--build-context`, by name.
    pub contexts: Vec<(String, NamedContext)>,
    /// Fetches what instructions and contexts take from elsewhere.
    pub sources: Arc<Sources>,
    /// Stage to build, by name or number; the last one if none.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`, set last.
    pub labels: BTreeMap<String, String>,
    /// Platforms of the result, each an image of its own; never empty.
    pub platforms: Vec<Platform>,
    /// Runs every step again.
    pub no_cache: bool,
    /// Runs every step of these stages again.
    pub no_cache_stages: Vec<String>,
    /// Where results of other machines come from and go to.
    pub caches: Caches,
    /// Asks registries even for images that are stored.
    pub pull: bool,
    /// Network of RUN.
    pub network: BuildNetwork,
    /// `--add-host`: name and address, or `host-gateway`.
    pub add_hosts: Vec<(String, String)>,
    /// What else every RUN gets.
    pub run: RunOptions,
    /// Which statements about the result are wanted.
    pub attest: AttestSettings,
    /// The form in which an exporter will want the layers: they are packed while later steps run.
    pub pack_early: Option<Packing>,
    /// Operations at a time.
    pub max_parallelism: usize,
    /// Has a say in what was built before anything of it leaves the store, caches included.
    pub gate: Option<Gate>,
}

/// Says why what was built may not go on.
pub type Gate = Arc<dyn Fn(&[BuiltImage]) -> Result<(), String> + Send + Sync>;

/// What came of it.
#[derive(Debug)]
pub struct BuildResult {
    /// One for each platform, in the order asked for.
    pub images: Vec<BuiltImage>,
}

/// What was built for one platform.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// The platform that was asked for. The image may say less: its base decides.
    pub platform: Platform,
    /// Not named yet.
    pub image: Image,
    /// How many of its layers are the base image's.
    pub base_layers: usize,
    /// SOURCE_DATE_EPOCH: no time in what is exported is after it.
    pub epoch: Option<i64>,
    /// Statements about it that were asked for: they go wherever it goes.
    pub attestations: Vec<Attestation>,
    /// Those that go with it to registries and into OCI archives if nobody said otherwise, as in buildx.
    pub default_attestations: Vec<Attestation>,
}

/// Builds images into one store.
pub struct Build {
    store: Store,
    images: Images,
    runtime: Runtime,
}

impl Build {
    /// Returns a builder. `runtime` starts the runner of each RUN.
    pub fn new(store: &Store, images: &Images, runtime: Runtime) -> Self {
        Self {
            store: store.clone(),
            images: images.clone(),
            runtime,
        }
    }

    /// Builds. Dropping the future stops everything that runs. The caller ends the record, well or not.
    pub async fn build(
        &self,
        request: BuildRequest,
        recording: &Recording,
    ) -> Result<BuildResult, BuildError> {
        let built = self.build_recorded(request, recording).await;
        match &built {
            Ok(result) => recording.built(&result.images),
            Err(error) => recording.failed(error),
        }
        built
    }

    async fn build_recorded(
        &self,
        request: BuildRequest,
        recording: &Recording,
    ) -> Result<BuildResult, BuildError> {
        let progress = recording.progress();
        let dockerfile = parse(&request.dockerfile, &request.build_args, progress)?;
        let epoch = source_date_epoch(&request.dockerfile, &request.build_args)?;
        let contexts = Contexts::new(request.contexts);
        let settings: Vec<PlanSettings<'_>> = request
            .platforms
            .iter()
            .map(|platform| PlanSettings {
                target: request.target.as_deref(),
                build_args: &request.build_args,
                platform,
                contexts: &contexts,
            })
            .collect();
        let no_triggers = vec![Triggers::new(); settings.len()];
        let first = plans(&dockerfile, &no_triggers, &settings)?;
        let known = StageImages::new();
        let obtain = self.obtain(&dockerfile, &first, &contexts, known, request.pull, progress);
        let (images, imported) = join(obtain, import(&request.caches.from, progress)).await;
        let mut images = images?;
        let triggers = first
            .iter()
            .map(|plan| triggers(plan, &images))
            .collect::<Result<Vec<_>, _>>()?;
        let plans = match triggers.iter().all(Triggers::is_empty) {
            true => first,
            false => {
                let plans = plans(&dockerfile, &triggers, &settings)?;
                images = self
                    .obtain(&dockerfile, &plans, &contexts, images, request.pull, progress)
                    .await?;
                plans
            }
        };
        let early = request
            .pack_early
            .map(|packing| Arc::new(EarlyPacking::new(&self.images, packing, &plans)));
        let imported = Arc::new(imported);
        let mounts = Arc::new(TravellingMounts::new(imported.clone()));
        let services = Arc::new(Services {
            store: self.store.clone(),
            images: self.images.clone(),
            runtime: self.runtime.clone(),
            network: NetworkPool::new(
                &self.store,
                recording.id().to_owned(),
                recording.folder().to_owned(),
            ),
            sources: request.sources.clone(),
            progress: progress.clone(),
            run: request.run.clone(),
            folder: recording.folder().to_owned(),
            journal: recording.journal(),
            early: early.clone(),
            mounts: mounts.clone(),
        });
        let settings = LowerSettings {
            build_args: &request.build_args,
            no_cache: request.no_cache,
            no_cache_stages: &request.no_cache_stages,
            network: request.network,
            add_hosts: &request.add_hosts,
            run: &request.run,
            contexts: &contexts,
        };
        let context = request.context;
        let lowered = lower(&dockerfile, &plans, &images, &context, &services, &settings)
            .map_err(BuildError::Diagnostics)?;
        drop(services);
        lowered
            .warnings
            .into_iter()
            .for_each(|warning| progress.warn(warning));
        credentials::warnings(&plans[0], &request.build_args)
            .into_iter()
            .for_each(|warning| progress.warn(warning));
        warn_unused(&dockerfile, &request.build_args, progress);
        let extras = match request.attest.sbom {
            true => lowered.extras,
            false => Vec::new(),
        };
        let scanned = extras.iter().flat_map(|extras| &extras.stages);
        let targets = lowered.states.iter().filter_map(|state| state.vertex);
        let targets: Vec<VertexId> = targets.chain(scanned.map(|(_, vertex)| *vertex)).collect();
        let cache = BuildCache {
            store: self.store.clone(),
            images: self.images.clone(),
            imported,
            progress: progress.clone(),
        };
        let solver = Solver::new(lowered.graph, cache, request.max_parallelism, &targets, progress);
        let watch = recording.watch(&solver);
        let solve = async |vertex: Option<VertexId>| match vertex {
            None => Ok(None),
            Some(target) => match solver.solve(target).await {
                Ok(output) => Ok(Some(output.snapshot)),
                Err(error) => Err(failure(&solver, &error)),
            },
        };
        let tops = try_join_all(lowered.states.iter().map(|state| solve(state.vertex))).await?;
        let solved = tops.clone();
        let mut others: Vec<Vec<Scanned>> = Vec::with_capacity(extras.len());
        for extras in &extras {
            others.push(self.extras(extras, &context, &solve).await?);
        }
        drop(watch);
        if let Some(early) = early {
            early.finish().await;
        }
        let facts = Facts {
            epoch,
            images: self.had(&images)?,
            origin: context.origin.as_ref(),
            hidden: credentials::hidden(&request.build_args),
        };
        let (provenance, default_provenance) = provenances(&request.attest, &recording.so_far(), &facts);
        let mut others = others.into_iter();
        let task = progress.start("exporting to image");
        let mut built = Vec::with_capacity(tops.len());
        for ((mut state, top), platform) in lowered.states.into_iter().zip(tops).zip(request.platforms) {
            set_labels(&mut state, &request.labels);
            let own = own_layers(&state);
            let cache = match top.filter(|_| request.caches.is_inline()) {
                Some(top) => Some(inline(&solver, &self.store, top)?),
                None => None,
            };
            let image = self.assemble(state, top, epoch, cache).await?;
            let base_layers = image.config.rootfs.diff_ids.len().saturating_sub(own);
            let mut attestations = match request.attest.sbom {
                true => {
                    self.boms(&image, top, others.next().unwrap_or_default(), progress)
                        .await?
                }
                false => Vec::new(),
            };
            attestations.extend(provenance.clone());
            built.push(BuiltImage {
                platform,
                image,
                base_layers,
                epoch,
                attestations,
                default_attestations: default_provenance.iter().cloned().collect(),
            });
        }
        task.done();
        if let Some(gate) = request.gate {
            let judged = built.clone();
            let verdict = tokio::task::spawn_blocking(move || gate(&judged)).await;
            let verdict = verdict.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            verdict.map_err(BuildError::Refused)?;
        }
        let tops: Vec<SnapshotId> = solved.into_iter().flatten().collect();
        let exporting = Exporting {
            store: &self.store,
            images: &self.images,
            solver: &solver,
            tops: &tops,
            progress,
            mounts: &mounts,
        };
        export_all(&request.caches.to, &exporting).await?;
        Ok(BuildResult { images: built })
    }

    /// Every image that the reachable stages of all platforms name, at once. What is `known` is not asked for again: a registry's answer
    /// may have changed since.
    async fn obtain(
        &self,
        dockerfile: &Dockerfile,
        plans: &[Plan<'_>],
        contexts: &Contexts,
        mut known: StageImages,
        pull: bool,
        progress: &Progress,
    ) -> Result<StageImages, BuildError> {
        let mut wanted = HashSet::new();
        let mut open = Vec::new();
        for plan in plans {
            for (origin, span) in plan.origins() {
                if let Origin::Image(reference, platform) = origin
                    && !known.contains_key(&(reference.clone(), platform.clone()))
                    && wanted.insert((reference.clone(), platform.clone()))
                {
                    open.push((plan, reference.clone(), platform.clone(), *span));
                }
            }
        }
        let obtain = async |(plan, reference, platform, span): (&Plan<'_>, ImageRef, Platform, _)| match self
            .image(&reference, &platform, contexts, pull, progress)
            .await
        {
            Ok(image) => Ok(((reference, platform), image)),
            Err(error) => {
                let diagnostic = Diagnostic::error("base-image", &dockerfile.source, span, chain(&error));
                let mut diagnostic = match error {
                    ImageError::NoPlatform { .. } => diagnostic,
                    _ => plan.with_stage_hint(diagnostic, &reference),
                };
                if let Some(near) = nearest(&reference.familiar_name(), contexts.names()) {
                    diagnostic.help = Some(format!("did you mean the context `{near}`?"));
                }
                Err(BuildError::Diagnostics(vec![diagnostic]))
            }
        };
        known.extend(try_join_all(open.into_iter().map(obtain)).await?);
        Ok(known)
    }

    /// One image: of the layout that a named context says, or else stored or pulled.
    async fn image(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        contexts: &Contexts,
        pull: bool,
        progress: &Progress,
    ) -> Result<Image, ImageError> {
        let (Some(layout), Some(digest)) = (contexts.layout(reference), reference.digest()) else {
            return self.images.obtain(reference, platform, pull, progress).await;
        };
        let task = progress.start(format!(
            "[context {}] load from layout",
            reference.familiar_name()
        ));
        let (images, layout, platform) = (self.images.clone(), layout.to_owned(), platform.clone());
        let load = move || images.from_layout(&layout, digest, &platform);
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match &loaded {
            Ok(_) => task.done(),
            Err(error) => task.failed(error),
        }
        loaded
    }

    /// By which digests base images were had.
    fn had(&self, images: &StageImages) -> Result<Vec<(ImageRef, Platform, Digest)>, BuildError> {
        let place = |name: &ImageRef| (name.registry().to_owned(), name.repository().to_owned());
        let had = images.iter().map(|((name, platform), image)| {
            let known = self.images.digests(image)?;
            let known = known.iter().rfind(|known| place(known) == place(name));
            let digest = known.and_then(ImageRef::digest).unwrap_or(image.manifest_digest);
            Ok((name.clone(), platform.clone(), digest))
        });
        had.collect()
    }

    /// The files of what the Dockerfile wants in the bill of materials besides the image.
    async fn extras(
        &self,
        extras: &Extras,
        context: &BuildContext,
        solve: impl AsyncFn(Option<VertexId>) -> Result<Option<SnapshotId>, BuildError>,
    ) -> Result<Vec<Scanned>, BuildError> {
        let mut scanned = Vec::new();
        if extras.context {
            scanned.push(Scanned {
                name: Some("context".to_owned()),
                tree: context.tree.clone(),
                is_source: true,
            });
        }
        for (name, vertex) in &extras.stages {
            if let Some(snapshot) = solve(Some(*vertex)).await? {
                scanned.push(Scanned {
                    name: Some(name.clone()),
                    tree: MergedTree::new(self.store.snapshots().layers(snapshot)?),
                    is_source: false,
                });
            }
        }
        Ok(scanned)
    }

    /// Bills of materials: the image's first.
    async fn boms(
        &self,
        image: &Image,
        top: Option<SnapshotId>,
        others: Vec<Scanned>,
        progress: &Progress,
    ) -> Result<Vec<Attestation>, BuildError> {
        let task = progress.start("generating sbom");
        let layers = match top {
            Some(top) => self.store.snapshots().layers(top)?,
            None => Vec::new(),
        };
        let own = Scanned {
            name: None,
            tree: MergedTree::new(layers),
            is_source: false,
        };
        let created = image.config.created.clone();
        let created = created.unwrap_or_else(|| Timestamp::UNIX_EPOCH.to_string());
        let work = move || {
            [own]
                .iter()
                .chain(&others)
                .map(|scanned| sbom(scanned, &created))
                .collect()
        };
        let made: Result<Vec<_>, _> = match tokio::task::spawn_blocking(work).await {
            Ok(made) => made,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match &made {
            Ok(_) => task.done(),
            Err(error) => task.failed(error),
        }
        Ok(made?)
    }

    /// Configuration and history on the finished files.
    async fn assemble(
        &self,
        state: StageState,
        top: Option<SnapshotId>,
        epoch: Option<i64>,
        cache: Option<String>,
    ) -> Result<Image, BuildError> {
        let (images, store) = (self.images.clone(), self.store.clone());
        let work = move || {
            let mut config = ImageConfig {
                architecture: state.platform.architecture.clone(),
                variant: state.platform.variant.clone(),
                os: state.platform.os.clone(),
                author: state.author.clone(),
                config: state.config.clone(),
                ..ImageConfig::default()
            };
            config.history = history(&store, state, top, epoch)?;
            let cache = cache.map(|cache| (INLINE.to_owned(), cache.into()));
            config.other.extend(cache);
            let last = || config.history.iter().rev().find_map(|row| row.created.clone());
            config.created = epoch.map(rfc3339).or_else(last);
            Ok(images.assemble(config, top)?)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(image) => image,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// One plan for each platform.
fn plans<'a>(
    dockerfile: &'a Dockerfile,
    triggers: &'a [Triggers],
    settings: &[PlanSettings<'_>],
) -> Result<Vec<Plan<'a>>, BuildError> {
    let plans = settings.iter().zip(triggers);
    let plans = plans.map(|(settings, triggers)| plan(dockerfile, triggers, settings));
    plans.collect::<Result<_, _>>().map_err(BuildError::Diagnostics)
}

/// What base images left to their children. A stage that only these triggers reach has no say in triggers itself: one
/// more round would be needed, and BuildKit does not make it either.
fn triggers(plan: &Plan<'_>, images: &StageImages) -> Result<Triggers, BuildError> {
    let mut triggers = Triggers::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        let Some(Stage {
            base: (Origin::Image(reference, platform), _),
            ..
        }) = stage
        else {
            continue;
        };
        let image = &images[&(reference.clone(), platform.clone())];
        for text in image.config.config.on_build.iter().flatten() {
            let source = Source::new(format!("ONBUILD of {}", reference.familiar()), text.as_str());
            let parsed = Dockerfile::parse_trigger(&source);
            if parsed.has_errors() {
                return Err(BuildError::Diagnostics(parsed.diagnostics));
            }
            triggers.entry(index).or_default().push(parsed.dockerfile);
        }
    }
    Ok(triggers)
}

/// A `--build-arg` that no ARG takes is most often misspelt.
fn warn_unused(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>, progress: &Progress) {
    let declared = || {
        dockerfile
            .instructions
            .iter()
            .flat_map(|instruction| match &instruction.kind {
                InstructionKind::Arg(declarations) => declarations.as_slice(),
                _ => &[],
            })
    };
    let names = || declared().map(|declaration| declaration.name.value.as_str());
    let known = |name: &str| names().any(|declared| declared == name) || is_predefined(name);
    for name in build_args.keys().filter(|name| !known(name)) {
        let message = format!("build argument `{name}` is used by no ARG of this Dockerfile");
        let mut warning =
            Diagnostic::warning("unused-build-arg", &dockerfile.source, Span::default(), message);
        warning.labels.clear();
        warning.help = nearest(name, names()).map(|near| format!("did you mean `{near}`?"));
        progress.warn(warning);
    }
}

/// Parses, reports warnings, fails on errors.
fn parse(
    source: &Source,
    build_args: &BTreeMap<String, String>,
    progress: &Progress,
) -> Result<Dockerfile, BuildError> {
    if let Some(frontend) = build_args
        .get("BUILDKIT_SYNTAX")
        .filter(|name| !is_built_in_frontend(name))
    {
        let message =
            format!("frontend `{frontend}` of the build argument `BUILDKIT_SYNTAX` is not available");
        let mut error = Diagnostic::error("unknown-frontend", source, Span::default(), message);
        error.labels.clear();
        let help = "only Dockerfile syntax is built in: `BUILDKIT_SYNTAX=docker/dockerfile:1`";
        return Err(BuildError::Diagnostics(vec![error.with_help(help)]));
    }
    let parsed = Dockerfile::parse(source);
    let (errors, warnings): (Vec<_>, Vec<_>) = parsed
        .diagnostics
        .into_iter()
        .partition(|diagnostic| diagnostic.severity == Severity::Error);
    warnings.into_iter().for_each(|warning| progress.warn(warning));
    match errors.is_empty() {
        true => Ok(parsed.dockerfile),
        false => Err(BuildError::Diagnostics(errors)),
    }
}

fn set_labels(state: &mut StageState, labels: &BTreeMap<String, String>) {
    if !labels.is_empty() {
        state.config.labels.get_or_insert_default().extend(labels.clone());
    }
}

/// Fills in the times: a layer's is its snapshot's, an empty row's that of the layer before it. A cached build
/// therefore comes to the same image. With SOURCE_DATE_EPOCH it is that in every row of ours.
fn history(
    store: &Store,
    state: StageState,
    top: Option<SnapshotId>,
    epoch: Option<i64>,
) -> Result<Vec<plimsoll_oci::History>, BuildError> {
    let ours = own_layers(&state);
    let mut times = Vec::with_capacity(ours);
    let mut snapshot = top;
    for _ in 0..ours {
        let Some(id) = snapshot else { break };
        times.push(created(store, id)?);
        snapshot = store.snapshots().parent(id)?;
    }
    let mut last = state
        .history
        .iter()
        .rev()
        .find_map(|row| row.history.created.clone());
    let mut rows = Vec::with_capacity(state.history.len());
    for mut row in state.history {
        if row.ours {
            if !row.history.empty_layer {
                last = times.pop().or(last);
            }
            row.history.created = epoch.map(rfc3339).or_else(|| last.clone());
        } else {
            last = row.history.created.clone().or(last);
        }
        rows.push(row.history);
    }
    Ok(rows)
}

/// Returns how many layers the instructions made.
fn own_layers(state: &StageState) -> usize {
    let rows = state.history.iter();
    rows.filter(|row| row.ours && !row.history.empty_layer).count()
}

fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The time that no time in the result may be after. An empty value is none.
///
/// <https://reproducible-builds.org/docs/source-date-epoch/>
fn source_date_epoch(
    source: &Source,
    build_args: &BTreeMap<String, String>,
) -> Result<Option<i64>, BuildError> {
    let Some(text) = build_args.get(SOURCE_DATE_EPOCH).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seconds) if Timestamp::from_second(seconds).is_ok() => Ok(Some(seconds)),
        _ => {
            let message =
                format!("invalid {SOURCE_DATE_EPOCH}: `{text}` is not a number of seconds since 1970");
            let mut error = Diagnostic::error("invalid-epoch", source, Span::default(), message);
            error.labels.clear();
            Err(BuildError::Diagnostics(vec![error]))
        }
    }
}

fn created(store: &Store, id: SnapshotId) -> Result<String, BuildError> {
    let nanoseconds: Option<i64> = store.db().read(|connection| -> plimsoll_store::Result<_> {
        let query = connection.query_row("SELECT created FROM snapshot WHERE id = ?1", [id.0], |row| {
            row.get(0)
        });
        Ok(query.optional()?)
    })?;
    let time =
        Timestamp::from_nanosecond(i128::from(nanoseconds.unwrap_or(0))).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(time.to_string())
}

/// Points at the instruction that failed.
fn failure(solver: &Solver<BuildOp, BuildCache>, error: &SolveError<OpError>) -> BuildError {
    let op = solver.op(error.vertex);
    let span = error.error.span().unwrap_or(op.span);
    let mut diagnostic = Diagnostic::error("step-failed", &op.source, span, chain(&*error.error));
    diagnostic.help = error.error.hint();
    match &*error.error {
        OpError::Exit { tail, log, .. } if !tail.is_empty() => {
            let step = op.name.clone().unwrap_or_default();
            BuildError::Step {
                step,
                tail: tail.clone(),
                log: log.clone(),
                diagnostic: Box::new(diagnostic),
            }
        }
        _ => BuildError::Diagnostics(vec![diagnostic]),
    }
}

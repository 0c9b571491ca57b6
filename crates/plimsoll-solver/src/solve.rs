//! Solving: keys, cache, workers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use jiff::Timestamp;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_progress::{Progress, Task};
use tokio::sync::Semaphore;

use crate::graph::{Graph, VertexId};
use crate::report::{Outcome, Report, Reports};

/// Changes when the meaning of keys changes: old records are then simply not found.
const KEY_VERSION: &[u8] = b"plimsoll-key-1";

/// Something that makes an output from the outputs of its inputs.
pub trait Op: Send + Sync + 'static {
    /// What it makes; cheap to clone.
    type Output: Clone + Send + Sync + 'static;
    /// Why it failed.
    type Error: std::fmt::Display + Send + Sync + 'static;

    /// Returns what the user reads; `None` for an operation that is not worth a line.
    fn name(&self) -> Option<String>;

    /// Returns the digest of all that decides the result besides the inputs: the definition, and the content
    /// of files that come from outside the graph.
    fn key(&self) -> impl Future<Output = Result<Digest, Self::Error>> + Send;

    /// Returns the digest of what the operation reads of its inputs.
    fn content_key(
        &self,
        inputs: &[Self::Output],
    ) -> impl Future<Output = Result<Digest, Self::Error>> + Send;

    /// What the operation has to itself while it runs.
    type Held: Send + Sync;

    /// Takes what the operation must have to itself, waiting for it. No worker is kept waiting meanwhile.
    fn hold(&self, inputs: &[Self::Output]) -> impl Future<Output = Result<Self::Held, Self::Error>> + Send;

    /// Does the work.
    fn run(
        &self,
        held: &Self::Held,
        inputs: &[Self::Output],
        task: &Task,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;

    /// Tells whether the result may be taken from the cache.
    fn cacheable(&self) -> bool {
        true
    }

    /// Tells whether `run` is so cheap and dependable that its result is neither looked up nor recorded.
    fn trivial(&self) -> bool {
        false
    }
}

/// Where results of earlier solves are found.
pub trait CacheStorage<O: Op>: Send + Sync + 'static {
    /// Held while an operation runs.
    type Lock: Send;

    /// Returns the output recorded under `key`, if it still exists. It may have to be brought from elsewhere.
    fn find(&self, key: Digest) -> impl Future<Output = Result<Option<O::Output>, O::Error>> + Send;

    /// Records `output` under both keys and returns the output to go on with: an earlier one with the same
    /// content where there is one and `replace` is not set, else `output`.
    fn record(
        &self,
        keys: [Digest; 2],
        output: O::Output,
        description: &str,
        replace: bool,
    ) -> Result<O::Output, O::Error>;

    /// Waits until no other process runs `key`; tells `waiting` for whom when it has to.
    fn lock(
        &self,
        key: Digest,
        waiting: &(dyn Fn(&str) + Sync),
    ) -> impl Future<Output = Result<Self::Lock, O::Error>> + Send;
}

/// A failure, shared by all that waited for it, and the vertex it happened in.
#[derive(Debug)]
pub struct SolveError<E> {
    /// Where.
    pub vertex: VertexId,
    /// Why.
    pub error: Arc<E>,
}

impl<E> Clone for SolveError<E> {
    fn clone(&self) -> Self {
        Self {
            vertex: self.vertex,
            error: self.error.clone(),
        }
    }
}

type Solved<O> = Result<<O as Op>::Output, SolveError<<O as Op>::Error>>;
type SharedSolved<O> = Shared<BoxFuture<'static, Solved<O>>>;
type Keyed<O> = Result<Digest, SolveError<<O as Op>::Error>>;
type SharedKey<O> = Shared<BoxFuture<'static, Keyed<O>>>;

/// Solves vertices of one graph. Dropping the returned futures cancels the work.
pub struct Solver<O: Op, C> {
    shared: Arc<Inner<O, C>>,
}

struct Inner<O: Op, C> {
    graph: Graph<O>,
    cache: C,
    workers: Semaphore,
    /// One task per named vertex, taken by whoever settles the vertex.
    tasks: Vec<Mutex<Option<Task>>>,
    /// Vertices that run again, and all that depend on them: what is recorded under their definition may be outdated.
    fresh: Vec<bool>,
    keys: Mutex<HashMap<VertexId, SharedKey<O>>>,
    /// What became of each vertex so far.
    reports: Mutex<Vec<Report<O::Output>>>,
    /// Vertices that the targets need, inputs first.
    needed: Vec<VertexId>,
    /// By definition key, fresh ones apart: two vertices that say the same run once.
    outputs: Mutex<HashMap<(Digest, bool), SharedSolved<O>>>,
}

impl<O: Op, C: CacheStorage<O>> Solver<O, C> {
    /// Prepares to solve `targets`, announcing every named vertex they need. At most `workers` operations run
    /// at a time.
    pub fn new(graph: Graph<O>, cache: C, workers: usize, targets: &[VertexId], progress: &Progress) -> Self {
        let mut tasks: Vec<Option<Task>> = (0..graph.vertices.len()).map(|_| None).collect();
        let mut reports: Vec<Report<O::Output>> = tasks.iter().map(|_| Report::default()).collect();
        let needed = graph.reachable(targets);
        for &id in &needed {
            let vertex = &graph.vertices[id.0];
            let Some(name) = vertex.op.name() else { continue };
            let inputs: Vec<&Task> = vertex
                .inputs
                .iter()
                .filter_map(|input| tasks[input.0].as_ref())
                .collect();
            let task = progress.task(name, &inputs);
            reports[id.0].task = Some(task.id().to_owned());
            tasks[id.0] = Some(task);
        }
        let shared = Inner {
            fresh: fresh(&graph),
            graph,
            cache,
            workers: Semaphore::new(workers.max(1)),
            tasks: tasks.into_iter().map(Mutex::new).collect(),
            keys: Mutex::default(),
            reports: Mutex::new(reports),
            needed,
            outputs: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns the output of `target`. What was not needed because a later result was known ends as cached.
    pub async fn solve(&self, target: VertexId) -> Solved<O> {
        let output = self.shared.clone().output(target).await?;
        self.shared
            .graph
            .reachable(&[target])
            .into_iter()
            .for_each(|id| self.shared.end_task_cached(id));
        Ok(output)
    }

    /// Returns where results are found.
    pub fn cache(&self) -> &C {
        &self.shared.cache
    }

    /// Returns the operation of a vertex, to say more about an error.
    pub fn op(&self, id: VertexId) -> &O {
        self.shared.graph.op(id)
    }

    /// Returns every vertex that the targets need, inputs first, with its inputs and what became of it so far.
    pub fn reports(&self) -> Reports<'_, O::Output> {
        let reports = self.shared.reports.lock().expect(NOT_POISONED);
        let report = |&id: &VertexId| {
            let inputs = self.shared.graph.vertices[id.0].inputs.as_slice();
            (id, inputs, reports[id.0].clone())
        };
        self.shared.needed.iter().map(report).collect()
    }
}

const NOT_POISONED: &str = "no holder of this lock panics";

impl<O: Op, C: CacheStorage<O>> Inner<O, C> {
    fn failed(vertex: VertexId) -> impl Fn(O::Error) -> SolveError<O::Error> {
        move |error| SolveError {
            vertex,
            error: Arc::new(error),
        }
    }

    /// The definition key of a vertex, worked out once.
    fn key(self: Arc<Self>, id: VertexId) -> SharedKey<O> {
        let mut keys = self.keys.lock().expect(NOT_POISONED);
        if let Some(key) = keys.get(&id) {
            return key.clone();
        }
        let this = self.clone();
        let key = async move {
            let vertex = &this.graph.vertices[id.0];
            let own = async { vertex.op.key().await.map_err(Self::failed(id)) };
            let inputs = try_join_all(vertex.inputs.iter().map(|&input| boxed_key(this.clone(), input)));
            let (own, inputs) = futures_util::future::try_join(own, inputs).await?;
            let key = hash(b"definition", own, &inputs);
            this.note(id, |report| report.key = Some(key));
            Ok(key)
        };
        let key = key.boxed().shared();
        keys.insert(id, key.clone());
        key
    }

    /// The output of a vertex, made once per definition key.
    fn output(self: Arc<Self>, id: VertexId) -> BoxFuture<'static, Solved<O>> {
        async move {
            let key = self.clone().key(id).await?;
            let solved = {
                let mut outputs = self.outputs.lock().expect(NOT_POISONED);
                let this = self.clone();
                outputs
                    .entry((key, self.fresh[id.0]))
                    .or_insert_with(|| async move { this.settle(id, key).await }.boxed().shared())
                    .clone()
            };
            let output = solved.await?;
            self.note(id, |report| {
                report.outcome.get_or_insert(Outcome::Shared);
                report.output = Some(output.clone());
            });
            // A twin of a vertex that ran elsewhere in the graph has a task of its own to end.
            self.end_task_cached(id);
            Ok(output)
        }
        .boxed()
    }

    /// Finds or makes the output of a vertex.
    async fn settle(self: Arc<Self>, id: VertexId, key: Digest) -> Solved<O> {
        let vertex = &self.graph.vertices[id.0];
        let failed = Self::failed(id);
        if vertex.op.trivial() {
            let inputs = self.clone().inputs(id).await?;
            return self.run(id, &inputs).await;
        }
        if let Some(output) = self.find(id, key).await? {
            self.note(id, |report| report.outcome = Some(Outcome::Found));
            return Ok(output);
        }
        let inputs = self.clone().inputs(id).await?;
        let content = vertex.op.content_key(&inputs).await.map_err(&failed)?;
        let own = vertex.op.key().await.map_err(&failed)?;
        let content_key = hash(b"content", own, &[content]);
        self.note(id, |report| report.content_key = Some(content_key));
        let waiting = |line: &str| self.log(id, line);
        let _lock = self.cache.lock(content_key, &waiting).await.map_err(&failed)?;
        let description = vertex.op.name().unwrap_or_default();
        if vertex.op.cacheable() {
            let known = match self.find(id, key).await? {
                Some(output) => Some(output),
                None => self.cache.find(content_key).await.map_err(&failed)?,
            };
            if let Some(output) = known {
                self.note(id, |report| report.outcome = Some(Outcome::FoundByContent));
                return self
                    .cache
                    .record([key, content_key], output, &description, false)
                    .map_err(&failed);
            }
        }
        let output = self.run(id, &inputs).await?;
        self.cache
            .record([key, content_key], output, &description, !vertex.op.cacheable())
            .map_err(&failed)
    }

    /// Looks up a vertex by its definition, where that is enough.
    async fn find(&self, id: VertexId, key: Digest) -> Result<Option<O::Output>, SolveError<O::Error>> {
        match self.fresh[id.0] {
            true => Ok(None),
            false => self.cache.find(key).await.map_err(Self::failed(id)),
        }
    }

    async fn inputs(self: Arc<Self>, id: VertexId) -> Result<Vec<O::Output>, SolveError<O::Error>> {
        let inputs = &self.graph.vertices[id.0].inputs;
        try_join_all(inputs.iter().map(|&input| self.clone().output(input))).await
    }

    async fn run(&self, id: VertexId, inputs: &[O::Output]) -> Solved<O> {
        let op = &self.graph.vertices[id.0].op;
        let held = op.hold(inputs).await.map_err(Self::failed(id))?;
        let _slot = self
            .workers
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let task = self.tasks[id.0].lock().expect(NOT_POISONED).take();
        let mut task = task.unwrap_or_else(|| Progress::none().task("", &[]));
        task.start();
        self.note(id, |report| report.started = Some(Timestamp::now()));
        let ran = op.run(&held, inputs, &task).await;
        self.note(id, |report| report.ran(&ran));
        match ran {
            Ok(output) => {
                task.done();
                Ok(output)
            }
            Err(error) => {
                task.failed(&error);
                Err(Self::failed(id)(error))
            }
        }
    }

    fn note(&self, id: VertexId, write: impl FnOnce(&mut Report<O::Output>)) {
        write(&mut self.reports.lock().expect(NOT_POISONED)[id.0]);
    }

    fn log(&self, id: VertexId, line: &str) {
        if let Some(task) = &*self.tasks[id.0].lock().expect(NOT_POISONED) {
            task.log(2, line.as_bytes());
        }
    }

    fn end_task_cached(&self, id: VertexId) {
        if let Some(task) = self.tasks[id.0].lock().expect(NOT_POISONED).take() {
            task.cached();
        }
    }
}

/// Breaks the recursion of the key's future type.
fn fresh<O: Op>(graph: &Graph<O>) -> Vec<bool> {
    let mut fresh: Vec<bool> = Vec::with_capacity(graph.vertices.len());
    for vertex in &graph.vertices {
        let runs_again = !vertex.op.cacheable() && !vertex.op.trivial();
        fresh.push(runs_again || vertex.inputs.iter().any(|input| fresh[input.0]));
    }
    fresh
}

fn boxed_key<O: Op, C: CacheStorage<O>>(
    inner: Arc<Inner<O, C>>,
    id: VertexId,
) -> BoxFuture<'static, Keyed<O>> {
    inner.key(id).boxed()
}

fn hash(kind: &[u8], own: Digest, inputs: &[Digest]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(KEY_VERSION);
    hasher.field(kind);
    hasher.field(own.as_bytes());
    inputs.iter().for_each(|input| hasher.field(input.as_bytes()));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Joins its name and its inputs; counts its runs; `reads` is how many characters of each input matter.
    #[derive(Clone)]
    struct Concat {
        name: String,
        runs: Arc<AtomicUsize>,
        output: Option<String>,
        delay: Duration,
        fails: bool,
        cacheable: bool,
    }

    impl Op for Concat {
        type Output = String;
        type Error = String;

        fn name(&self) -> Option<String> {
            Some(self.name.clone())
        }

        async fn key(&self) -> Result<Digest, String> {
            Ok(Digest::of(&self.name))
        }

        async fn content_key(&self, inputs: &[String]) -> Result<Digest, String> {
            Ok(Digest::of(inputs.join("\0")))
        }

        type Held = ();

        async fn hold(&self, _: &[String]) -> Result<(), String> {
            Ok(())
        }

        async fn run(&self, (): &(), inputs: &[String], _: &Task) -> Result<String, String> {
            self.runs.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.delay).await;
            match self.fails {
                true => Err(format!("{} failed", self.name)),
                false => Ok(self
                    .output
                    .clone()
                    .unwrap_or_else(|| format!("{}({})", self.name, inputs.join(",")))),
            }
        }

        fn cacheable(&self) -> bool {
            self.cacheable
        }
    }

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<HashMap<Digest, String>>>);

    impl CacheStorage<Concat> for Memory {
        type Lock = ();

        async fn find(&self, key: Digest) -> Result<Option<String>, String> {
            Ok(self.0.lock().unwrap().get(&key).cloned())
        }

        fn record(&self, keys: [Digest; 2], output: String, _: &str, _: bool) -> Result<String, String> {
            self.0
                .lock()
                .unwrap()
                .extend(keys.map(|key| (key, output.clone())));
            Ok(output)
        }

        async fn lock(&self, _: Digest, _: &(dyn Fn(&str) + Sync)) -> Result<(), String> {
            Ok(())
        }
    }

    struct Bench {
        graph: Graph<Concat>,
        runs: Arc<AtomicUsize>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                graph: Graph::default(),
                runs: Arc::default(),
            }
        }

        fn add(&mut self, name: &str, inputs: &[VertexId]) -> VertexId {
            self.add_with(name, inputs, |_| {})
        }

        fn add_with(
            &mut self,
            name: &str,
            inputs: &[VertexId],
            change: impl FnOnce(&mut Concat),
        ) -> VertexId {
            let mut op = Concat {
                name: name.to_owned(),
                runs: self.runs.clone(),
                output: None,
                delay: Duration::ZERO,
                fails: false,
                cacheable: true,
            };
            change(&mut op);
            self.graph.add(op, inputs.to_vec())
        }

        fn solve(self, cache: &Memory, target: VertexId) -> (Result<String, String>, usize) {
            let solver = Solver::new(self.graph, cache.clone(), 4, &[target], &Progress::none());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let output = runtime
                .block_on(solver.solve(target))
                .map_err(|error| error.error.to_string());
            (output, self.runs.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_second_solve_runs_nothing() {
        let cache = Memory::default();
        for runs in [3, 0] {
            let mut bench = Bench::new();
            let a = bench.add("a", &[]);
            let b = bench.add("b", &[a]);
            let c = bench.add("c", &[b, a]);
            assert_eq!(bench.solve(&cache, c), (Ok("c(b(a()),a())".to_owned()), runs));
        }
    }

    #[test]
    fn what_the_target_does_not_need_does_not_run() {
        let mut bench = Bench::new();
        let a = bench.add("a", &[]);
        bench.add_with("broken", &[a], |op| op.fails = true);
        assert_eq!(bench.solve(&Memory::default(), a).1, 1);
    }

    #[test]
    fn two_vertices_that_say_the_same_run_once() {
        let mut bench = Bench::new();
        let (a, twin) = (bench.add("a", &[]), bench.add("a", &[]));
        let top = bench.add("top", &[a, twin]);
        assert_eq!(
            bench.solve(&Memory::default(), top),
            (Ok("top(a(),a())".to_owned()), 2)
        );
    }

    #[test]
    fn an_input_made_again_with_the_same_content_keeps_what_follows() {
        let cache = Memory::default();
        for (name, runs) in [("a", 2), ("a, reworded", 1)] {
            let mut bench = Bench::new();
            let a = bench.add_with(name, &[], |op| op.output = Some("same".to_owned()));
            let b = bench.add("b", &[a]);
            assert_eq!(bench.solve(&cache, b), (Ok("b(same)".to_owned()), runs));
        }
    }

    #[test]
    fn without_cache_it_runs_again() {
        let cache = Memory::default();
        for _ in 0..2 {
            let mut bench = Bench::new();
            let a = bench.add_with("a", &[], |op| op.cacheable = false);
            assert_eq!(bench.solve(&cache, a).1, 1);
        }
    }

    #[test]
    fn what_follows_a_step_that_runs_again_is_found_by_content_only() {
        let cache = Memory::default();
        for (output, cacheable, runs) in [("same", true, 3), ("same", false, 1), ("other", false, 3)] {
            let mut bench = Bench::new();
            let a = bench.add_with("a", &[], |op| {
                op.output = Some(output.to_owned());
                op.cacheable = cacheable;
            });
            let b = bench.add("b", &[a]);
            let c = bench.add("c", &[b]);
            assert_eq!(bench.solve(&cache, c), (Ok(format!("c(b({output}))")), runs));
        }
    }

    #[test]
    fn a_step_that_must_run_again_is_not_its_twin() {
        let cache = Memory::default();
        for runs in [3, 1] {
            let mut bench = Bench::new();
            let a = bench.add("a", &[]);
            let again = bench.add_with("a", &[], |op| op.cacheable = false);
            let top = bench.add("top", &[a, again]);
            assert_eq!(bench.solve(&cache, top).1, runs);
        }
    }

    #[test]
    fn a_failure_names_its_vertex_and_is_not_recorded() {
        let cache = Memory::default();
        let mut bench = Bench::new();
        let a = bench.add_with("a", &[], |op| op.fails = true);
        let b = bench.add("b", &[a]);
        assert_eq!(bench.solve(&cache, b), (Err("a failed".to_owned()), 1));
        assert!(cache.0.lock().unwrap().is_empty());
    }

    #[test]
    fn independent_vertices_overlap() {
        let mut bench = Bench::new();
        let parts: Vec<_> = (0..4)
            .map(|n| bench.add_with(&n.to_string(), &[], |op| op.delay = Duration::from_secs(1)))
            .collect();
        let top = bench.add("top", &parts);
        let solver = Solver::new(bench.graph, Memory::default(), 4, &[top], &Progress::none());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let start = tokio::time::Instant::now();
            solver.solve(top).await.unwrap();
            // Virtual time: it counts the sleeps in a row, not the machine's speed.
            assert_eq!(start.elapsed().as_secs(), 1);
        });
    }

    proptest! {
        #[test]
        fn every_vertex_runs_at_most_once(edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..40)) {
            let mut bench = Bench::new();
            let mut ids = Vec::new();
            for (number, inputs) in edges.iter().enumerate() {
                let inputs: Vec<VertexId> = inputs.iter().filter(|_| !ids.is_empty()).map(|index| *index.get(&ids)).collect();
                ids.push(bench.add_with(&number.to_string(), &inputs, |op| op.output = Some(number.to_string())));
            }
            let target = *ids.last().unwrap();
            let needed = bench.graph.reachable(&[target]).len();
            prop_assert_eq!(bench.solve(&Memory::default(), target).1, needed);
        }
    }
}

//! Who makes a container: chosen when it is made.

use crate::container_spec::Resources;
use crate::direct::{Direct, DirectContainer};
use crate::{Bundle, Libcontainer, OciRuntime, ProcessSpec, RuntimeError, Stdio};

/// One container, made on the direct path where it leads, else by libcontainer.
#[derive(Default)]
pub struct Engine(Option<Box<dyn OciRuntime>>);

impl Engine {
    /// Nothing yet; [`OciRuntime::create`] makes the container.
    pub fn new() -> Self {
        Self::default()
    }

    fn made(&mut self) -> Result<&mut dyn OciRuntime, RuntimeError> {
        match &mut self.0 {
            Some(made) => Ok(made.as_mut()),
            None => Err(RuntimeError::Misuse("the container has not been created")),
        }
    }
}

impl OciRuntime for Engine {
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        let direct = Direct::new(bundle.filters.to_owned())?;
        let made: Box<dyn OciRuntime> = if direct.covers(bundle.spec) {
            Box::new(DirectContainer::new(direct))
        } else {
            Box::new(Libcontainer::new())
        };
        self.0.insert(made).create(bundle)
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        self.made()?.start()
    }

    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        self.made()?.exec(process, stdio)
    }

    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        self.made()?.kill(signal, all)
    }

    fn update(&mut self, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
        self.made()?.update(resources)
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError> {
        self.made()?.freeze(frozen)
    }

    fn warnings(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |made| made.warnings())
    }

    fn oom_killed(&self) -> bool {
        self.0.as_ref().is_some_and(|made| made.oom_killed())
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        self.0.as_mut().map_or(Ok(()), |made| made.delete())
    }
}

//! Looking at a container from inside it.
//!
//! The runner must be a program of its own, so this test binary is one: `inside runner`. What needs a process with
//! one thread is another role: `inside alone NAME`. What a step sees must not depend on who made its container: the tests
//! of steps are run with the direct path and with libcontainer.

#[path = "inside/alone.rs"]
mod alone;
#[path = "inside/kit.rs"]
mod kit;
#[path = "inside/steps.rs"]
mod steps;

use kit::Engine;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("runner") => std::process::exit(plimsoll_runtime::runner_main()),
        Some("alone") => {
            let code = alone::main(&args.next().unwrap_or_default());
            let _ = std::fs::remove_dir_all(kit::busybox().0.path());
            std::process::exit(code);
        }
        _ => {}
    }
    let ready = rustix::process::geteuid().is_root();
    if !ready {
        eprintln!("skipped: needs root");
    }
    let args = Arguments::from_args();
    if ready && !args.list {
        kit::busybox();
    }
    let engines = [("direct", Engine::Direct), ("library", Engine::Library)];
    let tests = engines.iter().flat_map(|&(by, engine)| {
        steps::TESTS.iter().map(move |&(name, test)| {
            let run = move || {
                kit::use_engine(engine);
                test();
            };
            (format!("{by}_{name}"), Box::new(run) as Box<dyn Fn() + Send>)
        })
    });
    let alone = alone::TESTS.iter().map(|(name, _)| {
        (
            (*name).to_owned(),
            Box::new(|| alone::spawn(name)) as Box<dyn Fn() + Send>,
        )
    });
    let trials = tests.chain(alone).map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(!ready)
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    if ready && !args.list {
        // What is kept for the life of the process is not dropped at its end.
        let _ = std::fs::remove_dir_all(kit::busybox().0.path());
    }
    conclusion.exit();
}

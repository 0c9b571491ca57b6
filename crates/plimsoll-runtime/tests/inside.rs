//! Looking at a container from inside it.
//!
//! The runner must be a program of its own, so this test binary is one: `inside runner`. What needs a process with
//! one thread is another role: `inside alone ENGINE NAME`. What is seen must not depend on who made the container: all tests
//! are run with the direct path and with libcontainer.

#[path = "inside/alone.rs"]
mod alone;
#[path = "inside/kit.rs"]
mod kit;
#[path = "inside/steps.rs"]
mod steps;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("runner") => std::process::exit(plimsoll_runtime::runner_main()),
        Some("alone") => {
            let (by, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
            let code = alone::main(&by, &name);
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
    let tests = kit::ENGINES.iter().flat_map(|&(by, engine)| {
        steps::TESTS.iter().map(move |&(name, test)| {
            let run = move || {
                kit::use_engine(engine);
                test();
            };
            (format!("{by}_{name}"), Box::new(run) as Box<dyn Fn() + Send>)
        })
    });
    let alone = kit::ENGINES.iter().flat_map(|&(by, _)| {
        alone::TESTS.iter().map(move |&(name, _)| {
            let run = move || alone::spawn(by, name);
            (format!("{by}_{name}"), Box::new(run) as Box<dyn Fn() + Send>)
        })
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

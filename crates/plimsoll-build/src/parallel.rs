//! Blocking work on a few threads.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// More threads than this only wait for the disk together.
const MOST_THREADS: usize = 8;

struct Queue<T, E> {
    waiting: Vec<T>,
    /// Tasks that are being worked on and may add others.
    running: usize,
    failed: Option<E>,
}

/// Works on every task and on those that they add, on as many threads as there are processors, eight at most.
/// The first failure ends it.
pub(crate) fn drain<T: Send, E: Send>(
    tasks: Vec<T>,
    work: impl Fn(T, &mut Vec<T>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS);
    let queue = Mutex::new(Queue {
        waiting: tasks,
        running: 0,
        failed: None,
    });
    let changed = Condvar::new();
    let worker = || {
        let mut added = Vec::new();
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        loop {
            if state.failed.is_some() {
                return;
            }
            let Some(task) = state.waiting.pop() else {
                if state.running == 0 {
                    return;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running += 1;
            drop(state);
            let result = work(task, &mut added);
            state = lock();
            state.running -= 1;
            state.waiting.append(&mut added);
            if let Err(error) = result {
                state.failed.get_or_insert(error);
            }
            if state.running == 0 || state.failed.is_some() || state.waiting.len() > 1 {
                changed.notify_all();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(worker);
        }
        worker();
    });
    match queue.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn tasks_that_tasks_add_are_done_too() {
        let done = AtomicUsize::new(0);
        let result: Result<(), ()> = drain(vec![6], |depth: u32, added| {
            done.fetch_add(1, Ordering::Relaxed);
            added.extend((0..depth).map(|_| depth - 1));
            Ok(())
        });
        assert_eq!(result, Ok(()));
        // 1 + 6 + 6*5 + ... + 6!
        assert_eq!(done.into_inner(), 1957);
    }

    #[test]
    fn the_first_failure_is_the_result() {
        let tasks: Vec<u32> = (0..1000).collect();
        assert_eq!(
            drain(tasks, |task, _| if task == 500 {
                Err("five hundred")
            } else {
                Ok(())
            }),
            Err("five hundred")
        );
        assert_eq!(drain(Vec::<u32>::new(), |_, _| Err("never")), Ok(()));
    }
}

//! Parking, waking, panics, and callers that die.

use super::Executor;
use crate::errno::Error;
use event_listener::Event;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn thread() -> ThreadId {
    std::thread::current().id()
}

async fn notified(flag: Arc<AtomicBool>, event: Arc<Event>) {
    while !flag.load(Ordering::SeqCst) {
        let listener = event.listen();
        if flag.load(Ordering::SeqCst) {
            return;
        }
        listener.await;
    }
}

#[test]
fn what_can_finish_is_answered_on_the_callers_thread() {
    let (send, answers) = mpsc::channel();
    Executor::start().run(0, async { Ok(7) }, move |result| {
        send.send((result, thread())).unwrap();
    });
    assert_eq!(answers.try_recv(), Ok((Ok(7), thread())));
}

#[test]
fn a_parked_operation_does_not_hold_its_worker_and_a_foreign_wake_finishes_it_elsewhere() {
    let executor = Executor::start();
    let (flag, event) = (Arc::new(AtomicBool::new(false)), Arc::new(Event::new()));
    let (send, answers) = mpsc::channel();
    let waits = notified(flag.clone(), event.clone());
    let operation = async move {
        waits.await;
        Ok(thread())
    };
    executor.run(0, operation, move |result| send.send(result).unwrap());
    assert!(answers.try_recv().is_err());
    flag.store(true, Ordering::SeqCst);
    event.notify(usize::MAX);
    assert_ne!(answers.recv_timeout(LONG).unwrap().unwrap(), thread());
}

#[test]
fn a_runner_runs_what_it_wakes_itself() {
    let executor = Executor::start();
    let (flag, event) = (Arc::new(AtomicBool::new(false)), Arc::new(Event::new()));
    let (send, answers) = mpsc::channel();
    let waits = notified(flag.clone(), event.clone());
    let operation = async move {
        waits.await;
        Ok(thread())
    };
    executor.run(0, operation, move |result| send.send(result).unwrap());
    executor.run_ready();
    flag.store(true, Ordering::SeqCst);
    event.notify(usize::MAX);
    assert!(answers.try_recv().is_err());
    executor.run_ready();
    assert_eq!(answers.try_recv().unwrap().unwrap(), thread());
}

/// Wakes itself and lets others run, until the flag is up.
async fn restless(flag: Arc<AtomicBool>) -> Result<(), Error> {
    std::future::poll_fn(move |context| {
        if flag.load(Ordering::SeqCst) {
            return std::task::Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

#[test]
fn operations_that_keep_waking_do_not_keep_the_thread_that_must_end_their_wait() {
    let (send, answers) = mpsc::channel();
    // A thread of its own: should this test fail, it does not hang.
    std::thread::spawn(move || {
        let executor = Executor::start();
        executor.run_ready();
        let flag = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let send = send.clone();
            executor.run(0, restless(flag.clone()), move |result| {
                send.send(result).unwrap()
            });
        }
        executor.run_ready();
        // What a poller would do now: take the completion that they wait for.
        flag.store(true, Ordering::SeqCst);
        send.send(Ok(())).unwrap();
        std::thread::sleep(LONG);
    });
    for _ in 0..3 {
        assert_eq!(answers.recv_timeout(LONG / 2), Ok(Ok(())));
    }
}

#[test]
fn a_runner_that_ends_hands_on_what_it_woke() {
    let executor = Executor::start();
    let (flag, event) = (Arc::new(AtomicBool::new(false)), Arc::new(Event::new()));
    let (send, answers) = mpsc::channel();
    let waits = notified(flag.clone(), event.clone());
    executor.run(
        0,
        async move {
            waits.await;
            Ok(())
        },
        move |result| send.send(result).unwrap(),
    );
    let poller = executor.clone();
    let thread = std::thread::spawn(move || {
        poller.run_ready();
        flag.store(true, Ordering::SeqCst);
        event.notify(usize::MAX);
    });
    thread.join().unwrap();
    assert_eq!(answers.recv_timeout(LONG).unwrap(), Ok(()));
}

#[test]
fn a_panic_is_an_answer_and_takes_nothing_down() {
    let executor = Executor::start();
    let (send, answers) = mpsc::channel();
    let anew = send.clone();
    let slept = executor.sleep(Duration::from_millis(1));
    let panics = async move {
        slept.await;
        panic!("on purpose");
    };
    executor.run(0, panics, move |result: Result<(), Error>| {
        send.send(result).unwrap()
    });
    assert!(matches!(
        answers.recv_timeout(LONG).unwrap(),
        Err(Error::Internal(_))
    ));
    let slept = executor.sleep(Duration::from_millis(1));
    executor.run(
        0,
        async move {
            slept.await;
            Ok(())
        },
        move |result| anew.send(result).unwrap(),
    );
    assert_eq!(answers.recv_timeout(LONG).unwrap(), Ok(()));
}

#[test]
fn within_gives_up_and_drops_the_future() {
    let executor = Executor::start();
    let never = std::future::pending::<()>();
    assert_eq!(
        executor.block_on(executor.within(Duration::from_millis(2), never)),
        None
    );
    assert_eq!(executor.block_on(executor.within(LONG, async { 3 })), Some(3));
}

#[test]
fn sleepers_wake_in_order() {
    let executor = Executor::start();
    let (send, order) = mpsc::channel();
    for (delay, name) in [(60, 'c'), (5, 'a'), (30, 'b')] {
        let (slept, send) = (executor.sleep(Duration::from_millis(delay)), send.clone());
        executor.run(
            0,
            async move {
                slept.await;
                Ok(name)
            },
            move |name| send.send(name).unwrap(),
        );
    }
    let observed: Vec<_> = (0..3)
        .map(|_| order.recv_timeout(LONG).unwrap().unwrap())
        .collect();
    assert_eq!(observed, ['a', 'b', 'c']);
}

/// A killed child that its parent has not reaped is a task that is exiting, as in the FLUSH of its files.
#[test]
fn an_operation_of_a_dying_task_is_dropped_and_interrupted_but_no_other() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let executor = Executor::start();
    let child = |time: &str| {
        Command::new("sleep")
            .arg(time)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let (mut dies, mut lifetimes) = (child("600"), child("600"));
    let (send, answers) = mpsc::channel();
    let dropped = Arc::new(AtomicBool::new(false));
    for tid in [dies.id(), lifetimes.id()] {
        let held = (tid == dies.id()).then(|| Dropped(dropped.clone()));
        let (send, held_dropped) = (send.clone(), dropped.clone());
        let operation = async move {
            let _held = held;
            std::future::pending::<Result<(), Error>>().await
        };
        executor.run(tid, operation, move |result| {
            send.send((tid, result, held_dropped.load(Ordering::SeqCst)))
                .unwrap();
        });
    }
    assert!(answers.recv_timeout(Duration::from_millis(700)).is_err());
    dies.kill().unwrap();
    let answer = answers.recv_timeout(LONG).unwrap();
    assert_eq!(answer, (dies.id(), Err(Error::Interrupted), true));
    assert!(answers.recv_timeout(Duration::from_millis(500)).is_err());
    lifetimes.kill().unwrap();
    dies.wait().unwrap();
    lifetimes.wait().unwrap();
}

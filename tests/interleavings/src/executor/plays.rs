//! Operations that are woken, interrupted and given up while other threads run them.

use super::kill_watch::Killable;
use super::operation::{Answer, Condition, Host};
use super::queue::run_here;
use crate::explore::{explore, join};
use crate::sync::Event;
use loom::thread;
use std::sync::Arc;

/// A thread wakes an operation while its first step runs, or after: it is run once more, and done.
pub fn an_operation_that_is_woken_while_it_runs_is_run_once_more() {
    explore(|| {
        let host = Host::default();
        let condition = Condition::of_flags(1);
        let raised = Arc::clone(&condition);
        let wakes = thread::spawn(move || raised.raise(0));
        let operation = host.operation(&condition);
        run_here(operation.clone());
        host.queue.serve();
        join([wakes]);
        assert_eq!(host.notes.polls(), 2, "once more, and exactly once");
        assert_eq!(host.notes.answer(), Answer::Done);
        condition.forget();
        assert_eq!(
            Arc::strong_count(&operation),
            1,
            "somebody still knows the operation"
        );
    });
}

/// Two threads wake an operation: the poll that follows the last wake has both news, however the wakes meet its steps.
pub fn no_wake_is_lost_and_each_brings_its_news() {
    explore(|| {
        let host = Host::default();
        let condition = Condition::of_flags(2);
        let wakes = [0, 1].map(|flag| {
            let raised = Arc::clone(&condition);
            thread::spawn(move || raised.raise(flag))
        });
        run_here(host.operation(&condition));
        host.queue.serve();
        join(wakes);
        let polls = host.notes.polls();
        assert!((2..=3).contains(&polls), "{polls} polls for two wakes");
        assert_eq!(host.notes.answer(), Answer::Done);
    });
}

/// The caller is killed while the operation is woken and run on: one of both ends it, once.
pub fn interrupt_and_completion_end_an_operation_once() {
    explore(|| {
        let host = Host::default();
        let condition = Condition::of_flags(1);
        let operation = host.operation(&condition);
        let (raised, killed) = (Arc::clone(&condition), operation.clone());
        let wakes = thread::spawn(move || raised.raise(0));
        let kills = thread::spawn(move || killed.interrupt());
        run_here(operation.clone());
        host.queue.serve();
        join([wakes, kills]);
        let answer = host.notes.answer();
        assert!(answer == Answer::Done || answer == Answer::Interrupted);
        condition.forget();
        assert_eq!(
            Arc::strong_count(&operation),
            1,
            "somebody still knows the operation"
        );
    });
}

/// Two threads interrupt a parked operation, as two looks at a dying caller: one does.
pub fn an_operation_is_interrupted_once() {
    explore(|| {
        let host = Host::default();
        let condition = Condition::of_flags(1);
        let operation = host.operation(&condition);
        run_here(operation.clone());
        let killed = operation.clone();
        let kills = thread::spawn(move || killed.interrupt());
        operation.interrupt();
        join([kills]);
        assert_eq!(host.notes.answer(), Answer::Interrupted);
    });
}

/// The executor is closed while an operation is woken: the operation is done or dropped, once. One that was woken too late is dropped when
/// the queue is closed once more.
pub fn an_operation_ends_once_while_its_executor_is_closed() {
    explore(|| {
        let host = Host::default();
        let condition = Condition::of_flags(1);
        run_here(host.operation(&condition));
        let (raised, closed) = (Arc::clone(&condition), host.clone());
        let wakes = thread::spawn(move || raised.raise(0));
        let closes = thread::spawn(move || {
            closed.queue.close();
            closed.watch.close();
        });
        host.queue.serve();
        join([wakes, closes]);
        condition.forget();
        host.queue.close();
        let answer = host.notes.answer();
        assert!(answer == Answer::Done || answer == Answer::Dropped);
    });
}

/// An operation waits for an event, which calls wakers under its lock, while its executor is closed: the wake never drops the operation,
/// which would take that lock once more.
pub fn a_wake_drops_no_operation() {
    explore(|| {
        let host = Host::default();
        let event = Arc::new(Event::new());
        let listener = event.listen();
        run_here(host.operation_of(listener));
        let closed = host.clone();
        let closes = thread::spawn(move || {
            closed.queue.close();
            closed.watch.close();
        });
        event.notify(usize::MAX);
        host.queue.serve();
        join([closes]);
        host.queue.close();
        let answer = host.notes.answer();
        assert!(answer == Answer::Done || answer == Answer::Dropped);
    });
}

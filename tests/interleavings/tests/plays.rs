//! Each play, explored.

/// A test for each play.
macro_rules! explored {
    ($($module:ident: $($play:ident)*;)*) => {
        $(mod $module {
            $(#[test]
            fn $play() {
                rdmafs_interleavings::$module::$play();
            })*
        })*
    };
}

explored! {
    executor:
        an_operation_that_is_woken_while_it_runs_is_run_once_more
        no_wake_is_lost_and_each_brings_its_news
        interrupt_and_completion_end_an_operation_once
        an_operation_is_interrupted_once
        an_operation_ends_once_while_its_executor_is_closed
        a_wake_drops_no_operation;
    buffers:
        last_part_returns_the_buffer_whole_to_its_waiter
        a_buffer_that_is_split_while_another_part_ends_stays_held
        parts_that_rejoin_return_once
        a_spare_is_reclaimed_only_alone
        a_waiter_that_gives_up_loses_no_buffer
        a_waiter_is_woken_by_the_waker_that_it_polled_last_with;
    handler:
        a_recall_ends_when_the_last_transfer_has_ended
        a_recall_waits_for_transfers_that_run
        a_later_recall_waits_for_transfers_of_earlier_epochs
        a_recall_does_not_wait_for_transfers_of_later_epochs;
}

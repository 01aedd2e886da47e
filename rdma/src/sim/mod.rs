//! A deterministic fabric in one process, for tests: simulated clock, latency, reordering between queues, and a fault at
//! the n-th operation.

//! Operations as owned state machines: futures, polled by the FUSE worker that took the request, parked when they must wait,
//! finished by whichever thread completes what they wait for.

//! Operations on the handler over the simulator.

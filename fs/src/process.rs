//! What a daemon does to itself: undumpable, locked in memory, spared by the OOM killer, detached.

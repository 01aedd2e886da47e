//! Framed, non-blocking byte streams (TCP and Unix) that tcp and shm share.

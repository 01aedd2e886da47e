//! The extent allocator.

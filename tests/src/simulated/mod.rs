//! Operations on the handler over the simulator, the way the kernel brings them: names are looked up one by one, symbolic
//! links are followed here, and what the kernel refuses before it asks is refused here too. The handler is asked even when
//! the kernel would not, where it must refuse by itself.

mod system;
mod names;
mod attributes;
mod locks;
mod bytes;
mod atomics;
mod space;
mod xattrs;
mod apply;

pub use system::Simulated;

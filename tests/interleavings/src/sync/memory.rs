//! Memory whose accesses loom orders.

use loom::cell::{ConstPtr, MutPtr, UnsafeCell};

/// Stands for memory that threads share: it holds nothing, but an access that another one is not ordered with fails the play.
#[derive(Debug, Default)]
pub(crate) struct Memory(UnsafeCell<()>);

// SAFETY: there is no value that threads could share, and no pointer to it is dereferenced.
unsafe impl Sync for Memory {}

/// A write that goes on until it is dropped.
pub(crate) struct Access {
    _pointer: MutPtr<()>,
}

/// A read that goes on until it is dropped.
pub(crate) struct ReadAccess {
    _pointer: ConstPtr<()>,
}

impl Memory {
    pub(crate) fn write(&self) -> Access {
        Access {
            _pointer: self.0.get_mut(),
        }
    }

    pub(crate) fn read(&self) -> ReadAccess {
        ReadAccess {
            _pointer: self.0.get(),
        }
    }
}

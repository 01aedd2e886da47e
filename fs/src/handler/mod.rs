//! Files to layouts to byte ranges: everything a mount does, in our own types.

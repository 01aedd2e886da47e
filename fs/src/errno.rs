//! The only map from errors to errno.

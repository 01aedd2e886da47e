//! What a start made, until it is known to serve: a refused one leaves nothing behind.

use std::path::PathBuf;

/// Removes files and then directories, the last made first, when it is dropped without having been [kept](Made::keep).
#[derive(Debug, Default)]
pub(super) struct Made {
    paths: Vec<(PathBuf, bool)>,
}

impl Made {
    /// A file that is not there yet.
    pub(super) fn file(&mut self, path: PathBuf) {
        self.paths.push((path, false));
    }

    /// A directory that is not there yet; removed only when it is empty.
    pub(super) fn directory(&mut self, path: PathBuf) {
        self.paths.push((path, true));
    }

    /// All of it stays.
    pub(super) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (path, directory) in self.paths.iter().rev() {
            // What cannot be removed does no harm; it was perhaps never made.
            let _ = if *directory {
                std::fs::remove_dir(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let make = || {
            let mut made = Made::default();
            let inner = dir.path().join("d");
            made.directory(inner.clone());
            std::fs::create_dir(&inner).unwrap();
            made.file(inner.join("f"));
            std::fs::write(inner.join("f"), "").unwrap();
            made.file(dir.path().join("never"));
            made
        };
        drop(make());
        assert!(!dir.path().join("d").exists());
        let made = make();
        std::fs::write(dir.path().join("d/foreign"), "").unwrap();
        drop(made);
        assert!(dir.path().join("d/foreign").exists() && !dir.path().join("d/f").exists());
        std::fs::remove_dir_all(dir.path().join("d")).unwrap();
        make().keep();
        assert!(dir.path().join("d/f").exists());
    }
}

//! Layouts of files, piece by piece.

use super::reader::{Reader, inode_of};
use crate::extent::{Extent, GRANULE, granule_ceil};
use crate::id::{Incarnation, InodeId, NodeId};
use crate::layout::{Copy, CopyState, PIECE, Run};
use crate::namespace::record::{PieceRecord, decode, number};
use crate::namespace::space::MAX_SIZE;
use crate::problem::ProblemKind;

impl Reader {
    pub(super) fn piece(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let piece = inode_of(key).and_then(|(ino, piece)| Some((ino, number(piece).ok()?)));
        let Some((ino, piece)) = piece.filter(|(_, piece)| *piece <= MAX_SIZE / PIECE) else {
            return self.unknown(key, value);
        };
        if self.reading.tree.layout(ino).is_err() {
            self.leave_out(key);
            let what = format!("piece {piece} of its layout is there, and no such file");
            return self.report(ProblemKind::StrayPiece, ino, what, "remove it");
        }
        match decode::<PieceRecord>(key, value) {
            Ok(runs) => runs.into_iter().for_each(|run| self.run(ino, piece, run)),
            Err(_) => {
                let what = format!("piece {piece} of its layout cannot be read");
                self.lose_piece(ProblemKind::MalformedValue, ino, piece, what);
            }
        }
    }

    fn run(&mut self, ino: InodeId, piece: u64, mut run: Run) {
        let on_granules = run
            .copies
            .iter()
            .all(|copy| copy.extent.offset.is_multiple_of(GRANULE));
        if run.len() > PIECE || run.end() > granule_ceil(MAX_SIZE) || !on_granules {
            let what = format!("piece {piece} of its layout has an impossible run");
            return self.lose_piece(ProblemKind::BadRun, ino, piece, what);
        }
        let range = format!("bytes {} to {}", run.start, run.end());
        for copy in &mut run.copies {
            copy.state = CopyState::Lost;
            if copy.extent.end() > self.largest && copy.extent.incarnation != Incarnation::NEVER {
                copy.extent.incarnation = Incarnation::NEVER;
                self.relaid.insert(ino);
                let what = format!("{range} lie past the end of all memory that there was");
                let mend = "reading them is an error from then on";
                self.report(ProblemKind::ExtentBeyondArena, ino, what, mend);
            }
        }
        if (run.start / PIECE, (run.end() - 1) / PIECE) != (piece, piece) {
            self.relaid.insert(ino);
            let what = format!("{range} stand in piece {piece} of its layout");
            self.report(
                ProblemKind::RunInWrongPiece,
                ino,
                what,
                "move them to where they belong",
            );
            self.rewrite(ino, (piece, piece));
        }
        if !self.insert(ino, &run) {
            let what = format!("{range} have two places");
            self.report(ProblemKind::OverlappingRuns, ino, what, "keep the first one");
        }
    }

    /// What can be known of a piece is that it had bytes: they are lost.
    fn lose_piece(&mut self, kind: ProblemKind, ino: InodeId, piece: u64, what: String) {
        self.report(kind, ino, what, "reading its bytes is an error from then on");
        let start = piece * PIECE;
        let size = self.reading.tree.get(ino).map_or(0, |inode| inode.attr.size);
        let end = granule_ceil(size).min(start + PIECE);
        self.relaid.insert(ino);
        self.rewrite(ino, (piece, piece));
        if start < end {
            let extent = Extent {
                node: NodeId(0),
                incarnation: Incarnation::NEVER,
                offset: start,
                len: end - start,
            };
            let state = CopyState::Lost;
            let copies = vec![Copy { extent, state }];
            self.insert(ino, &Run { start, copies });
        }
    }

    /// Puts a run where nothing is yet. False if something was.
    fn insert(&mut self, ino: InodeId, run: &Run) -> bool {
        let Ok(layout) = self.reading.tree.layout_mut(ino) else {
            return true;
        };
        let holes = layout.holes(run.start, run.end());
        for (start, end) in &holes {
            if let Some(part) = run.part(start - run.start, end - start) {
                layout.insert(part);
            }
        }
        let whole = holes == [(run.start, run.end())];
        if !whole {
            self.relaid.insert(ino);
        }
        if self.relaid.contains(&ino) {
            self.rewrite(ino, (run.start / PIECE, (run.end() - 1) / PIECE));
        }
        whole
    }

    /// These pieces of a file are to be stored anew.
    fn rewrite(&mut self, ino: InodeId, (first, last): (u64, u64)) {
        // It is a file: asked before.
        let _there = self
            .reading
            .tree
            .edit_layout(ino, |_| ((), (first..=last).collect()));
    }
}

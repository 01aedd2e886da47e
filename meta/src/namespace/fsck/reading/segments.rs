//! Layouts of files, segment by segment.

use super::reader::{Reader, inode_of};
use crate::extent::{Extent, GRANULE, granule_ceil};
use crate::id::{Incarnation, InodeId, NodeId};
use crate::layout::{Replica, ReplicaState, Run, SEGMENT};
use crate::namespace::record::{SegmentRecord, decode, number};
use crate::namespace::space::MAX_SIZE;
use crate::problem::ProblemKind;

impl Reader {
    pub(super) fn segment(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let segment = inode_of(key).and_then(|(ino, segment)| Some((ino, number(segment).ok()?)));
        let Some((ino, segment)) = segment.filter(|(_, segment)| *segment <= MAX_SIZE / SEGMENT) else {
            return self.unknown(key, value);
        };
        if self.reading.tree.layout(ino).is_err() {
            self.leave_out(key);
            let what = format!("piece {segment} of its layout is there, and no such file");
            return self.report(ProblemKind::StraySegment, ino, what, "remove it");
        }
        match decode::<SegmentRecord>(key, value) {
            Ok(runs) => runs.into_iter().for_each(|run| self.run(ino, segment, run)),
            Err(_) => {
                let what = format!("piece {segment} of its layout cannot be read");
                self.lose_segment(ProblemKind::MalformedValue, ino, segment, what);
            }
        }
    }

    fn run(&mut self, ino: InodeId, segment: u64, mut run: Run) {
        let on_granules = run
            .replicas
            .iter()
            .all(|copy| copy.extent.offset.is_multiple_of(GRANULE));
        if run.len() > SEGMENT || run.end() > granule_ceil(MAX_SIZE) || !on_granules {
            let what = format!("piece {segment} of its layout has an impossible run");
            return self.lose_segment(ProblemKind::BadRun, ino, segment, what);
        }
        let range = format!("bytes {} to {}", run.start, run.end());
        for copy in &mut run.replicas {
            if copy.extent.end() > self.largest && copy.extent.incarnation != Incarnation::NEVER {
                copy.extent.incarnation = Incarnation::NEVER;
                self.relaid.insert(ino);
                let what = format!("{range} lie past the end of all memory that there was");
                let remedy = "reading them is an error from then on";
                self.report(ProblemKind::ExtentBeyondArena, ino, what, remedy);
            }
            if copy.extent.incarnation == Incarnation::NEVER {
                copy.state = ReplicaState::Lost;
            }
        }
        if (run.start / SEGMENT, (run.end() - 1) / SEGMENT) != (segment, segment) {
            self.relaid.insert(ino);
            let what = format!("{range} stand in piece {segment} of its layout");
            self.report(
                ProblemKind::RunInWrongSegment,
                ino,
                what,
                "move them to where they belong",
            );
            self.rewrite(ino, (segment, segment));
        }
        if !self.insert(ino, &run) {
            let what = format!("{range} have two places");
            self.report(ProblemKind::OverlappingRuns, ino, what, "keep the first one");
        }
    }

    /// What can be known of a segment is that it had bytes: they are lost.
    fn lose_segment(&mut self, kind: ProblemKind, ino: InodeId, segment: u64, what: String) {
        self.report(kind, ino, what, "reading its bytes is an error from then on");
        let start = segment * SEGMENT;
        let size = self.reading.tree.get(ino).map_or(0, |inode| inode.attr.size);
        let end = granule_ceil(size).min(start + SEGMENT);
        self.relaid.insert(ino);
        self.rewrite(ino, (segment, segment));
        if start < end {
            let extent = Extent {
                node: NodeId(0),
                incarnation: Incarnation::NEVER,
                offset: start,
                len: end - start,
            };
            let state = ReplicaState::Lost;
            let replicas = vec![Replica { extent, state }];
            self.insert(ino, &Run { start, replicas });
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
            self.rewrite(ino, (run.start / SEGMENT, (run.end() - 1) / SEGMENT));
        }
        whole
    }

    /// These segments of a file are to be stored anew.
    fn rewrite(&mut self, ino: InodeId, (first, last): (u64, u64)) {
        // It is a file: asked before.
        let _there = self
            .reading
            .tree
            .edit_layout(ino, |_| ((), (first..=last).collect()));
    }
}

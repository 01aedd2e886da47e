//! Set-id bits that another host gives to a file which is open here.

use super::leases::calls;
use super::sweep::lab::{Lab, RW, pattern};
use crate::handler::HandleId;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;

struct Play {
    lab: Lab,
    ino: InodeId,
    handle: HandleId,
}

impl Play {
    /// Host b has a file open for writing that is a plain one.
    fn new() -> Self {
        let mut lab = Lab::new();
        lab.create(lab.a, "f").unwrap();
        lab.open(lab.b, "f", RW, "theirs").unwrap();
        lab.write("theirs", 0, &pattern(5000, 1)).unwrap();
        lab.fsync("theirs").unwrap();
        let (_, ino, handle) = lab.open["theirs"];
        Self { lab, ino, handle }
    }

    /// Host a makes it set-user-id.
    fn make_set_id(&mut self) {
        let (a, ino) = (self.lab.a, self.ino);
        let set_id = SetAttr {
            mode: Some(0o4775),
            ..SetAttr::default()
        };
        self.lab
            .call(a, |mount| {
                Box::pin(mount.setattr(Credentials::root(), ino, set_id, None))
            })
            .unwrap();
    }

    /// A program of host b without CAP_FSETID writes.
    fn write(&mut self, offset: u64) {
        let (b, handle) = (self.lab.b, self.handle);
        let buffer = self.lab.sim.buffer(b, b"other").unwrap();
        self.lab
            .call(b, |mount| Box::pin(mount.write(handle, offset, buffer, true)))
            .unwrap();
    }

    /// As host a sees it.
    fn mode(&mut self) -> u16 {
        let (a, ino) = (self.lab.a, self.ino);
        let entry = self
            .lab
            .call(a, |mount| Box::pin(mount.getattr(Credentials::root(), ino)));
        entry.unwrap().attr.mode
    }
}

#[test]
fn they_are_gone_when_the_first_write_has_returned() {
    for knows in [false, true] {
        let mut play = Play::new();
        if knows {
            play.write(0);
        }
        play.make_set_id();
        play.write(100);
        assert_eq!(play.mode(), 0o775);
        // That file is known as a plain one: nothing more is asked for the next.
        let before = calls(&play.lab, play.lab.b);
        play.write(200);
        assert_eq!(calls(&play.lab, play.lab.b), before);
    }
}

#[test]
fn those_that_are_set_after_a_write_stay_when_it_is_committed() {
    let mut play = Play::new();
    play.write(0);
    play.make_set_id();
    let commit_after = play.lab.sim.mount(play.lab.b).commit_after();
    play.lab.sim.pass_by(commit_after * 2);
    assert_eq!(play.mode(), 0o4775);
}

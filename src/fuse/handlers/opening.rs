//! Opening files: what the kernel is told of how a handle is served, and what it is given along.

use std::time::Duration;

use log::{debug, warn};

use super::{Access, Created, Handlers, held};
use crate::error::{Error, ErrorKind};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::notice::{self, Held};
use crate::fuse::{convert, existing};
use crate::model::{Caller, Name, NodeId, perm};
use crate::vfs::{CAPABILITY, HandleId, OpenMode, Opened, Serving};

impl Handlers {
    pub(in crate::fuse) fn create(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Outcome<Created> {
        let open = OpenMode { direct: caller.uid == 0, ..self.open_mode(flags) };
        self.known.tell_name(parent, name);
        let heard = self.known.heard();
        let name = Name::new(name)?;
        let (attr, opened) = match self.view.create(caller, parent, name, mode & perm::ALL, open) {
            // Made by somebody else since the kernel looked, and whoever asks takes what is there.
            Err(e) if e.kind() == ErrorKind::Exists && flags & libc::O_EXCL == 0 => {
                return self.open_existing(caller, parent, name, flags);
            }
            created => created?,
        };
        let (handle, access) = self.serve(caller, attr.id, open, opened)?;
        let attr = self.hand_out(attr, heard);
        self.known.tell_pages(attr.id);
        Ok(Created { attr, lifetime: self.lifetime_of(attr.id), handle, access })
    }

    /// Opens what is there, where the kernel would have; see [`existing`].
    ///
    /// # Errors
    /// `STALE` where the kernel has to look for itself.
    fn open_existing(&self, caller: &Caller, parent: NodeId, name: Name<'_>, flags: i32) -> Outcome<Created> {
        let file = held(self.view.lookup(parent, name))?;
        let directory = held(self.view.getattr(parent))?;
        let allowed = existing::may_open(caller, &directory, &file, convert::open_mode(flags, false));
        // Of a file that the kernel knows it may know better: it takes the attributes for those of a new one, and would drop
        // what is being written beyond their size.
        if !allowed || self.known.holds(file.id) {
            return Err(Errno::STALE.into());
        }
        self.known.hand_out(file.id);
        let opened = self.open(caller, file.id, flags).and_then(|(handle, access)| {
            // Now, because it may have been emptied just now.
            match held(self.view.getattr(file.id)) {
                Ok(attr) => Ok(Created { attr, lifetime: Duration::ZERO, handle, access }),
                Err(refusal) => self.release(file.id, handle, None).and(Err(refusal)),
            }
        });
        if opened.is_err() {
            self.forget(file.id, 1);
        }
        opened
    }

    pub(in crate::fuse) fn open(&self, caller: &Caller, node: NodeId, flags: i32) -> Outcome<(HandleId, Access)> {
        let asked = self.open_mode(flags);
        let open = OpenMode { direct: self.may_go_past_the_cache(caller, node, asked), ..asked };
        if open.truncate {
            if !open.write && self.programs.run_from(node) {
                return Err(Errno::TEXT_BUSY.into());
            }
            // As for a change of size.
            if !caller.has_fsetid() {
                self.drop_set_id(caller, node)?;
            }
        }
        let take = |body: &[u8]| self.give(node, body);
        let lacks = self.gives && open.read && !open.write && self.caches(node) && self.known.begins_to_read(node);
        let opened = held(self.view.open_taking(caller, node, open, lacks.then_some(&take)))?;
        let served = self.serve(caller, node, open, opened)?;
        if convert::is_for_a_program(flags) {
            self.programs.started(node, served.0);
        }
        Ok(served)
    }

    /// Puts a body into the kernel's page cache, which then does not ask for it.
    ///
    /// The kernel waits for each page that is locked, and what locks one until we answer is a read, or a write of a mapped page.
    /// Both keep the open file, whose RELEASE follows their answer (`fuse_file_put`). This is called where no handle is
    /// left, and none is given until it returns; so it waits for nobody.
    fn give(&self, node: NodeId, body: &[u8]) {
        // Before it is so: who changes the body next has to have it dropped.
        self.known.tell_pages(node);
        match notice::store(&self.notices, node, body) {
            Ok(Held::Something) => self.traffic.gave(),
            // It is about to make the node: a CREATE that found a file.
            Ok(Held::Nothing) => {}
            Err(e) => debug!("give the kernel the body of node {node} along with its opening: {e}"),
        }
    }

    fn open_mode(&self, flags: i32) -> OpenMode {
        let asked = convert::open_mode(flags, self.passthrough());
        OpenMode { noatime: asked.noatime || self.terms.noatime, ..asked }
    }

    /// Whether nothing is missed when the kernel does not cache what this handle writes. Before a cached write it drops
    /// `security.capability`, before a direct one it does not, also when it is root who writes. That it need not ask for
    /// that attribute of each new file saves a request.
    fn may_go_past_the_cache(&self, caller: &Caller, node: NodeId, open: OpenMode) -> bool {
        !open.write || (caller.uid == 0 && !open.read && self.view.getxattr(node, CAPABILITY).is_err())
    }

    /// Turns what the filesystem decided into what the kernel is told. Where the kernel does not take the file it is
    /// opened once more, to be served by requests.
    fn serve(&self, caller: &Caller, node: NodeId, open: OpenMode, opened: Opened) -> Outcome<(HandleId, Access)> {
        let handle = opened.handle;
        let file = match opened.serving {
            Serving::Vfs { keep_cache, direct } => {
                // Also past the page cache: who maps the file fills pages.
                self.known.tell_pages(node);
                let keep = keep_cache && self.caches(node);
                return Ok((handle, if direct { Access::Direct { keep } } else { Access::Cached { keep } }));
            }
            Serving::Kernel(file) => file,
        };
        let acquired = self.backing.acquire(node, handle, &file);
        self.traffic.offered(acquired.is_ok());
        match acquired {
            Ok(backing) => return Ok((handle, Access::Passthrough { backing })),
            Err(error) => warn!("hand the body of node {node} to the kernel: {error}; it is served by nexus instead"),
        }
        drop(file);
        self.view.release(handle)?;
        // It has been truncated by now, once is enough.
        let again = self.view.open(caller, node, OpenMode { truncate: false, passthrough: false, ..open })?;
        match again.serving {
            Serving::Vfs { direct, .. } => {
                self.known.tell_pages(node);
                let (keep, handle) = (false, again.handle);
                Ok((handle, if direct { Access::Direct { keep } } else { Access::Cached { keep } }))
            }
            Serving::Kernel(_) => {
                self.view.release(again.handle)?;
                let refused = "open a body that others have open in the kernel and that the kernel does not take again";
                Err(Error::new(ErrorKind::Io, refused).into())
            }
        }
    }
}

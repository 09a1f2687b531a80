//! The table of transitions from every door, with the answer of each: mv, setfattr, the command and the library, on one
//! mounted store.

use nexus::error::ErrorKind;
use nexus::model::work::{Status, Transition};
use nexus::{Config, Nexus};
use rustix::fs::{XattrFlags, rename, setxattr};
use rustix::io::Errno;

use crate::harness::{Mounted, nexus, run, xattr_text};

/// What a worker says in a command and in the library, and to each state: what becomes of an item, or how it is refused
/// (`NotFound`: there is no ready item of that name).
type Answers = [Result<Status, ErrorKind>; 6];

const VERBS: [(&str, Answers); 4] = {
    use ErrorKind::{NotFound, NotPermitted};
    use Status::{Completed, Failed, InProgress, Ready};
    let (absent, refused) = (Err(NotFound), Err(NotPermitted));
    [
        // of an item that is: ready             pending    blocked  in_progress     completed failed
        ("claim", [Ok(InProgress), absent, absent, absent, absent, absent]),
        ("complete", [refused, refused, refused, Ok(Completed), refused, refused]),
        ("fail", [refused, refused, refused, Ok(Failed), refused, refused]),
        ("release", [refused, Ok(Ready), refused, Ok(Ready), refused, Ok(Ready)]),
    ]
};

/// A file that is an item of this status.
fn item(mounted: &Mounted, name: &str, status: Status) {
    std::fs::write(mounted.path(name), name).unwrap();
    set(mounted, name, status).unwrap();
}

fn set(mounted: &Mounted, name: &str, status: Status) -> Result<(), Errno> {
    setxattr(mounted.path(name), "user.status", status.word().as_bytes(), XattrFlags::empty())
}

fn status(mounted: &Mounted, name: &str) -> String {
    xattr_text(&mounted.path(name), "user.status")
}

#[test]
fn mv_is_guarded_and_setfattr_is_not() {
    let mounted = Mounted::new();
    for from in Status::ALL {
        for to in Status::ALL {
            let (moved, set_by_hand) = (format!("{from}-{to}"), format!("{from}-{to}-by-hand"));
            item(&mounted, &moved, from);
            let id = xattr_text(&mounted.path(&moved), "user.nexus.path_id");
            let link = format!("9999999999-{id}-{moved}");
            let place = |state: Status| mounted.path(".work").join(state.word()).join(&link);
            let answer = rename(place(from), place(to));
            // A link that stays where it is, is not moved, rename(2).
            let expected =
                if from == to || Transition::between(from, to).is_some() { Ok(()) } else { Err(Errno::PERM) };
            assert_eq!(answer, expected, "mv {from} {to}");
            assert_eq!(status(&mounted, &moved), if answer.is_ok() { to } else { from }.word());
            // Where it no longer is, nobody finds it.
            if from != to && answer.is_ok() {
                assert_eq!(rename(place(from), place(to)), Err(Errno::NOENT));
            }
            item(&mounted, &set_by_hand, from);
            assert_eq!(set(&mounted, &set_by_hand, to), Ok(()), "setfattr {from} {to}");
            assert_eq!(status(&mounted, &set_by_hand), to.word());
        }
    }
    mounted.finish();
}

#[test]
fn commands_and_the_library_refuse_alike() {
    let mounted = Mounted::new();
    let nx = nexus::connect(&Config::at(mounted.data_dir()).unwrap()).unwrap();
    for (verb, answers) in VERBS {
        for (from, expected) in Status::ALL.into_iter().zip(answers) {
            let name = format!("{verb}-{from}");
            let path = format!("/{name}");
            item(&mounted, &name, from);
            let outcome = run(nexus().args(["work", verb, &path]).env("NEXUS_DATA_DIR", mounted.data_dir()));
            let code = match expected {
                Ok(_) => 0,
                Err(ErrorKind::NotFound) => 3,
                Err(_) => 4,
            };
            assert_eq!(outcome.code, code, "nexus work {verb} of what is {from}: {}", outcome.stderr);
            assert_eq!(status(&mounted, &name), expected.unwrap_or(from).word());
            if code != 0 {
                outcome.refused(&[&path]);
            }
            set(&mounted, &name, from).unwrap();
            assert_eq!(by_library(&nx, verb, &path), expected, "{verb} of what is {from}");
            assert_eq!(status(&mounted, &name), expected.unwrap_or(from).word());
        }
        // What is no item.
        std::fs::write(mounted.path("plain"), "").unwrap();
        let refused = run(nexus().args(["work", verb, "/plain"]).env("NEXUS_DATA_DIR", mounted.data_dir()));
        assert_eq!((refused.code, by_library(&nx, verb, "/plain")), (3, Err(ErrorKind::NotFound)), "{verb}");
    }
    nx.close().unwrap();
    mounted.finish();
}

fn by_library(nx: &Nexus, verb: &str, path: &str) -> Result<Status, ErrorKind> {
    let work = nx.work();
    let item = match verb {
        "claim" => work.claim_item(path, "me", None).map(|claim| claim.item),
        "complete" => work.complete(path, None),
        "fail" => work.fail(path, None),
        _ => work.release(path, None),
    };
    item.map(|item| item.status).map_err(|e| e.kind())
}

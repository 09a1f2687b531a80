//! What is another's is not there: "a foreign path behaves exactly as one that does not exist".
//!
//! Two stores get the same operations of one identity. In one of them others work, too: other tenants, another agent of
//! the same tenant, and administrators who move things about among them. Every answer has to be the same in both, numbers
//! of nodes aside: errors, listings and their offsets, attributes, counts of links, times, statfs, what is shared.

use std::sync::Arc;

use nexus::error::ErrorKind;
use nexus::model::{AttrChange, Name, NodeId};
use nexus::vfs::{RenameMode, Vfs, XattrMode};
use nexus::view::{Sight, View};

use super::operation::{Op, pick};
use super::{CALLER, NOW, READ, WRITE, end, make_all, path, put, store, view};
use crate::harness::{Random, seed};

/// Where the others work, who does not see which of it.
const GLOBEX: &[&str] = &["/workspace/globex", "/workspace/globex/a1", "/shared/globex", "/models/globex"];
const ACME_A2: &[&str] = &["/workspace/acme/a2"];
const AUDIT: &[&str] = &["/audit/in"];

/// An identity, how it is answered, who works beside it and where.
struct Case {
    subject: &'static str,
    sight: Sight,
    others: &'static [(&'static str, &'static [&'static str])],
    operations: u64,
}

const CASES: &[Case] = &[
    Case {
        subject: "acme/a1",
        sight: Sight::Hidden,
        others: &[("globex/a1", GLOBEX), ("acme/a2", ACME_A2), ("+", AUDIT)],
        operations: 50_000,
    },
    Case {
        subject: "acme/a1",
        sight: Sight::Open,
        others: &[("globex", GLOBEX), ("acme/a2", ACME_A2), ("+", AUDIT)],
        operations: 20_000,
    },
    Case { subject: "acme", sight: Sight::Hidden, others: &[("globex/a1", GLOBEX), ("+", AUDIT)], operations: 20_000 },
    Case { subject: "/a1", sight: Sight::Hidden, others: &[("acme/a2", ACME_A2), ("+", AUDIT)], operations: 10_000 },
];

/// How many operations of others there are for one of the subject.
const OTHERS_SHARE: u64 = 2;

#[test]
fn what_is_anothers_is_not_there() {
    let (first, mut asked, mut by_number) = (seed(), 0, 0);
    for (at, case) in CASES.iter().enumerate() {
        by_number += run(case, first + at as u64);
        asked += case.operations;
    }
    println!("{asked} operations on paths, {by_number} on numbers, 0 differences");
    assert!(asked >= 100_000 && by_number >= 5_000);
}

fn run(case: &Case, seed: u64) -> u64 {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (shared, alone) = (store(directory.path(), "shared"), store(directory.path(), "alone"));
    let mut random = Random(seed);
    for vfs in [&shared, &alone] {
        for place in ["/docs", "/workspace/acme/a1/deep", "/shared/acme", "/archives/acme", "/models/acme", "/audit"] {
            make_all(vfs, place);
        }
        put(vfs, vfs.resolve(&path("/archives/acme")).unwrap().id, "a", b"kept");
    }
    let (here, there) = (view(&shared, case.subject, case.sight), view(&alone, case.subject, case.sight));
    let others: Vec<_> = case.others.iter().map(|(who, places)| (view(&shared, who, Sight::Hidden), *places)).collect();
    let admin = view(&shared, "+", Sight::Hidden);
    let own_root = case.subject == "/a1";
    let mut by_number = 0;
    for step in 0..case.operations {
        for _ in 0..OTHERS_SHARE {
            NOW.set(NOW.get() + 1_000);
            let (other, places) = pick(&mut random, &others.iter().map(|(o, p)| (o, *p)).collect::<Vec<_>>());
            if random.below(40) == 0 {
                places.iter().for_each(|place| make_some(&shared, place));
            }
            Op::random_in(&mut random, places).run(other).ok();
        }
        if !own_root && random.below(30) == 0 {
            // From one foreign scope to another, and into the archive.
            let (from, to) = (pick(&mut random, GLOBEX), pick(&mut random, GLOBEX));
            let name = Name::new(pick(&mut random, &["a", "b", "deep"]).as_bytes()).unwrap();
            let (from, to) = (path(from).join(name), path(to).join(name));
            Op::Rename(from.clone(), to, RenameMode::Replace).run(&admin).ok();
            admin.archive(&CALLER, &from, Some(&path("/archives/globex/run").join(name))).ok();
        }
        NOW.set(NOW.get() + 1_000);
        let op = Op::random(&mut random);
        let (with, without) = (op.run(&here), op.run(&there));
        assert_eq!(with, without, "seed {seed}, step {step}, {op:?} as '{}', {:?}", case.subject, case.sight);
        if random.below(10) == 0
            && let Some(number) = foreign_number(&mut random, &shared, case)
        {
            ask_by_number(&mut random, &here, number);
            by_number += 1;
        }
    }
    end(&shared);
    end(&alone);
    by_number
}

/// As [`make_all`], as far as nobody has put something else there.
fn make_some(vfs: &Vfs, place: &str) {
    let mut above = NodeId::ROOT;
    for name in path(place).names() {
        let made = vfs.mkdir(&CALLER, above, name, 0o755).or_else(|_| vfs.lookup(above, name));
        let Ok(attr) = made else { return };
        above = attr.id;
    }
}

/// The number of a node that belongs to somebody else.
fn foreign_number(random: &mut Random, vfs: &Vfs, case: &Case) -> Option<NodeId> {
    let (_, places) = pick(random, case.others);
    let place = path(pick(random, places));
    let within = place.join(Name::new(pick(random, &["a", "b", "c", "deep"]).as_bytes()).unwrap());
    vfs.resolve(&within).or_else(|_| vfs.resolve(&place)).ok().map(|attr| attr.id)
}

/// Whoever has guessed a number is answered as if there were none such.
fn ask_by_number(random: &mut Random, view: &View, id: NodeId) {
    let name = Name::new(b"a").unwrap();
    let home = view.resolve(&path("/docs")).map_or(NodeId::ROOT, |attr| attr.id);
    let change = AttrChange { mode: Some(0o777), ..AttrChange::default() };
    let replace = RenameMode::Replace;
    let answer = match random.below(16) {
        0 => view.getattr(id).map(drop),
        1 => view.open(&CALLER, id, READ).map(drop),
        2 => view.open(&CALLER, id, WRITE).map(drop),
        3 => view.opendir(id).map(drop),
        4 => view.lookup(id, name).map(drop),
        5 => view.readlink(id).map(drop),
        6 => view.setattr(&CALLER, id, &change).map(drop),
        7 => view.getxattr(id, b"user.nexus.etag").map(drop),
        8 => view.setxattr(id, b"user.k", b"v", XattrMode::Set),
        9 => view.listxattr(id).map(drop),
        10 => view.link(id, home, Name::new(b"stolen").unwrap()).map(drop),
        11 => view.create(&CALLER, id, name, 0o644, WRITE).map(drop),
        12 => view.unlink(id, name),
        13 => view.rmdir(id, name),
        14 => view.rename(&CALLER, (id, name), (home, Name::new(b"stolen").unwrap()), replace),
        _ => view.mkdir(&CALLER, id, name, 0o755).map(drop),
    };
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound, "node {id}");
}

/// "Same answers for admin as for a store without tenants."
#[test]
fn an_administrator_sees_a_store_without_tenants() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (one, two) = (store(directory.path(), "one"), store(directory.path(), "two"));
    let (admin, nobody) = (view(&one, "acme/a1+", Sight::Hidden), view(&two, "", Sight::Hidden));
    let others = [("globex/a1", GLOBEX), ("acme/a2", ACME_A2)];
    let seed = seed();
    let mut random = Random(seed);
    for vfs in [&one, &two] {
        for place in ["/docs", "/workspace/acme/a1/deep", "/shared/acme", "/archives/acme", "/models/globex"] {
            make_all(vfs, place);
        }
    }
    for step in 0..20_000 {
        let (who, places) = pick(&mut random, &others);
        let op = Op::random_in(&mut random, places);
        for vfs in [&one, &two] {
            op.run(&view(vfs, who, Sight::Hidden)).ok();
        }
        let op = Op::random(&mut random);
        // Who is no administrator does not get into this one; all else is the same.
        if format!("{op:?}").contains("/audit") || matches!(op, Op::Room) {
            continue;
        }
        assert_eq!(op.run(&admin), op.run(&nobody), "seed {seed}, step {step}, {op:?}");
    }
    end(&one);
    end(&two);
}

/// The count of a body's files is that of the files one sees.
#[test]
fn shared_bodies_do_not_tell_of_others() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    let content = [3; 30_000];
    for place in ["/workspace/acme/a1", "/workspace/acme/a2", "/shared/globex", "/shared/acme", "/docs"] {
        put(&vfs, make_all(&vfs, place), "f", &content);
    }
    vfs.settle().unwrap();
    let refs = |who: &str, place: &str| {
        let view = view(&vfs, who, Sight::Hidden);
        let value = view.getxattr(view.resolve(&path(place)).unwrap().id, b"user.nexus.refs").unwrap();
        String::from_utf8(value).unwrap()
    };
    assert_eq!(refs("acme/a1", "/workspace/acme/a1/f"), "3");
    assert_eq!(refs("acme", "/workspace/acme/a1/f"), "4");
    assert_eq!(refs("globex/a1", "/shared/globex/f"), "2");
    assert_eq!(refs("", "/docs/f"), "5");
    assert_eq!(refs("acme/a1+", "/docs/f"), "5");
    let tenant = |place: &str| {
        let view: Arc<View> = view(&vfs, "acme", Sight::Hidden);
        view.getxattr(view.resolve(&path(place)).unwrap().id, b"user.nexus.tenant").map_err(|e| e.kind())
    };
    assert_eq!(tenant("/shared/acme/f"), Ok(b"acme".to_vec()));
    assert_eq!(tenant("/docs/f"), Err(ErrorKind::NoAttribute));
    end(&vfs);
}

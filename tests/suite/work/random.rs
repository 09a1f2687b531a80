//! The queue against a model of it that recomputes everything, after each of many random operations.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use nexus::error::ErrorKind;
use nexus::meta::WorkList;
use nexus::model::work::{Status, Transition};
use nexus::model::{NodeId, Timestamp};
use nexus::vfs::RenameMode;
use nexus::work::Scope;
use rusqlite::Connection;

use super::Store;
use super::store::{VIEWS, kind, views_are_lists};
use crate::harness::{Random, seed};

const OPERATIONS: usize = 10_000;
/// So few that most operations meet an item that something depends on.
const FILES_MAX: usize = 12;

/// A clock of which every look is later than the one before.
fn ticking() -> Timestamp {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000_000_000);
    Timestamp(NOW.fetch_add(1_001, Ordering::Relaxed))
}

#[derive(Clone, Default)]
struct File {
    names: BTreeSet<String>,
    status: Option<Status>,
    priority: Option<i64>,
    needs: BTreeSet<NodeId>,
    /// Has the attribute, whatever is left of what it names.
    depends: bool,
    /// When it was started, as the number of an operation.
    started: Option<usize>,
    claim: u64,
}

#[derive(Clone, Default)]
struct Model {
    files: BTreeMap<NodeId, File>,
    claims: u64,
    step: usize,
}

impl Model {
    fn open(&self, id: NodeId) -> u64 {
        let completed = |id: &NodeId| self.files.get(id).is_some_and(|file| file.status == Some(Status::Completed));
        let needs = self.files[&id].needs.iter();
        needs.filter(|target| self.files.contains_key(target) && !completed(target)).count() as u64
    }

    fn state(&self, id: NodeId) -> Option<Status> {
        self.files.get(&id)?.status.map(|status| status.state(self.open(id)))
    }

    fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        from == to || self.files.get(&from).is_some_and(|file| file.needs.iter().any(|next| self.reaches(*next, to)))
    }

    /// Who is in a list, in its order.
    fn list(&self, list: WorkList) -> Vec<NodeId> {
        let mut ids: Vec<_> = self.files.keys().copied().filter(|id| self.files[id].status.is_some()).collect();
        if let WorkList::In(state) = list {
            ids.retain(|id| self.state(*id) == Some(state));
        }
        ids.sort_by_key(|id| {
            let file = &self.files[id];
            let first = match list {
                WorkList::In(Status::Blocked) => -(self.open(*id) as i64),
                WorkList::In(Status::InProgress) => file.started.map_or(1, |started| -(started as i64)),
                _ => 0,
            };
            (first, file.priority.is_none(), file.priority, *id)
        });
        ids
    }

    /// An operation, and then what was blocked and waits for nothing any more is ready.
    fn change(&mut self, operation: impl FnOnce(&mut Self)) {
        let waited: Vec<_> = self.files.keys().copied().filter(|id| self.open(*id) > 0).collect();
        operation(self);
        for id in waited {
            if self.files.contains_key(&id) && self.files[&id].status == Some(Status::Blocked) && self.open(id) == 0 {
                self.files.get_mut(&id).unwrap().status = Some(Status::Ready);
            }
        }
    }

    fn set_status(&mut self, id: NodeId, status: Status) {
        let step = self.step;
        self.change(|model| {
            let file = model.files.get_mut(&id).unwrap();
            let was = file.status.replace(status);
            if was == Some(status) {
                return;
            }
            let had_worker = matches!(was, Some(Status::InProgress | Status::Completed | Status::Failed));
            if had_worker && matches!(status, Status::Ready | Status::Pending | Status::Blocked) {
                file.started = None;
            }
            if status == Status::InProgress {
                file.started.get_or_insert(step);
                model.claims += 1;
                file.claim = model.claims;
            }
        });
    }

    fn claim(&mut self, id: NodeId) {
        self.files.get_mut(&id).unwrap().started = None;
        self.set_status(id, Status::InProgress);
    }

    fn drop_name(&mut self, name: &str) {
        self.change(|model| {
            let id = *model.files.iter().find(|(_, file)| file.names.contains(name)).unwrap().0;
            let names = &mut model.files.get_mut(&id).unwrap().names;
            names.remove(name);
            if names.is_empty() {
                model.files.remove(&id);
                model.files.values_mut().for_each(|file| {
                    file.needs.remove(&id);
                });
            }
        });
    }
}

struct Run {
    store: Store,
    model: Model,
    random: Random,
    fresh: Cell<usize>,
    log: Vec<String>,
}

impl Run {
    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit as u64) as usize
    }

    fn any(&mut self) -> Option<NodeId> {
        let ids: Vec<_> = self.model.files.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.below(ids.len())])
    }

    fn any_name(&mut self) -> Option<String> {
        let id = self.any()?;
        let names: Vec<_> = self.model.files[&id].names.iter().cloned().collect();
        Some(names[self.below(names.len())].clone())
    }

    fn new_name(&self) -> String {
        self.fresh.set(self.fresh.get() + 1);
        format!("/{}/{}", ["a", "b"][self.fresh.get() % 2], self.fresh.get())
    }

    fn status(&mut self) -> Status {
        Status::ALL[self.below(6)]
    }

    fn step(&mut self) {
        self.model.step += 1;
        let choice = self.below(100);
        if choice < 12 || self.model.files.is_empty() {
            if self.model.files.len() < FILES_MAX {
                let name = self.new_name();
                let id = self.store.put(&name, b"");
                self.model.files.insert(id, File { names: BTreeSet::from([name]), ..File::default() });
                self.note(format!("put {id}"));
            }
            return;
        }
        let id = self.any().unwrap();
        match choice {
            12..30 => {
                let status = self.status();
                self.note(format!("set {id} {status}"));
                self.store.set(id, "status", status.word()).unwrap();
                self.model.set_status(id, status);
            }
            30..34 => {
                self.note(format!("remove status of {id}"));
                let had = self.model.files[&id].status.is_some();
                assert_eq!(self.store.remove(id, "status").is_ok(), had);
                self.model.change(|model| {
                    let file = model.files.get_mut(&id).unwrap();
                    // The numbers go on, but whoever had one has it no more.
                    (file.status, file.claim) = (None, 0);
                });
            }
            34..42 => {
                let priority = self.below(5) as i64 - 2;
                self.note(format!("set {id} priority {priority}"));
                self.store.set(id, "priority", &priority.to_string()).unwrap();
                self.model.files.get_mut(&id).unwrap().priority = Some(priority);
            }
            42..44 => {
                let had = self.model.files.get_mut(&id).unwrap().priority.take().is_some();
                assert_eq!(self.store.remove(id, "priority").is_ok(), had);
            }
            44..60 => self.depend(id),
            60..63 => {
                self.note(format!("remove depends_on of {id}"));
                assert_eq!(self.store.remove(id, "depends_on").is_ok(), self.model.files[&id].depends);
                self.model.change(|model| {
                    let file = model.files.get_mut(&id).unwrap();
                    (file.depends, file.needs) = (false, BTreeSet::new());
                });
            }
            63..72 => {
                let first = self.model.list(WorkList::In(Status::Ready)).first().copied();
                self.note(format!("claim next, {first:?}"));
                let claim = self.store.claim_next();
                assert_eq!(claim.as_ref().map(|claim| claim.item.path_id.clone()), first.map(|id| id.to_string()));
                if let Some(id) = first {
                    self.model.claim(id);
                    assert_eq!(claim.unwrap().claim, self.model.claims);
                }
            }
            72..88 => {
                let (to, fenced) = (self.status(), self.below(2) == 0);
                self.transit(id, to, fenced);
            }
            88..92 => {
                let name = self.any_name().unwrap();
                self.note(format!("unlink {name}"));
                self.store.unlink(&name);
                self.model.drop_name(&name);
            }
            92..94 => {
                let name = self.new_name();
                self.note(format!("link {id} {name}"));
                self.store.link(id, &name);
                self.model.files.get_mut(&id).unwrap().names.insert(name);
            }
            94..96 => {
                let (from, to) = (self.any_name().unwrap(), self.any_name().unwrap());
                self.rename(&from, &to);
            }
            96 => {
                let (one, other) = (self.any_name().unwrap(), self.any_name().unwrap());
                self.exchange(&one, &other);
            }
            97 => {
                let (name, body) = (self.any_name().unwrap(), self.below(3));
                self.note(format!("write {body} bytes to {name}"));
                self.store.overwrite(&name, &b"xy"[..body]);
            }
            98 => {
                self.note("move a directory into another and back".into());
                let deep = self.below(2) == 0;
                self.store.rename("/a", "/b/a");
                self.store.vfs().sync().unwrap();
                views_are_lists(self.store.vfs(), &self.store.database());
                if deep {
                    self.store.mkdir("/d");
                    self.store.rename("/b/a", "/d/a");
                    self.store.rename("/d/a", "/a");
                    self.store.rmdir("/d");
                } else {
                    self.store.rename("/b/a", "/a");
                }
            }
            _ => {
                self.note("rename directories".into());
                self.store.rename("/a", "/c");
                self.store.rename("/b", "/a");
                self.store.rename("/c", "/b");
                for file in self.model.files.values_mut() {
                    let other = |name: &String| match name.strip_prefix("/a") {
                        Some(rest) => format!("/b{rest}"),
                        None => format!("/a{}", &name[2..]),
                    };
                    file.names = file.names.iter().map(other).collect();
                }
            }
        }
    }

    fn depend(&mut self, id: NodeId) {
        let mut targets = BTreeSet::new();
        for _ in 0..self.below(3) {
            targets.insert(self.any().unwrap());
        }
        self.note(format!("{id} depends on {targets:?}"));
        let list: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let outcome = self.store.set(id, "depends_on", &format!("[{}]", list.join(",")));
        if targets.iter().any(|target| self.model.reaches(*target, id)) {
            assert_eq!(kind(outcome), Some(ErrorKind::Cycle));
            return;
        }
        outcome.unwrap();
        self.model.change(|model| {
            let file = model.files.get_mut(&id).unwrap();
            (file.depends, file.needs) = (true, targets);
        });
    }

    fn transit(&mut self, id: NodeId, to: Status, fenced: bool) {
        let state = self.model.state(id);
        let claim = fenced.then(|| self.model.files[&id].claim);
        self.note(format!("bring {id} from {state:?} to {to}, claim {claim:?}"));
        let outcome = self.store.transit(id, to, claim);
        let offered = state.and_then(|state| Transition::between(state, to));
        match (state, offered) {
            (None, _) => assert_eq!(kind(outcome), Some(ErrorKind::NotFound)),
            (Some(state), _) if claim.is_some() && state != Status::InProgress => {
                assert_eq!(kind(outcome), Some(ErrorKind::NotPermitted));
            }
            (_, None) => assert_eq!(kind(outcome), Some(ErrorKind::NotPermitted)),
            (_, Some(Transition::Claim)) => {
                outcome.unwrap();
                self.model.claim(id);
            }
            (_, Some(_)) => {
                outcome.unwrap();
                self.model.set_status(id, to);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.note(format!("rename {from} {to}"));
        self.store.rename(from, to);
        let of = |name: &str| *self.model.files.iter().find(|(_, file)| file.names.contains(name)).unwrap().0;
        let moved = of(from);
        // rename(2): two names of one file both stay.
        if moved != of(to) {
            self.model.drop_name(to);
            let names = &mut self.model.files.get_mut(&moved).unwrap().names;
            names.remove(from);
            names.insert(to.to_owned());
        }
    }

    fn exchange(&mut self, one: &str, other: &str) {
        self.note(format!("exchange {one} {other}"));
        self.store.rename_as(one, other, RenameMode::Exchange);
        let of = |name: &str| *self.model.files.iter().find(|(_, file)| file.names.contains(name)).unwrap().0;
        let (first, second) = (of(one), of(other));
        for (id, loses, gets) in [(first, one, other), (second, other, one)] {
            // Two names of one file stay as they are.
            if first != second {
                let names = &mut self.model.files.get_mut(&id).unwrap().names;
                names.remove(loses);
                names.insert(gets.to_owned());
            }
        }
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    /// The lists and the views are what the model says.
    fn compare(&self, database: &Connection) {
        views_are_lists(self.store.vfs(), database);
        let directories = [self.store.id("/a"), self.store.id("/b")];
        // It is shown under the first of its names, by the number of the directory.
        let place = |path: &&String| (directories[usize::from(path.starts_with("/b"))], path[3..].to_owned());
        for (list, view) in VIEWS {
            let wanted: Vec<_> = self.model.list(list).iter().map(ToString::to_string).collect();
            let listed = self.store.list(list);
            let found: Vec<_> = listed.iter().map(|item| item.path_id.clone()).collect();
            assert_eq!(found, wanted, "{list:?}");
            for item in listed {
                let id = NodeId(item.path_id.parse().unwrap());
                let file = &self.model.files[&id];
                let said = (item.status, item.priority, item.blocker_count, item.claim);
                assert_eq!(said, (file.status.unwrap(), file.priority, self.model.open(id), file.claim), "{id}");
                assert_eq!(Some(&item.virtual_path), file.names.iter().min_by_key(place));
            }
            let mut query = database.prepare_cached(&format!("SELECT path_id FROM {view}")).unwrap();
            let rows: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(rows, wanted, "{view}");
        }
        let counts = self.store.vfs().work_counts(&Scope::EVERYTHING).unwrap();
        let of = |state| self.model.list(WorkList::In(state)).len() as u64;
        assert_eq!(counts.total, self.model.list(WorkList::ByPriority).len() as u64);
        assert_eq!(
            (counts.completed, counts.failed, counts.blocked),
            (of(Status::Completed), of(Status::Failed), of(Status::Blocked))
        );
    }
}

#[test]
fn the_queue_is_what_a_naive_model_computes() {
    let seed = seed();
    let store = Store::with_clock(ticking);
    store.mkdir("/a");
    store.mkdir("/b");
    let (fresh, log) = (Cell::new(0), Vec::new());
    let mut run = Run { store, model: Model::default(), random: Random(seed), fresh, log };
    let database = run.store.database();
    for step in 0..OPERATIONS {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run.step();
            run.store.vfs().sync().unwrap();
            run.compare(&database);
            if step % 100 == 0 {
                run.store.check();
            }
        }));
        if let Err(panic) = outcome {
            let last = run.log.len().saturating_sub(30);
            println!("seed {seed}, step {step}:\n{}", run.log[last..].join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
    drop(database);
    run.store.end();
}

//! The queue, metadata and search on a store that is mounted: through commands, the library and the mount, for two tenants
//! who share it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use nexus::Nexus;
use nexus::error::ErrorKind;
use nexus::model::Principal;
use nexus::model::metadata::Condition;
use serde_json::{Value, json};

use crate::harness::{Mounted, Outcome, nexus, run, scratch, wait_until, xattr_text};

/// The tenants, each with its only agent.
const TENANTS: [(&str, &str); 2] = [("acme", "a1"), ("globex", "g1")];

/// Commands as one identity.
struct Shell {
    data_dir: PathBuf,
    identity: Vec<&'static str>,
}

impl Shell {
    fn run(&self, words: &[&str]) -> Outcome {
        run(nexus().args(words).args(&self.identity).env("NEXUS_DATA_DIR", &self.data_dir))
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, 0, "{words:?}: {}", outcome.stderr);
        outcome.stdout
    }

    fn json(&self, words: &[&str]) -> Vec<Value> {
        self.ok(words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn paths(&self, words: &[&str]) -> Vec<String> {
        self.json(words).iter().map(|item| item["virtual_path"].as_str().unwrap().to_owned()).collect()
    }
}

fn tenant(data_dir: &std::path::Path, (tenant, agent): (&'static str, &'static str)) -> Shell {
    Shell { data_dir: data_dir.to_owned(), identity: vec!["--tenant", tenant, "--agent", agent] }
}

fn library(data_dir: &std::path::Path, (tenant, agent): (&str, &str)) -> Nexus {
    let principal = Principal::new(Some(tenant.into()), Some(agent.into()), false).unwrap();
    nexus::connect_as(&nexus::Config::at(data_dir).unwrap(), principal).unwrap()
}

fn home((tenant, agent): (&str, &str)) -> String {
    format!("/workspace/{tenant}/{agent}")
}

/// Both tenants have two items, of which one waits for the other. Mounted as the first of them.
fn shared() -> Mounted {
    let mounted = Mounted::with(&["--tenant", "acme", "--agent", "a1"]);
    for who in TENANTS {
        let shell = tenant(&mounted.data_dir(), who);
        let (first, second) = (format!("{}/first", home(who)), format!("{}/second", home(who)));
        for file in [&first, &second] {
            shell.ok(&["write", file]);
        }
        shell.ok(&["meta", "set", &first, "status", "ready"]);
        shell.ok(&["meta", "set", &first, "secret", who.0]);
        shell.ok(&["meta", "set", &second, "depends_on", &first]);
        shell.ok(&["meta", "set", &second, "status", "ready"]);
    }
    mounted
}

#[test]
fn commands_show_each_tenant_its_own() {
    let mounted = shared();
    for (who, other) in [(TENANTS[0], TENANTS[1]), (TENANTS[1], TENANTS[0])] {
        let shell = tenant(&mounted.data_dir(), who);
        let (mine, foreign) = (format!("{}/first", home(who)), format!("{}/first", home(other)));
        let waits = format!("{}/second", home(who));
        assert_eq!(shell.paths(&["work", "ready", "--json"]), [mine.as_str()]);
        assert_eq!(shell.paths(&["work", "blocked", "--json"]), [waits.as_str()]);
        assert_eq!(shell.paths(&["work", "by-priority", "--json"]).len(), 2);
        assert_eq!(shell.paths(&["work", "by-priority", "--json", "--limit", "1"]), [mine.as_str()]);
        assert_eq!(shell.json(&["work", "status", "--json"])[0]["total"], 2);
        assert_eq!(shell.json(&["work", "status", "--json", "--under", &home(other)])[0]["total"], 0);
        let graph = shell.json(&["work", "graph", "--json"]).remove(0);
        assert_eq!((graph["items"].as_array().unwrap().len(), graph["dependencies"].as_array().unwrap().len()), (2, 1));
        assert!(!shell.ok(&["work", "graph"]).contains(other.0));
        assert_eq!(shell.ok(&["find", "--where", "status=ready", "--where", "secret>"]), format!("{mine}\n"));
        assert_eq!(shell.ok(&["find", "--where", "secret>", "--under", &home(other)]), "");
        assert_eq!(shell.ok(&["meta", "get", &mine, "secret"]), who.0);
        for refused in [
            &["meta", "get", &foreign, "secret"][..],
            &["meta", "set", &foreign, "secret", "x"],
            &["meta", "rm", &foreign, "secret"],
            &["meta", "ls", &foreign],
            &["work", "claim", &foreign],
            &["work", "complete", &foreign],
            &["meta", "get", &format!("{}/none", home(other)), "secret"],
        ] {
            assert_eq!(shell.run(refused).code, 4, "{refused:?}");
        }
        // What depends on another's file is told the same as what depends on nothing.
        let on = |target: &str| {
            let outcome = shell.run(&["meta", "set", &waits, "depends_on", target]);
            (outcome.code, outcome.stderr.replace(target, "TARGET"))
        };
        assert_eq!(on(&foreign), on(&format!("{}/none", home(other))));
        assert_eq!(on(&foreign).0, 2);
    }

    // An administrator may let one wait for the other; neither learns of it.
    let admin = Shell { data_dir: mounted.data_dir(), identity: vec!["--admin"] };
    assert_eq!(admin.json(&["work", "status", "--json"])[0]["total"], 4);
    let both: Vec<_> = TENANTS.iter().map(|who| format!("{}/first", home(*who))).collect();
    let waits = format!("{}/second", home(TENANTS[0]));
    admin.ok(&["meta", "set", &waits, "depends_on", &json!(both).to_string(), "--json"]);
    let why = tenant(&mounted.data_dir(), TENANTS[0]).ok(&["meta", "get", &waits, "nexus.why"]);
    assert!(why.contains(&both[0]) && why.ends_with("\nwhat is out of sight") && !why.contains("globex"), "{why}");
    assert_eq!(xattr_text(&mounted.path(&waits[1..]), "user.nexus.why"), why);
    assert!(admin.ok(&["meta", "get", &waits, "nexus.why"]).contains("/workspace/globex/g1/first"));
    // Nor how many there are, wherever it looks.
    let acme = tenant(&mounted.data_dir(), TENANTS[0]);
    let blockers = |shell: &Shell, words: &[&str]| shell.json(words)[0]["blocker_count"].clone();
    assert_eq!(blockers(&admin, &["work", "blocked", "--json"]), 2);
    assert_eq!(blockers(&acme, &["work", "blocked", "--json"]), 1);
    assert_eq!(blockers(&acme, &["work", "blocked", "--json", "--under", &waits]), 1);
    admin.ok(&["meta", "set", &waits, "depends_on", &both[1]]);
    assert_eq!(blockers(&acme, &["work", "blocked", "--json"]), 0);
    assert_eq!(acme.ok(&["meta", "get", &waits, "nexus.why"]), "what is out of sight");
    mounted.finish();
}

#[test]
fn workers_of_two_tenants_and_a_mount_meet_in_one_queue() {
    let mounted = shared();
    let [acme, globex] = TENANTS.map(|who| tenant(&mounted.data_dir(), who));
    let ready = || fs::read_dir(mounted.path(".work/ready")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(ready().count(), 1);
    let claim = globex.json(&["work", "claim", "--json", "--worker", "w"]).remove(0);
    assert_eq!(claim["item"]["virtual_path"], "/workspace/globex/g1/first");
    assert_eq!(globex.run(&["work", "claim"]).code, 3, "what is ready is another's");
    let refused = globex.run(&["work", "claim", "/workspace/globex/g1/second"]);
    assert!(
        refused.code == 3 && refused.stderr.contains("in_progress /workspace/globex/g1/first"),
        "{}",
        refused.stderr
    );
    assert_eq!(ready().count(), 1, "nothing that the mount shows has moved");

    let name = ready().next().unwrap();
    fs::rename(mounted.path(".work/ready").join(&name), mounted.path(".work/in_progress").join(&name)).unwrap();
    assert_eq!(acme.run(&["work", "claim"]).code, 3);
    assert_eq!(acme.paths(&["work", "in-progress", "--json"]), ["/workspace/acme/a1/first"]);
    // The next is ready as soon as this one is done, and somebody waits for it.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| acme.ok(&["work", "claim", "--wait"]));
        acme.ok(&["work", "complete", "/workspace/acme/a1/first"]);
        assert_eq!(waiting.join().unwrap(), "/workspace/acme/a1/second\n");
    });
    let status: Value = serde_json::from_slice(&fs::read(mounted.path(".work/status.json")).unwrap()).unwrap();
    assert_eq!((&status["completed"], &status["in_progress"], &status["total"]), (&json!(1), &json!(1), &json!(2)));
    globex.ok(&["work", "fail", "/workspace/globex/g1/first", "--claim", &claim["claim"].to_string()]);
    assert_eq!(globex.json(&["work", "status", "--json"])[0]["failed"], 1);
    mounted.finish();
}

#[test]
fn programs_of_two_tenants_use_one_mounted_store() {
    let mounted = shared();
    let [acme, globex] = TENANTS.map(|who| library(&mounted.data_dir(), who));
    assert_ne!(acme.status().unwrap().pid, std::process::id());
    let start = acme.work().changes(None, Duration::ZERO).unwrap().last;
    let foreign = "/workspace/globex/g1/first";
    assert_eq!(acme.metadata().get(foreign, "secret").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(acme.metadata().list(foreign).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(acme.work().claim_item(foreign, "w", None).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(acme.work().release(foreign, None).unwrap_err().kind(), ErrorKind::Denied);
    let found = acme.find(&[Condition::parse("secret!=x").unwrap()], "/").unwrap();
    assert_eq!(found.iter().map(|found| found.virtual_path.as_str()).collect::<Vec<_>>(), ["/workspace/acme/a1/first"]);
    assert_eq!(acme.work().status().unwrap().total, 2);
    assert_eq!(acme.work().under("/workspace/globex").unwrap().graph().unwrap().items.len(), 0);

    // Values come back as they were set, those of setfattr too.
    let mine = "/workspace/acme/a1/first";
    for value in [json!(5), json!("5"), json!([1, {"a": null}]), json!(u64::MAX), json!("")] {
        acme.metadata().set(mine, "value", value.clone()).unwrap();
        assert_eq!(acme.metadata().get(mine, "value").unwrap(), value);
    }
    xattr::set(mounted.path(&mine[1..]), "user.value", b"\xff").unwrap();
    assert_eq!(acme.metadata().get(mine, "value").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(acme.metadata().values(mine).unwrap().len(), 3);
    assert_eq!(acme.metadata().get(mine, "nexus.tenant").unwrap(), "acme");

    // What another does is no change of this tenant's queue.
    let taken = globex.work().claim("w", None, Duration::ZERO).unwrap().unwrap();
    assert_eq!(taken.item.virtual_path, foreign);
    let seen = acme.work().changes(Some(start), Duration::ZERO).unwrap();
    assert_eq!((seen.changes.len(), seen.missed), (0, false));
    acme.work().claim_item(mine, "w", Some(Duration::from_secs(60))).unwrap();
    let seen = acme.work().changes(Some(seen.last), Duration::from_secs(1)).unwrap();
    assert_eq!(seen.changes.iter().map(|change| change.virtual_path.as_str()).collect::<Vec<_>>(), [mine]);
    acme.close().unwrap();
    globex.close().unwrap();
    mounted.finish();
}

#[test]
fn what_can_only_be_read_is_not_given_to_a_worker() {
    let base = scratch();
    let data_dir = base.path().join("data");
    let nx = library(&data_dir, TENANTS[0]);
    nx.write("/workspace/acme/a1/run/job", "").unwrap();
    nx.metadata().set("/workspace/acme/a1/run/job", "status", "ready").unwrap();
    nx.close().unwrap();
    let acme = tenant(&data_dir, TENANTS[0]);
    acme.ok(&["archive", "/workspace/acme/a1/run"]);
    assert_eq!(acme.paths(&["work", "ready", "--json"]), ["/archives/acme/run/job"]);
    assert_eq!(acme.run(&["work", "claim"]).code, 3);
    assert_eq!(acme.run(&["work", "claim", "/archives/acme/run/job"]).code, 4);
    assert_eq!(acme.run(&["meta", "set", "/archives/acme/run/job", "status", "completed"]).code, 4);
}

/// Whoever watches learns it when another process has taken the store over.
#[test]
fn a_watch_outlives_the_owner() {
    let base = scratch();
    let data_dir = base.path().join("data");
    let nx = library(&data_dir, TENANTS[0]);
    nx.write("/workspace/acme/a1/job", "").unwrap();
    let last = nx.work().changes(None, Duration::ZERO).unwrap().last;
    nx.close().unwrap();
    let nx = library(&data_dir, TENANTS[0]);
    let seen = nx.work().changes(Some(last), Duration::from_secs(1)).unwrap();
    assert!(seen.missed && seen.changes.is_empty());
    nx.metadata().set("/workspace/acme/a1/job", "status", "ready").unwrap();
    let seen = nx.work().changes(Some(seen.last), Duration::from_secs(1)).unwrap();
    assert_eq!((seen.changes.len(), seen.missed), (1, false));
    nx.close().unwrap();
}

/// `nexus work watch | head -1` ends, although nothing more happens.
#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let base = scratch();
    let data_dir = base.path().join("data");
    let nx = library(&data_dir, TENANTS[0]);
    let job = "/workspace/acme/a1/job";
    nx.write(job, "").unwrap();
    let mut command = nexus();
    command.args(["work", "watch", "--tenant", "acme", "--agent", "a1"]).env("NEXUS_DATA_DIR", &data_dir);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (told, tells) = channel();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        told.send(lines.next().unwrap().unwrap()).unwrap();
        drop(lines);
    });
    // Until it has begun to watch it misses what happens.
    let mut line = None;
    wait_until("the watch tells of a change", 60, || {
        for status in ["ready", "pending"] {
            nx.metadata().set(job, "status", status).unwrap();
        }
        line = tells.recv_timeout(Duration::from_millis(50)).ok();
        line.is_some()
    });
    assert_eq!(serde_json::from_str::<Value>(&line.unwrap()).unwrap()["virtual_path"], job);
    reader.join().unwrap();
    wait_until("the watch ends", 60, || child.try_wait().unwrap().is_some_and(|status| status.success()));
    nx.close().unwrap();
}

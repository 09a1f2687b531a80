//! `nexus meta`, `nexus find` and `nexus work`, as somebody types them.

use serde_json::{Value, json};

use super::Store;
use crate::harness::{Outcome, nexus, run};

/// A store that nobody has open.
struct Shell(Store);

impl Shell {
    fn run(&self, words: &[&str]) -> Outcome {
        run(nexus().args(words).env("NEXUS_DATA_DIR", self.0.data_dir()))
    }

    /// What it prints when it succeeds.
    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, 0, "{words:?}: {}", outcome.stderr);
        outcome.stdout
    }

    fn json(&self, words: &[&str]) -> Vec<Value> {
        self.ok(words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn shell(files: &[&str]) -> Shell {
    let mut store = Store::new();
    for file in files {
        store.put(file, b"");
    }
    store.close();
    Shell(store)
}

#[test]
fn metadata_is_read_and_changed() {
    let shell = shell(&["/a", "/b"]);
    shell.ok(&["meta", "set", "/a", "author", "somebody"]);
    shell.ok(&["meta", "set", "/a", "pages", "[1,2]", "--json"]);
    assert_eq!(shell.ok(&["meta", "get", "/a", "author"]), "somebody");
    assert_eq!(shell.json(&["meta", "get", "/a", "pages", "--json"]), [json!([1, 2])]);
    assert_eq!(shell.json(&["meta", "ls", "/a", "--json"]), [json!({"author": "somebody", "pages": [1, 2]})]);
    assert_eq!(shell.ok(&["meta", "ls", "/a"]), "author=somebody\npages=[1,2]\n");
    assert_eq!(shell.ok(&["find", "--where", "author=somebody"]), "/a\n");
    shell.ok(&["meta", "rm", "/a", "author"]);
    assert_eq!(shell.run(&["meta", "get", "/a", "author"]).code, 3);
    assert_eq!(shell.run(&["meta", "rm", "/a", "author"]).code, 3);
    assert_eq!(shell.run(&["meta", "get", "/nothing", "author"]).code, 3);
    assert_eq!(shell.run(&["meta", "set", "/a", "nexus.etag", "x"]).code, 4);
    assert_eq!(shell.run(&["meta", "set", "/a", "status", "done"]).code, 2);
    assert_eq!(shell.run(&["meta", "set", "/a", "x", "{", "--json"]).code, 2);
    assert_eq!(shell.run(&["find", "--where", "author"]).code, 2);
    let refused = shell.run(&["meta", "set", "/a", "status", "done"]);
    assert!(refused.stderr.contains("ready, pending, blocked, in_progress, completed, failed"), "{}", refused.stderr);
}

#[test]
fn a_worker_in_the_shell() {
    let shell = shell(&["/one", "/two", "/three"]);
    for (file, key, value) in [
        ("/one", "status", "ready"),
        ("/one", "priority", "2"),
        ("/two", "status", "ready"),
        ("/two", "priority", "1"),
        ("/three", "status", "blocked"),
        ("/three", "depends_on", "[\"/one\", \"/two\"]"),
    ] {
        shell.ok(&["meta", "set", file, key, value]);
    }
    let counts =
        json!({"ready": 2, "pending": 0, "blocked": 1, "in_progress": 0, "completed": 0, "failed": 0, "total": 3});
    assert_eq!(shell.json(&["work", "status", "--json"]), [counts]);
    assert!(shell.ok(&["work", "status"]).contains("total       3\n"));
    let paths = |words: &[&str]| {
        let words = [&["work"], words, &["--json"]].concat();
        shell.json(&words).iter().map(|item| item["virtual_path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["ready"]), ["/two", "/one"]);
    assert_eq!(paths(&["ready", "--limit", "1"]), ["/two"]);
    assert_eq!(paths(&["by-priority"]), ["/two", "/one", "/three"]);
    assert_eq!(paths(&["blocked"]), ["/three"]);
    let refused = shell.run(&["work", "claim", "/three"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("/one") && refused.stderr.contains("/two"), "{}", refused.stderr);
    assert_eq!(shell.run(&["work", "complete", "/two"]).code, 4);

    let claim = shell.json(&["work", "claim", "--json", "--worker", "w", "--lease", "10m"]).remove(0);
    assert_eq!((&claim["item"]["virtual_path"], &claim["item"]["worker_id"]), (&json!("/two"), &json!("w")));
    let number = claim["claim"].to_string();
    assert_eq!(shell.run(&["work", "complete", "/two", "--claim", "999"]).code, 4);
    shell.ok(&["work", "complete", "/two", "--claim", &number]);
    assert_eq!(shell.ok(&["work", "claim", "/one"]), "/one\n");
    assert_eq!(paths(&["in-progress"]), ["/one"]);
    shell.ok(&["work", "release", "/one"]);
    shell.ok(&["work", "claim"]);
    shell.ok(&["work", "fail", "/one"]);
    assert_eq!(paths(&["failed"]), ["/one"]);
    shell.ok(&["work", "release", "/one"]);
    shell.ok(&["work", "claim"]);
    shell.ok(&["work", "complete", "/one"]);
    assert_eq!(paths(&["completed"]), ["/two", "/one"]);
    assert_eq!(shell.ok(&["work", "claim", "--under", "/three"]), "/three\n");
    assert_eq!(shell.run(&["work", "claim"]).code, 3);
    assert_eq!(shell.run(&["work", "claim", "--wait", "0.1"]).code, 3);
    let graph = shell.json(&["work", "graph", "--json"]).remove(0);
    assert_eq!(graph["dependencies"].as_array().unwrap().len(), 2);
    assert!(shell.ok(&["work", "graph"]).starts_with("digraph work {"));
}

/// What depends on what is known again where the paths are, whatever the order of the lines.
#[test]
fn an_import_brings_the_queue_along() {
    let from = shell(&["/a", "/b", "/z", "/done"]);
    for (file, key, value) in [
        ("/a", "depends_on", "[\"/z\", \"/done\"]"),
        ("/a", "status", "blocked"),
        ("/b", "status", "ready"),
        ("/b", "priority", "3"),
        ("/z", "status", "ready"),
        ("/done", "status", "completed"),
    ] {
        from.ok(&["meta", "set", file, key, value]);
    }
    let (lines, bodies) = (from.0.data_dir().with_extension("jsonl"), from.0.data_dir().with_extension("bodies"));
    let (lines, bodies) = (lines.to_str().unwrap(), bodies.to_str().unwrap());
    from.ok(&["export", lines, "--with-content", bodies]);

    let mut to = shell(&["/b"]);
    to.ok(&["meta", "set", "/b", "status", "failed"]);
    to.ok(&["import", lines, "--with-content", bodies, "--overwrite"]);
    let ready = to.json(&["work", "ready", "--json"]);
    let paths: Vec<_> = ready.iter().map(|item| item["virtual_path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/b", "/z"]);
    assert_eq!(to.json(&["work", "blocked", "--json"])[0]["blocker_count"], 1);
    to.ok(&["work", "claim", "/z"]);
    to.ok(&["work", "complete", "/z"]);
    assert_eq!(to.json(&["work", "ready", "--json"]).len(), 2);

    // A value that no item can have is a malformed line.
    let text = std::fs::read_to_string(lines).unwrap().replace("\"status\":\"completed\"", "\"status\":\"finished\"");
    std::fs::write(lines, text).unwrap();
    let refused = to.run(&["import", lines, "--overwrite"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("line 3") && refused.stderr.contains("finished"), "{}", refused.stderr);
    to.0.open();
    to.0.end();
}

//! `nexus config`, and the configuration as commands meet it.

use std::fs;
use std::process::Command;

use crate::harness::{nexus, run, scratch};

/// The command in `directory`, which is its home too, with nothing configured.
fn command(directory: &std::path::Path, words: &[&str]) -> Command {
    let mut command = nexus();
    for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("NEXUS_")) {
        command.env_remove(variable);
    }
    command.current_dir(directory).env("HOME", directory).args(words);
    command
}

#[test]
fn each_source_beats_the_next() {
    let base = scratch();
    let show = |command: &mut Command| -> serde_json::Value {
        serde_json::from_str(&run(command.args(["config", "show", "--origin", "--json"])).ok().stdout).unwrap()
    };
    let tenant = |shown: &serde_json::Value| {
        (shown["tenant_id"]["value"].clone(), shown["tenant_id"]["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(tenant(&show(&mut command(base.path(), &[]))), (serde_json::Value::Null, "the default".into()));
    fs::create_dir_all(base.path().join(".nexus")).unwrap();
    let far = base.path().join(".nexus/config.yaml");
    fs::write(&far, "tenant_id: far\n").unwrap();
    let shown = show(&mut command(base.path(), &[]));
    assert_eq!(tenant(&shown), ("far".into(), far.display().to_string()));
    let near = base.path().join("nexus.yaml");
    fs::write(&near, "tenant_id: near\nagent_id: a1\n").unwrap();
    assert_eq!(tenant(&show(&mut command(base.path(), &[]))), ("near".into(), near.display().to_string()));
    let shown = show(command(base.path(), &[]).env("NEXUS_TENANT_ID", "environment"));
    assert_eq!(tenant(&shown), ("environment".into(), "the environment variable NEXUS_TENANT_ID".into()));
    let shown = show(command(base.path(), &["--tenant", "typed", "--admin"]).env("NEXUS_TENANT_ID", "environment"));
    assert_eq!(tenant(&shown), ("typed".into(), "the command line".into()));
    assert_eq!(shown["is_admin"]["value"], true);
    assert_eq!(shown["agent_id"]["value"], "a1");

    // What is printed can be read again.
    let text = run(&mut command(base.path(), &["config", "show"])).ok().stdout;
    let again = base.path().join("again.yaml");
    fs::write(&again, &text).unwrap();
    run(&mut command(base.path(), &["config", "check", "again.yaml"])).ok();
}

#[test]
fn a_file_is_checked_without_being_used() {
    let base = scratch();
    let check = |text: &str| {
        fs::write(base.path().join("some.yaml"), text).unwrap();
        run(command(base.path(), &["config", "check", "some.yaml"]).env("NEXUS_TENANT_ID", "a/b"))
    };
    let good = check("tenant_id: acme\nenable_llm_cache: true\n").ok();
    assert!(good.stdout.ends_with("some.yaml: valid\n"), "{}", good.stdout);
    assert!(good.stderr.contains("enable_llm_cache is accepted and has no effect"), "{}", good.stderr);
    let slip = check("tenant: acme\nnamespaces: []\n");
    assert_eq!(slip.code, 9);
    slip.refused(&["there is no key 'tenant'", "the keys are mode"]);
    let slip = check("tenant_di: acme\n");
    assert_eq!(slip.code, 9);
    slip.refused(&["did you mean 'tenant_id'?"]);
    check("namespaces: [{name: shared}]").refused(&["some.yaml", "it is built in"]);
    check("db_path: /elsewhere/metadata.db").refused(&["out of the reach of the store's lock", "put data_dir where"]);
    let missing = run(&mut command(base.path(), &["config", "check", "none.yaml"]));
    assert_eq!(missing.code, 9);
    missing.refused(&["none.yaml: it does not exist"]);
}

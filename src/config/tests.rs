//! The rules of precedence, refusal and trust, on invented surroundings.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

struct Place {
    directory: TempDir,
    surroundings: Surroundings,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let base = directory.path();
        for below in ["work", "home/.config/nexus", "home/.nexus", "etc"] {
            fs::create_dir_all(base.join(below)).unwrap();
        }
        let surroundings = Surroundings {
            variables: [("VOLUME".into(), "/srv".into())].into(),
            working_directory: base.join("work"),
            home: Some(base.join("home")),
            system_directory: base.join("etc"),
            user: rustix::process::geteuid().as_raw(),
        };
        Self { directory, surroundings }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn set(&mut self, variable: &str, value: &str) {
        self.surroundings.variables.insert(variable.into(), value.into());
    }

    fn resolve(&self) -> Result<Config> {
        resolve(&Arguments::default(), &self.surroundings)
    }

    fn refusal(&self) -> String {
        let error = self.resolve().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        format!("{}\n{}", advice::sentence(&error), advice::hint(&error).unwrap_or_default())
    }
}

#[test]
fn the_nearest_source_wins() {
    let mut place = Place::new();
    let data_dir = |place: &Place| place.resolve().unwrap().data_dir;

    assert_eq!(data_dir(&place), place.path("work/nexus-data"));
    place.write("etc/config.yaml", "data_dir: /of-machine\n");
    assert_eq!(data_dir(&place), Path::new("/of-machine"));
    place.write("home/.nexus/config.yaml", "data_dir: ~/store\n");
    assert_eq!(data_dir(&place), place.path("home/store"));
    place.write("home/.config/nexus/config.yaml", "data_dir: store\n");
    assert_eq!(data_dir(&place), place.path("home/.config/nexus/store"));
    // The first file that exists is the only one read, even if it is silent.
    place.write("work/nexus.yaml", "mode: embedded\n");
    assert_eq!(data_dir(&place), place.path("work/nexus-data"));
    place.write("work/nexus.yaml", "data_dir: ./${SUB:-sub}/x\n");
    assert_eq!(data_dir(&place), place.path("work/sub/x"));
    place.set("NEXUS_DATA_DIR", "of-environment");
    assert_eq!(data_dir(&place), place.path("work/of-environment"));
    let explicit = Arguments { data_dir: Some("/explicit/./d/".into()), ..Arguments::default() };
    let config = resolve(&explicit, &place.surroundings).unwrap();
    assert_eq!(config.data_dir, Path::new("/explicit/d"));
    assert_eq!(config.origin("data_dir"), &Origin::Argument);
}

/// For every key: what each source says, and that the nearer one wins.
#[test]
fn every_key_comes_from_every_source() {
    let cases = [
        ("data_dir", "/file", "/env", "\"/file\"", "\"/env\""),
        ("tenant_id", "acme", "globex", "\"acme\"", "\"globex\""),
        ("agent_id", "a1", "7", "\"a1\"", "\"7\""),
        ("is_admin", "true", "0", "true", "false"),
        ("cache_size_mb", "100", "1", "100", "1"),
        ("enable_vector_search", "true", "false", "true", "false"),
        ("enable_llm_cache", "true", "1", "true", "true"),
        ("strict_namespaces", "true", "false", "true", "false"),
        (
            "namespaces",
            "[{name: a, readonly: true}]",
            "[{name: b, requires_tenant: false}]",
            r#"[{"admin_only":false,"name":"a","readonly":true,"requires_tenant":true}]"#,
            r#"[{"admin_only":false,"name":"b","readonly":false,"requires_tenant":false}]"#,
        ),
    ];
    let shown = |place: &Place, key: &str| {
        let config = place.resolve().unwrap();
        let entry = config.entries().into_iter().find(|(name, _, _)| *name == key).unwrap();
        (entry.1.to_string(), entry.2.clone())
    };
    for (key, in_file, in_environment, from_file, from_environment) in cases {
        let mut place = Place::new();
        assert_eq!(shown(&place, key).1, Origin::Default, "{key}");
        place.write("work/nexus.yaml", &format!("{key}: {in_file}\n"));
        let file = Origin::File(place.path("work/nexus.yaml"));
        assert_eq!(shown(&place, key), (from_file.to_owned(), file), "{key}");
        let variable = format!("NEXUS_{}", key.to_ascii_uppercase());
        place.set(&variable, in_environment);
        assert_eq!(shown(&place, key), (from_environment.to_owned(), Origin::Environment(variable)), "{key}");
    }
    let mut place = Place::new();
    for (variable, value) in [("NEXUS_TENANT_ID", "x"), ("NEXUS_AGENT_ID", "y"), ("NEXUS_IS_ADMIN", "false")] {
        place.set(variable, value);
    }
    let typed = Arguments {
        tenant_id: Some("acme".into()),
        agent_id: Some("a1".into()),
        is_admin: Some(true),
        ..Arguments::default()
    };
    let principal = resolve(&typed, &place.surroundings).unwrap().principal;
    assert_eq!(principal, Principal::new(Some("acme".into()), Some("a1".into()), true).unwrap());
}

#[test]
fn broken_files_are_refused_with_a_reason() {
    let cases = [
        ("data_dri: /x", "did you mean 'data_dir'?"),
        ("colour: red", "the keys are mode, data_dir"),
        ("mode: remote", "mode 'remote' does not exist"),
        ("mode: [embedded]", "mode from"),
        ("tenant_id: 123", "tenant_id from"),
        ("tenant_id: a/b", "\"a/b\" cannot be the name of a directory"),
        ("agent_id: '..'", "cannot be the name of a directory"),
        ("is_admin: maybe", "it is either true or false"),
        ("cache_size_mb: 0", "a whole number from 1 to 1048576"),
        ("cache_size_mb: 1.5", "a whole number"),
        ("cache_size_mb: big", "a whole number"),
        ("db_path: /elsewhere/metadata.db", "out of the reach of the store's lock"),
        ("namespaces: {name: a}", "namespaces from"),
        ("namespaces: [a]", "namespaces[0]"),
        ("namespaces: [{readonly: true}]", "namespaces[0] from"),
        ("namespaces: [{name: a, read_only: true}]", "did you mean 'readonly'?"),
        ("namespaces: [{name: a, readonly: 3}]", "namespaces[0].readonly"),
        ("namespaces: [{name: workspace}]", "it is built in"),
        ("namespaces: [{name: a}, {name: a}]", "it is defined twice"),
        ("namespaces: [{name: a/b}]", "one that a directory can have"),
        ("namespaces: [{name: .work}]", "reserved"),
        ("mounts: [{tenant_id: a}]", "it has no mountpoint"),
        ("mounts: [{mountpoint: /m, tenantid: a}]", "did you mean 'tenant_id'?"),
        ("mounts: [{mountpoint: /m}, {mountpoint: /m/}]", "/m is named twice"),
        ("mounts: [{mountpoint: /m, options: 3}]", "a list of mount options"),
        ("mounts: [{mountpoint: /m, transport: ring}]", "mounts[0].transport"),
        ("mounts: [{mountpoint: '${UNSET}/m'}]", "the variable UNSET is not set"),
        ("data_dir: ${UNSET}", "the variable UNSET is not set"),
        ("data_dir: ${UNSET", "no closing brace"),
        ("data_dir: 5", "a text is needed"),
        ("data_dir: ''", "it is empty"),
        ("- data_dir", "not a list of 'key: value' lines"),
        ("data_dir: [", "it is not YAML"),
        ("data_dir: a\ndata_dir: b", "duplicate"),
        ("5: a", "a key is not a word"),
    ];
    for (text, expected) in cases {
        let place = Place::new();
        place.write("work/nexus.yaml", text);
        let refusal = place.refusal();
        assert!(refusal.contains(expected), "{text}: {refusal}");
        assert!(refusal.contains("nexus.yaml"), "{text}: {refusal}");
    }
}

#[test]
fn a_key_without_a_value_says_nothing() {
    let place = Place::new();
    place.write("work/nexus.yaml", "data_dir: ${VOLUME}/n\ntenant_id:\nis_admin: ${NO:-false}\nnamespaces: []\n");
    let config = place.resolve().unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/n"));
    assert_eq!(config.principal, Principal::default());
    assert_eq!(config.origin("tenant_id"), &Origin::Default);
}

#[test]
fn the_environment_is_held_to_the_same_rules() {
    let mut place = Place::new();
    place.set("NEXUS_LOG", "debug");
    place.set("NEXUS_DATA_DIR", "");
    assert_eq!(place.resolve().unwrap().origin("data_dir"), &Origin::Default);
    let cases = [
        ("NEXUS_MODE", "server", "mode 'server' does not exist"),
        ("NEXUS_IS_ADMIN", "yes please", "either true or false"),
        ("NEXUS_NAMESPACES", "[", "it is not YAML"),
        ("NEXUS_TENANT_ID", "a/b", "cannot be the name"),
    ];
    for (variable, value, expected) in cases {
        let mut place = Place::new();
        place.set(variable, value);
        let refusal = place.refusal();
        assert!(refusal.contains(expected) && refusal.contains(variable), "{refusal}");
    }
}

#[test]
fn a_mount_has_its_own_identity() {
    let place = Place::new();
    let text = "tenant_id: acme\nagent_id: a1\nis_admin: true\nmounts:\n- {mountpoint: m}\n\
                - {mountpoint: /n, tenant_id: globex, read_only: true, transport: dev_fuse, options: 'noatime,sync'}\n\
                - {mountpoint: ~/o, is_admin: true, allow_other: true, options: [noexec]}\n";
    place.write("work/nexus.yaml", text);
    let who = |tenant: &str, agent: Option<&str>, is_admin| {
        Principal::new(Some(tenant.into()), agent.map(str::to_owned), is_admin).unwrap()
    };
    let entry = |mountpoint: PathBuf, principal, read_only, allow_other, options: &[&str]| MountEntry {
        mountpoint,
        principal,
        read_only,
        allow_other,
        transport: read_only.then_some(Transport::DevFuse),
        options: options.iter().map(ToString::to_string).collect(),
    };
    let expected = [
        entry(place.path("work/m"), who("acme", Some("a1"), false), false, false, &[]),
        entry("/n".into(), who("globex", None, false), true, false, &["noatime,sync"]),
        entry(place.path("home/o"), who("acme", Some("a1"), true), false, true, &["noexec"]),
    ];
    assert_eq!(place.resolve().unwrap().mounts, expected);
}

#[test]
fn the_default_database_may_be_named_and_no_other() {
    let place = Place::new();
    place.write("work/nexus.yaml", "data_dir: ./d\ndb_path: ./d/./metadata.db\n");
    place.resolve().unwrap();
    // Of the environment: from the working directory, and not in the data directory of the file any more.
    let mut place = place;
    place.set("NEXUS_DATA_DIR", "/srv/other");
    assert!(place.refusal().contains("db_path"));
}

#[test]
fn what_is_shown_is_a_configuration_file_again() {
    let mut place = Place::new();
    place.set("TENANT_ID", "acme");
    place.write("work/nexus.yaml", include_str!("../../nexus.yaml.example"));
    let config = place.resolve().unwrap();
    assert_eq!(config.without_effect(), Vec::<&str>::new());
    for origins in [false, true] {
        let again = Place { surroundings: place.surroundings.clone(), directory: TempDir::new().unwrap() };
        let path = again.path("again.yaml");
        fs::write(&path, config.to_text(origins)).unwrap();
        assert_eq!(check(&path, &again.surroundings).unwrap().to_text(false), config.to_text(false));
    }
    assert!(config.to_text(true).contains("nexus.yaml"));
}

#[test]
fn a_local_file_that_others_can_write_is_not_read() {
    let place = Place::new();
    place.write("work/nexus.yaml", "data_dir: /elsewhere\n");
    let path = place.path("work/nexus.yaml");
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(place.refusal().contains("chmod go-w"), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    place.resolve().unwrap();

    // Of another user, who could write it back into any mode.
    std::os::unix::fs::chown(&path, Some(place.surroundings.user + 1), None).unwrap();
    assert!(place.refusal().contains("belongs to another user"));
}

#[test]
fn the_example_is_valid_and_names_every_key() {
    let example = include_str!("../../nexus.yaml.example");
    let place = Place::new();
    place.write("work/nexus.yaml", example);
    let config = place.resolve().unwrap();
    assert_eq!(config.mode, Mode::Embedded);
    assert_eq!(config.data_dir, place.path("work/nexus-data"));
    assert_eq!(config.principal.tenant(), Some("acme"));
    assert_eq!((config.namespaces.len(), config.mounts.len()), (2, 2));
    let words: Vec<_> = example.lines().map(|line| line.trim_start_matches([' ', '-'])).collect();
    let keys = keys::KEYS.iter().map(|(key, _)| *key);
    for key in keys.chain(keys::NAMESPACE_KEYS.iter().copied()).chain(keys::MOUNT_KEYS.iter().copied()) {
        assert!(words.iter().any(|line| line.starts_with(&format!("{key}:"))), "{key}");
    }
}

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
    assert_eq!(config.data_dir_origin, Origin::Argument);
}

#[test]
fn the_transport_is_named_by_the_same_sources() {
    let mut place = Place::new();
    let transport = |place: &Place| place.resolve().unwrap().transport;

    assert_eq!(transport(&place), Transport::Auto);
    place.write("work/nexus.yaml", "transport: ${HOW:-dev_fuse}\n");
    assert_eq!(transport(&place), Transport::DevFuse);
    place.set("NEXUS_TRANSPORT", "io_uring");
    assert_eq!(transport(&place), Transport::IoUring);
    let explicit = Arguments { transport: Some(Transport::DevFuse), ..Arguments::default() };
    assert_eq!(resolve(&explicit, &place.surroundings).unwrap().transport, Transport::DevFuse);
    place.set("NEXUS_TRANSPORT", "uring");
    assert!(place.refusal().contains("environment variable NEXUS_TRANSPORT"));
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let cases = [
        ("data_dri: /x", "did you mean 'data_dir'?"),
        ("colour: red", "the keys are mode, data_dir"),
        ("mode: remote", "mode 'remote' does not exist"),
        ("tenant_id: acme", "'tenant_id' is not supported by this version"),
        ("is_admin: true", "'is_admin' is not supported"),
        ("namespaces: [{name: a}]", "'namespaces' is not supported"),
        ("data_dir: ${UNSET}", "the variable UNSET is not set"),
        ("data_dir: 5", "data_dir: a text is needed"),
        ("data_dir: ''", "it is empty"),
        ("transport: ring", "there are auto, io_uring, dev_fuse"),
        ("- data_dir", "not a list of 'key: value' lines"),
        ("data_dir: [", "it is not YAML"),
        ("data_dir: a\ndata_dir: b", "duplicate"),
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
fn keys_that_are_off_ask_for_nothing() {
    let place = Place::new();
    place.write(
        "work/nexus.yaml",
        "data_dir: ${VOLUME}/n\ntenant_id:\nis_admin: false\nnamespaces: []\nenable_llm_cache: false\n",
    );
    assert_eq!(place.resolve().unwrap().data_dir, Path::new("/srv/n"));
}

#[test]
fn the_environment_is_held_to_the_same_rules() {
    let mut place = Place::new();
    place.set("NEXUS_IS_ADMIN", "false");
    place.set("NEXUS_LOG", "debug");
    place.set("NEXUS_DATA_DIR", "");
    assert_eq!(place.resolve().unwrap().data_dir_origin, Origin::Default);
    place.set("NEXUS_MODE", "server");
    assert!(place.refusal().contains("environment variable NEXUS_MODE"));
    place.set("NEXUS_MODE", "embedded");
    place.set("NEXUS_TENANT_ID", "acme");
    assert!(place.refusal().contains("NEXUS_TENANT_ID"));
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
fn the_example_is_valid_and_names_every_honoured_key() {
    let example = include_str!("../../nexus.yaml.example");
    let place = Place::new();
    place.write("work/nexus.yaml", example);
    let config = place.resolve().unwrap();
    assert_eq!(config.mode, Mode::Embedded);
    assert_eq!(config.data_dir, place.path("work/nexus-data"));
    assert_eq!(config.transport, Transport::Auto);
    let honoured = keys::KEYS.iter().filter(|(_, support)| *support == keys::Support::Honoured);
    for (key, _) in honoured {
        assert!(example.lines().any(|line| line.starts_with(&format!("{key}:"))), "{key}");
    }
}

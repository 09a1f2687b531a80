//! What is wrong with a line stops the import, is told with its number, and nothing has changed.

use nexus::error::ErrorKind;
use nexus::transfer::Conflict;

use super::place::{Place, empty_line};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A line, and words of what is said about it. `@` stands for the digest of the empty body, `^` for `"size":0,"etag":"@"`.
const WRONG: &[(&str, &[&str])] = &[
    ("nonsense", &["expected"]),
    ("{\"path\":\"/a\"", &["EOF", "column"]),
    ("[1]", &["invalid"]),
    ("\"/a\"", &["invalid type"]),
    ("{^}", &["path"]),
    ("{\"path\":\"/a\",\"etag\":\"@\"}", &["size"]),
    ("{\"path\":\"/a\",\"size\":0}", &["etag"]),
    ("{\"path\":1,^}", &["invalid type"]),
    ("{\"path\":\"/a\",\"path\":\"/b\",^}", &["duplicate", "path"]),
    ("{\"path\":\"a\",^}", &["begins with /"]),
    ("{\"path\":\"\",^}", &["begins with /"]),
    ("{\"path\":\"/\",^}", &["root"]),
    ("{\"path\":\"/a/../b\",^}", &["'..'"]),
    ("{\"path\":\"/a\\u0000b\",^}", &["NUL"]),
    ("{\"path\":\"/a\",\"path_b64\":\"L2I=\",^}", &["path and path_b64 differ"]),
    ("{\"path\":\"/a\",\"path_b64\":\"?\",^}", &["path_b64 is no base64"]),
    ("{\"path\":\"/a\",\"size\":0,\"etag\":\"@\",\"physical_path\":\"00\"}", &["physical_path", "64 hexadecimal"]),
    ("{\"path\":\"/a\",\"size\":0,\"etag\":\"xyz\"}", &["etag", "64 hexadecimal"]),
    (
        "{\"path\":\"/a\",\"size\":1,\"etag\":\"@\",\
         \"physical_path\":\"03b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
        &["physical_path and etag differ"],
    ),
    ("{\"path\":\"/a\",\"size\":1,\"etag\":\"@\"}", &["size 1 does not go with the digest"]),
    ("{\"path\":\"/a\",\"size\":-1,\"etag\":\"@\"}", &["invalid value"]),
    ("{\"path\":\"/a\",\"size\":\"0\",\"etag\":\"@\"}", &["invalid type"]),
    ("{\"path\":\"/a\",\"backend_name\":\"s3\",^}", &["backend_name", "s3"]),
    ("{\"path\":\"/a\",\"mime_type\":7,^}", &["invalid type"]),
    ("{\"path\":\"/a\",\"created_at\":\"yesterday\",^}", &["created_at", "yesterday"]),
    ("{\"path\":\"/a\",\"modified_at\":\"2026-13-01T00:00:00Z\",^}", &["modified_at", "2026-13-01"]),
    ("{\"path\":\"/a\",\"modified_at\":\"3026-01-01T00:00:00Z\",^}", &["modified_at", "1677 to 2262"]),
    ("{\"path\":\"/a\",\"version\":0,^}", &["version 0"]),
    ("{\"path\":\"/a\",\"version\":1.5,^}", &["invalid type"]),
    ("{\"path\":\"/a\",\"version\":18446744073709551615,^}", &["version"]),
    ("{\"path\":\"/a\",\"mode\":\"1777\",^}", &["mode", "1777"]),
    ("{\"path\":\"/a\",\"mode\":\"rw\",^}", &["mode", "rw"]),
    ("{\"path\":\"/a\",\"custom_metadata\":[],^}", &["an object of metadata"]),
    ("{\"path\":\"/a\",\"custom_metadata\":{\"\":\"x\"},^}", &["metadata key"]),
    ("{\"path\":\"/a\",\"custom_metadata\":{\"a\":1,\"a\":2},^}", &["\"a\" comes twice"]),
    (
        "{\"path\":\"/a\",\"custom_metadata\":{\"a\":1},\"custom_metadata_b64\":[[\"YQ==\",\"\"]],^}",
        &["\"a\" comes twice"],
    ),
    ("{\"path\":\"/a\",\"custom_metadata\":{\"nexus.etag\":\"x\"},^}", &["nexus.etag", "computed"]),
    ("{\"path\":\"/a\",\"custom_metadata\":{\"a\\u0000\":\"x\"},^}", &["metadata key", "NUL"]),
    ("{\"path\":\"/a\",\"custom_metadata\":{\"a\":\"\\ud800\"},^}", &["hex escape"]),
    ("{\"path\":\"/a\",\"custom_metadata_b64\":[[\"a\"]],^}", &["invalid length"]),
    ("{\"path\":\"/a\",\"custom_metadata_b64\":[[\"?\",\"\"]],^}", &["custom_metadata_b64 is no base64"]),
    ("{\"path\":\"/a\",^} {}", &["trailing"]),
    ("{\"path\":\"/a\u{0}\",^}", &["control character"]),
];

#[test]
fn a_malformed_line_is_named_and_changes_nothing() {
    let place = Place::with_files();
    let good = String::from_utf8(place.lines()).unwrap();
    place.vfs.settle().unwrap();
    let before = place.dump();
    let filled = |line: &str| line.replace('^', "\"size\":0,\"etag\":\"@\"").replace('@', DIGEST);
    let mut wrong: Vec<(Vec<u8>, &[&str])> =
        WRONG.iter().map(|(line, words)| (filled(line).into_bytes(), *words)).collect();
    let long = "x".repeat(256);
    let deep = format!("/{}", "d/".repeat(2_048));
    wrong.push((empty_line(&format!("/{long}")).into_bytes(), &["255 bytes"]));
    wrong.push((empty_line(&deep).into_bytes(), &["4,096"]));
    let with = |metadata: String| filled(&format!("{{\"path\":\"/a\",^,\"custom_metadata\":{{{metadata}}}}}"));
    wrong.push((with(format!("\"{long}\":\"\"")).into_bytes(), &["metadata key", "1 to 250 bytes"]));
    wrong.push((with(format!("\"a\":\"{}\"", "x".repeat(65_537))).into_bytes(), &["65537 bytes", "65536 at most"]));
    let many: Vec<_> = (0..1_001).map(|number| format!("\"{number}\":0")).collect();
    wrong.push((with(many.join(",")).into_bytes(), &["1001 metadata keys"]));
    wrong.push((b"{\"path\":\"/\xff\",\"size\":0}".to_vec(), &["unicode"]));
    // Right in itself, and not about what the store has.
    let lie = good.lines().next_back().unwrap().replace("\"size\":2", "\"size\":3");
    wrong.push((lie.into_bytes(), &["size is 3", "2 bytes"]));

    for (line, words) in wrong {
        // In the middle of lines that would change something, and with blank ones, which count.
        let new = empty_line("/new").into_bytes();
        let lines = [new.clone(), good.clone().into_bytes(), b"\n  \n".to_vec(), line.clone(), b"\n".to_vec(), new];
        let number = 1 + good.lines().count() + 2 + 1;
        let error = place.import(&lines.concat(), Conflict::Overwrite).unwrap_err();
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        let told = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{shown}: {told}");
        assert!(told.starts_with(&format!("import line {number}: ")), "{shown}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{shown}: {told} lacks one of {words:?}");
        assert!(told.len() < 300, "{shown}: {told}");
        assert!(place.id(b"/new").is_err(), "{shown} left something");
    }
    assert_eq!(place.dump(), before);
    // Of the room for numbers nothing is lost either: the store goes on.
    place.import(empty_line("/new").as_bytes(), Conflict::Skip).unwrap();
    place.put(b"/later", b"later");
    place.end();
}

#[test]
fn what_may_be_absent_may_be_null_and_unknown_keys_are_passed_over() {
    let place = Place::new();
    let line = format!(
        "\u{20}{{\"etag\":\"{}\",\"size\":0,\"path\":\"//a/./b\",\"mime_type\":null,\"created_at\":null,\"version\":null,\
         \"custom_metadata\":null,\"tenant_id\":\"x\",\"modified_at\":\"2026-01-02T03:04:05+01:00\"}}\r\n",
        DIGEST.to_uppercase()
    );
    place.import(line.as_bytes(), Conflict::Skip).unwrap();
    let lines = String::from_utf8(place.lines()).unwrap();
    assert!(
        lines.starts_with("{\"path\":\"/a/b\"") && lines.contains("\"modified_at\":\"2026-01-02T02:04:05Z\""),
        "{lines}"
    );
    place.end();
}

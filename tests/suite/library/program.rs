//! Another program that uses the library: this test binary, started with a store, obeying its standard input.
//!
//! An order is a line of words; the answer is a line that begins with `= `: `ok`, `ok` and a text, or the kind of the error.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nexus::Nexus;
use nexus::client::EntryKind;
use nexus::error::{ErrorKind, Result};

use super::{Place, connect};
use crate::harness::{bytes, sha256};

/// The variable that makes this binary a program.
const STORE: &str = "NEXUS_TEST_PROGRAM_STORE";

/// A running program.
pub(crate) struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "library::program::obeys", "--nocapture"])
            .env(STORE, data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, orders, answers };
        assert_eq!(program.answer(), "ok ready");
        program
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order without waiting for the answer.
    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    /// The next answer; empty when the program has ended.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.answers.read_line(&mut line).unwrap() == 0 {
                return String::new();
            }
            // The test harness of the program says things of its own, without always ending the line.
            if let Some((_, answer)) = line.split_once("= ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn does(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the program, which closes its connection.
    pub(crate) fn end(mut self) {
        drop(self.orders.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.orders.take());
        if std::thread::panicking() {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}

/// The program, when this binary is started as one; otherwise a test that orders are obeyed.
#[test]
fn obeys() {
    if let Some(data_dir) = std::env::var_os(STORE) {
        let nx = connect(Path::new(&data_dir));
        println!("= ok ready");
        for line in std::io::stdin().lines() {
            println!("= {}", obey(&nx, &line.unwrap()));
        }
        nx.close().unwrap();
        return;
    }
    let place = Place::new();
    let nx = place.connect();
    for (order, answer) in [
        ("write /a some words", "ok"),
        ("read /a", "ok some words"),
        ("read /b", "NotFound"),
        ("new /a x", "Exists"),
        ("append /a !", "ok"),
        ("read /a", "ok some words!"),
        ("delete /a", "ok"),
        ("fill /a 7 0", "ok"),
        ("key /a v", "ok"),
        ("mkdir /d", "ok"),
        ("move /a /d/b", "ok"),
        ("look /a", "ok none"),
        ("rmdir /d", "NotEmpty"),
    ] {
        assert_eq!(obey(&nx, order), answer, "{order}");
    }
    nx.close().unwrap();
    place.finish();
}

fn obey(nx: &Nexus, order: &str) -> String {
    let mut words = order.splitn(3, ' ');
    let (what, path, text) = (words.next().unwrap(), words.next().unwrap_or("/"), words.next().unwrap_or(""));
    let nothing = |done: Result<()>| done.map(|()| String::new());
    let done = match what {
        "write" => nothing(nx.write(path, text)),
        "new" => nothing(nx.write_new(path, text)),
        "append" => nothing(nx.append(path, text)),
        "read" => nx.read(path).map(|bytes| String::from_utf8(bytes).unwrap()),
        "delete" => nothing(nx.delete(path)),
        "mkdir" => nothing(nx.mkdir(path, false)),
        "rmdir" => nothing(nx.rmdir(path, false)),
        "rename" => nothing(nx.rename(path, text)),
        "move" => nothing(nx.rename_new(path, text)),
        "fill" => nothing(nx.write(path, filling(text))),
        "key" => nothing(nx.metadata().set(path, "k", text)),
        "look" => look(nx, path),
        "sync" => nothing(nx.sync()),
        "owner" => nx.status().map(|status| status.pid.to_string()),
        other => panic!("there is no order {other}"),
    };
    match done {
        Ok(text) => format!("ok {text}").trim_end().to_owned(),
        Err(e) => format!("{:?}", e.kind()),
    }
}

/// A body from two numbers: where it begins, and how long it is.
fn filling(numbers: &str) -> Vec<u8> {
    let (seed, length) = numbers.split_once(' ').unwrap();
    bytes(seed.parse().unwrap(), length.parse().unwrap())
}

/// Everything there is to see at a path, in one line that is the same through every door.
pub(crate) fn look(nx: &Nexus, path: &str) -> Result<String> {
    let info = match nx.info(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok("none".into()),
        info => info?,
    };
    let (entry, id, links) = (&info.entry, info.path_id, info.links);
    let common = format!("{id} {links} {:o} {}", entry.mode, entry.modified);
    if entry.kind == EntryKind::Directory {
        let names = nx.list(path, false)?;
        let names: Vec<_> = names.iter().map(|entry| entry.path().rsplit('/').next().unwrap().to_owned()).collect();
        return Ok(format!("{common} dir [{}]", names.join(" ")));
    }
    let body = nx.read(path)?;
    let key = match nx.metadata().get(path, "k") {
        Err(e) if e.kind() == ErrorKind::NoAttribute => "-".into(),
        value => value?.as_str().unwrap_or("?").to_owned(),
    };
    // "equal to `sha256sum FILE` at any moment"
    let etag = info.etag.unwrap_or_default();
    assert_eq!(etag, sha256(&body), "{path}");
    Ok(format!("{common} file {} {etag} k={key}.", entry.size))
}

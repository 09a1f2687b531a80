//! bench_transfer: lines a second of export and import, on the library, and how long others wait meanwhile, for
//! `scripts/bench`.
//!
//!     cargo run --release --example bench_transfer -- DIRECTORY [LINES]
//!
//! DIRECTORY must not exist; it is left behind. Prints one JSON line for each step, after its result was checked:
//! `{"workload", "ops", "bytes", "seconds", "cpu_seconds", "longest_wait_seconds"}`, the CPU time that of the thread at work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nexus::model::{Caller, Digest, Name, NodeId, Principal, Timestamp};
use nexus::transfer::{Conflict, ExportOptions, ImportOptions, export, import};
use nexus::vfs::{OpenMode, StoreOptions, Vfs};
use nexus::view::View;

/// What was wrong.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const CALLER: Caller = Caller { uid: 0, gid: 0 };
/// Bodies that the files share.
const BODIES: u64 = 1_000;
/// Files in a directory.
const FILES_IN_DIRECTORY: u64 = 1_000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: bench_transfer DIRECTORY [LINES]")?;
    let lines: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let data_dir = Path::new(&directory);
    Vfs::init(data_dir, CALLER, Timestamp::now)?;
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options)?;
    let view = View::new(Arc::clone(&vfs), Principal::default());
    let text = prepare(&vfs, lines)?;

    let apply = |conflict: Conflict, dry_run: bool| -> Result<[u64; 4], Failure> {
        let options = ImportOptions { conflict, dry_run, bodies: None };
        let report = import(&view, CALLER, &options, &mut &text[..], &mut |_| {})?;
        Ok([report.created, report.updated, report.skipped, report.remapped])
    };
    measure(&vfs, "import-rehearsal", lines, || expect(apply(Conflict::Skip, true)?, [lines, 0, 0, 0]))?;
    measure(&vfs, "import-new", lines, || expect(apply(Conflict::Skip, false)?, [lines, 0, 0, 0]))?;
    measure(&vfs, "import-again", lines, || expect(apply(Conflict::Skip, false)?, [0, lines, 0, 0]))?;
    let mut out = Vec::new();
    measure(&vfs, "export", lines, || {
        let report = export(&view, &ExportOptions::default(), &mut out, &mut |_| {})?;
        expect([report.files, 0, 0, 0], [lines + BODIES, 0, 0, 0])
    })?;
    vfs.close()?;
    Ok(())
}

/// Bodies in the store, and lines that name them.
fn prepare(vfs: &Vfs, lines: u64) -> Result<Vec<u8>, Failure> {
    let write = OpenMode { write: true, ..OpenMode::default() };
    let bodies: Vec<_> = (0..BODIES).map(|number| format!("the body number {number}").into_bytes()).collect();
    for (number, body) in bodies.iter().enumerate() {
        let name = format!("zz-body-{number}");
        let (_, opened) = vfs.create(&CALLER, NodeId::ROOT, Name::new(name.as_bytes())?, 0o644, write)?;
        vfs.write(opened.handle, 0, body)?;
        vfs.release(opened.handle)?;
    }
    let digests: Vec<_> = bodies.iter().map(|body| (Digest::of(body), body.len())).collect();
    let mut text = Vec::new();
    for number in 0..lines {
        let (digest, size) = digests[usize::try_from(number % BODIES)?];
        let directory = number / FILES_IN_DIRECTORY;
        text.extend_from_slice(
            format!(
                "{{\"path\":\"/data/{directory:06}/file-{number:09}.json\",\"backend_name\":\"local\",\
                 \"physical_path\":\"{digest}\",\"size\":{size},\"etag\":\"{digest}\",\"mime_type\":\"application/json\",\
                 \"created_at\":\"2026-01-02T03:04:05.123456789Z\",\"modified_at\":\"2026-01-02T03:04:06.123456789Z\",\
                 \"version\":1,\"custom_metadata\":{{\"note\":\"number {number}\"}}}}\n"
            )
            .as_bytes(),
        );
    }
    Ok(text)
}

fn expect(found: [u64; 4], expected: [u64; 4]) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}").into()) }
}

/// Times a step, while somebody else asks for the root again and again.
fn measure(vfs: &Vfs, step: &str, lines: u64, run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let over = AtomicBool::new(false);
    let (seconds, cpu, waited) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if vfs.getattr(NodeId::ROOT).is_err() {
                    break;
                }
                longest = longest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        let (begun, had) = (Instant::now(), cpu_seconds()?);
        let ran = run();
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - had);
        over.store(true, Ordering::Relaxed);
        let waited = other.join().map_err(|_| "the other user of the store panicked")?;
        ran.map(|()| (seconds, cpu, waited.as_secs_f64()))
    })?;
    let report = serde_json::json!({
        "workload": step, "ops": lines, "bytes": 0, "seconds": seconds, "cpu_seconds": cpu,
        "longest_wait_seconds": waited,
    });
    std::io::Write::write_all(&mut std::io::stdout(), format!("{report}\n").as_bytes())?;
    Ok(())
}

/// The time of the processor that this thread has had (`/proc/thread-self/schedstat`, nanoseconds first).
fn cpu_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(nanos / 1e9)
}

//! `nexus export` and `nexus import`.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use nexus::Nexus;
use nexus::error::{Error, ErrorKind, Result};
use nexus::transfer::{self, Conflict, ExportOptions, ExportReport, ImportOptions, ImportReport, Note};

use super::behind::Behind;
use super::output;
use super::store_access::with_nexus;

/// Write names and metadata of all files as JSON Lines
///
/// One object a line, sorted by path, as the files all were at one moment. Directories, symbolic links, owners and hard
/// links are not carried. A file that is being written is exported as it is when its turn comes, and named.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to; - is standard output
    file: PathBuf,
    /// Only what is at this path of the store or below it
    #[arg(long, value_name = "PATH")]
    prefix: Option<PathBuf>,
    /// Only files modified at that time or later: 2026-11-21T06:00:00Z, or 2026-11-21
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// Copy the bodies into this directory, each named by its SHA-256, and write permission bits into the lines
    #[arg(long, value_name = "DIR")]
    with_content: Option<PathBuf>,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// Make files as the lines of an export tell
///
/// One operation: a line that is malformed stops it, is named, and nothing has changed. While it makes the files everybody else
/// who uses the store waits, about a second for 100,000 lines; reading the lines and bringing bodies in holds nobody up. A line
/// whose body is not in the store is skipped. A line for a file that is there with the same body refreshes its metadata.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Where from; - is standard input
    file: PathBuf,
    /// What to do about a file that is there with another body
    #[arg(long, value_name = "MODE", default_value = "skip")]
    conflict_mode: Mode,
    /// The same as --conflict-mode overwrite
    #[arg(long, conflicts_with = "conflict_mode")]
    overwrite: bool,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Where the bodies are that the store does not have, as export --with-content left them
    #[arg(long, value_name = "DIR")]
    with_content: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// The file that is there stays
    Skip,
    /// It becomes what the line says
    Overwrite,
    /// The line becomes a file beside it: name_imported1.ext
    Remap,
    /// The one that was modified later wins
    Auto,
}

impl From<Mode> for Conflict {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Skip => Self::Skip,
            Mode::Overwrite => Self::Overwrite,
            Mode::Remap => Self::Remap,
            Mode::Auto => Self::Auto,
        }
    }
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        let options = ExportOptions {
            prefix: self.prefix.map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default(),
            after: self.after.as_deref().map(transfer::parse_time).transpose()?.map(|time| time.0),
            bodies: self.with_content,
        };
        let to_stdout = self.file == Path::new("-");
        let report = with_nexus(self.data_dir, |nx| {
            let bar = bar("files exported");
            let mut progress = |count| bar.set_position(count);
            let report = if to_stdout {
                export_to_stream(nx, &options, io::stdout(), &mut progress)
            } else {
                export_to_file(nx, &options, &self.file, &mut progress)
            };
            bar.finish_and_clear();
            report
        })?;
        tell(&report.notes, report.notes_left_out);
        let told = summary(&report);
        if to_stdout {
            output::note(told);
        } else {
            output::line(told)?;
        }
        if report.damaged > 0 {
            return Err(Error::new(ErrorKind::Damaged, format!("export {} of the bodies", report.damaged)));
        }
        Ok(())
    }
}

impl Import {
    pub(crate) fn run(self) -> Result<()> {
        let conflict = if self.overwrite { Conflict::Overwrite } else { self.conflict_mode.into() };
        let options = ImportOptions { conflict, dry_run: self.dry_run, bodies: self.with_content };
        // Opened before the store, so that a slip of the pen is told at once.
        let mut input: Box<dyn BufRead> = if self.file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(&self.file);
            let file = opened.map_err(|e| Error::io(format!("open {}", self.file.display()), e))?;
            Box::new(BufReader::with_capacity(1 << 18, file))
        };
        let report = with_nexus(self.data_dir, |nx| {
            let bar = bar("lines imported");
            let report = nx.import_metadata(&options, &mut input, &mut |count| bar.set_position(count));
            bar.finish_and_clear();
            report
        })?;
        if self.json {
            let json = serde_json::to_string(&report);
            return output::line(json.map_err(|e| Error::new(ErrorKind::Io, "write the result as JSON").because(e))?);
        }
        tell(&report.notes, report.notes_left_out);
        let ImportReport { created, updated, skipped, remapped, .. } = report;
        let would = if self.dry_run { "nothing was changed; an import would have: " } else { "" };
        output::line(format_args!(
            "{would}created {created}, updated {updated}, skipped {skipped}, remapped {remapped}"
        ))
    }
}

/// Standard output or a pipe, whose reader may take his time, or go away, which is no failure: `nexus export - | head`.
fn export_to_stream(
    nx: &Nexus,
    options: &ExportOptions,
    stream: impl Write + Send + 'static,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportReport> {
    let failed = |e| Error::io("write the export", e);
    let mut out = Behind::new(stream).map_err(failed)?;
    let exported = nx.export_metadata(options, &mut out, progress);
    match (exported, out.finish()) {
        (_, Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExportReport::default()),
        (Ok(_), Err(e)) => Err(failed(e)),
        (exported, _) => exported,
    }
}

/// A file appears, or is replaced, when the export is complete and on the disk.
fn export_to_file(
    nx: &Nexus,
    options: &ExportOptions,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportReport> {
    let failed = |e: io::Error| Error::io(format!("write {}", path.display()), e);
    // Not the link but what it leads to is replaced; and what is no file, a pipe say, can only be written.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&place).is_ok_and(|found| !found.is_file()) {
        return export_to_stream(nx, options, File::options().write(true).open(&place).map_err(failed)?, progress);
    }
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // As another program would make it: what the umask leaves of these.
    let mut part = builder
        .prefix(".nexus-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?;
    let report = nx.export_metadata(options, part.as_file_mut(), progress)?;
    part.as_file().sync_all().map_err(failed)?;
    part.persist(&place).map_err(|e| failed(e.error))?;
    Ok(report)
}

/// A counter on a terminal; nothing elsewhere.
fn bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {{pos}} {what}, {{per_sec}}")) {
        bar.set_style(style);
    }
    bar
}

fn tell(notes: &[Note], left_out: u64) {
    for note in notes {
        let line = if note.line > 0 { format!("line {}: ", note.line) } else { String::new() };
        // A path may hold what a terminal would obey.
        output::note(format_args!("{line}{}: {}", note.path.escape_debug(), note.what));
    }
    if left_out > 0 {
        output::note(format_args!("and {left_out} more"));
    }
}

fn summary(report: &ExportReport) -> String {
    let plural =
        |count: u64, one: &str, more: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {more}") };
    let mut told = format!("exported {}", plural(report.files, "file", "files"));
    if report.bodies > 0 {
        told += &format!(", copied {}", plural(report.bodies, "body", "bodies"));
    }
    if report.other_kinds > 0 {
        told += &format!("; left out {}", plural(report.other_kinds, "name of another kind", "names of other kinds"));
    }
    told
}

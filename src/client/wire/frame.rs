//! Frames: a kind, a length, so many bytes.
//!
//! Structures are encoded with postcard, bodies go as they are. The length is checked before anything is read, and memory
//! is taken as bytes arrive, not as they are announced.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::advice;
use crate::client::request::Failure;
use crate::client::serve::PIECE_BYTES_MAX;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

/// The version of the protocol: both ends must have the same. Grows whenever the meaning of any byte changes.
pub(crate) const VERSION: u16 = 2;

/// What every version begins with.
const MAGIC: [u8; 6] = *b"nexus\0";

/// The longest frame: the largest piece of a body with room for what goes with it.
pub(super) const FRAME_BYTES_MAX: usize = PIECE_BYTES_MAX as usize + 64 * 1024;

/// Bytes before the content of a frame: its kind, and its length in little-endian order.
const HEAD_BYTES: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Version and identity of the client.
    Hello = 1,
    /// Version of the owner, who accepts.
    Welcome = 2,
    /// A request; a body follows it if it is of that kind.
    Request = 3,
    /// A piece of a body.
    Body = 4,
    /// The end of a body.
    End = 5,
    /// The body breaks off: nothing of it may be kept.
    Abort = 6,
    /// Some items of the answer.
    Items = 7,
    /// The answer.
    Reply = 8,
    /// The request failed.
    Failure = 9,
    /// Nothing that was asked for and not answered is carried out; the connection ends.
    Goodbye = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Hello,
        Self::Welcome,
        Self::Request,
        Self::Body,
        Self::End,
        Self::Abort,
        Self::Items,
        Self::Reply,
        Self::Failure,
        Self::Goodbye,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a connection is about: whose sight of the store it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) tenant: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) is_admin: bool,
}

impl Identity {
    pub(crate) fn of(principal: &Principal) -> Self {
        Self {
            tenant: principal.tenant().map(str::to_owned),
            agent: principal.agent().map(str::to_owned),
            is_admin: principal.is_admin(),
        }
    }

    pub(crate) fn principal(self) -> Result<Principal> {
        Principal::new(self.tenant, self.agent, self.is_admin)
    }
}

/// Whether the one who asked for the store will have it next, so that others wait for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Goodbye {
    pub(super) handed_over: bool,
}

/// Appends a frame with these bytes.
pub(super) fn push(out: &mut Vec<u8>, kind: Kind, content: &[u8]) {
    debug_assert!(content.len() <= FRAME_BYTES_MAX, "whoever makes a frame knows its bound");
    out.push(kind as u8);
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(content);
}

/// Appends a frame with this value.
///
/// # Errors
/// `Invalid` when it is larger than a frame can be.
pub(super) fn push_value(out: &mut Vec<u8>, kind: Kind, value: &impl Serialize) -> Result<()> {
    let start = out.len();
    push(out, kind, &[]);
    let encoded = postcard::to_extend(value, std::mem::take(out))
        .map_err(|e| Error::new(ErrorKind::Invalid, "encode a message").because(e));
    *out = encoded?;
    let length = out.len() - start - HEAD_BYTES;
    if length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(Error::new(ErrorKind::Invalid, format!("send {length} bytes in one message")));
    }
    out[start + 1..start + HEAD_BYTES].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    Ok(())
}

/// Reads the next frame; `None` when the other end has closed the connection between two.
///
/// # Errors
/// `InvalidData` for what is no frame, `UnexpectedEof` for a part of one, what reading reports.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    let got = loop {
        match from.read(&mut head) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            got => break got?,
        }
    };
    if got == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[got..])?;
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    let Some(kind) = Kind::of(kind).filter(|_| length <= FRAME_BYTES_MAX) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut content = Vec::new();
    let got = from.by_ref().take(length as u64).read_to_end(&mut content)?;
    if got < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((kind, content)))
}

/// The value that a frame holds, all of it.
///
/// # Errors
/// `InvalidData` for bytes that are none.
pub(super) fn decode<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The content of a greeting: magic, version, and what only this version understands.
pub(super) fn greeting(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut content = MAGIC.to_vec();
    content.extend_from_slice(&VERSION.to_le_bytes());
    postcard::to_extend(value, content).map_err(|e| Error::new(ErrorKind::Invalid, "encode a greeting").because(e))
}

/// What follows a greeting of this version; the other version as error.
///
/// # Errors
/// `Incompatible` for another version, `Io` for what is no greeting.
pub(super) fn check_greeting(content: &[u8]) -> Result<&[u8]> {
    let behind = content.strip_prefix(&MAGIC[..]).and_then(|rest| rest.split_first_chunk::<2>());
    let Some((version, rest)) = behind else {
        return Err(Error::new(ErrorKind::Io, "greet: the other end of the socket is no nexus"));
    };
    let theirs = u16::from_le_bytes(*version);
    if theirs == VERSION {
        return Ok(rest);
    }
    Err(advice::refusal(
        ErrorKind::Incompatible,
        "connecting to the process that has the store",
        format!("it speaks version {theirs} of the protocol, and this is version {VERSION}"),
        "use the same version of nexus for both",
    ))
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            context: error.context().to_owned(),
            reason: advice::reason(error),
            hint: advice::hint(error).unwrap_or_default().to_owned(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { kind, context, reason, hint } = failure;
        advice::refusal(kind, context, reason, hint)
    }
}

/// Writes all of it and forgets it.
pub(super) fn flush(to: &mut impl Write, out: &mut Vec<u8>) -> io::Result<()> {
    let written = to.write_all(out);
    out.clear();
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::client::request::{Item, Path, Reply, Request, WriteMode};
    use crate::model::VPath;
    use crate::stats::{Op, StoreReport, Traffic, TrafficReport, Via};
    use crate::transfer::{Conflict, ImportRules, Selection};

    fn path(text: &str) -> Path {
        Path(VPath::parse(text.as_bytes()).unwrap())
    }

    /// Requests with the bytes they have in version 2. A change here is a new version of the protocol.
    fn golden() -> Vec<(Request, &'static [u8])> {
        let selection = Selection { prefix: b"/a".to_vec(), after: None, bodies: true };
        let rules = ImportRules { conflict: Conflict::Auto, dry_run: false, bodies: true };
        vec![
            (Request::Exists { path: path("/a") }, &[0, 2, b'/', b'a']),
            (Request::Read { path: path("/"), offset: 300, length: 1, node: Some(7) }, &[3, 1, b'/', 0xac, 2, 1, 1, 7]),
            (Request::Write { path: path("/a"), mode: WriteMode::Append }, &[7, 2, b'/', b'a', 2]),
            (Request::MakeDirectory { path: path("/a"), parents: true }, &[11, 2, b'/', b'a', 1]),
            (Request::Sync, &[17]),
            (Request::HandOver, &[19]),
            (Request::Stop { lazy: true }, &[23, 1]),
            (Request::Stats, &[33]),
            (Request::Verify { path: path("/"), after: Some(5) }, &[34, 1, b'/', 1, 10]),
            (Request::Export(selection), &[35, 2, b'/', b'a', 0, 1]),
            (Request::Lacks(vec![1, 2].into()), &[36, 2, 1, 2]),
            (Request::Import(rules), &[37, 3, 0, 1]),
        ]
    }

    #[test]
    fn requests_keep_their_bytes() {
        for (request, bytes) in golden() {
            let mut out = Vec::new();
            push_value(&mut out, Kind::Request, &request).unwrap();
            assert_eq!(&out[HEAD_BYTES..], bytes, "{request:?}");
            let (kind, content) = read(&mut &out[..]).unwrap().unwrap();
            assert_eq!(kind, Kind::Request);
            assert_eq!(decode::<Request>(&content).unwrap(), request);
        }
        assert_eq!(greeting(&7u32).unwrap(), b"nexus\0\x02\0\x07");
    }

    /// Every kind on every way, with times of all magnitudes: what a mount can have counted at most.
    #[test]
    fn the_longest_report_of_a_mount_fits_into_a_frame() {
        let mount = Traffic::new(vec![b'/'; 4096], |_| "ENOTRECOVERABLE");
        let times = (0..40).flat_map(|power| (8..16_u64).map(move |fine| (fine << power) >> 3));
        for took in times.map(Duration::from_nanos) {
            for (place, op) in Op::ALL.iter().enumerate() {
                let error = i32::try_from(place * 3).ok();
                [Via::DevFuse, Via::IoUring].into_iter().for_each(|via| mount.answered(via, *op, took, error));
            }
        }
        let report = mount.look();
        let mut out = Vec::new();
        push_value(&mut out, Kind::Items, &vec![Item::Traffic(Box::new(report.clone()))]).unwrap();
        assert!(out.len() <= report.weight() && report.weight() < PIECE_BYTES_MAX as usize, "{}", report.weight());
        let (_, content) = read(&mut &out[..]).unwrap().unwrap();
        assert_eq!(decode::<Vec<Item>>(&content).unwrap(), [Item::Traffic(Box::new(report))]);
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        let theirs = [&MAGIC[..], &9u16.to_le_bytes(), b"whatever"].concat();
        assert_eq!(check_greeting(&theirs).unwrap_err().kind(), ErrorKind::Incompatible);
        assert_eq!(check_greeting(b"GET / HTTP/1.1").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(check_greeting(&greeting(&()).unwrap()).unwrap(), b"");
    }

    #[test]
    fn a_path_is_checked_where_it_arrives() {
        for bad in [&b"relative"[..], b"/a/../b", b"/a\0"] {
            let mut content = vec![0, u8::try_from(bad.len()).unwrap()];
            content.extend_from_slice(bad);
            assert!(decode::<Request>(&content).is_err());
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        let mut head = vec![Kind::Body as u8];
        head.extend_from_slice(&u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes());
        assert_eq!(read(&mut &head[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut &[99u8, 0, 0, 0, 0][..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut &[4u8, 9, 0, 0, 0, 1][..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(read(&mut &b""[..]).unwrap().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn bytes_of_any_kind_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut from = &bytes[..];
            while let Ok(Some((_, content))) = read(&mut from) {
                prop_assert!(content.len() <= bytes.len());
            }
        }

        #[test]
        fn content_of_any_kind_is_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(request) = decode::<Request>(&bytes) {
                // What was understood means the same when it is said again.
                let again = postcard::to_stdvec(&request).unwrap();
                prop_assert_eq!(decode::<Request>(&again).unwrap(), request);
            }
            drop(decode::<Identity>(&bytes));
            drop(decode::<Reply>(&bytes));
            drop(decode::<Vec<Item>>(&bytes));
            drop(decode::<StoreReport>(&bytes));
            if let Ok(traffic) = decode::<TrafficReport>(&bytes) {
                // Whatever they are, numbers can be worked with.
                let since = traffic.since(&traffic.since(&TrafficReport::default()));
                prop_assert!(since.requests.iter().all(|request| request.took.quantile(0.5) <= request.took.max));
            }
            drop(decode::<Failure>(&bytes));
        }

        #[test]
        fn a_request_that_was_damaged_is_a_value_or_an_error(
            which in 0..golden().len(), at in 0..16usize, byte in any::<u8>(), cut in 0..16usize,
        ) {
            let mut bytes = golden()[which].1.to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(1));
            drop(decode::<Request>(&bytes));
        }
    }
}

//! Requests to the process that has a store, about that process: nobody becomes its owner by asking.

use std::path::Path;

use super::exchange::Luggage;
use super::request::{Item, Reply, Request};
use super::route::ask;
use super::types::{MountInfo, MountWish, Status};
use super::{canonical, has_store, no_store};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;
use crate::stats::Report;

/// Who has the store in `data_dir`; `None` when nobody has.
///
/// # Errors
/// `NotFound` without a store; what connecting fails with.
pub fn status(data_dir: &Path) -> Result<Option<Status>> {
    match to_owner(data_dir, &Request::Status)? {
        Some(Reply::Status(status)) => Ok(Some(*status)),
        None => Ok(None),
        Some(_) => Err(misunderstood()),
    }
}

/// Asks the program that has a store to give it up to a daemon; whether it will. The store is free when its lock is.
///
/// # Errors
/// As [`status()`].
pub fn hand_over(data_dir: &Path) -> Result<bool> {
    match to_owner(data_dir, &Request::HandOver)? {
        Some(Reply::Flag(will)) => Ok(will),
        None => Ok(false),
        Some(_) => Err(misunderstood()),
    }
}

/// The mounts of the store; empty when nobody has it.
///
/// # Errors
/// As [`status()`].
pub fn mounts(data_dir: &Path) -> Result<Vec<MountInfo>> {
    match to_owner(data_dir, &Request::Mounts)? {
        Some(Reply::Mounts(mounts)) => Ok(mounts),
        None => Ok(Vec::new()),
        Some(_) => Err(misunderstood()),
    }
}

/// What the process that has the store has counted, asked as `who`; `None` when nobody has it.
///
/// # Errors
/// As [`status()`]; `Denied` for a tenant or an agent, unless it is an administrator.
pub fn stats(data_dir: &Path, who: &Principal) -> Result<Option<Report>> {
    if !has_store(data_dir) {
        return Err(no_store(data_dir));
    }
    let mut luggage = Luggage::default();
    let reply = ask(&canonical(data_dir)?, who, &Request::Stats, &mut luggage)?;
    reply.map(|reply| report(&reply, luggage.items)).transpose()
}

/// Asks the daemon that has the store for one more mount, which answers when this returns; whether there is a daemon.
///
/// # Errors
/// As [`status()`]; what mounting fails with.
pub fn mount(data_dir: &Path, wish: MountWish) -> Result<bool> {
    done(to_owner(data_dir, &Request::Mount(wish))?)
}

/// Asks the daemon that has the store to end one of its mounts; whether there is a daemon.
///
/// # Errors
/// As [`status()`]; what unmounting fails with.
pub fn unmount(data_dir: &Path, mountpoint: &[u8], lazy: bool) -> Result<bool> {
    done(to_owner(data_dir, &Request::Unmount { mountpoint: mountpoint.to_vec().into(), lazy })?)
}

/// Asks the daemon that has the store to end all its mounts and itself; whether there is a daemon.
///
/// # Errors
/// As [`status()`].
pub fn stop(data_dir: &Path, lazy: bool) -> Result<bool> {
    done(to_owner(data_dir, &Request::Stop { lazy })?)
}

fn to_owner(data_dir: &Path, request: &Request) -> Result<Option<Reply>> {
    if !has_store(data_dir) {
        return Err(no_store(data_dir));
    }
    ask(&canonical(data_dir)?, &Principal::default(), request, &mut Luggage::default())
}

/// The answer to [`Request::Stats`].
pub(super) fn report(reply: &Reply, items: Vec<Item>) -> Result<Report> {
    let Reply::Stats { pid, store } = reply else { return Err(misunderstood()) };
    let mounts = items.into_iter().map(|item| match item {
        Item::Traffic(traffic) => Ok(*traffic),
        _ => Err(misunderstood()),
    });
    Ok(Report { pid: *pid, store: (**store).clone(), mounts: mounts.collect::<Result<_>>()? })
}

fn done(reply: Option<Reply>) -> Result<bool> {
    match reply {
        Some(Reply::Done) => Ok(true),
        None => Ok(false),
        Some(_) => Err(misunderstood()),
    }
}

/// The error of an answer that does not fit its question.
pub(super) fn misunderstood() -> Error {
    Error::new(ErrorKind::Io, "understand the answer of the process that has the store")
}

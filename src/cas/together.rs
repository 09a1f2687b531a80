//! Syncs that are under way at the same time: a disk takes flushes that reach it together for one.

use std::fs::File;
use std::thread;

use crate::error::{Error, Result};

/// How many are under way at most. Twice as many were no faster, half as many took a quarter longer.
const AT_A_TIME: usize = 8;

/// Makes the bytes of several files durable, fdatasync(2); what came of each.
pub fn sync_data(files: &[&File]) -> Vec<Result<()>> {
    each(files, |file| file.sync_data().map_err(|e| Error::io("sync a draft", e)))
}

/// Does the same to several things, in threads; what came of each, in their order.
pub(super) fn each<T: Sync>(things: &[T], sync: impl Fn(&T) -> Result<()> + Sync) -> Vec<Result<()>> {
    let mut shares = things.chunks(things.len().div_ceil(AT_A_TIME).max(1));
    let own = shares.next().unwrap_or_default();
    let all = |share: &[T]| share.iter().map(&sync).collect::<Vec<_>>();
    thread::scope(|scope| {
        // Where the system gives no more threads, this one does it all.
        let others: Vec<_> = shares
            .map(|share| thread::Builder::new().spawn_scoped(scope, move || all(share)).map_err(|_| share))
            .collect();
        let mut outcomes = all(own);
        for other in others {
            outcomes.extend(match other {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(share) => all(share),
            });
        }
        outcomes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_has_its_own_outcome_and_place() {
        for count in [0, 1, 2, 7, 8, 9, 64, 65] {
            let numbers: Vec<usize> = (0..count).collect();
            let outcomes = each(&numbers, |number| match number % 3 {
                0 => Err(Error::new(ErrorKind::Io, number.to_string())),
                _ => Ok(()),
            });
            assert_eq!(outcomes.len(), count);
            for (number, outcome) in outcomes.into_iter().enumerate() {
                let failed = outcome.err().map(|error| error.to_string());
                assert_eq!(failed.is_some(), number % 3 == 0, "{number} of {count}");
                assert!(failed.is_none_or(|text| text.contains(&number.to_string())), "{number} of {count}");
            }
        }
    }
}

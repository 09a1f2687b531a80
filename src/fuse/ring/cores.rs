//! The cores of the machine as the ring counts them: /sys/devices/system/cpu, cputopology.rst of the kernel.

use std::fs;
use std::io;

/// The processors of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cores {
    /// How many there can ever be: the kernel wants a queue for each.
    pub(super) possible: u16,
    /// Those that run now.
    pub(super) online: Vec<u16>,
}

impl Cores {
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn of_this_machine() -> io::Result<Self> {
        let read = |which: &str| {
            let path = format!("/sys/devices/system/cpu/{which}");
            let text = fs::read_to_string(&path)?;
            list(text.trim()).ok_or_else(|| io::Error::other(format!("{path} says {text:?}")))
        };
        Self::from_lists(&read("possible")?, read("online")?)
            .ok_or_else(|| io::Error::other("there are more cores than can be counted"))
    }

    fn from_lists(possible: &[u16], online: Vec<u16>) -> Option<Self> {
        Some(Self { possible: u16::try_from(possible.len()).ok()?, online })
    }
}

/// Numbers and ranges, as in `0-3,8`.
fn list(text: &str) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u16>().ok()?..=last.parse().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(list("0-2,5,7-7"), Some(vec![0, 1, 2, 5, 7]));
        assert_eq!(list("0"), Some(vec![0]));
        for bad in ["", "a", "1-", "-1", "0-70000"] {
            assert_eq!(list(bad), None, "{bad}");
        }
        let cores = Cores::of_this_machine().unwrap();
        assert!(!cores.online.is_empty() && cores.online.len() <= cores.possible.into());
    }
}

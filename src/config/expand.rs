//! `${VAR}` and `${VAR:-default}` in the values of a configuration file.
//!
//! Values are expanded after the file was parsed, so a variable can never add a key. A `$` before anything but `{`
//! is a dollar sign. Defaults are taken as they stand, without a second round.

use std::ffi::OsStr;

/// `text` with its variables replaced by what `lookup` knows; a variable set to nothing takes its default, as in sh(1).
///
/// # Errors
/// A sentence: a variable without default that is not set or not UTF-8, a name that is none, a missing `}`.
pub(super) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a OsStr>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let (inside, after) = behind.split_once('}').ok_or_else(|| format!("'${{{behind}' has no closing brace"))?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(format!("'{name}' is not the name of a variable"));
        }
        match (lookup(name), default) {
            (Some(value), _) => {
                out.push_str(value.to_str().ok_or_else(|| format!("the variable {name} is not UTF-8"))?);
            }
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(format!("the variable {name} is not set")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_set_and_refuses_the_rest() {
        let lookup = |name: &str| (name == "HOME").then(|| OsStr::new("/home/a"));
        let cases = [
            ("plain $5 ${HOME}/x", Ok("plain $5 /home/a/x")),
            ("${HOME:-/y}${NO:-/z}${NO:-}", Ok("/home/a/z")),
            ("${NO:-a:-b}", Ok("a:-b")),
            ("${NO}", Err("the variable NO is not set")),
            ("${HOME", Err("'${HOME' has no closing brace")),
            ("${}", Err("'' is not the name of a variable")),
            ("${A-B}", Err("'A-B' is not the name of a variable")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}

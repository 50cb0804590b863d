//! The memory that `execve` wants, prepared before the child exists.

use std::{
    collections::HashMap,
    ffi::{CString, OsStr, OsString, c_char},
    io,
    os::unix::ffi::OsStrExt,
    ptr,
};

/// Where programs are looked up when the child's environment has no `PATH`: what POSIX systems answer to
/// `getconf PATH`.
const STANDARD_PATH: &[u8] = b"/bin:/usr/bin";

/// Arguments, environment and the places where the program may be.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
}

impl Image {
    pub(super) fn new(
        program: &OsStr,
        argument_zero: Option<&OsStr>,
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
        mark: Option<(&str, String)>,
    ) -> io::Result<Self> {
        let mut argv = Vec::with_capacity(arguments.len() + 1);
        argv.push(c_string(argument_zero.unwrap_or(program).as_bytes(), "the program's name")?);
        for argument in arguments {
            argv.push(c_string(argument.as_bytes(), "an argument")?);
        }

        let mark = mark.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let mut position = HashMap::with_capacity(environment.len() + 1);
        let mut path: Option<&[u8]> = None;
        let mut entries = Vec::with_capacity(environment.len() + 1);
        for (name, value) in environment.iter().chain(&mark) {
            let entry = variable(name, value)?;
            if name == "PATH" {
                path = Some(value.as_bytes());
            }
            // The later one wins, as with any map; two entries of one name would leave it to the program.
            match position.entry(name) {
                std::collections::hash_map::Entry::Occupied(at) => entries[*at.get()] = entry,
                std::collections::hash_map::Entry::Vacant(at) => {
                    at.insert(entries.len());
                    entries.push(entry);
                }
            }
        }

        let candidates = candidates(program.as_bytes(), path.unwrap_or(STANDARD_PATH))?;
        Ok(Self { candidates, arguments: Strings::new(argv), environment: Strings::new(entries) })
    }
}

/// A null-terminated array of pointers, and what they point at.
#[derive(Debug)]
pub(super) struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { _owned: owned, pointers }
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

fn c_string(bytes: &[u8], what: &str) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| invalid(format!("{what} contains a zero byte")))
}

fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    let shown = name.to_string_lossy();
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(invalid(format!("the name of the variable {shown:?} is empty or contains '='")));
    }
    let mut entry = Vec::with_capacity(name.len() + value.len() + 2);
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'=');
    entry.extend_from_slice(value.as_bytes());
    CString::new(entry).map_err(|_| invalid(format!("the variable {shown:?} contains a zero byte")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// A name with a slash is a path; any other is looked for in each folder of `path`, where an empty element
/// is the working directory, as POSIX says.
fn candidates(program: &[u8], path: &[u8]) -> io::Result<Vec<CString>> {
    if program.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the program's name is empty"));
    }
    if program.contains(&b'/') {
        return Ok(vec![c_string(program, "the program's name")?]);
    }
    path.split(|byte| *byte == b':')
        .map(|folder| {
            let mut full = folder.to_vec();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(program);
            c_string(&full, "the program's name or PATH")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(program: &str, path: &str) -> Vec<String> {
        let found = candidates(program.as_bytes(), path.as_bytes()).unwrap();
        found.into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn an_empty_element_of_path_is_the_working_directory() {
        assert_eq!(found("run", "/a::b/"), ["/a/run", "run", "b//run"]);
    }

    #[test]
    fn a_name_with_a_slash_is_not_searched() {
        assert_eq!(found("./run", "/a:/b"), ["./run"]);
    }

    #[test]
    fn the_later_of_two_values_of_a_variable_wins() {
        let environment = [("A", "1"), ("B", "2"), ("A", "3")].map(|(n, v)| (n.into(), v.into()));
        let image = Image::new("x".as_ref(), None, &[], &environment, None).unwrap();
        let entries: Vec<_> = image.environment._owned.iter().map(|entry| entry.to_str().unwrap()).collect();
        assert_eq!(entries, ["A=3", "B=2"]);
    }

    #[test]
    fn names_that_no_environment_can_hold_are_refused() {
        for name in ["", "A=B", "=A", "A\0"] {
            let error = Image::new("x".as_ref(), None, &[], &[(name.into(), "".into())], None).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}

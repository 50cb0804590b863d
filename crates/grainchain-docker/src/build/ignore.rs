//! `.dockerignore`: which files of the context stay at home. The engine does not look at it.

use grainchain_core::{Error, Result};

/// The patterns of one file, in their order: the last that fits decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    parts: Vec<Vec<char>>,
    /// `!`: what was left out comes back.
    returns: bool,
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    ///
    /// `BadRequest` with the line that is no pattern.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (returns, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let mut parts: Vec<Vec<char>> = Vec::new();
            for part in pattern.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part.chars().collect()),
                }
            }
            if parts.is_empty() {
                if line.starts_with('!') && pattern.is_empty() {
                    return Err(Error::bad_request(format!(
                        ".dockerignore, line {}: `!` alone is no pattern",
                        number + 1
                    ))
                    .hint("write what shall come back behind it")
                    .option("context"));
                }
                continue;
            }
            rules.push(Rule { parts, returns });
        }
        Ok(Self { rules })
    }

    /// Whether `path`, relative and with slashes, stays at home. What fits a folder fits everything in it.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let parts: Vec<Vec<char>> = path.split('/').map(|part| part.chars().collect()).collect();
        let mut excluded = false;
        for rule in self.rules.iter().filter(|_| !parts.is_empty()) {
            if rule.returns != excluded {
                continue;
            }
            if (1..=parts.len()).any(|length| fits(&rule.parts, &parts[..length])) {
                excluded = !rule.returns;
            }
        }
        excluded
    }

    /// Whether something below a folder that stays at home may come back.
    pub(super) fn has_returns(&self) -> bool {
        self.rules.iter().any(|rule| rule.returns)
    }
}

/// Whether the parts of a pattern fit the parts of a path, all of them.
fn fits(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == &['*', '*'] => {
            (0..=path.len()).any(|skipped| fits(rest, &path[skipped..]))
        }
        Some((first, rest)) => {
            path.split_first().is_some_and(|(name, below)| fits_name(first, name) && fits(rest, below))
        }
    }
}

/// Whether a pattern without slashes fits a name: `*`, `?`, `[a-z]`, `[^a]` and `\`.
fn fits_name(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skipped| fits_name(rest, &name[skipped..])),
        '?' => !name.is_empty() && fits_name(rest, &name[1..]),
        '[' => match (class(rest), name.split_first()) {
            (Some(((ranges, negated), rest)), Some((letter, below))) => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&letter)) != negated
                    && fits_name(rest, below)
            }
            _ => false,
        },
        first => {
            let (first, rest) = match (first, rest.split_first()) {
                ('\\', Some((escaped, rest))) => (escaped, rest),
                _ => (first, rest),
            };
            name.split_first().is_some_and(|(letter, below)| letter == first && fits_name(rest, below))
        }
    }
}

/// The ranges of a class, and whether it means all others.
type Class = (Vec<(char, char)>, bool);

/// A class, and what follows it.
fn class(pattern: &[char]) -> Option<(Class, &[char])> {
    let (negated, mut rest) = match pattern.split_first()? {
        ('^', rest) => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        let (mut low, below) = rest.split_first()?;
        rest = below;
        match low {
            ']' if !ranges.is_empty() => return Some(((ranges, negated), rest)),
            '\\' => (low, rest) = rest.split_first()?,
            _ => {}
        }
        match rest {
            ['-', high, below @ ..] if *high != ']' => {
                ranges.push((*low, *high));
                rest = below;
            }
            _ => ranges.push((*low, *low)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(text: &str, paths: &[&str]) -> Vec<String> {
        let ignore = Ignore::parse(text).unwrap();
        paths.iter().filter(|path| ignore.excludes(path)).map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn patterns_fit_as_the_docker_command_has_them() {
        for (pattern, path, fits) in [
            ("a", "a", true),
            ("a", "b/a", false),
            ("/a/", "a", true),
            ("*.log", "x.log", true),
            ("*.log", "d/x.log", false),
            ("*/*.log", "d/x.log", true),
            ("**/*.log", "x.log", true),
            ("**/*.log", "a/b/x.log", true),
            ("a/**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a", "a/deep/below", true),
            ("target", "targets", false),
            ("[", "[", false),
        ] {
            assert_eq!(!left_out(pattern, &[path]).is_empty(), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let text = "# a comment\n*\n\n!src\nsrc/secret\n!src/secret/but-this\n";
        let paths = ["README", "src/main", "src/secret", "src/secret/x", "src/secret/but-this"];
        assert_eq!(left_out(text, &paths), ["README", "src/secret", "src/secret/x"]);
    }

    #[test]
    fn an_exception_of_nothing_is_refused_with_its_line() {
        let error = Ignore::parse("a\n!\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

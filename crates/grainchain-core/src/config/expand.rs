//! `${NAME}` and `${NAME:-default}` in configuration values.

use super::Lookup;

/// Replaces every `${NAME}` and `${NAME:-default}`; `$${` stands for `${` itself.
///
/// # Errors
///
/// The reason in words; the caller knows key, file and line.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            expanded.push_str(&rest[..start - 1]);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            return Err("`${` has no closing `}`; write `$${` for the characters themselves".to_owned());
        };
        let inner = &rest[start + 2..start + length];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(format!("`{name}` is not the name of an environment variable"));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!(
                "the default of `{name}` holds another variable; a default is taken as it stands"
            ));
        }
        match lookup(name).or_else(|| default.map(str::to_owned)) {
            Some(value) => expanded.push_str(&value),
            None => {
                return Err(format!(
                    "the environment variable {name} is unset or empty; set it or write a default as in ${{{name}:-value}}"
                ));
            }
        }
        rest = &rest[start + length + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "KEY").then(|| "k${KEY}".to_owned())
    }

    #[test]
    fn variables_defaults_and_literals_are_expanded_once() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a${KEY}b", "ak${KEY}b"),
            ("${NONE:-d e}", "d e"),
            ("${NONE:-}", ""),
            ("$${KEY} $5", "${KEY} $5"),
        ] {
            assert_eq!(expand(text, &lookup).unwrap(), expected);
        }
    }

    #[test]
    fn a_variable_in_a_default_is_refused_whether_the_default_is_needed_or_not() {
        for text in ["${NONE:-${KEY}}", "${KEY:-${NONE}}"] {
            assert!(expand(text, &lookup).unwrap_err().contains("another variable"), "{text}");
        }
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named() {
        assert!(expand("${NONE}", &lookup).unwrap_err().contains("NONE"));
        assert!(expand("${KEY", &lookup).unwrap_err().contains("closing"));
        assert!(expand("${not ok}", &lookup).unwrap_err().contains("not ok"));
        assert!(expand("${}", &lookup).is_err());
    }
}

//! What code shows: words at the terminal, files where they are wanted.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use grainchain::{Error, MimeBundle, Result};

use crate::output::{visible, visible_lines};

/// The forms that are worth a file, the best first, with the file's ending and whether they are base64.
const FORMS: [(&str, &str, bool); 8] = [
    ("image/png", "png", true),
    ("image/jpeg", "jpg", true),
    ("image/gif", "gif", true),
    ("application/pdf", "pdf", true),
    ("image/svg+xml", "svg", false),
    ("text/html", "html", false),
    ("text/markdown", "md", false),
    ("application/json", "json", false),
];

/// Where displays are kept, if anywhere.
#[derive(Debug)]
pub(super) struct Displays {
    folder: Option<PathBuf>,
    count: AtomicU32,
}

impl Displays {
    /// Keeps displays in `folder`, which is made when missing.
    pub(super) fn new(folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(format_args!("make the folder {}", folder.display()), error))?;
        }
        Ok(Self { folder, count: AtomicU32::new(0) })
    }

    /// Keeps every form of `bundle` that is worth a file.
    pub(super) fn save(&self, bundle: &MimeBundle) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let forms: Vec<_> =
            FORMS.iter().filter_map(|form| bundle.get(form.0).map(|text| (form, text))).collect();
        if forms.is_empty() {
            return Ok(());
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        for ((mime, ending, encoded), text) in forms {
            let bytes = if *encoded {
                Cow::Owned(decode_base64(text).ok_or_else(|| {
                    Error::bad_request(format!("the {mime} that the code displays is not base64"))
                })?)
            } else {
                Cow::Borrowed(text.as_bytes())
            };
            let path = folder.join(format!("display-{number}.{ending}"));
            std::fs::write(&path, bytes)
                .map_err(|error| Error::io(format_args!("write {}", path.display()), error))?;
        }
        Ok(())
    }
}

/// A display in words: its plain text, else the forms that it has.
pub(super) fn words(bundle: &MimeBundle) -> Cow<'_, str> {
    if let Some(text) = bundle.text() {
        return visible_lines(text);
    }
    let forms: Vec<_> = bundle.0.keys().map(|mime| visible(mime)).collect();
    Cow::Owned(format!("[{}; keep it with --save-displays DIR]", forms.join(", ")))
}

/// Standard base64, with or without padding; line ends are passed over.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut have) = (0_u32, 0);
    let text = text.trim_end_matches(['=', '\n', '\r']);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have & 0xff) as u8);
        }
    }
    (have < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back_as_it_was() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v\nYmE=\n", b"fooba"),
            ("/+8", b"\xff\xef"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(decode_base64("Z"), None);
        assert_eq!(decode_base64("Zm9*"), None);
    }

    #[test]
    fn a_display_without_text_says_what_it_is_and_how_to_keep_it() {
        let bundle = MimeBundle([("image/png".to_owned(), "Zg==".to_owned())].into());
        assert!(words(&bundle).contains("image/png") && words(&bundle).contains("--save-displays"));
    }

    #[test]
    fn what_is_displayed_cannot_steer_the_terminal() {
        let bundle = MimeBundle([("text/plain".to_owned(), "a\n\x1b[2Jb".to_owned())].into());
        assert_eq!(words(&bundle), "a\n\\x1b[2Jb");
    }
}

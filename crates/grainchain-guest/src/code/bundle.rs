//! From what drivers send to what users see.

use grainchain_core::{CodeError, MimeBundle};

use super::wire::{self, Bundle};

/// Data that is not text becomes base64 without line ends, as notebooks have it: images other than SVG, PDF, and all
/// types that [`wire::is_text`] does not know.
pub(super) fn shown(bundle: Bundle) -> MimeBundle {
    let text = |(mime, data): (String, bytes::Bytes)| {
        let data = match String::from_utf8(data.into()) {
            Ok(text) if wire::is_text(&mime) => text,
            Ok(text) => base64(text.as_bytes()),
            Err(error) => base64(error.as_bytes()),
        };
        (mime, data)
    };
    MimeBundle(bundle.0.into_iter().map(text).collect())
}

pub(super) fn raised(name: String, value: String, traceback: &str) -> CodeError {
    CodeError::new(name, value, traceback.lines().map(str::to_owned).collect())
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= group.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn base64_is_as_the_standard_shows_it() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn only_what_is_not_text_is_encoded_whatever_it_looks_like() {
        let entry = |mime: &str| (mime.to_owned(), Bytes::from_static(b"abc"));
        let mimes = ["text/html", "image/svg+xml", "application/json", "application/javascript", "image/png"];
        let bundle = shown(Bundle(mimes.map(entry).to_vec()));
        for mime in &mimes[..4] {
            assert_eq!(bundle.get(mime), Some("abc"), "{mime}");
        }
        assert_eq!(bundle.get("image/png"), Some("YWJj"));
    }

    #[test]
    fn a_traceback_has_a_line_for_each_line() {
        assert_eq!(raised("E".into(), "v".into(), "a\nb\n").traceback, ["a", "b"]);
    }
}

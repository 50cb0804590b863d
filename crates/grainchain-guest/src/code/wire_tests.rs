use super::*;

const NONCE: &str = "0123456789abcdef";

fn nonce() -> Nonce {
    Nonce::from_u64(0x0123_4567_89ab_cdef)
}

fn decode(bytes: &[u8]) -> Result<Vec<Frame>, Fault> {
    let mut decoder = Decoder::new(1024);
    decoder.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn frame(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{kind} {NONCE} {}\n", payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

fn refused(bytes: &[u8]) -> Fault {
    decode(bytes).expect_err("these bytes must be refused")
}

#[test]
fn a_request_is_one_line_and_the_code() {
    let bytes = request(Language::Python, nonce(), "é").expect("plain code");
    assert_eq!(bytes, format!("run {NONCE} 2\né").into_bytes());
}

#[test]
fn a_nul_byte_is_refused_for_bash_and_passes_for_the_others() {
    assert_eq!(request(Language::Bash, nonce(), "a\0b"), Err(Fault::NulInCode));
    assert!(request(Language::Python, nonce(), "a\0b").is_ok());
    assert!(request(Language::JavaScript, nonce(), "a\0b").is_ok());
}

#[test]
fn random_nonces_differ() {
    assert_ne!(Nonce::random().expect("random bytes"), Nonce::random().expect("random bytes"));
}

#[test]
fn a_bundle_keeps_bytes_as_bytes() {
    let frames = decode(&frame("result", b"text/plain 1\n2image/png 3\n\x89\n\xff")).expect("a whole frame");
    let Event::Result(bundle) = &frames[0].event else { panic!("{frames:?}") };
    assert_eq!(bundle.get("text/plain").map(Bytes::as_ref), Some(&b"2"[..]));
    assert_eq!(bundle.get("image/png").map(Bytes::as_ref), Some(&b"\x89\n\xff"[..]));
    assert_eq!(bundle.get("text/html"), None);
    assert_eq!(frames[0].nonce, nonce());
}

#[test]
fn frames_arrive_whole_however_the_bytes_are_cut() {
    let mut bytes = frame("error", b"name 1\nEvalue 0\ntraceback 2\na\n");
    bytes.extend(frame("done", b"execution_count 2\n12"));
    let whole = decode(&bytes).expect("two frames");
    assert_eq!(whole.len(), 2);
    assert_eq!(whole[1].event, Event::Done { execution_count: 12 });

    let mut decoder = Decoder::new(1024);
    let mut frames = Vec::new();
    for byte in bytes {
        decoder.push(&[byte]);
        while let Some(frame) = decoder.next().expect("a valid stream") {
            frames.push(frame);
        }
    }
    assert_eq!(frames, whole);
}

#[test]
fn a_length_above_the_cap_is_refused_before_its_bytes_arrive() {
    let head = format!("result {NONCE} 1025\n");
    assert_eq!(refused(head.as_bytes()), Fault::TooLong { length: 1025, cap: 1024 });
}

#[test]
fn a_first_line_without_end_is_refused_and_not_kept() {
    assert_eq!(refused(&[b'r'; LINE_CAP]), Fault::Malformed("a line is too long"));
}

#[test]
fn a_length_with_a_sign_a_leading_zero_or_too_many_digits_is_refused() {
    for length in ["-1", "+1", "01", "", "1x", "99999999999999999999999"] {
        let head = format!("done {NONCE} {length}\n");
        assert_eq!(refused(head.as_bytes()), Fault::Malformed("a frame without a length"), "{length:?}");
    }
}

#[test]
fn a_nonce_of_the_wrong_form_is_refused() {
    for bad in ["0123456789abcde", "0123456789ABCDEF", "0123456789abcdeff", ""] {
        let head = format!("done {bad} 0\n");
        assert_eq!(refused(head.as_bytes()), Fault::Malformed("a frame without a nonce"), "{bad:?}");
    }
}

#[test]
fn an_unknown_kind_is_refused() {
    assert_eq!(refused(&frame("input", b"")), Fault::Malformed("a frame of an unknown kind"));
}

#[test]
fn words_after_a_length_are_refused() {
    let head = format!("done {NONCE} 0 x\n");
    assert_eq!(refused(head.as_bytes()), Fault::Malformed("a frame's first line goes on after the length"));
    let fault = refused(&frame("result", b"text/plain 1 x\n2"));
    assert_eq!(fault, Fault::Malformed("a field's line goes on after the length"));
}

#[test]
fn a_field_that_reaches_past_its_frame_is_refused() {
    let mut bytes = frame("result", b"text/plain 9\n2");
    bytes.extend(frame("done", b"execution_count 1\n1"));
    assert_eq!(refused(&bytes), Fault::Malformed("a field is longer than its frame"));
}

#[test]
fn a_field_twice_or_too_many_fields_are_refused() {
    assert_eq!(refused(&frame("result", b"a 0\na 0\n")), Fault::Malformed("a frame has a field twice"));
    let many: String = (0..=FIELD_CAP).map(|n| format!("m{n} 0\n")).collect();
    assert_eq!(refused(&frame("result", many.as_bytes())), Fault::Malformed("a frame has too many fields"));
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    for payload in [&b"name 1\nEvalue 0\n"[..], b"name 1\nEvalue 0\ntraceback 0\nmore 0\n", b""] {
        let fault = refused(&frame("error", payload));
        assert_eq!(fault, Fault::Malformed("a frame has other fields than its kind"));
    }
}

#[test]
fn an_empty_bundle_and_text_that_is_not_utf8_are_refused() {
    assert_eq!(refused(&frame("display", b"")), Fault::Malformed("an empty bundle"));
    for mime in ["text/html", "application/json", "image/svg+xml"] {
        let payload = [format!("{mime} 1\n").as_bytes(), b"\xff"].concat();
        assert_eq!(refused(&frame("display", &payload)), Fault::Malformed("text that is not UTF-8"));
    }
}

#[test]
fn a_greeting_of_another_version_names_it() {
    let fault = refused(&frame("ready", b"protocol 1\n2version 1\n3"));
    assert_eq!(fault.to_string(), r#"the interpreter's driver speaks version "2" of the wire and not 1"#);
}

#[test]
fn no_bytes_make_the_decoder_panic_or_grow() {
    // A small generator of noise that resembles frames, the same in every run.
    let words: [&[u8]; 12] = [
        b"result ",
        b"done ",
        b"error ",
        b"0123456789abcdef ",
        b"7\n",
        b"0\n",
        b"\n",
        b" ",
        b"text/plain ",
        b"\xff",
        b"name ",
        b"12",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(words[(state >> 33) as usize % words.len()]);
        }
        let mut decoder = Decoder::new(64);
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next() {}
        assert!(decoder.buffer.len() <= bytes.len());
    }
}

use super::*;

#[tokio::test]
async fn variables_live_from_call_to_call_in_every_language() {
    let setup = sandbox();
    for (language, first, second) in [
        (Language::Python, "x = 41", "x + 1"),
        (Language::JavaScript, "let x = 41", "x + 1"),
        (Language::Bash, "x=41", "echo $((x + 1))"),
    ] {
        if !has(language) {
            continue;
        }
        let cell = setup.run(language, first).await;
        assert_eq!((cell.count, cell.value.is_none(), cell.raised.is_none()), (1, true, true), "{cell:?}");
        let cell = setup.run(language, second).await;
        assert_eq!(cell.count, 2);
        match language {
            Language::Bash => assert_eq!(cell.out, "42\n"),
            _ => assert_eq!(cell.text(), "42"),
        }
    }
}

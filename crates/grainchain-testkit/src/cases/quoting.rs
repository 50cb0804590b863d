//! Arguments, variables and paths arrive exactly as they are.

use grainchain_core::{ErrorKind, FileKind, ReadFile, Remove, Rename};

use super::support::secs;
use crate::case::cases;
use crate::check::fails;

/// Everything that some shell somewhere takes for something else.
const META: &str = "a b\tc'd\"e`f$g$(h)${i}\\j|k&l;m<n>o(p)q{r}s[t]u*v?w~x!y#z%A=B^C,D:E@F+G-H/I\\n\\0";

/// Values that have broken other quoting functions.
const CRUEL: &[&str] = &[
    "", " ", "'", "''", "\"", "\\", "\\\\", "\\'", "'\\''", "$", "$$", "$(echo no)", "`echo no`", "$HOME", "${HOME}", "!", "!!",
    "*", "?", "[a-z]*", "~", "~/x", "#", "# no", "-n", "--", "--help", "-e\\n", "%s%d%n", "a;b", "a&&b", "a||b", "a|b", "a&", ">x", "<x",
    "2>&1", "(a)", "{a,b}", "a\nb", "\n", "a\n", "\r\n", "\t", "\u{1b}[31m", "\u{7f}", "\u{1}", "é", "e\u{301}", "日本語", "😀", "\u{202e}abc",
    "\u{feff}", "$'a'", "$\"a\"", "=", "a=b", "\\x41", "\\101", "EOF", "\nEOF\n", "'; exit 9; '", "\"; exit 9; \"", "$(exit 9)",
];

/// The cruel values that can be file names.
fn cruel_names() -> Vec<String> {
    let mut names: Vec<_> = CRUEL.iter().chain([&META]).filter(|name| !name.is_empty()).map(|name| name.replace('/', "_")).collect();
    names.sort();
    names.dedup();
    names
}

cases! { quoting:
    fn every_ascii_character_arrives_in_an_argument(cx) {
        let all: String = (1_u8..128).map(char::from).collect();
        same!(cx.sandbox().await?.execute(["printf", "%s", &all]).await?.stdout(), all);
    }

    fn every_shell_metacharacter_arrives_in_an_argument(cx) {
        same!(cx.sandbox().await?.execute(["printf", "%s", META]).await?.stdout(), META);
    }

    fn cruel_arguments_arrive_as_they_are(cx) {
        let sandbox = cx.sandbox().await?;
        let command = ["printf", "[%s]"].into_iter().chain(CRUEL.iter().copied()).collect::<Vec<_>>();
        let expected: String = CRUEL.iter().map(|value| format!("[{value}]")).collect();
        let output = sandbox.execute(command).await?;
        same!(output.stdout(), expected);
        same!(output.exit_code(), Some(0));
    }

    fn arguments_are_neither_split_nor_dropped(cx) {
        let script = "for a; do printf '<%s>' \"$a\"; done; echo $#";
        let output = cx.sandbox().await?.execute(["sh", "-c", script, "name", "", "a b", "", "c"]).await?;
        same!(output.stdout(), "<><a b><><c>4\n");
    }

    fn two_thousand_arguments_arrive_in_order(cx) {
        let mut command = vec!["printf".to_owned(), "%s,".to_owned()];
        command.extend((0..2000).map(|number| number.to_string()));
        let expected: String = (0..2000).map(|number| format!("{number},")).collect();
        check!(cx.sandbox().await?.execute(command).await?.stdout() == expected, "arguments are lost or moved");
    }

    fn a_pattern_in_a_list_is_not_expanded(cx) {
        let sandbox = cx.sandbox().await?;
        sandbox.execute("echo x > file1; echo x > file2").await?;
        same!(sandbox.execute(["echo", "file*", "~", "{1,2}"]).await?.stdout(), "file* ~ {1,2}\n");
    }

    fn a_line_is_expanded_exactly_once(cx) {
        let output = cx.sandbox().await?.execute(r#"v='$(echo no)'; printf '%s|%s' "$v" '\\'"#).await?;
        same!(output.stdout(), r"$(echo no)|\\");
    }

    fn a_line_of_several_lines_is_one_script(cx) {
        let script = "set -e\nfor i in 1 2; do\n  echo \"n: $i\" # comment\ndone\ncat <<'END'\n$not '\"expanded\nEND\n";
        same!(cx.sandbox().await?.execute(script).await?.stdout(), "n: 1\nn: 2\n$not '\"expanded\n");
    }

    fn every_shell_metacharacter_arrives_in_a_variable(cx) {
        let output = cx.sandbox().await?.execute("printf %s \"$VALUE\"").env("VALUE", META).await?;
        same!(output.stdout(), META);
    }

    fn cruel_variables_arrive_as_they_are(cx) {
        let sandbox = cx.sandbox().await?;
        let variables = CRUEL.iter().enumerate().map(|(number, value)| (format!("V{number}"), *value));
        let line: String = (0..CRUEL.len()).map(|number| format!("printf '[%s]' \"$V{number}\"; ")).collect();
        let expected: String = CRUEL.iter().map(|value| format!("[{value}]")).collect();
        same!(sandbox.execute(line).envs(variables).await?.stdout(), expected);
    }

    fn cruel_variables_of_the_sandbox_arrive_as_they_are(cx) honours [EnvironmentVars] {
        let values = || CRUEL.iter().chain([&META]).enumerate();
        let config = values().fold(cx.config(), |config, (number, value)| config.env(format!("V{number}"), *value));
        let sandbox = cx.create(config).await?;
        let line: String = values().map(|(number, _)| format!("printf '[%s]' \"$V{number}\"; ")).collect();
        let expected: String = values().map(|(_, value)| format!("[{value}]")).collect();
        same!(sandbox.execute(line).await?.stdout(), expected);
    }

    fn a_variable_is_not_evaluated(cx) {
        let sandbox = cx.sandbox().await?;
        let output = sandbox.execute("ls").env("BOOM", "$(echo x > evaluated)`echo x > evaluated`").await?;
        same!(output.stdout(), "");
    }

    fn a_variables_name_that_the_shell_dislikes_arrives(cx) {
        let output = cx.sandbox().await?.execute(["env"]).env("with-dash", "1").env("with.dot", "2").await?;
        let text = output.stdout();
        check!(text.contains("with-dash=1\n") && text.contains("with.dot=2\n"), "lost: {text}");
    }

    fn a_variables_name_with_an_equals_sign_is_refused(cx) {
        let error = fails(cx.sandbox().await?.execute("true").env("A=B", "c").await, &[ErrorKind::BadRequest])?;
        same!(error.failed_option(), Some("environment"));
    }

    fn a_nul_byte_in_an_argument_is_refused(cx) {
        let error = fails(cx.sandbox().await?.execute(["echo", "a\0b"]).await, &[ErrorKind::BadRequest])?;
        check!(error.remedy().is_some(), "says no remedy: {error}");
    }

    fn a_nul_byte_in_a_line_is_refused(cx) {
        fails(cx.sandbox().await?.execute("echo a\0; echo b").await, &[ErrorKind::BadRequest])?;
    }

    fn a_nul_byte_in_a_variable_is_refused_without_printing_it(cx) {
        let result = cx.sandbox().await?.execute("true").env("TOKEN", "hunter2\0").await;
        let error = fails(result, &[ErrorKind::BadRequest])?;
        check!(error.to_string().contains("TOKEN") && !error.to_string().contains("hunter2"), "{error}");
    }

    fn an_empty_command_is_refused(cx) {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.execute("").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.execute(Vec::<String>::new()).await, &[ErrorKind::BadRequest])?;
        fails(sandbox.execute(["", "x"]).await, &[ErrorKind::BadRequest])?;
    }

    fn every_shell_metacharacter_arrives_in_a_path(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let path = META.replace('/', "_");
        sandbox.upload_file(&path, "found").await?;
        same!(sandbox.download_file(&path).await?, "found");
        same!(sandbox.execute(["cat", "--", &path]).await?.stdout(), "found");
        let names: Vec<_> = sandbox.list_files(".").await?.into_iter().map(|file| file.name).collect();
        same!(names, [path]);
    }

    fn cruel_names_arrive_in_paths(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let names: Vec<_> = cruel_names().into_iter().map(|name| format!("d/{name}")).collect();
        for name in &names {
            sandbox.upload_file(name, name.as_str()).await?;
        }
        for name in &names {
            same!(sandbox.download_file(ReadFile::new(name)).await?, name.as_str(), "the content of {name:?}");
        }
        let mut listed: Vec<_> = sandbox.list_files("d").await?.into_iter().map(|file| format!("d/{}", file.name)).collect();
        listed.sort();
        same!(listed, names);
    }

    fn every_operation_takes_cruel_names(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        for name in cruel_names() {
            sandbox.make_dir(name.as_str()).await?;
            same!(sandbox.stat(&name).await?.kind, FileKind::Directory, "the kind of {name:?}");
            sandbox.upload_file(format!("{name}/from"), name.as_str()).await?;
            sandbox.rename(Rename::new(format!("{name}/from"), format!("{name}/{name}"))).await?;
            let listed: Vec<_> = sandbox.list_files(name.as_str()).await?.into_iter().map(|file| file.name).collect();
            same!(listed, [name.as_str()], "what lies in {name:?}");
            same!(sandbox.download_file(format!("{name}/{name}")).await?, name.as_str(), "the content below {name:?}");
            sandbox.remove(format!("{name}/{name}")).await?;
            sandbox.remove(Remove::new(&name).recursive()).await?;
            same!(sandbox.list_files(".").await?.len(), 0, "the entries after {name:?} was removed");
        }
    }

    fn trees_with_cruel_names_go_up_and_come_down(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let (there, back) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let names = cruel_names();
        for name in &names {
            std::fs::create_dir(there.path().join(name))?;
            // The same name in each of them: a copy that forgets where a file lay mixes them up.
            for file in [name.as_str(), "same"] { std::fs::write(there.path().join(name).join(file), name)?; }
        }
        sandbox.upload_dir(there.path(), META.replace('/', "_")).await?;
        sandbox.download_dir(META.replace('/', "_"), back.path()).await?;
        for name in &names {
            for file in [name.as_str(), "same"] {
                same!(std::fs::read_to_string(back.path().join(name).join(file))?, *name, "the content of {file:?} in {name:?}");
            }
        }
        same!(std::fs::read_dir(back.path())?.count(), names.len());
    }

    fn a_working_directory_may_be_called_anything(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        for name in cruel_names() {
            let directory = format!("{name}/inner");
            sandbox.make_dir(directory.as_str()).await?;
            let output = sandbox.execute("echo $PPID >/dev/null; printf here > mark; pwd").working_directory(&directory).timeout(secs(20)).await?;
            check!(output.stdout().trim_end().ends_with("/inner"), "{name:?} led to {}", output.stdout());
            same!(sandbox.download_file(format!("{directory}/mark")).await?, "here", "the mark in {name:?}");
        }
    }
}

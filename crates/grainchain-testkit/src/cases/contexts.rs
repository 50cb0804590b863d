//! Interpreters apart from each other.

use grainchain_core::{Capability, CreateContext, ErrorKind, Language, RunCode};

use super::support::{secs, sh};
use crate::case::cases;
use crate::check::fails;

cases! { contexts:
    fn contexts_do_not_share_variables(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        let second = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        check!(first.id != second.id, "both are called {}", first.id);
        sandbox.run_code("x = 'first'").context(&first.id).await?;
        sandbox.run_code("x = 'second'").context(&second.id).await?;
        same!(sandbox.run_code("x").context(&first.id).await?.text(), Some("'first'"));
        same!(sandbox.run_code("'x' in globals()").await?.text(), Some("False"));
    }

    fn a_context_has_its_own_directory_and_variables(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p below").await?;
        let context = sandbox.create_context(CreateContext::new(Language::Python).working_directory("below").env("MODE", "own")).await?;
        let result = sandbox.run_code("import os\n(os.path.basename(os.getcwd()), os.environ['MODE'])").context(&context.id).await?;
        same!(result.text(), Some("('below', 'own')"));
    }

    fn a_list_shows_the_contexts(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.list_contexts().await?.len(), 0);
        let context = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        sandbox.run_code("1").context(&context.id).await?;
        let list = sandbox.list_contexts().await?;
        same!(list.len(), 1);
        same!((&list[0].id, list[0].language, list[0].count), (&context.id, Language::Python, 1));
    }

    fn a_restart_forgets_under_the_same_name(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let context = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        sandbox.run_code("x = 1").context(&context.id).await?;
        same!(sandbox.restart_context(&context.id).await?.id, context.id);
        same!(sandbox.run_code("'x' in globals()").context(&context.id).await?.text(), Some("False"));
    }

    fn a_deleted_context_is_not_found(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let context = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        sandbox.delete_context(&context.id).await?;
        fails(sandbox.run_code("1").context(&context.id).await, &[ErrorKind::NotFound])?;
        fails(sandbox.delete_context(&context.id).await, &[ErrorKind::NotFound])?;
        fails(sandbox.restart_context(&context.id).await, &[ErrorKind::NotFound])?;
        same!(sandbox.list_contexts().await?.len(), 0);
    }

    fn a_context_speaks_its_own_language_alone(cx) needs [Code] with [Python, Bash] {
        let sandbox = cx.sandbox().await?;
        let context = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        let result = sandbox.run_code(RunCode::new("echo").language(Language::Bash).context(&context.id)).await;
        fails(result, &[ErrorKind::BadRequest, ErrorKind::Conflict])?;
    }

    fn languages_have_contexts_of_their_own(cx) needs [Code] with [Python, Bash] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("x = 1").await?;
        sandbox.run_code("x=2").language(Language::Bash).await?;
        same!(sandbox.run_code("x").await?.text(), Some("1"));
        same!(sandbox.run_code("echo $x").language(Language::Bash).await?.stdout.text(), "2\n");
    }

    fn contexts_run_at_the_same_time(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        let second = sandbox.create_context(CreateContext::new(Language::Python)).await?;
        // Each waits for the other: one after the other would never end.
        let code = |own: &str, other: &str| format!("import os, time\nopen('{own}', 'w').close()\nwhile not os.path.exists('{other}'):\n    time.sleep(0.01)\n'met'");
        let (a, b) = futures_util::future::join(
            async { sandbox.run_code(code("a", "b")).context(&first.id).timeout(secs(30)).await },
            async { sandbox.run_code(code("b", "a")).context(&second.id).timeout(secs(30)).await },
        ).await;
        same!((a?.text().map(str::to_owned), b?.text().map(str::to_owned)), (Some("'met'".to_owned()), Some("'met'".to_owned())));
    }

    fn runs_in_one_context_come_one_after_the_other(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("n = 0").await?;
        let run = || { let sandbox = sandbox.clone(); async move { sandbox.run_code("m = n\nimport time\ntime.sleep(0.05)\nn = m + 1").await } };
        futures_util::future::try_join_all((0..8).map(|_| run())).await?;
        same!(sandbox.run_code("n").await?.text(), Some("8"));
    }

    fn code_and_commands_share_the_files(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 20 > n").await?;
        same!(sandbox.run_code("int(open('n').read()) + 2").await?.text(), Some("22"));
    }

    fn a_missing_language_is_refused_by_name(cx) needs [Code] {
        let sandbox = cx.sandbox().await?;
        let known = sandbox.capabilities().details.languages;
        for language in Language::ALL.into_iter().filter(|language| !known.contains(language)) {
            let error = fails(sandbox.run_code("1").language(language).await, &[ErrorKind::Unsupported])?;
            same!(error.failed_option(), Some("language"));
        }
        check!(sandbox.capabilities().supports(Capability::Code), "code is declared and not there");
    }
}

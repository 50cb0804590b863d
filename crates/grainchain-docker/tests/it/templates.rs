//! Images built from Dockerfiles.

use std::fs;
use std::sync::{Arc, Mutex};

use grainchain_core::facet::Templates;
use grainchain_core::{BuildTemplate, ErrorKind, Provider, SandboxConfig};
use grainchain_docker::{Docker, DockerConfig, GuestKind, Progress};

use crate::world::{Outcome, TINY, Test, World, refused, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "templates::a_template_is_built_once_listed_used_and_deleted",
            a_template_is_built_once_listed_used_and_deleted,
        ),
        test(
            "templates::the_context_comes_without_what_is_ignored",
            the_context_comes_without_what_is_ignored,
        ),
        test(
            "templates::a_step_that_fails_is_named_with_its_words",
            a_step_that_fails_is_named_with_its_words,
        ),
        test(
            "templates::a_dockerfile_that_cannot_be_read_is_refused",
            a_dockerfile_that_cannot_be_read_is_refused,
        ),
        test(
            "templates::a_sandbox_is_made_from_a_dockerfile_stage_and_arguments",
            a_sandbox_is_made_from_a_dockerfile_stage_and_arguments,
        ),
        test("templates::an_unknown_template_is_refused", an_unknown_template_is_refused),
    ]
}

type Told = Arc<Mutex<Vec<Progress>>>;

fn provider() -> grainchain_core::Result<(Arc<dyn Templates>, Told)> {
    let told = Told::default();
    let sink = Arc::clone(&told);
    let config = DockerConfig::default().image(TINY).guest(GuestKind::Engine);
    let docker = Docker::with_progress(config, move |progress| {
        sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(progress);
    })?;
    Ok((docker.templates().expect("docker has templates"), told))
}

fn texts(told: &Told) -> String {
    let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    told.drain(..).map(|progress| progress.text).collect::<Vec<_>>().join("\n")
}

async fn a_template_is_built_once_listed_used_and_deleted(world: World) -> Outcome {
    let (templates, told) = provider()?;
    let name = format!("template-{}", world.owner);
    let request = || {
        BuildTemplate::new(&name, format!("FROM {TINY}\nRUN echo {} > /made && echo spoken\n", world.owner))
    };
    let built = templates.build(request()).await?;
    let said = texts(&told);
    assert!(said.contains("RUN echo") && said.contains("spoken"), "{said}");
    assert_eq!(templates.build(request()).await?.id, built.id);
    assert_eq!(texts(&told), "", "it was built again");
    let listed = templates.list().await?;
    assert!(
        listed.iter().any(|info| info.id == built.id && info.name.as_deref() == Some(&name)),
        "{listed:?}"
    );
    for wanted in [name.as_str(), built.id.as_str()] {
        let sandbox = world.create(SandboxConfig::template(wanted)).await?;
        assert_eq!(sh(&sandbox, "cat /made").await?, format!("{}\n", world.owner));
        assert_eq!(sandbox.info().await?.template.as_deref(), Some(wanted));
        sandbox.close().await?;
    }
    templates.delete(&built.id).await?;
    let error = templates.delete(&built.id).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    Ok(())
}

async fn the_context_comes_without_what_is_ignored(world: World) -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("src"))?;
    fs::write(folder.path().join("src/main"), "main")?;
    fs::write(folder.path().join("src/secret"), "secret")?;
    fs::write(folder.path().join(".dockerignore"), "**/secret\n")?;
    let (templates, _) = provider()?;
    let mut request =
        BuildTemplate::new(format!("context-{}", world.owner), format!("FROM {TINY}\nCOPY src /src\n"));
    request.context = Some(folder.path().to_owned());
    let built = templates.build(request).await?;
    let sandbox = world.create(SandboxConfig::template(built.id.as_str())).await?;
    assert_eq!(sh(&sandbox, "ls /src; cat /src/main").await?, "main\nmain");
    sandbox.close().await?;
    templates.delete(&built.id).await?;
    Ok(())
}

async fn a_step_that_fails_is_named_with_its_words(world: World) -> Outcome {
    let (templates, _) = provider()?;
    let request = BuildTemplate::new(
        "broken",
        format!("FROM {TINY}\nRUN echo {} && echo the last words && exit 3\n", world.owner),
    );
    let error = refused(templates.build(request).await, ErrorKind::BadRequest, "dockerfile")?;
    let text = error.to_string();
    assert!(text.contains("RUN echo") && text.contains("the last words") && text.contains('3'), "{text}");
    let request = BuildTemplate::new("broken", format!("FROM {TINY}\nNONSENSE\n"));
    let error = refused(templates.build(request).await, ErrorKind::BadRequest, "dockerfile")?;
    assert!(error.to_string().to_lowercase().contains("nonsense"), "{error}");
    Ok(())
}

async fn a_dockerfile_that_cannot_be_read_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("dockerfile", "/no/such/Dockerfile");
    refused(world.create(config).await, ErrorKind::NotFound, "dockerfile")?;
    let config = SandboxConfig::default()
        .provider_option("dockerfile", format!("FROM {TINY}\n"))
        .provider_option("context", "/no/such/folder");
    refused(world.create(config).await, ErrorKind::NotFound, "context")?;
    assert!(world.left().await?.is_empty());
    Ok(())
}

async fn a_sandbox_is_made_from_a_dockerfile_stage_and_arguments(world: World) -> Outcome {
    let folder = tempfile::tempdir()?;
    let text = format!(
        "FROM {TINY} AS first\nARG WORD=none\nRUN echo $WORD > /word\nFROM first\nRUN echo second > /word\n"
    );
    fs::write(folder.path().join("Dockerfile"), text)?;
    let path = folder.path().join("Dockerfile").display().to_string();
    let config = SandboxConfig::default()
        .provider_option("dockerfile", path)
        .provider_option("build_args", serde_json::json!({ "WORD": world.owner }))
        .provider_option("target", "first");
    let sandbox = world.create(config).await?;
    assert_eq!(sh(&sandbox, "cat /word").await?, format!("{}\n", world.owner));
    let image = sandbox.info().await?.image.unwrap_or_default();
    sandbox.close().await?;
    let (templates, _) = provider()?;
    templates.delete(&image.as_str().into()).await?;
    Ok(())
}

async fn an_unknown_template_is_refused(world: World) -> Outcome {
    refused(
        world.create(SandboxConfig::template("no-such-template")).await,
        ErrorKind::NotFound,
        "template",
    )?;
    Ok(())
}

//! Prepared machines: images built from Dockerfiles.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use grainchain_core::facet::Templates;
use grainchain_core::{BuildTemplate, Error, Result, TemplateId, TemplateInfo};

use crate::build::{REPOSITORY, Recipe, TEMPLATE};
use crate::engine::{Engine, Image};
use crate::progress::Watcher;

/// The templates of one engine. Their id is the image's name, whose tag is the hash of everything that went into it.
#[derive(Clone, Debug)]
pub(crate) struct DockerTemplates {
    pub(crate) engine: Engine,
    pub(crate) watcher: Watcher,
}

#[async_trait]
impl Templates for DockerTemplates {
    async fn list(&self) -> Result<Vec<TemplateInfo>> {
        let mut images = templates(&self.engine).await?;
        images.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.tags.cmp(&b.tags)));
        Ok(images.iter().filter_map(info).collect())
    }

    async fn build(&self, request: BuildTemplate) -> Result<TemplateInfo> {
        if request.dockerfile.trim().is_empty() {
            return Err(Error::bad_request("the Dockerfile is empty")
                .hint("begin it with FROM and an image")
                .option("dockerfile"));
        }
        if request.name.is_empty() || request.name.contains(char::is_control) {
            return Err(Error::bad_request("the template's name is empty or holds a control character")
                .hint("choose another one")
                .option("name"));
        }
        // The request holds the text itself: a single line is no path here.
        let recipe = Recipe {
            name: Some(request.name.clone()),
            dockerfile: format!("{}\n", request.dockerfile),
            context: request.context,
            arguments: request.arguments,
            ..Recipe::default()
        };
        let image = recipe.ensure(&self.engine, &self.watcher).await?;
        let tag = image.tags.iter().find(|tag| tag.starts_with(REPOSITORY)).unwrap_or(&image.id);
        let mut built = TemplateInfo::new(TemplateId::new(tag.clone()));
        built.name = Some(request.name);
        built.created_at = Some(SystemTime::now());
        built.size_bytes = Some(image.size);
        Ok(built)
    }

    async fn delete(&self, id: &TemplateId) -> Result<()> {
        let found = find(&self.engine, id.as_str()).await?;
        // The one of this id alone: others may share a name.
        let tag = found
            .tags
            .iter()
            .find(|tag| tag.as_str() == id.as_str())
            .or(found.tags.first())
            .unwrap_or(&found.id);
        if self.engine.remove_image(tag).await? { Ok(()) } else { Err(missing(id.as_str())) }
    }
}

async fn templates(engine: &Engine) -> Result<Vec<Image>> {
    let mut images = engine.images(&[TEMPLATE.to_owned()]).await?;
    // Snapshots of sandboxes made from a template carry its label on.
    images.retain(|image| image.tags.iter().any(|tag| tag.starts_with(REPOSITORY)));
    Ok(images)
}

fn info(image: &Image) -> Option<TemplateInfo> {
    let tag = image.tags.iter().find(|tag| tag.starts_with(REPOSITORY))?;
    let mut info = TemplateInfo::new(TemplateId::new(tag.clone()));
    info.name = image.labels.get(TEMPLATE).filter(|name| !name.is_empty()).cloned();
    let created = u64::try_from(image.created).unwrap_or_default();
    info.created_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(created));
    info.size_bytes = Some(image.size);
    Some(info)
}

/// The image of the template that is called `wanted`, by its id, else the newest of that name.
///
/// # Errors
///
/// `NotFound` naming it and the option.
pub(crate) async fn find(engine: &Engine, wanted: &str) -> Result<Image> {
    let images = templates(engine).await?;
    let by_id = images.iter().find(|image| image.tags.iter().any(|tag| tag == wanted));
    let named = images.iter().filter(|image| image.labels.get(TEMPLATE).is_some_and(|name| name == wanted));
    by_id.or(named.max_by_key(|image| image.created)).cloned().ok_or_else(|| missing(wanted))
}

fn missing(wanted: &str) -> Error {
    Error::not_found(format!("there is no template `{}`", wanted.escape_debug()))
        .hint("`templates` lists those that there are; build it first")
        .option("template")
}

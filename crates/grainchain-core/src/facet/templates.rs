//! Prepared machines of a provider.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::id::TemplateId;
use crate::types::template::{BuildTemplate, TemplateInfo};

/// Prepared machines of a provider.
#[async_trait]
pub trait Templates: Debug + Send + Sync + 'static {
    /// The templates.
    async fn list(&self) -> Result<Vec<TemplateInfo>>;

    /// Builds a template.
    async fn build(&self, request: BuildTemplate) -> Result<TemplateInfo>;

    /// Deletes a template.
    async fn delete(&self, id: &TemplateId) -> Result<()>;
}

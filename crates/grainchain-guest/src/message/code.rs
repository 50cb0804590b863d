//! Code and its contexts.

use std::collections::BTreeMap;
use std::time::Duration;

use grainchain_core::{CodeError, CodeEvent, ContextInfo, CreateContext, Language, MimeBundle, RunCode};
use serde::{Deserialize, Serialize};

use super::time::WireTime;

/// Code to run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRunCode {
    code: String,
    language: Option<Language>,
    context: Option<String>,
    timeout: Option<Duration>,
}

impl From<RunCode> for WireRunCode {
    fn from(request: RunCode) -> Self {
        Self {
            code: request.code,
            language: request.language,
            context: request.context.map(|id| id.as_str().to_owned()),
            timeout: request.timeout,
        }
    }
}

impl From<WireRunCode> for RunCode {
    fn from(wire: WireRunCode) -> Self {
        let mut request = Self::new(wire.code);
        request.language = wire.language;
        request.context = wire.context.map(Into::into);
        request.timeout = wire.timeout;
        request
    }
}

/// What code did, output aside.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireCode {
    /// It runs.
    Started,
    Display(MimeBundle),
    Value(MimeBundle),
    Raised {
        name: String,
        value: String,
        traceback: Vec<String>,
    },
    Done {
        count: u64,
    },
}

impl WireCode {
    /// The event as a document; none for output, which travels as it is.
    pub(crate) fn new(event: CodeEvent) -> Option<Self> {
        Some(match event {
            CodeEvent::Display(bundle) => Self::Display(bundle),
            CodeEvent::Value(bundle) => Self::Value(bundle),
            CodeEvent::Raised(error) => {
                Self::Raised { name: error.name, value: error.value, traceback: error.traceback }
            }
            CodeEvent::Done { count } => Self::Done { count },
            _ => return None,
        })
    }

    /// The event again; none for the start.
    pub(crate) fn into_event(self) -> Option<CodeEvent> {
        Some(match self {
            Self::Started => return None,
            Self::Display(bundle) => CodeEvent::Display(bundle),
            Self::Value(bundle) => CodeEvent::Value(bundle),
            Self::Raised { name, value, traceback } => {
                CodeEvent::Raised(CodeError::new(name, value, traceback))
            }
            Self::Done { count } => CodeEvent::Done { count },
        })
    }
}

/// An interpreter to start.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireCreateContext {
    language: Language,
    working_directory: Option<String>,
    environment: BTreeMap<String, String>,
}

impl From<CreateContext> for WireCreateContext {
    fn from(request: CreateContext) -> Self {
        Self {
            language: request.language,
            working_directory: request.working_directory,
            environment: request.environment,
        }
    }
}

impl From<WireCreateContext> for CreateContext {
    fn from(wire: WireCreateContext) -> Self {
        let mut request = Self::new(wire.language);
        request.working_directory = wire.working_directory;
        request.environment = wire.environment;
        request
    }
}

/// An interpreter in a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireContext {
    id: String,
    language: Language,
    working_directory: String,
    count: u64,
    created_at: WireTime,
}

impl From<ContextInfo> for WireContext {
    fn from(info: ContextInfo) -> Self {
        Self {
            id: info.id.as_str().to_owned(),
            language: info.language,
            working_directory: info.working_directory,
            count: info.count,
            created_at: info.created_at.into(),
        }
    }
}

impl From<WireContext> for ContextInfo {
    fn from(wire: WireContext) -> Self {
        let mut info =
            Self::new(wire.id.into(), wire.language, wire.working_directory, wire.created_at.into());
        info.count = wire.count;
        info
    }
}

//! What the classic builder leaves of a build that fails: an image of each step that went well.

use std::collections::HashSet;

use grainchain_core::Result;

use crate::engine::Engine;

/// How many ids are remembered: a program that tells more of them than a Dockerfile has steps is none of the builder's.
const MOST: usize = 1000;

/// Follows a build of the classic builder, to remove what it leaves.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// The images without a name that were there before.
    before: HashSet<String>,
    /// The short ids that were told, in their order. Programs write to the same stream: nobody has to believe them.
    told: Vec<String>,
}

impl Steps {
    /// Looks at what is there before the build begins.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub(super) async fn begin(engine: &Engine) -> Result<Self> {
        Ok(Self { before: engine.nameless().await?.into_iter().collect(), told: Vec::new() })
    }

    /// Reads what the builder says.
    pub(super) fn read(&mut self, said: &str) {
        let told = said.lines().filter_map(|line| line.trim().strip_prefix("---> "));
        self.told.extend(told.filter(|told| is_id(told)).map(str::to_owned));
        let excess = self.told.len().saturating_sub(MOST);
        self.told.drain(..excess);
    }

    /// Removes the images that were told, are new and have no name, the last one first. The fault of the build is the one to tell.
    pub(super) async fn undo(self, engine: &Engine) {
        let now = match engine.nameless().await {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!(%error, "nobody can tell what a build that failed has left");
                return;
            }
        };
        for image in self.left(&now) {
            // One that another build goes on with is in use.
            if let Err(error) = engine.remove_alone(image).await {
                tracing::debug!(%error, "an image of a build that failed could not be removed");
            }
        }
    }

    /// Those of `now` that this build has made, the last one first.
    fn left<'a>(&self, now: &'a [String]) -> Vec<&'a str> {
        let is_new = |id: &&String| !self.before.contains(*id);
        let mut left: Vec<&str> = Vec::new();
        for told in self.told.iter().rev() {
            let hash = |id: &str| id.strip_prefix("sha256:").is_some_and(|hash| hash.starts_with(told));
            let found = now.iter().filter(is_new).find(|id| hash(id)).map(String::as_str);
            left.extend(found.filter(|id| !left.contains(id)));
        }
        left
    }
}

/// Whether `text` is the short form of an id.
fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| format!("sha256:{id}ffff")).collect()
    }

    #[test]
    fn only_what_was_told_and_is_new_is_left_the_last_one_first() {
        let before = ids(&["aaaaaaaaaaaa", "bbbbbbbbbbbb"]).into_iter().collect();
        let mut steps = Steps { before, told: Vec::new() };
        for said in [
            "Step 1/4 : FROM x\n",
            " ---> aaaaaaaaaaaa\n",
            " ---> Using cache\n",
            " ---> bbbbbbbbbbbb\n",
            " ---> Running in 999999999999\n",
            " ---> cccccccccccc\n",
            " ---> dddddddddddd\n ---> dddddddddddd\n",
            " ---> ../eeeeeeeee\n",
        ] {
            steps.read(said);
        }
        let now = ids(&["eeeeeeeeeeee", "dddddddddddd", "cccccccccccc", "bbbbbbbbbbbb", "999999999999"]);
        assert_eq!(steps.left(&now), [&now[1], &now[2]]);
    }
}

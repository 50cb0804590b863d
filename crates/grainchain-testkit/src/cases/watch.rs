//! Changes of files as they happen.

use futures_util::StreamExt;
use grainchain_core::{ErrorKind, Sandbox, WatchEvent, WatchKind, WatchPath, WatchStream};

use super::support::{secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};

/// The events up to and with the first that is `last`.
async fn events_until(stream: &mut WatchStream, last: impl Fn(&WatchEvent) -> bool) -> Outcome<Vec<WatchEvent>> {
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(secs(15), stream.next()).await {
            Ok(Some(event)) => seen.push(event?),
            Ok(None) => return Err(format!("the events ended after {seen:?}").into()),
            Err(_) => return Err(format!("waited in vain for an event after {seen:?}").into()),
        }
        if seen.last().is_some_and(&last) {
            return Ok(seen);
        }
    }
}

/// Makes a file whose creation tells that everything before was told.
async fn told(sandbox: &Sandbox, stream: &mut WatchStream) -> Outcome<Vec<WatchEvent>> {
    sh(sandbox, "echo > fence").await?;
    let mut seen = events_until(stream, |event| event.path == "fence").await?;
    seen.pop();
    Ok(seen)
}

fn has(events: &[WatchEvent], path: &str, kind: &WatchKind) -> bool {
    events.iter().any(|event| event.path == path && event.kind == *kind)
}

cases! { watch:
    fn a_new_file_is_told(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "echo x > new").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "new", &WatchKind::Created), "saw {seen:?}");
    }

    fn a_change_of_content_is_told(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > file").await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "echo y >> file").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "file", &WatchKind::Modified), "saw {seen:?}");
        check!(!has(&seen, "file", &WatchKind::Created), "saw {seen:?}");
    }

    fn a_change_of_permissions_is_told(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > file").await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "chmod 600 file").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "file", &WatchKind::Attributes), "saw {seen:?}");
    }

    fn a_removal_is_told(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > file; mkdir dir").await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "rm file; rmdir dir").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "file", &WatchKind::Removed) && has(&seen, "dir", &WatchKind::Removed), "saw {seen:?}");
    }

    fn a_rename_is_told_as_one(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > old; mkdir d").await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "mv old d/new").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "old", &WatchKind::RenamedTo("d/new".to_owned())), "saw {seen:?}");
    }

    fn a_move_from_outside_is_a_creation(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir w; echo x > outside").await?;
        let mut stream = sandbox.watch("w").await?;
        sh(&sandbox, "mv outside w/inside").await?;
        events_until(&mut stream, |event| event.path == "inside" && event.kind == WatchKind::Created).await?;
    }

    fn a_move_to_outside_is_a_removal(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir w; echo x > w/inside").await?;
        let mut stream = sandbox.watch("w").await?;
        sh(&sandbox, "mv w/inside outside").await?;
        events_until(&mut stream, |event| event.path == "inside" && event.kind == WatchKind::Removed).await?;
    }

    fn directories_below_are_watched(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p a/b").await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "echo x > a/b/deep").await?;
        events_until(&mut stream, |event| event.path == "a/b/deep").await?;
    }

    fn directories_made_later_are_watched(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "mkdir -p a/b; echo x > a/b/early").await?;
        events_until(&mut stream, |event| event.path == "a/b/early").await?;
        sh(&sandbox, "echo x > a/b/late").await?;
        events_until(&mut stream, |event| event.path == "a/b/late").await?;
    }

    fn a_flat_watch_does_not_look_below(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir sub").await?;
        let mut stream = sandbox.watch(WatchPath::new(".").flat()).await?;
        sh(&sandbox, "echo x > sub/below; echo x > here").await?;
        let seen = told(&sandbox, &mut stream).await?;
        check!(has(&seen, "here", &WatchKind::Created), "saw {seen:?}");
        check!(!seen.iter().any(|event| event.path.contains("below")), "saw {seen:?}");
    }

    fn what_was_before_is_not_told(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > before; echo y > before").await?;
        let mut stream = sandbox.watch(".").await?;
        same!(told(&sandbox, &mut stream).await?, Vec::new());
    }

    fn one_file_can_be_watched(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > file; echo x > other").await?;
        let mut stream = sandbox.watch("file").await?;
        sh(&sandbox, "echo y > other; echo y >> file").await?;
        let seen = events_until(&mut stream, |event| event.kind == WatchKind::Modified).await?;
        check!(seen.iter().all(|event| event.path.is_empty()), "saw {seen:?}");
    }

    fn a_missing_path_cannot_be_watched(cx) needs [Watch] {
        let result = cx.sandbox().await?.watch("missing").await;
        fails(result.map(|_| "a stream"), &[ErrorKind::NotFound])?;
    }

    fn what_was_uploaded_is_told(cx) needs [Watch, Files] {
        let sandbox = cx.sandbox().await?;
        let mut stream = sandbox.watch(".").await?;
        sandbox.upload_file("sent", "x").await?;
        events_until(&mut stream, |event| event.path == "sent").await?;
    }

    fn two_watches_see_the_same(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        let (mut first, mut second) = (sandbox.watch(".").await?, sandbox.watch(".").await?);
        sh(&sandbox, "echo x > shared").await?;
        events_until(&mut first, |event| event.path == "shared").await?;
        drop(first);
        events_until(&mut second, |event| event.path == "shared").await?;
    }

    fn a_storm_of_renames_loses_no_file_unsaid(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        let mut stream = sandbox.watch(".").await?;
        let line = "mkdir s; cd s; i=0; while [ $i -lt 300 ]; do echo > a$i; mv a$i b$i; mv b$i c$i; i=$((i+1)); done; cd ..; mv s t";
        sh(&sandbox, line).await?;
        let mut files = std::collections::BTreeSet::new();
        let mut overflow = false;
        // A directory that is new to the watcher is told in no order; only what comes after all of it marks the end.
        let seen = told(&sandbox, &mut stream).await?;
        for event in seen {
            match event.kind {
                WatchKind::Created => drop(files.insert(event.path)),
                WatchKind::Removed => drop(files.remove(&event.path)),
                WatchKind::RenamedTo(new) => {
                    let below = format!("{}/", event.path);
                    let moved: Vec<_> = files.iter().filter(|path| path.starts_with(&below)).cloned().collect();
                    for path in moved {
                        files.remove(&path);
                        files.insert(format!("{new}/{}", &path[below.len()..]));
                    }
                    files.remove(&event.path);
                    files.insert(new);
                }
                WatchKind::Overflow => overflow = true,
                _ => {}
            }
        }
        let missing: Vec<_> = (0..300).filter(|number| !files.contains(&format!("t/c{number}"))).collect();
        check!(
            overflow || missing.is_empty(),
            "the events do not lead to the files {missing:?}, and say nothing of an overflow; they lead to {files:?}"
        );
    }

    fn a_flood_is_told_whole_or_as_an_overflow(cx) needs [Watch] {
        let sandbox = cx.sandbox().await?;
        let mut stream = sandbox.watch(".").await?;
        sh(&sandbox, "mkdir f; i=0; while [ $i -lt 3000 ]; do : > f/$i; i=$((i+1)); done").await?;
        let seen = told(&sandbox, &mut stream).await?;
        let created = seen.iter().filter(|event| event.kind == WatchKind::Created && event.path.starts_with("f/")).count();
        let overflow = seen.iter().any(|event| event.kind == WatchKind::Overflow);
        check!(overflow || created == 3000, "told of {created} of 3000 and of no overflow");
    }
}

//! Copies of a living sandbox.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join;

use super::support::sh;
use crate::case::cases;
use crate::check::Outcome;

cases! { fork:
    fn copies_begin_as_the_original_is_now(cx) needs [Fork] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir d; echo inherited > d/f").await?;
        let copies = sandbox.fork(3).await?;
        copies.iter().for_each(|copy| cx.adopt(copy));
        same!(copies.len(), 3);
        for copy in &copies {
            same!(sh(copy, "cat d/f").await?, "inherited\n");
        }
    }

    fn what_a_fork_needs_for_itself_is_no_snapshot(cx) needs [Fork, Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "i=0; while [ $i -lt 200 ]; do echo $i > f$i; i=$((i+1)); done").await?;
        let over = AtomicBool::new(false);
        let forking = async {
            for _ in 0..3 { sandbox.fork(2).await?.iter().for_each(|copy| cx.adopt(copy)); }
            over.store(true, Ordering::Relaxed);
            Outcome::Ok(())
        };
        let looking = async {
            while !over.load(Ordering::Relaxed) { same!(sandbox.list_snapshots().await?.len(), 0, "the snapshots during a fork"); }
            Outcome::Ok(())
        };
        try_join(forking, looking).await?;
    }

    fn copies_go_their_own_ways(cx) needs [Fork] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo same > f").await?;
        let copies = sandbox.fork(2).await?;
        copies.iter().for_each(|copy| cx.adopt(copy));
        let [first, second] = &copies[..] else { return Err("not two copies".into()) };
        sh(first, "printf X | dd of=f bs=1 conv=notrunc 2>/dev/null; echo x > new").await?;
        sh(&sandbox, "echo original >> f").await?;
        same!(sh(second, "cat f; ls").await?, "same\nf\n");
        same!(sh(first, "cat f").await?, "Xame\n");
        same!(sh(&sandbox, "cat f").await?, "same\noriginal\n");
    }

    fn copies_have_names_of_their_own(cx) needs [Fork] {
        let sandbox = cx.sandbox().await?;
        let copies = sandbox.fork(2).await?;
        copies.iter().for_each(|copy| cx.adopt(copy));
        let ids: std::collections::BTreeSet<_> = copies.iter().chain([&sandbox]).map(|one| one.id().clone()).collect();
        same!(ids.len(), 3);
        let listed = cx.listed().await?;
        check!(ids.iter().all(|id| listed.contains(id)), "listed are {listed:?}, made were {ids:?}");
    }

    fn closing_the_original_leaves_the_copies(cx) needs [Fork] {
        let sandbox = cx.create(cx.config()).await?;
        sh(&sandbox, "echo kept > f").await?;
        let copies = sandbox.fork(1).await?;
        copies.iter().for_each(|copy| cx.adopt(copy));
        sandbox.close().await?;
        same!(sh(&copies[0], "cat f").await?, "kept\n");
    }

    fn a_copy_can_do_what_the_original_can(cx) needs [Fork] {
        let sandbox = cx.sandbox().await?;
        let copies = sandbox.fork(1).await?;
        copies.iter().for_each(|copy| cx.adopt(copy));
        same!(copies[0].capabilities(), sandbox.capabilities());
    }
}

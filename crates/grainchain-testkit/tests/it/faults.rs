//! Every seeded fault is caught by the case that it names, and by that case only because of the fault.

use std::sync::Arc;
use std::time::Duration;

use grainchain_core::{Client, ListFilter};
use grainchain_local::{Local, LocalConfig};
use grainchain_testkit::faulty::{Fault, Faulty};
use grainchain_testkit::{Case, Setup, Tag, Tool, Verdict, case, run_case};

fn client(root: &tempfile::TempDir) -> Client {
    Client::from_arc(Arc::new(
        Local::new(LocalConfig::at(root.path())).expect("a folder is enough for the provider"),
    ))
}

fn setup(name: &str, client: Client, case: &Case) -> Setup {
    let tools = [Tool::Python, Tool::Node, Tool::Bash];
    let setup = Setup::new(name, move || std::future::ready(Ok(client.clone()))).offers(tools);
    // Some faults show as a case that hangs.
    if case.tags.contains(&Tag::Heavy) { setup } else { setup.watchdog(Duration::from_secs(25)) }
}

fn catching(fault: Fault) -> Case {
    case(fault.caught_by()).unwrap_or_else(|| panic!("{fault:?} names no case: {}", fault.caught_by()))
}

async fn expect_caught(fault: Fault) {
    let root = tempfile::tempdir().expect("a folder for sandboxes");
    let good = client(&root);
    let case = catching(fault);
    let verdict = run_case(&setup("good", good.clone(), &case), &case).await;
    assert!(!verdict.failed(), "{} fails without the fault: {verdict:?}", case.name);
    let verdict = run_case(&setup("faulty", good.clone().layer(Faulty(fault)), &case), &case).await;
    assert!(matches!(verdict, Verdict::Failed(_)), "{} does not notice {fault:?}", case.name);
    // What the fault left behind goes through the provider that does not have it.
    for info in good.list(ListFilter::default()).await.expect("the list") {
        good.remove(&info.id).await.expect("the removal");
    }
}

#[test]
fn there_are_at_least_twenty_faults() {
    assert!(Fault::ALL.len() >= 20, "{} faults", Fault::ALL.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_is_caught_by_its_case() {
    let mut waiting = Fault::ALL.iter().copied();
    let mut running = tokio::task::JoinSet::new();
    let mut failures = Vec::new();
    loop {
        while running.len() < 6
            && let Some(fault) = waiting.next()
        {
            running.spawn(async move { (fault, tokio::spawn(expect_caught(fault)).await) });
        }
        let Some(done) = running.join_next().await else { break };
        let (fault, result) = done.expect("the outer task does not panic");
        if result.is_err() {
            failures.push(fault);
        }
    }
    assert!(failures.is_empty(), "not caught, or not for the right reason: {failures:?}");
}

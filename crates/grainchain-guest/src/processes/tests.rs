use futures_util::StreamExt;
use grainchain_core::facet::Processes;
use grainchain_core::{Command, ExitStatus, ProcessEvent};

use crate::{Guest, GuestConfig};

#[tokio::test]
async fn a_process_is_started_heard_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::new(GuestConfig::new(folder.path(), 8)).unwrap();
    let process = guest.spawn(Command::shell("cat; exit 3").piped_stdin()).await.unwrap();
    assert_eq!(guest.list().await.unwrap().len(), 1);
    process.write("hello").await.unwrap();
    process.close_stdin().await.unwrap();
    let events: Vec<_> = process.into_parts().0.map(Result::unwrap).collect().await;
    assert_eq!(
        events,
        [
            ProcessEvent::Started,
            ProcessEvent::Stdout("hello".into()),
            ProcessEvent::Exited(ExitStatus::Code(3))
        ]
    );
    assert!(guest.list().await.unwrap().is_empty());
}

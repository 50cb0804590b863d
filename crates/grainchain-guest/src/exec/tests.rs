use grainchain_core::Command;
use grainchain_core::facet::Exec;

use crate::{Guest, GuestConfig};

#[tokio::test]
async fn a_failed_command_is_an_output() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::new(GuestConfig::new(folder.path(), 7)).unwrap();
    let output = guest.execute(Command::shell("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!((output.exit_code(), &*output.stdout(), &*output.stderr()), (Some(3), "out\n", "err\n"));
}

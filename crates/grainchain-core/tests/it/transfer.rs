//! Limits of transfers.

use grainchain_core::{ByteSize, Client, Effect, ErrorKind, SandboxConfig};

use crate::fake::Fake;

#[tokio::test]
async fn a_content_larger_than_the_sandbox_takes_is_refused_before_it_is_sent() {
    let fake = Fake { max_upload: Some(ByteSize::bytes(4)), ..Fake::default() };
    let sandbox = Client::new(fake).create(SandboxConfig::default()).await.unwrap();
    let error = sandbox.upload_file("f", "hello").await.unwrap_err();
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::BadRequest, Effect::None));
    assert_eq!(
        error.to_string(),
        "write file in sb at fake: 5 bytes are more than the 4B that a file may have here; write it in parts"
    );
}

//! A snapshot that is put back: heads of another history, at indexes that coincide.

use holdfast::config::ConsulStorage;
use holdfast::vault::physical::{Backend, Commit, FeedEvent};

use super::world::{Writer, backend, config, event, next_head, put, read};
use crate::consul_server::Consul;

/// Entries of the raft log between the snapshot and the commits whose indexes shall coincide.
const ROOM: u64 = 60;

/// The index of the head's last change.
async fn index_of(consul: &Consul, config: &ConsulStorage) -> u64 {
    let (status, found) = consul.ask(0, "GET", &format!("kv/{}head?consistent", config.path), None).await;
    assert_eq!(status, 200, "{found}");
    found[0]["ModifyIndex"].as_u64().expect("an index")
}

/// Makes entries of the log until the next one has at least the index `next`.
async fn go_on_until(consul: &Consul, next: u64) {
    loop {
        consul.put("elsewhere", "x").await;
        let (_, found) = consul.ask(0, "GET", "kv/elsewhere?consistent", None).await;
        if found[0]["ModifyIndex"].as_u64().expect("an index") + 1 >= next {
            return;
        }
        // Only a value that differs moves the index.
        consul.put("elsewhere", "y").await;
        let (_, found) = consul.ask(0, "GET", "kv/elsewhere?consistent", None).await;
        if found[0]["ModifyIndex"].as_u64().expect("an index") + 1 >= next {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_coincides_after_a_restore_deceives_nobody() {
    // Nothing but the test writes to these logs.
    let quiet = "disable_coordinates = true\n";
    let (one, other) = (Consul::single_with(quiet).await, Consul::single_with(quiet).await);
    let mut here = config(&one, None);
    let mut writer = Writer::init(backend(&here).await).await;
    writer.write(&[put("a", "common")]).await;
    let start = writer.head.clone();
    let snapshot = one.snapshot(0).await;
    other.restore(0, &snapshot).await;
    // Both go on from the snapshot to the same index, with different commits.
    let index = index_of(&one, &here).await + ROOM;
    go_on_until(&one, index).await;
    writer.write(&[put("a", "here")]).await;
    let ours = index_of(&one, &here).await;
    let there = ConsulStorage { addresses: other.addresses(), ..here.clone() };
    let mut stranger = Writer { backend: backend(&there).await, head: start.clone() };
    go_on_until(&other, ours).await;
    stranger.write(&[put("a", "there")]).await;
    assert_eq!(index_of(&other, &there).await, ours, "the test needs the same index on both");
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    // The other history replaces ours, and the head that the writer knows has the index of another one now.
    one.restore(0, &other.snapshot(0).await).await;
    one.ready(0).await;
    assert_eq!(index_of(&one, &here).await, ours);
    let outcome =
        writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[put("a", "late")]).await;
    assert_eq!(outcome, Commit::Fenced { current: Some(stranger.head.clone()) });
    here.addresses = one.addresses();
    assert_eq!(read(&backend(&here).await, "a").await.as_deref(), Some(b"there".as_slice()));
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: Some(stranger.head.clone()) });
    // An older state that comes back shows as well.
    one.restore(0, &snapshot).await;
    one.ready(0).await;
    assert_eq!(writer.backend.check().await, Ok(Some(start.clone())));
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: Some(start) });
}

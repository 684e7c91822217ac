//! Tokens and certificates that are replaced while the server runs.

use holdfast::config::Credential;
use holdfast::vault::physical::{Backend, Commit, StorageError};

use super::world::{RULES, Writer, backend, config, next_head, put, read, until};
use crate::consul_server::Consul;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_picked_up() {
    let consul = Consul::single_with_acl().await;
    let old = consul.token("node", RULES).await;
    let new = consul.token_of("node").await;
    let file = consul.file("token");
    std::fs::write(&file, format!("{old}\n")).expect("a file");
    let mut config = config(&consul, None);
    config.token = Some(Credential::File(file.clone()));
    let mut writer = Writer::init(backend(&config).await).await;
    std::fs::write(&file, &new).expect("a file");
    consul.revoke(&old).await;
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "1")]).await;
    assert_eq!(outcome, Commit::Committed);
    writer.head = next;
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"1".as_slice()));
    // And when there is no token that is let in, nothing is claimed to be absent.
    consul.revoke(&new).await;
    let checked = writer.backend.check().await;
    assert!(matches!(checked, Err(StorageError::Denied { .. })), "{checked:?}");
    let got = writer.backend.get("a").await;
    assert!(matches!(got, Err(StorageError::Denied { .. })), "{got:?}");
    let listed = writer.backend.list("", None, 10).await;
    assert!(matches!(listed, Err(StorageError::Denied { .. })), "{listed:?}");
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_read_nothing_finds_nothing_absent() {
    let consul = Consul::single_with_acl().await;
    let full = consul.token("node", RULES).await;
    let none = consul.token("nothing", "key_prefix \"elsewhere/\" { policy = \"write\" }").await;
    let file = consul.file("token");
    std::fs::write(&file, &full).expect("a file");
    let mut config = config(&consul, None);
    config.token = Some(Credential::File(file.clone()));
    let mut writer = Writer::init(backend(&config).await).await;
    writer.write(&[put("a", "1")]).await;
    // Consul leaves out of its answers what a token may not read.
    std::fs::write(&file, &none).expect("a file");
    consul.revoke(&full).await;
    for _ in 0..2 {
        let got = writer.backend.get("a").await;
        assert!(matches!(got, Err(StorageError::Denied { .. })), "{got:?}");
        let listed = writer.backend.list("", None, 10).await;
        assert!(matches!(listed, Err(StorageError::Denied { .. })), "{listed:?}");
    }
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_no_verdict_on_a_commit() {
    let consul = Consul::single_with_acl().await;
    let full = consul.token("node", RULES).await;
    let reading = consul.token("reader", &RULES.replace("write", "read")).await;
    let file = consul.file("token");
    std::fs::write(&file, &full).expect("a file");
    let mut config = config(&consul, None);
    config.token = Some(Credential::File(file.clone()));
    let mut writer = Writer::init(backend(&config).await).await;
    writer.write(&[put("a", "1")]).await;
    std::fs::write(&file, &reading).expect("a file");
    consul.revoke(&full).await;
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await;
    let Commit::Unknown { reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("Permission denied"), "{reason}");
    assert_eq!(writer.backend.check().await, Ok(Some(writer.head.clone())));
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"1".as_slice()));
    // The same batch goes through when the right is back.
    let again = consul.token_of("node").await;
    std::fs::write(&file, &again).expect("a file");
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await;
    assert_eq!(outcome, Commit::Committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_certificates_are_picked_up() {
    let mut cluster = Consul::cluster().await;
    let token = cluster.token("node", RULES).await;
    let mut config = config(&cluster, Some(&token));
    let (leader, count) = (cluster.leader().await, cluster.members.len());
    let (first, second) = ((leader + 1) % count, (leader + 2) % count);
    let addresses = cluster.addresses();
    config.addresses = vec![addresses[first].clone()];
    let (own, key) = (cluster.file("own.pem"), cluster.file("own.key"));
    let take = |name: &str| {
        std::fs::copy(cluster.file(&format!("{name}.pem")), &own).expect("a certificate");
        std::fs::copy(cluster.file(&format!("{name}.key")), &key).expect("a key");
    };
    take("client");
    config.tls.cert_file = Some(own.clone());
    config.tls.key_file = Some(key.clone());
    let mut writer = Writer::init(backend(&config).await).await;
    writer.write(&[put("a", "1")]).await;
    // The next connection is made with what lies in the files then.
    take("stranger");
    assert_ne!(first, second);
    let reopened = async |cluster: &mut Consul| {
        cluster.kill(first);
        cluster.start(first);
        cluster.ready(first).await;
    };
    let good = (cluster.file("client.pem"), cluster.file("client.key"));
    reopened(&mut cluster).await;
    let checked = writer.backend.check().await;
    assert!(matches!(checked, Err(StorageError::Unavailable { .. })), "{checked:?}");
    std::fs::copy(good.0, &own).expect("a certificate");
    std::fs::copy(good.1, &key).expect("a key");
    until("the good certificate is used", async || writer.backend.check().await.is_ok()).await;
    writer.write(&[put("a", "2")]).await;
}

//! TLS, authentication and ACLs.

use std::fs;

use bytes::Bytes;
use holdfast::vault::physical::{StorageError, Unusable};

use super::proxy::Proxy;
use super::world::{World, Writer, put, read, settle, single, storage, three, until};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_what_is_stored() {
    let ensemble = three().await;
    let world = World::on(ensemble);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("secret", "v")]).await;
    // Another certificate of the same CA, and another user.
    let file = |name: &str| ensemble.file(name).display().to_string();
    let settings = format!(
        "tls_enabled = true\ntls_ca_file = {:?}\ntls_cert_file = {:?}\ntls_key_file = {:?}\nauth_info = \"digest:other:pw\"",
        file("ca.pem"),
        file("other.pem"),
        file("other.key"),
    );
    let mut other = World { config: storage(&format!("address = {:?}\n{settings}", ensemble.addresses())) };
    other.config.path = world.config.path.clone();
    let refused = other.try_open().await.err();
    assert!(matches!(refused, Some(Unusable::Forbidden { .. })), "{refused:?}");
    // The certificate alone is an identity that was proven when the nodes were made.
    let mut twin = world.clone();
    twin.config.auth_info = None;
    assert_eq!(read(&twin.open().await, "secret").await, Some(Bytes::from_static(b"v")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_may_be_named() {
    let ensemble = three().await;
    let mut world = World::on(ensemble);
    world.config.znode_owner = Some("x509:CN=holdfast".to_owned());
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("secret", "v")]).await;
    let mut digest_alone = world.clone();
    if let Some(tls) = &mut digest_alone.config.tls {
        tls.cert_file = Some(ensemble.file("other.pem"));
        tls.key_file = Some(ensemble.file("other.key"));
    }
    let refused = digest_alone.try_open().await.err();
    assert!(matches!(refused, Some(Unusable::Forbidden { .. })), "{refused:?}");
}

/// Files are read at each connection: the new ones count as soon as one begins, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_anew() {
    let ensemble = three().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let install = |name: &str| {
        fs::copy(ensemble.file(&format!("{name}.pem")), &certificate).expect("a copy");
        fs::copy(ensemble.file(&format!("{name}.key")), &key).expect("a copy");
    };
    install("client");
    let proxy = Proxy::to(ensemble.address(0)).await;
    let mut world = World::at(&proxy.address, &ensemble.settings());
    if let Some(tls) = &mut world.config.tls {
        tls.cert_file = Some(certificate.clone());
        tls.key_file = Some(key.clone());
    }
    let mut writer = Writer::init(world.open().await).await;
    install("stranger");
    writer.write(&[put("a", "1")]).await;
    proxy.cut_all();
    until("the new certificate is refused", async || writer.backend.check().await.is_err()).await;
    let error = writer.backend.check().await.expect_err("a certificate of a stranger");
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    install("client");
    writer.write(&[put("a", "2")]).await;
}

/// A password that was rotated in its file counts after the server refused the old one.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_read_anew_when_they_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("auth");
    fs::write(&file, "digest:holdfast:right\n").expect("a file");
    let proxy = Proxy::to(single().await.address(0)).await;
    let world = World::at(&proxy.address, &format!("auth_info = \"file://{}\"", file.display()));
    let mut writer = Writer::init(world.open().await).await;
    fs::write(&file, "digest:holdfast:wrong").expect("a file");
    writer.write(&[put("a", "1")]).await;
    proxy.cut_all();
    until("the wrong password is refused", async || {
        matches!(writer.backend.check().await, Err(StorageError::Denied { .. }))
    })
    .await;
    let error = writer.backend.get("a").await.expect_err("a wrong password").to_string();
    assert!(error.contains("NoAuth") && !error.contains("wrong"), "{error}");
    fs::write(&file, "digest:holdfast:right").expect("a file");
    // Nothing is cut now: the refusal alone lets it log in anew.
    until("the right password is used", async || writer.backend.check().await.is_ok()).await;
    let next = super::world::next_head(&writer.head);
    settle(writer.backend.as_ref(), Some(&writer.head), &next, &[put("a", "2")]).await;
    assert_eq!(read(writer.backend.as_ref(), "a").await, Some(Bytes::from_static(b"2")));
}

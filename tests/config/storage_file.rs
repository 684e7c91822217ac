//! `storage "file"`: what its settings mean, and what a person reads when they are wrong.

use holdfast::config::{FileStorage, StorageConfig};

use super::{TCP, read};

#[test]
fn every_error_says_what_to_do() {
    let texts = [
        "storage \"file\" {}",
        "storage \"file\" { path = \"\" }",
        "storage \"file\" { path = [\"/a\", \"/b\"] }",
        "storage \"file\" { path = \"/data\" data_limit_bytes = 5 }",
        "storage \"file\" { path = \"/data\" data_limit_bytes = \"10GiB\" }",
        "storage \"file\" { pth = \"/data\" }",
        "storage \"file\" { path = \"/data\" }\nha_storage \"kubernetes\" {}",
    ];
    let mut shown = String::new();
    for text in texts {
        let problems = read(&format!("{text}\n{TCP}")).expect_err(text);
        shown.push_str(&format!("--- {}\n{problems}\n\n", text.replace('\n', "\n    ")));
    }
    insta::assert_snapshot!("storage_file_errors", shown);
}

#[test]
fn a_full_block_is_read() {
    let storage =
        |text: &str| read(&format!("{TCP}storage \"file\" {{ {text} }}")).expect("a good one").storage;
    assert_eq!(storage("path = \"/data\""), StorageConfig::File(FileStorage::at("/data")));
    let limited = FileStorage { data_limit_bytes: Some(64 << 20), ..FileStorage::at("/data") };
    assert_eq!(
        storage("path = \"/data\" data_limit_bytes = 67108864 ha_enabled = \"false\""),
        StorageConfig::File(limited)
    );
}

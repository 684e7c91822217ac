//! Files made from the code are what the code makes.

use std::path::Path;

use holdfast::crd::emit;

#[test]
fn definitions_on_disk_are_those_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for definition in emit::definitions().unwrap() {
        for folder in ["crds", "charts/holdfast/templates/crds"] {
            let path = root.join(folder).join(&definition.file);
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, definition.yaml().unwrap(), "{} is old: make generate", path.display());
        }
    }
}

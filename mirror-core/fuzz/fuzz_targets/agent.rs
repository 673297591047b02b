//! Whole frames of anything to an agent, which must not leave its root.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a folder");
    mirror_core::testing::agent_hears(&root, script);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
});

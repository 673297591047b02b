//! Whole frames of anything to a caller, which must write nowhere but in its target.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("target");
    std::fs::create_dir(&target).expect("a folder");
    mirror_core::testing::caller_hears(&target, script);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
});

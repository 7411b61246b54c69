#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tower_revalidate_fuzz::hold(tower_revalidate_fuzz::promises::post::broadcast, data);
});

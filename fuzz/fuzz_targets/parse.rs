#![no_main]

use backplan_fuzz::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(text) = properties::text(bytes) {
        properties::parse(text);
    }
});

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| securestream::testing::fuzz::classic(input));

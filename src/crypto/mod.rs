//! Keys, who is trusted, and sealed bytes. Knows no socket, no clock, no thread and no packet layout beyond what a
//! caller passes in.

pub mod engine;
pub mod identity;
pub mod mac;
pub mod plain;
pub mod replay;
pub mod tls;
pub mod trust;

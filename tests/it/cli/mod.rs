//! The tools as processes: what they print where, and how they end.

mod bench;
mod classic;
mod control;
mod doctor;
mod endings;
mod gui;
mod json;
mod keys;
mod lab;
mod memory;
mod modes;
mod proxy;
mod rsagen;
mod run;
mod tool;
mod transfer;
mod usage;

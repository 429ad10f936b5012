//! `--attack NAME`: those on packets are armed in the proxy, the swap of keys is a program of its own.

use super::super::console::Console;
use super::super::exit::{Exit, Failure};
use super::super::json;
use super::super::signals::Signals;
use super::plan::Plan;
use super::{Options, TOOL};
use crate::attack::{Armed, Attack as OnPackets, KeySwap};
use crate::proxy::{ProxyBuilder, Side};
use crate::stream::Carrier;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::str::FromStr;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(100);
/// Bytes of the loot shown.
const SAMPLE_BYTES: usize = 60;

/// What the option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    Packets(OnPackets),
    KeySwap,
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "key-swap" {
            return Ok(Self::KeySwap);
        }
        let attack = name.parse().map(Self::Packets);
        attack.map_err(|error: String| format!("{error}, key-swap"))
    }
}

pub(super) fn arm(builder: ProxyBuilder, attack: Attack) -> (ProxyBuilder, Option<Armed>) {
    match attack {
        Attack::Packets(attack) => {
            let (builder, armed) = attack.arm(builder);
            (builder, Some(armed))
        }
        Attack::KeySwap => (builder, None),
    }
}

#[derive(Serialize)]
struct Facts {
    attack: &'static str,
    bytes_read: usize,
}

/// Two streams back to back, until a signal.
pub(super) fn swap_keys(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let plan = Plan::new(options)?;
    if !plan.scenario.proxies[0].rules.is_empty() || options.capture.is_some() || options.record_drops.is_some() {
        return Err(Failure::usage(
            "--attack key-swap ends the streams itself: rules and captures are for a proxy in front of it",
        ));
    }
    let mut facts = Facts {
        attack: "key-swap",
        bytes_read: 0,
    };
    let ended = swap(options, &plan, console, &mut facts);
    json::conclude(options.json, &TOOL, &facts, ended)
}

fn swap(options: &Options, plan: &Plan, console: &Console, facts: &mut Facts) -> Result<Exit, Failure> {
    let signals = Signals::watch(console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
    let (places, target) = &plan.places[0];
    let carrier = match plan.scenario.proxies[0].side {
        Some(Side::Udp) => Carrier::Udp,
        _ => Carrier::Tcp,
    };
    let attacker = KeySwap::start(&places[..], target.as_str(), carrier)
        .map_err(|error| Failure::io(format!("cannot listen on port {}", places[0].port()), &error))?;
    let word = super::super::endpoint::carrier_word(carrier);
    console.note(format_args!("listening on {} ({word})", attacker.local_addr()));
    console.note(format_args!("target {target} ({word})"));
    let start = now();
    let exit = loop {
        attacker.news().iter().for_each(|news| console.note(news));
        if let Some(exit) = signals.caught() {
            break exit;
        }
        if options.run_for.is_some_and(|span| now() - start >= span.0) {
            break Exit::Success;
        }
        let mut sockets = [PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)];
        // Early is as good as late.
        let _ = poll(&mut sockets, Timespec::try_from(LOOK).ok().as_ref());
    };
    let loot = attacker.loot();
    facts.bytes_read = loot.len();
    let sample = &loot[..loot.len().min(SAMPLE_BYTES)];
    console.note(format_args!(
        "read {} bytes of clear text, beginning with \"{}\"",
        loot.len(),
        sample.escape_ascii()
    ));
    Ok(exit)
}

#[expect(clippy::disallowed_methods, reason = "--run-for ends in its time")]
fn now() -> Instant {
    Instant::now()
}

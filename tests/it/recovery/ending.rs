//! The end of a connection with its last packets lost or late, in every combination: what never ended cleanly never
//! looks whole, and a clean end is known on both sides or reported as unacknowledged.

use crate::script::{Pair, Sent, Setup, Side, Time, byte_at};
use securestream::proto::Ended;
use std::time::Duration;

/// Packets at the end of each side whose fate is tried.
const LAST: usize = 3;
const DELAY: Duration = Duration::from_millis(20);
const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// What the applications do.
#[derive(Clone, Copy, Debug)]
enum Play {
    /// Both write and finish at once.
    BothFinish,
    /// The client asks, the server answers when it has everything.
    RequestAndResponse,
    /// The client writes and leaves; the server only reads and finishes at the end.
    ClientLeaves,
    /// The client writes and aborts.
    ClientAborts,
}

const PLAYS: [Play; 4] = [
    Play::BothFinish,
    Play::RequestAndResponse,
    Play::ClientLeaves,
    Play::ClientAborts,
];

fn pair(rule: impl FnMut(Side, usize, &Sent) -> Option<Duration> + 'static) -> Pair {
    let client = Setup::default();
    let mut server = Setup::default();
    server.settled.server = true;
    Pair::new(&client, &server, DELAY, Box::new(rule))
}

/// Plays until both sides have nothing left to do. Checks at every step what must always hold.
fn play(pair: &mut Pair, play: Play) {
    let now = pair.now;
    let (client, server) = (&mut pair.client, &mut pair.server);
    client.write(2500);
    match play {
        Play::BothFinish => {
            server.write(1500);
            client.send.finish();
            server.send.finish();
        }
        Play::RequestAndResponse => client.send.finish(),
        Play::ClientLeaves => client.send.abandon(now),
        Play::ClientAborts => {}
    }
    let mut answered = false;
    let mut aborted = false;
    pair.run(200.s(), |pair| {
        let now = pair.now;
        if !answered && pair.server.received.ended {
            answered = true;
            if matches!(play, Play::RequestAndResponse) {
                pair.server.write(1500);
            }
            pair.server.send.finish();
        }
        if !aborted && matches!(play, Play::ClientAborts) && !pair.server.received.bytes.is_empty() {
            aborted = true;
            pair.client.send.abort(now);
        }
        check_always(pair, play);
        pair.client.send.is_closed() && pair.server.send.is_closed()
    });
    check_at_the_end(pair, play);
}

fn check_always(pair: &mut Pair, play: Play) {
    for side in SIDES {
        let written = pair.side(side).written;
        let progress = pair.side(side).send.progress();
        let reader = &pair.side(side.peer()).received;
        let prefix = reader.bytes.iter().zip(0..).all(|(b, at)| *b == byte_at(at));
        let bytes = reader.bytes.len() as u64;
        assert!(prefix && bytes <= written, "{side:?}: not a prefix");
        if reader.ended {
            assert_eq!(bytes, written, "{side:?}: ended with {bytes} of {written}");
        }
        if progress.finished {
            assert!(reader.ended, "{side:?}: finished, but the reader saw no end");
        }
        if progress.consumed {
            assert!(reader.ended, "{side:?}: consumed, but the reader saw no end");
        }
    }
    if matches!(play, Play::ClientAborts) {
        assert!(!pair.server.received.ended, "aborted, but looks whole");
        assert!(!pair.client.send.progress().finished);
    }
}

fn check_at_the_end(pair: &mut Pair, play: Play) {
    for side in SIDES {
        let story = pair.transcript.join("\n");
        let written_whole = match play {
            Play::BothFinish | Play::RequestAndResponse => true,
            Play::ClientLeaves => side == Side::Client,
            Play::ClientAborts => false,
        };
        let half = &pair.side(side).send;
        let (ended, progress) = (half.ended().cloned(), half.progress());
        assert!(half.is_closed(), "{side:?} is not over\n{story}");
        let received = pair.side(side.peer()).received.ended;
        if written_whole && received {
            // The writer knows, or it reports what it does not know.
            let complete = ended == Some(Ended::Complete);
            assert!(
                progress.finished || !complete,
                "{side:?}: complete with {progress:?}\n{story}"
            );
        }
        if written_whole && !matches!(ended, Some(Ended::Idle)) {
            assert!(
                progress.finished && received,
                "{side:?}: {ended:?} {progress:?}, reader ended: {received}\n{story}"
            );
        }
    }
}

/// Packets of each side when nothing is lost.
fn packets_of(scene: Play) -> [usize; 2] {
    let mut pair = pair(|_, _, _| Some(Duration::ZERO));
    play(&mut pair, scene);
    assert!(pair.elapsed() < 5.s(), "a clean end takes no time-out");
    pair.sent
}

#[test]
fn the_last_three_packets_of_both_sides_lost_in_every_combination() {
    for scene in PLAYS {
        let total = packets_of(scene);
        for mask in 0..1usize << (2 * LAST) {
            let lost = move |side: Side, ordinal: usize| {
                let from_end = total[side as usize].wrapping_sub(ordinal + 1);
                from_end < LAST && mask >> (from_end + LAST * side as usize) & 1 == 1
            };
            let mut pair = pair(move |side, ordinal, _| (!lost(side, ordinal)).then_some(Duration::ZERO));
            play(&mut pair, scene);
        }
    }
}

#[test]
fn the_last_three_packets_of_both_sides_late_in_every_order() {
    const ORDERS: [[u64; LAST]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for scene in PLAYS {
        let total = packets_of(scene);
        for (client, server) in ORDERS.iter().flat_map(|c| ORDERS.iter().map(move |s| (c, s))) {
            for lost in 0..=2 * LAST {
                let orders = [*client, *server];
                let mut pair = pair(move |side, ordinal, _| {
                    let from_end = total[side as usize].wrapping_sub(ordinal + 1);
                    if from_end >= LAST {
                        return Some(Duration::ZERO);
                    }
                    let is_lost = lost == from_end + LAST * side as usize;
                    (!is_lost).then(|| (orders[side as usize][from_end] * 15).ms())
                });
                play(&mut pair, scene);
            }
        }
    }
}

#[test]
fn from_any_packet_on_all_of_one_side_or_of_both_is_lost() {
    for scene in PLAYS {
        let total = packets_of(scene);
        for dead in 1..4usize {
            for from_end in 0..total[0].max(total[1]) {
                let mut pair = pair(move |side, ordinal, _| {
                    let is_dead = dead >> side as usize & 1 == 1 && ordinal + from_end + 1 >= total[side as usize];
                    (!is_dead).then_some(Duration::ZERO)
                });
                play_until_silence(&mut pair, scene);
            }
        }
    }
}

/// As [`play`], where the wire dies: a clean end may be unknown, but nothing may look whole that is not.
fn play_until_silence(pair: &mut Pair, scene: Play) {
    let now = pair.now;
    pair.client.write(2500);
    match scene {
        Play::BothFinish => {
            pair.server.write(1500);
            pair.server.send.finish();
            pair.client.send.finish();
        }
        Play::RequestAndResponse => pair.client.send.finish(),
        Play::ClientLeaves => pair.client.send.abandon(now),
        Play::ClientAborts => pair.client.send.abort(now),
    }
    let mut answered = false;
    pair.run(200.s(), |pair| {
        if !answered && pair.server.received.ended {
            answered = true;
            pair.server.send.finish();
        }
        check_always(pair, scene);
        pair.client.send.is_closed() && pair.server.send.is_closed()
    });
    for side in SIDES {
        let received = pair.side(side.peer()).received.ended;
        let half = &pair.side(side).send;
        let progress = half.progress();
        assert!(half.is_closed());
        if !received && half.ended() == Some(&Ended::Complete) {
            assert!(
                matches!(scene, Play::ClientLeaves) && side == Side::Server && !progress.finished,
                "{side:?} {scene:?}: complete, but not received\n{}",
                pair.transcript.join("\n")
            );
        }
    }
}

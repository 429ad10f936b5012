//! Captures: what is in the file, and what tshark with our dissector makes of it.

use super::*;
use securestream::proxy::inspect::{Inspector, Line, Mode};
use securestream::proxy::{Capture, PacketEvent};
use securestream::{Carrier, Finished, Security, StreamBuilder};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

const DISSECTOR: &str = concat!("lua_script:", env!("CARGO_MANIFEST_DIR"), "/assets/securestream.lua");

/// A transfer through a proxy that loses something, captured. Returns the events that the proxy told besides.
fn captured(file: &Path, security: [Security; 2], payload: &[u8], rules: &str, side: Side) -> Vec<PacketEvent> {
    let carrier = if side == Side::Udp { Carrier::Udp } else { Carrier::Tcp };
    let [client, server] = security.map(|security| StreamBuilder::new(security).carrier(carrier));
    let listener = server.bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), (side, side), rules);
    let capture = Capture::start(&proxy, file).unwrap();
    let events = proxy.events(1 << 16);
    let addr = proxy.local_addr();
    let payload = payload.to_vec();
    let sender = thread::spawn(move || {
        let mut stream = client.connect(addr).unwrap();
        stream.write_all(&payload).unwrap();
        stream.finish(WATCHDOG).unwrap()
    });
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(sender.join().unwrap(), Finished::Consumed);
    drop(stream);
    drop(listener);
    assert_eq!(proxy.status().missed_events, 0);
    drop(proxy);
    let packets = capture.finish().unwrap();
    assert!(packets > 10);
    events.try_iter().collect()
}

fn lines(file: &Path) -> Vec<Line> {
    let mut inspector = Inspector::new(File::open(file).unwrap());
    let mut lines = Vec::new();
    while let Some(line) = inspector.next_line().unwrap() {
        lines.push(line);
    }
    assert!(!inspector.is_cut());
    lines
}

/// The columns that tshark prints; `None` where there is no tshark.
fn tshark(file: &Path, ports: &[u16], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command
        .args(["-X", DISSECTOR, "-r"])
        .arg(file)
        .args(["-T", "fields", "-E", "occurrence=a"]);
    for port in ports {
        command.args(["-d", &format!("udp.port=={port},securestream")]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "tshark is missing, and .ci/run installs it"
        );
        eprintln!("SKIPPED: tshark is not installed");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("Lua:"), "{errors}");
    let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect());
    Some(rows.collect())
}

#[test]
fn a_plain_transfer_can_be_read_from_its_capture_and_tshark_reads_the_same() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("plain.pcapng");
    let payload: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    let security = [Security::plain(), Security::plain()];
    let events = captured(
        &file,
        security,
        &payload,
        "loss 5%; delay 1ms 1ms; corrupt 2%",
        Side::Udp,
    );
    let lines = lines(&file);

    // Each packet stands on both sides under one number, and those that do not have a reason.
    let arrivals: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            PacketEvent::Arrived { id, bytes, .. } => Some((*id, bytes.len())),
            _ => None,
        })
        .collect();
    let mut dropped = 0;
    for (id, bytes) in &arrivals {
        let of_it: Vec<_> = lines.iter().filter(|line| line.id == Some(*id)).collect();
        assert_eq!(of_it[0].bytes, *bytes);
        let verdict = of_it[0].verdict.as_deref().expect("every packet has a verdict");
        match &of_it[..] {
            [_] => {
                assert!(verdict.contains("dropped by loss"), "{verdict}");
                dropped += 1;
            }
            [_, left] => assert_ne!(left.interface, of_it[0].interface),
            more => panic!("{more:?}"),
        }
    }
    assert!(dropped > 0);
    let decided = |event: &&PacketEvent| matches!(event, PacketEvent::Decided { rule, .. } if rule == "loss");
    assert_eq!(
        dropped,
        events.iter().filter(decided).count(),
        "comments carry the verdicts"
    );

    // A listener knows the whole payload.
    let mut known = vec![false; payload.len()];
    for line in &lines {
        for (offset, data) in &line.look.payload {
            let start = *offset as usize;
            assert!(payload[start..].starts_with(data));
            known[start..start + data.len()].fill(true);
        }
    }
    assert!(known.iter().all(|known| *known));

    let fields = [
        "securestream.mode",
        "securestream.type",
        "securestream.pn",
        "securestream.frame",
        "frame.comment",
        "frame.packet_id",
    ];
    let ports: BTreeSet<_> = lines
        .iter()
        .filter_map(|line| line.ends)
        .flat_map(|(from, to)| [from.port(), to.port()])
        .collect();
    let ports: Vec<_> = ports.into_iter().collect();
    let Some(rows) = tshark(&file, &ports, &fields) else {
        return;
    };
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        let look = &line.look;
        assert_eq!(row[4], line.verdict.clone().unwrap_or_default());
        if look.mode != Mode::Plain || look.text.contains("damaged") {
            continue;
        }
        assert_eq!(row[0], look.mode.word(), "{line}");
        assert_eq!(row[1], look.form, "{line}");
        assert_eq!(row[2], look.number.unwrap().to_string(), "{line}");
        // The same frames in the same words.
        for frame in row[3].split(',').filter(|frame| frame.starts_with("STREAM")) {
            assert!(look.text.contains(frame), "{frame} in {line}");
        }
    }
}

#[test]
fn of_a_secure_transfer_nothing_can_be_read_but_headers() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("secure.pcapng");
    let payload = b"nobody reads this ".repeat(1000);
    let security = super::attack::strangers();
    captured(&file, security, &payload, "", Side::Udp);
    let lines = lines(&file);
    assert!(
        lines
            .iter()
            .all(|line| line.look.mode == Mode::Secure && line.look.payload.is_empty())
    );
    for form in ["INITIAL", "HANDSHAKE", "1-RTT"] {
        assert!(lines.iter().any(|line| line.look.form == form), "{form}");
    }
    let mut bytes = Vec::new();
    File::open(&file).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"nobody reads"));
    let (from, to) = lines[0].ends.unwrap();
    let fields = ["securestream.mode", "securestream.type", "securestream.data"];
    let Some(rows) = tshark(&file, &[from.port(), to.port()], &fields) else {
        return;
    };
    for (row, line) in rows.iter().zip(&lines) {
        assert_eq!((row[0].as_str(), row[1].as_str()), ("secure", line.look.form), "{line}");
        assert!(row.get(2).is_none_or(String::is_empty));
    }
}

#[test]
fn packets_in_frames_are_captured_like_datagrams() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("tcp.pcapng");
    let security = [Security::plain(), Security::plain()];
    captured(&file, security, &[7; 100_000], "", Side::Tcp);
    let lines = lines(&file);
    assert!(lines.iter().all(|line| line.look.mode == Mode::Plain));
    let read: usize = lines
        .iter()
        .flat_map(|line| &line.look.payload)
        .map(|(_, data)| data.len())
        .sum();
    assert_eq!(read, 2 * 100_000, "on both sides");
}

/// A TCP connection as a capture of the wire has it, with frames cut apart and put together.
#[test]
fn tshark_finds_the_frames_in_a_tcp_connection() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("wire.pcap");
    // The example of docs/protocol.md, and a classic packet.
    let plain =
        b"\x21\x01\x02\x03\x04\x05\x06\x07\x08\x00\x05\x02\x08\x41\x2c\x00\x01\x0f\x00\x00\x05hello\x1d\x46\xf2\x78";
    let classic = b"\x02\0\0\0\x7a\x03\0\0\x58\0\0\0data";
    let mut wire = Vec::new();
    for packet in [&plain[..], &classic[..], &plain[..]] {
        wire.extend((packet.len() as u32).to_le_bytes());
        wire.extend(packet);
    }
    let mut pcap = Vec::new();
    // The old format, raw IP: magic, version 2.4, zone, accuracy, length, link type 101.
    for number in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        pcap.extend(number.to_le_bytes());
    }
    let mut sequence = 1_u32;
    for piece in wire.chunks(31) {
        let mut tcp = Vec::new();
        tcp.extend(50_000_u16.to_be_bytes());
        tcp.extend(7000_u16.to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend(1_u32.to_be_bytes());
        tcp.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(piece);
        let mut ip = vec![0x45, 0];
        ip.extend((20 + tcp.len() as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        ip.extend(&tcp);
        for number in [sequence, 0, ip.len() as u32, ip.len() as u32] {
            pcap.extend(number.to_le_bytes());
        }
        pcap.extend(&ip);
        sequence += piece.len() as u32;
    }
    std::fs::write(&file, pcap).unwrap();
    let Some(rows) = tshark(
        &file,
        &[],
        &["securestream.mode", "securestream.pn", "securestream.data"],
    ) else {
        return;
    };
    let joined = |column: usize| -> Vec<String> {
        let all = rows.iter().filter_map(|row| row.get(column));
        all.flat_map(|cell| cell.split(',').map(str::to_owned))
            .filter(|cell| !cell.is_empty())
            .collect()
    };
    assert_eq!(joined(0), ["plain", "classic", "plain"]);
    assert_eq!(joined(1), ["5", "5"]);
    assert_eq!(joined(2), ["68656c6c6f", "64617461", "68656c6c6f"]);
}

use std::collections::BTreeSet;

use unamed_protocol::{Duration, NodeKind, RoomId};

use super::*;
use crate::Rng;
use crate::recording::{FindVerdict, Gauges};

fn report() -> Report {
    Report { seed: 7, service_nodes: 1000, trace_hash: "00".repeat(32), ..Report::default() }
}

fn id(rng: &mut Rng) -> RoomId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&rng.bits().to_be_bytes());
    RoomId(id)
}

/// What a run of an hour with churn may leave, drawn at random: for looks, not for figures.
fn recording() -> Recording {
    let (mut recording, mut rng) = (Recording::default(), Rng::new(1, "plots"));
    for at in 1..=3600_u64 {
        for _ in 0..20 {
            let latency = Duration::from_micros((80_000.0 - 90_000.0 * libm::log(rng.unit())) as u64);
            let failed = rng.chance(if (1500..1800).contains(&at) { 0.002 } else { 0.0 });
            recording.record_find(if failed {
                FindVerdict::Failed
            } else {
                FindVerdict::Succeeded {
                    at_once: rng.chance(0.997),
                    hops: (rng.below(3) + rng.below(4)) as u32,
                    latency,
                }
            });
        }
        let wave = libm::sin(at as f64 / 400.0);
        recording.record_second(
            at,
            Gauges {
                live_service: (1000.0 + 60.0 * wave) as u64,
                live_clients: (2400.0 - 200.0 * wave) as u64,
                links_service_mean: 31.0 + 2.0 * wave + rng.unit(),
                links_client_mean: 7.0 - wave,
                rooms_split: if (1500..1600).contains(&at) { 120 } else { 0 },
                bytes_per_s_service: 1900.0 + 300.0 * wave + 200.0 * rng.unit(),
                bytes_per_s_client: 140.0 + 20.0 * rng.unit(),
            },
        );
    }
    for _ in 0..400 {
        let links = 18 + (rng.below(14) + rng.below(14)) as usize;
        recording.record_service(&id(&mut rng), links, rng.below(40) as usize);
        for bucket in 0..9 {
            recording.record_bucket(bucket, 2 + rng.below(2) as usize);
        }
    }
    (0..900).for_each(|_| recording.record_client(3 + rng.below(9) as usize));
    for (reason, service, client) in [
        ("bucket", 9000, 0),
        ("leaf", 4100, 0),
        ("home", 2700, 2700),
        ("room", 180, 1700),
        ("relay", 900, 400),
        ("set-up", 3, 9),
    ] {
        recording.record_links(NodeKind::Service, reason, service);
        recording.record_links(NodeKind::Client, reason, client);
    }
    for (purpose, service, client) in [
        ("keep-alive", 310.5, 22.0),
        ("finds", 640.0, 12.5),
        ("claims", 420.0, 40.0),
        ("self-lookup", 190.0, 0.0),
        ("<digests & co>", 88.0, 0.4),
    ] {
        recording.record_bytes(NodeKind::Service, purpose, service);
        recording.record_bytes(NodeKind::Client, purpose, client);
    }
    let key = id(&mut rng);
    let mut near = |bits: u32| {
        let mut hop = id(&mut rng);
        let kept = u64::MAX.checked_shr(bits).unwrap_or(0);
        for (index, byte) in hop.0.iter_mut().enumerate().take(8) {
            let mask = kept.to_be_bytes()[index];
            *byte = (*byte & mask) | (key.0[index] & !mask);
        }
        hop
    };
    let path = [(near(0), false), (near(1), true), (near(4), true), (near(7), true), (near(11), true)];
    recording.record_path(&key, path, Duration::from_millis(263));
    recording
}

fn about() -> About {
    About {
        title: String::from("churn-10m <at> 1,000 nodes"),
        command: String::from("unamed-sim run churn-10m.toml --nodes 1000 --seed 7"),
        scenario: Some(String::from("# a & b\nnodes = 1000\n")),
    }
}

/// Elements that are opened are closed, in order.
fn assert_well_formed(name: &str, text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("{name}: an open tag"));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let word = tag.split([' ', '\n', '/']).find(|word| !word.is_empty()).unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
        } else if !tag.ends_with('/') && !tag.starts_with('!') && !["meta", "img", "br"].contains(&word) {
            open.push(word);
        }
    }
    assert!(open.is_empty(), "{name}: {open:?}");
}

#[test]
fn the_folder_has_all_files_and_the_page_stands_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("deep/report");
    let recording = recording();
    write(&dir, &report(), &recording, &about()).expect("it writes");

    let found: BTreeSet<String> = fs::read_dir(&dir)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let mut expected = BTreeSet::from(["index.html", "report.json", "recording.json"].map(String::from));
    expected.extend(figures().flat_map(|name| [format!("{name}.svg"), format!("{name}.png")]));
    assert_eq!(found, expected);

    for name in figures() {
        let svg = fs::read_to_string(dir.join(format!("{name}.svg"))).expect("an SVG");
        assert_well_formed(name, &svg);
        assert!(svg.len() > 2000, "{name} shows something");
        let png = fs::read(dir.join(format!("{name}.png"))).expect("a PNG");
        assert!(png.starts_with(b"\x89PNG"), "{name}");
    }
    let page = fs::read_to_string(dir.join("index.html")).expect("the page");
    assert_well_formed("index.html", &page);
    for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        page.contains("--nodes 1000 --seed 7") && page.contains("&lt;at&gt;") && page.contains("trace_hash")
    );
    let text = fs::read_to_string(dir.join("recording.json")).expect("the data");
    let read: Recording = serde_json::from_str(&text).expect("it reads back");
    assert_eq!((read.series.len(), read.hops.counts), (recording.series.len(), recording.hops.counts));
}

#[test]
fn an_empty_recording_makes_figures_that_say_so() {
    let recording = Recording::default();
    for (name, _, draw) in DRAWN {
        let svg = paint::svg(axes::SIZE, &|paint| draw(paint, &recording)).expect("it draws");
        assert_well_formed(name, &svg);
        assert!(
            ["nothing was", "no eligible", "no second", "no place", "no such node"]
                .iter()
                .any(|words| svg.contains(words)),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_written_is_named_and_leaves_nothing_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let (report, recording) = (report(), Recording::default());
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("a file");
    let error = write(&file, &report, &recording, &about()).expect_err("a file is no folder");
    assert!(matches!(&error, ReportError::Write { path, .. } if *path == file), "{error}");

    // A folder stands where a figure should.
    let dir = folder.path().join("report");
    fs::create_dir_all(dir.join("hops.png/x")).expect("a folder");
    let error = write(&dir, &report, &recording, &about()).expect_err("it is in the way");
    assert!(error.to_string().contains("hops.png"), "{error}");
    assert!(!dir.join("index.html").exists(), "the page comes last");
    let partial = |entry: io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().ends_with(".partial")
    };
    assert!(!fs::read_dir(&dir).expect("the folder").any(partial));
}
